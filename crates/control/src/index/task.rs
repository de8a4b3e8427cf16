//! The task that owns the index: it collects changes of all watches and publishes what they come to.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::Client;
use palisade_model::KeySource;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Index, Published, Source};
use crate::{
    keys::{Fetched, Wanted},
    kinds,
    kubernetes::{self, Change, Scope},
};

/// What the index is told.
#[derive(Debug)]
pub(crate) enum Feed {
    /// The API reports a change.
    Change(Source, Change),
    /// An attempt to fetch keys has ended.
    Keys(KeySource, Fetched),
    /// A sidecar has a config of this generation from an earlier life of the control plane.
    Generation(u64),
}

/// An index at work: what it is told, what it makes of it, and whose keys it lacks.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) feed: mpsc::Sender<Feed>,
    pub(crate) published: watch::Receiver<Arc<Published>>,
    pub(crate) wanted: watch::Receiver<Wanted>,
}

/// Watches every kind and keeps the published mesh up to date until `shutdown`.
pub(crate) fn start(
    client: &Client,
    control_namespace: &str,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> Running {
    let running = unwatched(control_namespace, tasks, shutdown);
    for source in Source::all() {
        let (resource, scope) = match source {
            Source::Objects(kind) => (kinds::of(kind), Scope::default()),
            Source::MeshConfig => {
                let namespace = Some(control_namespace.to_owned());
                (kinds::config_maps(), Scope { namespace, label: None })
            }
        };
        let mut stream = kubernetes::watch(client, &resource, &scope);
        let feed = running.feed.clone();
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(async move {
            while let Some(change) = stream.next().await {
                if feed.send(Feed::Change(source, change)).await.is_err() {
                    return;
                }
            }
        }));
    }
    running
}

/// An index that is told by others what there is.
pub(crate) fn unwatched(
    control_namespace: &str,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> Running {
    let (feed, changes) = mpsc::channel(QUEUE);
    let (publish, published) = watch::channel(Arc::new(Published::start()));
    let (want, wanted) = watch::channel(Wanted::default());
    let index = Index::new(control_namespace);
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(own(index, changes, publish, want)));
    Running { feed, published, wanted }
}

/// Publishes once changes pause for [`QUIET`], and at least every [`LONGEST`] while they don't.
async fn own(
    mut index: Index,
    mut changes: mpsc::Receiver<Feed>,
    publish: watch::Sender<Arc<Published>>,
    want: watch::Sender<Wanted>,
) {
    while let Some(first) = changes.recv().await {
        take(&mut index, first);
        let longest = Instant::now() + LONGEST;
        while let Ok(Some(next)) =
            timeout_at(longest.min(Instant::now() + QUIET), changes.recv()).await
        {
            take(&mut index, next);
            if Instant::now() >= longest {
                break;
            }
        }
        let wanted = index.wanted();
        want.send_if_modified(|before| {
            let differs = *before != wanted;
            *before = wanted;
            differs
        });
        if let Some(published) = index.publish() {
            tracing::debug!(generation = published.snapshot.generation(), "published");
            publish.send_replace(published);
        }
    }
}

fn take(index: &mut Index, feed: Feed) {
    match feed {
        Feed::Change(source, change) => index.change(source, change),
        Feed::Keys(source, fetched) => index.fetched(source, fetched),
        Feed::Generation(generation) => index.at_least(generation),
    }
}

/// Changes waiting for the index; the watches wait beyond.
const QUEUE: usize = 256;
const QUIET: Duration = Duration::from_millis(6);
const LONGEST: Duration = Duration::from_millis(50);
