//! Containers that run and are not ready: which probe says so, what it was answered, and since when.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::{Api, api::ListParams};

use super::is_ready;
use crate::{Mesh, output::age};

/// The node's events of failed probes, if any of these pods is not ready. Without them there is less to
/// tell, and nothing is wrong.
pub(super) async fn failed_probes(mesh: &Mesh, pods: &[Pod]) -> Vec<Event> {
    if pods.iter().all(is_ready) {
        return Vec::new();
    }
    let failed = ListParams::default().fields("reason=Unhealthy,involvedObject.kind=Pod");
    let events = Api::<Event>::all(mesh.client()).list(&failed).await;
    events.map(|list| list.items).unwrap_or_default()
}

/// Why a container that runs is not ready, as far as a probe has said it.
pub(super) fn why_not_ready(
    pod: &Pod,
    container: &ContainerStatus,
    failed: &[Event],
    now: Timestamp,
) -> Option<String> {
    let running = container.state.as_ref()?.running.as_ref().filter(|_| !container.ready)?;
    let started = running.started_at.as_ref().map(|time| time.0);
    let is_of_this = |event: &&Event| {
        let path = event.involved_object.field_path.as_deref().unwrap_or_default();
        let name = path.split_once('{').and_then(|(_, name)| name.strip_suffix('}'));
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        event.involved_object.uid == pod.metadata.uid
            && name == Some(container.name.as_str())
            && last >= started
    };
    let last = failed.iter().filter(is_of_this).max_by_key(|event| event.last_timestamp.clone())?;
    let conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    let since = ready.and_then(|ready| ready.last_transition_time.as_ref()).map(|time| time.0);
    let since = since.max(started)?;
    let times = match last.count {
        Some(count) if count > 1 => format!(" ({count} times)"),
        _ => String::new(),
    };
    let said = last.message.as_deref().unwrap_or_default().trim();
    Some(format!("not ready for {}: {said}{times}", age(since, now)))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn the_last_failed_probe_of_this_start_says_why() {
        let time = |minute: u32| format!("2026-11-22T10:{minute:02}:00Z");
        let event = |uid: &str, name: &str, minute: u32, count: u32, message: &str| -> Event {
            from_value(json!({
                "metadata": {}, "reason": "Unhealthy", "message": message, "count": count,
                "lastTimestamp": time(minute),
                "involvedObject": {"uid": uid, "fieldPath": format!("spec.containers{{{name}}}")},
            }))
            .unwrap()
        };
        let failed = [
            event("1", "app", 1, 9, "of a start before"),
            event("1", "app", 5, 1, "Startup probe failed: refused"),
            event(
                "1",
                "app",
                7,
                3,
                "Readiness probe failed: HTTP probe failed with statuscode: 500",
            ),
            event("1", "app", 6, 1, "older"),
            event("1", "other", 8, 1, "another container's"),
            event("2", "app", 8, 1, "another pod's"),
        ];
        let why = |ready: bool, state: serde_json::Value, failed: &[Event]| {
            let container = json!({
                "name": "app", "image": "", "imageID": "", "ready": ready, "restartCount": 0,
                "state": state,
            });
            let pod: Pod = from_value(json!({"metadata": {"uid": "1"}, "status": {
                "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": time(0)}],
            }}))
            .unwrap();
            let now = time(10).parse().unwrap();
            why_not_ready(&pod, &from_value(container).unwrap(), failed, now)
        };
        let running = || json!({"running": {"startedAt": time(4)}});
        assert_eq!(
            why(false, running(), &failed).as_deref(),
            Some(
                "not ready for 6m: Readiness probe failed: HTTP probe failed with statuscode: 500 \
                 (3 times)"
            )
        );
        assert_eq!(
            why(false, running(), &failed[..2]).as_deref(),
            Some("not ready for 6m: Startup probe failed: refused")
        );
        assert_eq!(why(false, running(), &failed[..1]), None, "none since it started");
        assert_eq!(why(true, running(), &failed), None);
        assert_eq!(why(false, json!({"waiting": {"reason": "x"}}), &failed), None);
    }
}
