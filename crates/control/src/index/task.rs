//! The task that owns the index: it collects changes of all watches and publishes what they come to.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Index, Published, Source};
use crate::{
    kinds,
    kubernetes::{self, Change, Scope},
};

/// What the index is told.
#[derive(Debug)]
pub(crate) enum Feed {
    /// The API reports a change.
    Change(Source, Change),
    /// A sidecar has a config of this generation from an earlier life of the control plane.
    Generation(u64),
}

/// Watches every kind and keeps the published mesh up to date until `shutdown`.
pub(crate) fn start(
    client: &Client,
    control_namespace: &str,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> (mpsc::Sender<Feed>, watch::Receiver<Arc<Published>>) {
    let (feed, published) = unwatched(control_namespace, tasks, shutdown);
    for source in Source::all() {
        let (resource, scope) = match source {
            Source::Objects(kind) => (kinds::of(kind), Scope::default()),
            Source::MeshConfig => {
                let namespace = Some(control_namespace.to_owned());
                (kinds::config_maps(), Scope { namespace, label: None })
            }
        };
        let mut stream = kubernetes::watch(client, &resource, &scope);
        let feed = feed.clone();
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(async move {
            while let Some(change) = stream.next().await {
                if feed.send(Feed::Change(source, change)).await.is_err() {
                    return;
                }
            }
        }));
    }
    (feed, published)
}

/// An index that is told by others what there is.
pub(crate) fn unwatched(
    control_namespace: &str,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> (mpsc::Sender<Feed>, watch::Receiver<Arc<Published>>) {
    let (feed, changes) = mpsc::channel(QUEUE);
    let (publish, published) = watch::channel(Arc::new(Published::start()));
    let index = Index::new(control_namespace);
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(own(index, changes, publish)));
    (feed, published)
}

/// Publishes once changes pause for [`QUIET`], and at least every [`LONGEST`] while they don't.
async fn own(
    mut index: Index,
    mut changes: mpsc::Receiver<Feed>,
    publish: watch::Sender<Arc<Published>>,
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
        if let Some(published) = index.publish() {
            tracing::debug!(generation = published.snapshot.generation(), "published");
            publish.send_replace(published);
        }
    }
}

fn take(index: &mut Index, feed: Feed) {
    match feed {
        Feed::Change(source, change) => index.change(source, change),
        Feed::Generation(generation) => index.at_least(generation),
    }
}

/// Changes waiting for the index; the watches wait beyond.
const QUEUE: usize = 256;
const QUIET: Duration = Duration::from_millis(6);
const LONGEST: Duration = Duration::from_millis(50);
