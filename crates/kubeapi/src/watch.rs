//! Watching: a stream of events that starts at a version or with everything there is.
//!
//! A watcher holds no copy of anything: it follows the store's bounded history. One that falls
//! behind further than the history reaches is told so (410 in an ERROR event) and must list again.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream::{self, Stream};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Api, Call},
    render::Renderer,
    selector::Selector,
    status::ApiError,
    store::{Change, ChangeKind, Object},
};

/// How often an idle watcher is told the current version.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// How long a watch may last if the client names no end: it then starts another one.
const DEFAULT_LENGTH: Duration = Duration::from_secs(40 * 60);

/// Longest watch that a client may ask for.
const MAX_LENGTH: Duration = Duration::from_secs(24 * 3600);

/// Where a watch starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Start {
    /// With everything there is; then optionally a bookmark that ends it.
    Everything { mark_end: bool },
    /// After this version.
    After(u64),
}

/// A running watch.
#[derive(Debug)]
struct Watcher {
    api: Arc<Api>,
    call: Call,
    selector: Selector,
    namespace: Option<String>,
    bookmarks: bool,
    cursor: u64,
    changed: watch::Receiver<u64>,
    pending: VecDeque<Bytes>,
    ends: Instant,
    shutdown: CancellationToken,
    over: bool,
}

/// The events that a watch call asks for, one JSON line each.
pub(crate) fn events(
    api: Arc<Api>,
    call: Call,
    selector: Selector,
    namespace: Option<String>,
    shutdown: CancellationToken,
) -> Result<impl Stream<Item = Bytes>, ApiError> {
    let start = start(&call)?;
    let bookmarks = call.query.flag("allowWatchBookmarks");
    let length = call.query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0);
    let length = length.map_or(DEFAULT_LENGTH, Duration::from_secs).min(MAX_LENGTH);
    let (objects, subscription) = api.store.subscribe(&call.resource.storage, namespace.as_deref());
    let mut watcher = Watcher {
        api,
        call,
        selector,
        namespace,
        bookmarks,
        cursor: subscription.version,
        changed: subscription.changed,
        pending: VecDeque::new(),
        ends: Instant::now() + length,
        shutdown,
        over: false,
    };
    match start {
        Start::After(version) => watcher.cursor = version,
        Start::Everything { mark_end } => watcher.start_with(&objects, mark_end),
    }
    Ok(stream::unfold(watcher, |mut watcher| async move {
        let line = watcher.next().await?;
        Some((line, watcher))
    }))
}

fn start(call: &Call) -> Result<Start, ApiError> {
    let version = call.query.number("resourceVersion")?;
    if call.query.flag("sendInitialEvents") {
        return Ok(Start::Everything { mark_end: true });
    }
    Ok(match version {
        None | Some(0) => Start::Everything { mark_end: false },
        Some(version) => Start::After(version),
    })
}

impl Watcher {
    fn renderer(&self) -> Renderer<'_> {
        Renderer {
            resource: &self.call.resource,
            version: &self.call.path.version,
            form: self.call.form,
        }
    }

    fn start_with(&mut self, objects: &[Arc<Object>], mark_end: bool) {
        let mut pending = VecDeque::new();
        let renderer = self.renderer();
        for object in objects.iter().filter(|object| self.selector.matches(&object.value)) {
            pending.push_back(Bytes::from(renderer.event("ADDED", object)));
        }
        if mark_end && self.bookmarks {
            pending.push_back(Bytes::from(renderer.bookmark(self.cursor, true)));
        }
        self.pending = pending;
    }

    /// The next line; none when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            self.read_history();
            if self.pending.is_empty() && !self.over {
                self.wait().await;
            }
        }
    }

    fn read_history(&mut self) {
        // What is newer than this belongs to the next round.
        self.changed.borrow_and_update();
        let newest = self.api.store.version();
        let changes = self.api.store.changes_since(&self.call.resource.storage, self.cursor);
        let Some(changes) = changes.filter(|_| self.cursor <= newest) else {
            let message = format!("too old resource version: {} ({newest})", self.cursor);
            let status = ApiError::expired(message).to_json();
            let line = format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n");
            self.pending.push_back(Bytes::from(line));
            self.over = true;
            return;
        };
        let mut pending = VecDeque::with_capacity(changes.len());
        for change in &changes {
            if let Some((kind, object)) = self.visible(change) {
                pending.push_back(Bytes::from(self.renderer().event(kind, object)));
            }
        }
        if let Some(last) = changes.last() {
            self.cursor = last.version;
        }
        self.pending = pending;
    }

    /// What a change looks like through the selector: an object that no longer matches is
    /// deleted as far as this watcher knows, and one that begins to match is added.
    fn visible<'a>(&self, change: &'a Change) -> Option<(&'static str, &'a Object)> {
        let object = change.object.as_ref();
        if let Some(namespace) = &self.namespace
            && crate::object::namespace(&object.value) != namespace
        {
            return None;
        }
        let before =
            change.previous.as_ref().is_some_and(|object| self.selector.matches(&object.value));
        let after = change.kind != ChangeKind::Deleted && self.selector.matches(&object.value);
        match (before, after) {
            (false, true) => Some(("ADDED", object)),
            (true, true) => Some(("MODIFIED", object)),
            (true, false) => Some(("DELETED", object)),
            (false, false) => None,
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            changed = self.changed.changed() => self.over |= changed.is_err(),
            () = self.shutdown.cancelled() => self.over = true,
            () = tokio::time::sleep_until(self.ends) => self.over = true,
            () = tokio::time::sleep(BOOKMARK_EVERY), if self.bookmarks => {
                let line = self.renderer().bookmark(self.api.store.version(), false);
                self.pending.push_back(Bytes::from(line));
            }
        }
    }
}
