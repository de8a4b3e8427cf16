//! `activeDeadlineSeconds`: how long a pod may run in all, restarts of the node included.

use std::{future::pending, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::{sync::watch, time::sleep};

/// Waits until the pod has run for as long as it may, as its object says by then.
pub(super) async fn passed(pod: &mut watch::Receiver<Arc<Pod>>, since: Timestamp) {
    loop {
        let left = left(&pod.borrow_and_update(), since, Timestamp::now());
        let wait = async {
            match left {
                Some(left) => sleep(left).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = wait => return,
            Ok(()) = pod.changed() => {}
        }
    }
}

fn left(pod: &Pod, since: Timestamp, now: Timestamp) -> Option<Duration> {
    let limit = pod.spec.as_ref()?.active_deadline_seconds?;
    let limit = Duration::from_secs(u64::try_from(limit).ok()?);
    let ran = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Some(limit.saturating_sub(ran))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_counts_from_the_first_start() {
        let now = Timestamp::now();
        for (limit, ran, expected) in [
            (json!(10), 0, Some(10)),
            (json!(10), 4, Some(6)),
            (json!(10), 99, Some(0)),
            (json!(null), 9, None),
        ] {
            let spec = json!({"spec": {"containers": [], "activeDeadlineSeconds": limit}});
            let pod: Pod = serde_json::from_value(spec).unwrap();
            let found = left(&pod, now - Duration::from_secs(ran), now);
            assert_eq!(found, expected.map(Duration::from_secs), "{limit} {ran}");
        }
    }
}
