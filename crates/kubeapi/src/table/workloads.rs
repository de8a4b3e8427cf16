//! Rows of Deployments, ReplicaSets and Jobs.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{age, number, or_none, pairs};
use crate::object;

/// Cells of a Deployment.
pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = number(object, "/status/readyReplicas");
    let mut cells = vec![
        json!(object::name(object)),
        json!(format!("{ready}/{}", number(object, "/spec/replicas"))),
        json!(number(object, "/status/updatedReplicas")),
        json!(number(object, "/status/availableReplicas")),
        json!(age::of(object, now)),
    ];
    cells.extend(wide(object));
    cells
}

/// Cells of a ReplicaSet.
pub(super) fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![
        json!(object::name(object)),
        json!(number(object, "/spec/replicas")),
        json!(number(object, "/status/replicas")),
        json!(number(object, "/status/readyReplicas")),
        json!(age::of(object, now)),
    ];
    cells.extend(wide(object));
    cells
}

/// Cells of a Job.
pub(super) fn job(job: &Value, now: Timestamp) -> Vec<Value> {
    let succeeded = number(job, "/status/succeeded");
    let completions = job.pointer("/spec/completions").and_then(Value::as_i64);
    let completions = match (completions, number(job, "/spec/parallelism")) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism @ 2..) => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let completed = object::text(job, "/status/completionTime").parse().unwrap_or(now);
    let duration = match object::text(job, "/status/startTime") {
        "" => String::new(),
        start => age::since(start, completed),
    };
    let mut cells = vec![
        json!(object::name(job)),
        json!(job_status(job)),
        json!(completions),
        json!(duration),
        json!(age::of(job, now)),
    ];
    cells.extend(wide(job));
    cells
}

fn job_status(job: &Value) -> &'static str {
    let is = |kind: &str| {
        object::array(job, "/status/conditions").any(|condition| {
            object::text(condition, "/type") == kind && object::text(condition, "/status") == "True"
        })
    };
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if object::is_terminating(job) => "Terminating",
        () if is("FailureTarget") => "FailureTarget",
        () => "Running",
    }
}

/// Container names, images and selector.
fn wide(object: &Value) -> [Value; 3] {
    let of_containers = |field: &str| {
        object::array(object, "/spec/template/spec/containers")
            .map(|container| object::text(container, field))
            .collect::<Vec<_>>()
            .join(",")
    };
    [
        json!(of_containers("/name")),
        json!(of_containers("/image")),
        or_none(&selector(object.pointer("/spec/selector"))),
    ]
}

fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return String::new() };
    let mut terms: Vec<String> = Vec::new();
    let labels = pairs(selector.get("matchLabels"));
    if !labels.is_empty() {
        terms.push(labels);
    }
    for expression in object::array(selector, "/matchExpressions") {
        let key = object::text(expression, "/key");
        let values: Vec<&str> =
            object::array(expression, "/values").filter_map(Value::as_str).collect();
        let values = values.join(",");
        terms.push(match object::text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_jobs_are_those_of_kubernetes() {
        let now: Timestamp = "2026-01-01T00:02:00Z".parse().unwrap();
        let spec = json!({
            "completions": 3, "parallelism": 1,
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
            "template": {"spec": {"containers": [{"name": "c", "image": "busybox"}]}},
        });
        let done = json!({
            "startTime": "2026-01-01T00:00:05Z", "completionTime": "2026-01-01T00:00:30Z",
            "succeeded": 3, "conditions": [{"type": "Complete", "status": "True"}],
        });
        let failing = json!({"conditions": [{"type": "FailureTarget", "status": "True"}]});
        let queue = json!({"parallelism": 4});
        let rows: Vec<String> = [
            (&spec, json!({})),
            (&spec, json!({"startTime": "2026-01-01T00:00:05Z", "succeeded": 1})),
            (&spec, done),
            (&spec, failing),
            (&queue, json!({})),
        ]
        .into_iter()
        .map(|(spec, status)| {
            let metadata = json!({"name": "j", "creationTimestamp": "2026-01-01T00:00:00Z"});
            let job = json!({"metadata": metadata, "spec": spec, "status": status});
            let cells = super::job(&job, now);
            cells.iter().map(|cell| cell.as_str().unwrap()).collect::<Vec<_>>().join(" | ")
        })
        .collect();
        insta::assert_snapshot!(rows.join("\n"));
    }
}
