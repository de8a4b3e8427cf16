//! Stories of jobs in a simulated cluster.

use serde_json::{Value, json};

use crate::{
    objects::{Id, Kind},
    simulation::Simulation,
};

fn job(more: &Value) -> Value {
    let mut spec = json!({
        "parallelism": 1, "completions": 1, "backoffLimit": 6,
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
        "template": {
            "metadata": {"labels": {"job-name": "j"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]},
        },
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({"metadata": {"name": "j"}, "spec": spec})
}

impl Simulation {
    fn with(more: &Value) -> Self {
        let mut cluster = Self::new();
        cluster.put(Kind::Job, job(more));
        cluster
    }

    /// Plays the kubelet: the first pod that has not ended runs or ends.
    fn next_pod(&mut self, phase: &str, restarts: i32) {
        let name = self.unfinished().into_iter().next().unwrap();
        let ended = matches!(phase, "Succeeded" | "Failed");
        let finished = ended.then(|| self.now.to_string());
        let state = finished.map_or(
            json!({"running": {}}),
            |time| json!({"terminated": {"exitCode": 0, "finishedAt": time}}),
        );
        let container = json!({
            "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": restarts,
            "state": state,
        });
        let status = json!({"phase": phase, "containerStatuses": [container]});
        self.patch(Kind::Pod, &name, &json!({"spec": {"nodeName": "n"}, "status": status}));
    }

    fn unfinished(&self) -> Vec<String> {
        let is_unfinished = |name: &String| {
            let pod = self.get(Kind::Pod, name);
            let phase = pod.pointer("/status/phase").and_then(Value::as_str);
            !matches!(phase, Some("Succeeded" | "Failed"))
                && pod.pointer("/metadata/deletionTimestamp").is_none()
        };
        self.names(Kind::Pod).into_iter().filter(is_unfinished).collect()
    }

    /// Active, succeeded, failed, and the conditions that hold with their reasons.
    fn job_is(&self) -> (i64, i64, i64, String) {
        let status = &self.get(Kind::Job, "j")["status"];
        let number = |key: &str| status[key].as_i64().unwrap();
        let conditions = status["conditions"].as_array().into_iter().flatten().map(|condition| {
            let text = |key: &str| condition[key].as_str().unwrap();
            format!("{}={}", text("type"), text("reason"))
        });
        let conditions = conditions.collect::<Vec<_>>().join(" ");
        (number("active"), number("succeeded"), number("failed"), conditions)
    }

    /// No pod is left that waits to be counted.
    fn all_counted(&self) -> bool {
        self.names(Kind::Pod).iter().all(|name| {
            let finalizers = &self.get(Kind::Pod, name)["metadata"]["finalizers"];
            finalizers.as_array().is_none_or(Vec::is_empty)
        })
    }
}

fn is(active: i64, succeeded: i64, failed: i64, conditions: &str) -> (i64, i64, i64, String) {
    (active, succeeded, failed, conditions.to_owned())
}

const DONE: &str = "SuccessCriteriaMet=CompletionsReached Complete=CompletionsReached";
const TOO_OFTEN: &str = "FailureTarget=BackoffLimitExceeded Failed=BackoffLimitExceeded";
const TOO_LONG: &str = "FailureTarget=DeadlineExceeded Failed=DeadlineExceeded";

#[test]
fn pods_run_side_by_side_until_enough_have_succeeded() {
    let mut cluster = Simulation::with(&json!({"parallelism": 2, "completions": 3}));
    assert_eq!(cluster.job_is(), is(2, 0, 0, ""));
    cluster.next_pod("Succeeded", 0);
    assert_eq!(cluster.job_is(), is(2, 1, 0, ""), "another one is begun");
    cluster.next_pod("Succeeded", 0);
    assert_eq!(cluster.job_is(), is(1, 2, 0, ""), "no more than are needed");
    cluster.pass(7);
    cluster.next_pod("Succeeded", 0);
    assert_eq!(cluster.job_is(), is(0, 3, 0, DONE));
    assert!(cluster.all_counted());
    let status = &cluster.get(Kind::Job, "j")["status"];
    assert_eq!(status["startTime"], "2026-01-01T00:00:00Z");
    assert_eq!(status["completionTime"], "2026-01-01T00:00:07Z");
    assert_eq!(status["uncountedTerminatedPods"], json!({"succeeded": [], "failed": []}));
    assert_eq!(cluster.events, ["Completed Job completed"]);
    let writes = cluster.writes();
    cluster.resync();
    assert_eq!(cluster.writes(), writes, "nothing is left to do");
}

#[test]
fn failures_are_replaced_after_growing_pauses_up_to_the_limit() {
    let mut cluster = Simulation::with(&json!({"backoffLimit": 2}));
    cluster.next_pod("Failed", 0);
    assert_eq!(cluster.job_is(), is(0, 0, 1, ""));
    cluster.pass(9);
    assert!(cluster.unfinished().is_empty(), "10 s have not passed");
    cluster.pass(1);
    assert_eq!(cluster.job_is(), is(1, 0, 1, ""));
    cluster.next_pod("Failed", 0);
    cluster.pass(19);
    assert_eq!(cluster.job_is(), is(0, 0, 2, ""), "20 s have not passed");
    cluster.pass(1);
    cluster.next_pod("Failed", 0);
    assert_eq!(cluster.job_is(), is(0, 0, 3, TOO_OFTEN));
    cluster.pass(600);
    assert_eq!(cluster.names(Kind::Pod).len(), 3, "its pods stay to be looked at");
    let reason = "BackoffLimitExceeded Job has reached the specified backoff limit";
    assert_eq!(cluster.events, [reason]);
}

#[test]
fn restarts_in_place_count_for_the_limit() {
    let template = json!({"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "c"}]}});
    let mut cluster = Simulation::with(&json!({"backoffLimit": 2, "template": template}));
    cluster.next_pod("Running", 1);
    assert_eq!(cluster.job_is(), is(1, 0, 0, ""));
    cluster.next_pod("Running", 2);
    cluster.end_pods();
    assert_eq!(cluster.job_is(), is(0, 0, 1, TOO_OFTEN));
    assert!(cluster.names(Kind::Pod).is_empty(), "what still ran is ended");
}

#[test]
fn a_deadline_ends_what_runs() {
    let mut cluster = Simulation::with(&json!({"activeDeadlineSeconds": 30}));
    cluster.next_pod("Running", 0);
    cluster.pass(29);
    assert_eq!(cluster.job_is(), is(1, 0, 0, ""));
    cluster.pass(1);
    let (active, _, failed, conditions) = cluster.job_is();
    assert_eq!((active, failed, &*conditions), (0, 1, "FailureTarget=DeadlineExceeded"));
    cluster.end_pods();
    assert_eq!(cluster.job_is(), is(0, 0, 1, TOO_LONG));
    cluster.pass(600);
    assert!(cluster.unfinished().is_empty());
}

#[test]
fn a_finished_job_is_deleted_when_its_time_is_over() {
    let mut cluster = Simulation::with(&json!({"ttlSecondsAfterFinished": 60}));
    cluster.next_pod("Succeeded", 0);
    cluster.pass(59);
    assert_eq!(cluster.names(Kind::Job), ["j"]);
    cluster.pass(1);
    assert!(cluster.names(Kind::Job).is_empty());
    cluster.end_pods();
    assert!(cluster.names(Kind::Pod).is_empty());
}

#[test]
fn what_is_deleted_early_is_counted_and_let_go() {
    let mut cluster = Simulation::with(&json!({"completions": 2}));
    cluster.next_pod("Running", 0);
    let first = cluster.unfinished().remove(0);
    cluster.delete(Kind::Pod, &first, None);
    assert_eq!(cluster.job_is().2, 1, "one that had not succeeded has failed");
    assert!(cluster.all_counted());
    cluster.end_pods();
    cluster.pass(10);
    cluster.next_pod("Succeeded", 0);
    let done = cluster.names(Kind::Pod);
    cluster.delete(Kind::Pod, &done[0], None);
    cluster.end_pods();
    assert_eq!(cluster.job_is().1, 1, "its success still counts");
    cluster.delete(Kind::Job, "j", None);
    assert!(cluster.all_counted(), "nobody waits for a job that is gone");
    cluster.end_pods();
    assert!(cluster.names(Kind::Pod).is_empty());
}

#[test]
fn a_queue_of_work_is_done_with_the_first_success() {
    let mut cluster = Simulation::with(&json!({"parallelism": 2, "completions": null}));
    assert_eq!(cluster.job_is(), is(2, 0, 0, ""));
    cluster.next_pod("Succeeded", 0);
    assert_eq!(cluster.job_is(), is(1, 1, 0, ""), "nothing new is begun");
    cluster.next_pod("Succeeded", 0);
    assert_eq!(cluster.job_is(), is(0, 2, 0, DONE));
}

#[test]
fn parallelism_can_be_changed_and_a_closing_namespace_gets_nothing_new() {
    let mut cluster = Simulation::with(&json!({"parallelism": 3, "completions": 9}));
    cluster.patch(Kind::Job, "j", &json!({"spec": {"parallelism": 1}}));
    assert_eq!(cluster.job_is().0, 1);
    let told = cluster.events.iter().filter(|event| event.starts_with("SuccessfulDelete")).count();
    assert_eq!(told, 2);
    let id = Id::new(Kind::Namespace, "", "n");
    assert!(cluster.world.get(&id).is_some());
    cluster.delete(Kind::Namespace, "n", None);
    cluster.end_pods();
    cluster.pass(60);
    assert!(cluster.names(Kind::Pod).is_empty(), "{:?}", cluster.names(Kind::Pod));
    assert!(cluster.names(Kind::Job).is_empty());
}
