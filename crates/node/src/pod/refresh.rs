//! Keeps a pod's volumes up to date while it runs.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use tokio::{sync::watch, time::sleep};

use crate::{cluster::Source, context::Context, events::Kind, volumes::Volumes};

/// Writes volumes again when what they show changes, before tokens expire, and when the pod's labels or annotations do.
pub(super) async fn keep_fresh(
    context: Arc<Context>,
    mut pod: watch::Receiver<Arc<Pod>>,
    volumes: Arc<Volumes>,
    mut fresh: Duration,
) {
    let mut changes = context.changes.subscribe();
    loop {
        tokio::select! {
            () = sleep(fresh) => {}
            changed = pod.changed() => if changed.is_err() {
                return;
            },
            change = changes.recv() => {
                let pod = pod.borrow();
                let namespace = pod.metadata.namespace.as_deref();
                // Changes that were missed could be about this pod.
                if let Ok(change) = change
                    && (namespace != Some(change.namespace.as_str())
                        || !(Volumes::show(&pod, Source::ConfigMap(&change.name))
                            || Volumes::show(&pod, Source::Secret(&change.name))))
                {
                    continue;
                }
            }
        }
        let current = pod.borrow().clone();
        match volumes.set_up(&context.cluster, &current).await {
            Ok(next) => fresh = next.max(Duration::from_secs(1)),
            Err(error) => {
                context.events.pod(&current, Kind::Warning, "FailedMount", error.to_string());
                fresh = Duration::from_secs(5);
            }
        }
    }
}
