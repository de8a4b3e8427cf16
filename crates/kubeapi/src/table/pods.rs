//! A pod's row: readiness, and one word for what its containers are doing.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{age, number, or_none};
use crate::object;

/// What is known of the containers so far.
#[derive(Debug)]
struct Summary<'a> {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: &'a str,
}

/// Cells of a pod.
pub(super) fn pod(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summary(pod);
    let sidecars = object::array(pod, "/spec/initContainers").filter(|c| is_sidecar(c)).count();
    let total = object::array(pod, "/spec/containers").count() + sidecars;
    let restarts = match (summary.restarts, summary.last_restart) {
        (restarts, "") => restarts.to_string(),
        (restarts, last) => format!("{restarts} ({} ago)", age::since(last, now)),
    };
    let gates = object::array(pod, "/spec/readinessGates").count();
    let gates_true = object::array(pod, "/spec/readinessGates")
        .filter(|gate| has_condition(pod, object::text(gate, "/conditionType")))
        .count();
    vec![
        json!(object::name(pod)),
        json!(format!("{}/{total}", summary.ready)),
        json!(summary.reason),
        json!(restarts),
        json!(age::of(pod, now)),
        or_none(object::text(pod, "/status/podIP")),
        or_none(object::text(pod, "/spec/nodeName")),
        or_none(object::text(pod, "/status/nominatedNodeName")),
        if gates == 0 { json!("<none>") } else { json!(format!("{gates_true}/{gates}")) },
    ]
}

fn summary(pod: &Value) -> Summary<'_> {
    let phase = object::text(pod, "/status/phase");
    let reason = match object::text(pod, "/status/reason") {
        "" => phase,
        reason => reason,
    };
    let mut summary =
        Summary { reason: reason.to_owned(), ready: 0, restarts: 0, last_restart: "" };
    let sidecar_restarts = init_containers(pod, &mut summary);
    if sidecar_restarts.is_some() || has_condition(pod, "Initialized") {
        let (restarts, last_restart) = sidecar_restarts.unwrap_or((summary.restarts, ""));
        summary.restarts = restarts;
        summary.last_restart = last_restart;
        containers(pod, &mut summary);
    }
    if object::is_terminating(pod) && phase != "Succeeded" && phase != "Failed" {
        summary.reason = "Terminating".to_owned();
    }
    summary
}

/// Goes through the init containers up to one that still has to finish; returns the restarts of
/// sidecars if there is no such one.
fn init_containers<'a>(pod: &'a Value, summary: &mut Summary<'a>) -> Option<(i64, &'a str)> {
    let specs = || object::array(pod, "/spec/initContainers");
    let mut sidecars = (0, "");
    for (index, status) in object::array(pod, "/status/initContainerStatuses").enumerate() {
        summary.restarts += number(status, "/restartCount");
        let last = finished_last(status);
        summary.last_restart = summary.last_restart.max(last);
        let name = object::text(status, "/name");
        let sidecar = specs().any(|spec| object::text(spec, "/name") == name && is_sidecar(spec));
        if sidecar {
            sidecars = (sidecars.0 + number(status, "/restartCount"), sidecars.1.max(last));
        }
        let terminated = status.pointer("/state/terminated");
        if terminated.is_some_and(|state| number(state, "/exitCode") == 0) {
            continue;
        }
        if sidecar && status.get("started") == Some(&json!(true)) {
            summary.ready += usize::from(status.get("ready") == Some(&json!(true)));
            continue;
        }
        let waiting = object::text(status, "/state/waiting/reason");
        let what = match terminated {
            Some(state) => how_it_ended(state),
            None if !waiting.is_empty() && waiting != "PodInitializing" => waiting.to_owned(),
            None => format!("{index}/{}", specs().count()),
        };
        summary.reason = format!("Init:{what}");
        return None;
    }
    Some(sidecars)
}

fn containers<'a>(pod: &'a Value, summary: &mut Summary<'a>) {
    let mut running = false;
    let statuses: Vec<&Value> = object::array(pod, "/status/containerStatuses").collect();
    for status in statuses.into_iter().rev() {
        summary.restarts += number(status, "/restartCount");
        summary.last_restart = summary.last_restart.max(finished_last(status));
        let waiting = object::text(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.reason);
        } else if let Some(state) = status.pointer("/state/terminated") {
            summary.reason = how_it_ended(state);
        } else if status.get("ready") == Some(&json!(true))
            && status.pointer("/state/running").is_some()
        {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && running {
        let ready = has_condition(pod, "Ready");
        summary.reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
}

fn finished_last(status: &Value) -> &str {
    object::text(status, "/lastState/terminated/finishedAt")
}

fn how_it_ended(state: &Value) -> String {
    match (object::text(state, "/reason"), number(state, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(state, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn is_sidecar(container: &Value) -> bool {
    object::text(container, "/restartPolicy") == "Always"
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    object::array(pod, "/status/conditions").any(|condition| {
        object::text(condition, "/type") == kind && object::text(condition, "/status") == "True"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pod: &Value) -> String {
        let now = "2026-11-22T00:52:00Z".parse().unwrap();
        let cells = super::pod(pod, now);
        cells.iter().take(4).map(|cell| cell.as_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_status_word_is_what_the_containers_do() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}],
                          "initContainers": [{"name": "istio-proxy", "restartPolicy": "Always"}]});
        let running = json!({"running": {}});
        let cases = [
            (json!({"phase": "Pending"}), "0/3 Pending 0"),
            (
                json!({"phase": "Pending", "initContainerStatuses": [
                    {"name": "istio-proxy", "started": false, "state": running}]}),
                "0/3 Init:0/1 0",
            ),
            (
                json!({"phase": "Running", "initContainerStatuses": [
                    {"name": "istio-proxy", "started": true, "ready": true, "state": running}],
                    "containerStatuses": [{"name": "a", "ready": true, "state": running},
                        {"name": "b", "restartCount": 3,
                         "lastState": {"terminated": {"finishedAt": "2026-11-22T00:51:50Z"}},
                         "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
                "2/3 CrashLoopBackOff 3 (10s ago)",
            ),
            (
                json!({"phase": "Failed", "containerStatuses": [
                    {"name": "a", "state": {"terminated": {"exitCode": 3}}},
                    {"name": "b", "state": {"terminated": {"signal": 9}}}]}),
                "0/3 ExitCode:3 0",
            ),
            (
                json!({"phase": "Running", "containerStatuses": [
                    {"name": "a", "ready": true, "state": running},
                    {"name": "b", "state": {"terminated": {"reason": "Completed"}}}]}),
                "1/3 NotReady 0",
            ),
        ];
        for (status, wanted) in cases {
            let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
            assert_eq!(row(&pod), format!("p {wanted}"));
        }
    }

    #[test]
    fn a_pod_that_is_being_deleted_says_so() {
        let pod = json!({"metadata": {"name": "p", "deletionTimestamp": "2026-11-22T00:52:00Z"},
                         "spec": {"containers": [{}]}, "status": {"phase": "Running"}});
        assert_eq!(row(&pod), "p 0/1 Terminating 0");
    }
}
