//! Rows of Deployments and ReplicaSets.

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
