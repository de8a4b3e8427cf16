//! Containers that do not run as they should: why, how often, and how they ended.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod};
use serde_json::json;

use super::unready::why_not_ready;
use crate::output::age;

/// A container that can't start, or that ends again and again.
#[derive(Debug)]
pub(super) struct Trouble {
    pod: String,
    container: String,
    reason: String,
    message: String,
    restarts: i32,
    last: Option<ContainerStateTerminated>,
}

/// The containers of a pod that are in trouble; `failed` are events of probes.
pub(super) fn troubles(pod: &Pod, failed: &[Event]) -> Vec<Trouble> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let name = format!("{}/{}", text(&pod.metadata.namespace), text(&pod.metadata.name));
    let Some(status) = &pod.status else { return Vec::new() };
    let all = status.init_container_statuses.iter().flatten();
    let all = all.chain(status.container_statuses.iter().flatten());
    let trouble = |container: &ContainerStatus| {
        let unready = why_not_ready(pod, container, failed, Timestamp::now());
        let not_ready = || unready.is_some().then(|| "NotReady".to_owned());
        let reason = trouble_of(container).or_else(not_ready)?;
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        Some(Trouble {
            pod: name.clone(),
            container: container.name.clone(),
            reason,
            message: waiting
                .and_then(|waiting| waiting.message.clone())
                .or(unready)
                .unwrap_or_default(),
            restarts: container.restart_count,
            last: last_end(container).cloned(),
        })
    };
    all.filter_map(trouble).collect()
}

/// What is wrong with a container, in a word; none if nothing is.
pub(super) fn trouble_of(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.clone().unwrap_or_default();
        return (!STARTING.contains(&reason.as_str())).then_some(reason);
    }
    if let Some(ended) = &state.terminated {
        return (ended.exit_code != 0).then(|| ended.reason.clone().unwrap_or_default());
    }
    let failed = container.last_state.as_ref()?.terminated.as_ref()?;
    (failed.exit_code != 0 && !container.ready).then(|| "Restarted".to_owned())
}

fn last_end(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let states = [&container.state, &container.last_state];
    states.into_iter().flatten().find_map(|state| state.terminated.as_ref())
}

pub(super) fn in_columns(trouble: Trouble) -> Vec<String> {
    let end = trouble.last.map(|end| {
        let reason = end.reason.unwrap_or_default();
        let ago = end.finished_at.map(|time| age(time.0, Timestamp::now())).unwrap_or_default();
        format!("{} ({reason}), {ago} ago", end.exit_code)
    });
    // The rest of a long message is for `kubectl describe`.
    let message = trouble.message.lines().next().unwrap_or_default().to_owned();
    vec![
        trouble.pod,
        trouble.container,
        trouble.reason,
        trouble.restarts.to_string(),
        end.unwrap_or_default(),
        message,
    ]
}

impl Trouble {
    /// All of it in a line, less how often and when.
    pub(super) fn line(&self) -> String {
        let Self { pod, container, reason, message, .. } = self;
        let message = message.lines().next().unwrap_or_default();
        format!("`{container}` of `{pod}`: {reason}: {message}")
    }

    pub(super) fn as_json(&self) -> serde_json::Value {
        let last = self.last.as_ref().map(|end| {
            json!({ "exitCode": end.exit_code, "reason": end.reason, "finishedAt": end.finished_at })
        });
        json!({
            "container": self.container, "reason": self.reason, "message": self.message,
            "restarts": self.restarts, "lastExit": last,
        })
    }
}

/// What a container waits for that is just being started.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn troubles_are_what_does_not_run_as_it_should() {
        let ended =
            |code: i32, reason: &str| json!({"terminated": {"exitCode": code, "reason": reason}});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "why\nmore"}});
        let running = json!({"running": {}});
        for (state, last, ready, expected) in [
            (running.clone(), json!({}), true, "-"),
            (running.clone(), ended(1, "Error"), true, "-"),
            (running, ended(1, "Error"), false, "Restarted | 1 (Error),  ago | "),
            (waiting("ContainerCreating"), json!({}), false, "-"),
            (
                waiting("CrashLoopBackOff"),
                ended(137, "OOMKilled"),
                false,
                "CrashLoopBackOff | 137 (OOMKilled),  ago | why",
            ),
            (waiting("ErrImagePull"), json!({}), false, "ErrImagePull |  | why"),
            (ended(0, "Completed"), json!({}), false, "-"),
            (ended(2, "Error"), json!({}), false, "Error | 2 (Error),  ago | "),
        ] {
            let pod: Pod = serde_json::from_value(json!({"status": {"containerStatuses": [{
                "name": "c", "image": "", "imageID": "", "ready": ready, "restartCount": 1,
                "state": state, "lastState": last,
            }]}}))
            .unwrap();
            let row = troubles(&pod, &[]).pop().map(in_columns);
            let found =
                row.map_or("-".to_owned(), |row| format!("{} | {} | {}", row[2], row[4], row[5]));
            assert_eq!(found, expected);
        }
    }
}
