//! The task that owns the index: it collects changes of all watches and publishes what they come to.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use kube::{Client, core::ApiResource};
use palisade_model::{KeySource, Kind, Trust};
use palisade_types::WorkloadRef;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Index, Published, Source, Stored};
use crate::{
    batch::Batches,
    ca::Authorities,
    events::{Events, Warning},
    history::History,
    keys::{Fetched, Wanted},
    kinds,
    kubernetes::{self, Change, Scope},
    version,
};

/// What the index is told.
#[derive(Debug)]
pub(crate) enum Feed {
    /// The API reports a change.
    Change(Source, Change),
    /// An attempt to fetch keys has ended.
    Keys(KeySource, Fetched),
    /// A batch of changes begins; told when it has.
    Batch(u64, oneshot::Sender<()>),
    /// A batch ends, with the versions that it has stored.
    BatchEnd(u64, Vec<(Stored, String)>),
    /// The roots of the mesh change.
    Trust(Trust),
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
    authorities: watch::Receiver<Arc<Authorities>>,
    history: &History,
    events: &Events,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> Running {
    let running = unwatched(control_namespace, authorities, history, events, tasks, shutdown);
    for source in Source::all() {
        let (client, feed) = (client.clone(), running.feed.clone());
        let control_namespace = control_namespace.to_owned();
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(async move {
            let (resource, scope) = watched(source, &client, control_namespace).await;
            let mut stream = kubernetes::watch(&client, &resource, &scope);
            while let Some(change) = stream.next().await {
                if feed.send(Feed::Change(source, change)).await.is_err() {
                    return;
                }
            }
        }));
    }
    running
}

/// What to watch for a source.
async fn watched(
    source: Source,
    client: &Client,
    control_namespace: String,
) -> (ApiResource, Scope) {
    match source {
        Source::Objects(Kind::EndpointSlice)
            if !version::abilities(client).await.stable_endpoint_slices =>
        {
            (kinds::early_endpoint_slices(), Scope::default())
        }
        Source::Objects(kind) => (kinds::of(kind), Scope::default()),
        Source::MeshConfig => {
            let scope = Scope { namespace: Some(control_namespace), label: None };
            (kinds::config_maps(), scope)
        }
    }
}

/// An index that is told by others what there is.
pub(crate) fn unwatched(
    control_namespace: &str,
    mut authorities: watch::Receiver<Arc<Authorities>>,
    history: &History,
    events: &Events,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> Running {
    let (feed, changes) = mpsc::channel(QUEUE);
    let (publish, published) = watch::channel(Arc::new(Published::start()));
    let (want, wanted) = watch::channel(Wanted::default());
    let mut index = Index::new(control_namespace);
    index.trust(authorities.borrow_and_update().trust());
    index.at_least(history.last_generation());
    let roots = feed.clone();
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(async move {
        while authorities.changed().await.is_ok() {
            let trust = authorities.borrow_and_update().trust();
            if roots.send(Feed::Trust(trust)).await.is_err() {
                return;
            }
        }
    }));
    let (history, events) = (history.clone(), events.clone());
    let owner = Owner { index, batches: Batches::default(), history, events };
    tasks.spawn(
        shutdown.clone().run_until_cancelled_owned(own(owner, changes, publish, want, PATIENCE)),
    );
    Running { feed, published, wanted }
}

/// The index, and what decides when it publishes.
#[derive(Debug)]
struct Owner {
    index: Index,
    batches: Batches,
    history: History,
    events: Events,
}

/// Publishes once changes pause for [`QUIET`], and at least every [`LONGEST`] while they don't; nothing while a
/// batch is open. The first mesh waits for keys, but not longer than `patience`.
async fn own(
    mut owner: Owner,
    mut changes: mpsc::Receiver<Feed>,
    publish: watch::Sender<Arc<Published>>,
    want: watch::Sender<Wanted>,
    patience: Duration,
) {
    let (mut waits_until, mut held_until): (Option<Instant>, Option<Instant>) = (None, None);
    loop {
        let next = match waits_until.into_iter().chain(held_until).min() {
            Some(until) => timeout_at(until, changes.recv()).await,
            None => Ok(changes.recv().await),
        };
        match next {
            Ok(Some(first)) => collect(&mut owner, first, &mut changes).await,
            Ok(None) => return,
            Err(_) => {}
        }
        let index = &mut owner.index;
        if waits_until.is_some_and(|until| Instant::now() >= until) {
            tracing::warn!("started without keys of token issuers that are still being fetched");
            index.wait_for_keys_no_longer();
        }
        let wanted = index.wanted();
        want.send_if_modified(|before| {
            let differs = *before != wanted;
            *before = wanted;
            differs
        });
        held_until = owner.batches.hold_until(index.seen(), Instant::now());
        let before = Arc::clone(index.last());
        if let Some(published) = held_until.is_none().then(|| index.publish()).flatten() {
            tracing::debug!(generation = published.snapshot.generation(), "published");
            owner.history.record(&before, &published, Timestamp::now());
            tell_of_unusable(&owner.events, &before, &published);
            publish.send_replace(published);
        }
        let still = index.waits_for_keys();
        waits_until = still.then(|| waits_until.unwrap_or_else(|| Instant::now() + patience));
    }
}

