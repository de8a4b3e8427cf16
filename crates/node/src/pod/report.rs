//! Reports a pod's status to the API server. Changes while a report is under way are reported
//! together after it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{cluster::is_gone, context::Context, state::PodState, status};

/// A task that reports.
pub(super) struct Reporter {
    task: JoinHandle<()>,
    finish: CancellationToken,
}

impl Reporter {
    pub(super) fn start(
        context: Arc<Context>,
        pod: watch::Receiver<Arc<Pod>>,
        mut state: watch::Receiver<PodState>,
    ) -> Self {
        let finish = CancellationToken::new();
        let finishing = finish.clone();
        let task = tokio::spawn(async move {
            let mut sent = pod.borrow().status.clone().unwrap_or_default();
            loop {
                let newest = state.borrow_and_update().clone();
                report(&context, &pod, &newest, &mut sent).await;
                tokio::select! {
                    biased;
                    changed = state.changed() => if changed.is_err() {
                        return;
                    },
                    () = finishing.cancelled() => return,
                }
            }
        });
        Self { task, finish }
    }

    /// Returns when the last change has been reported or can't be.
    pub(super) async fn finish(mut self) {
        self.finish.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(2), &mut self.task).await;
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn report(
    context: &Context,
    pod: &watch::Receiver<Arc<Pod>>,
    state: &PodState,
    sent: &mut PodStatus,
) {
    let mut pause = Duration::from_millis(50);
    loop {
        let pod = pod.borrow().clone();
        let status = status::status(&pod, state, sent, Timestamp::now());
        if status == *sent {
            return;
        }
        let document = match serde_json::to_value(&status) {
            Ok(document) => with_nulls(document),
            Err(error) => return tracing::warn!(%error, "a pod's status can't be written"),
        };
        match context.cluster.patch_status(&pod, &document).await {
            Ok(()) => {
                *sent = status;
                return;
            }
            Err(error) if is_gone(&error) => return,
            Err(error) => tracing::debug!(%error, "a pod's status could not be reported"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// A merge patch removes a field only if it says so.
fn with_nulls(mut status: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = status.as_object_mut() {
        for name in ["podIP", "podIPs", "reason", "message"] {
            fields.entry(name).or_insert(serde_json::Value::Null);
        }
    }
    status
}