/// An event for each object that can't be used since now, with what that means.
fn tell_of_unusable(events: &Events, before: &Published, after: &Published) {
    for (at, seen) in &after.seen {
        let Some(reason) = &seen.refused else { continue };
        if before.seen.get(at).is_some_and(|known| known.refused.as_ref() == Some(reason)) {
            continue;
        }
        let object = at.to_string();
        let denies = |at: &&WorkloadRef| after.snapshot.unusable(at).contains(&object);
        let denying = after.snapshot.workloads().filter(denies).count();
        let meaning = match denying {
            0 => "what was in force before it stays".to_owned(),
            1 => "no version before it was good, so 1 workload denies everything".to_owned(),
            _ => format!("no version before it was good, so {denying} workloads deny everything"),
        };
        events.warn(Warning {
            kind: at.kind.parse::<Kind>().map_or_else(|_| kinds::config_maps(), kinds::of),
            namespace: at.namespace.clone(),
            name: at.name.clone(),
            uid: seen.uid.clone(),
            reason: "NotInForce",
            message: format!("This version can't be used ({meaning}): {reason}"),
        });
    }
}

/// Takes in what comes until it pauses or has come for long enough.
async fn collect(owner: &mut Owner, first: Feed, changes: &mut mpsc::Receiver<Feed>) {
    take(owner, first);
    let longest = Instant::now() + LONGEST;
    while let Ok(Some(next)) = timeout_at(longest.min(Instant::now() + QUIET), changes.recv()).await
    {
        take(owner, next);
        if Instant::now() >= longest {
            break;
        }
    }
}

fn take(owner: &mut Owner, feed: Feed) {
    let index = &mut owner.index;
    match feed {
        Feed::Batch(id, taken) => {
            owner.batches.open(id, Instant::now());
            // Who has gone away since lets the batch end by itself.
            let _ = taken.send(());
        }
        Feed::BatchEnd(id, stored) => owner.batches.close(id, stored, Instant::now()),
        Feed::Change(source, change) => index.change(source, change),
        Feed::Keys(source, fetched) => index.fetched(source, fetched),
        Feed::Trust(trust) => index.trust(trust),
        Feed::Generation(generation) => index.at_least(generation),
    }
}

/// Changes waiting for the index; the watches wait beyond.
const QUEUE: usize = 256;
const QUIET: Duration = Duration::from_millis(6);
const LONGEST: Duration = Duration::from_millis(50);
/// How long the first mesh waits for keys: well under the time that `palisade up` gives a control plane.
const PATIENCE: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn the_first_mesh_waits_for_keys_but_not_for_ever() {
        let deadline = Duration::from_secs(30);
        for (patience, answers) in [(deadline * 2, true), (Duration::from_millis(20), false)] {
            let (feed, changes) = mpsc::channel(QUEUE);
            let (publish, mut published) = watch::channel(Arc::new(Published::start()));
            let (want, mut wanted) = watch::channel(Wanted::default());
            let owner = Owner {
                index: Index::new("istio-system"),
                batches: Batches::default(),
                history: History::open(None).0,
                events: Events::new().0,
            };
            let mut task = tokio::task::JoinSet::new();
            task.spawn(own(owner, changes, publish, want, patience));
            for source in Source::all() {
                let objects = match source {
                    Source::Objects(Kind::RequestAuthentication) => vec![json!({
                        "metadata": {"name": "a", "namespace": "shop", "resourceVersion": "1"},
                        "spec": {"jwtRules": [{"issuer": "i", "jwksUri": "https://i.example/keys"}]},
                    })],
                    _ => Vec::new(),
                };
                feed.send(Feed::Change(source, Change::Reset(objects))).await.unwrap();
            }
            let keys = wanted.wait_for(|wanted| !wanted.sources.is_empty()).await.unwrap().clone();
            assert!(!published.has_changed().unwrap() || !answers, "keys are waited for");
            if answers {
                let keys = keys.sources.into_keys().next().unwrap();
                let fetched = Fetched::Keys(r#"{"keys":[]}"#.to_owned());
                feed.send(Feed::Keys(keys, fetched)).await.unwrap();
            }
            let first = published.wait_for(|it| it.missing.is_empty());
            let first = tokio::time::timeout(deadline, first).await.unwrap().unwrap();
            assert_eq!(first.seen.values().any(|seen| seen.awaits_keys), !answers);
        }
    }
}
