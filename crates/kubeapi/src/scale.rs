//! The `scale` subresource: the number of replicas, as an object of its own.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::{Api, Call},
    body,
    http_io::{self, Answer},
    object,
    patch::Patch,
    resource::Resource,
    status::{ApiError, Cause},
    write,
};

/// Answers `get`, `update` and `patch` of `scale`.
pub(crate) async fn handle(api: &Api, call: &Call, bytes: &Bytes) -> Result<Answer, ApiError> {
    let current = api.get(call)?;
    let scale = of(&current.value);
    let wanted = match call.method {
        Method::GET | Method::HEAD => return Ok(http_io::json_value(StatusCode::OK, &scale)),
        Method::PUT => {
            let mut wanted = body::value(&call.headers, bytes, "Scale")?;
            body::expect_kind(&mut wanted, "autoscaling/v1", "Scale")?;
            wanted
        }
        Method::PATCH => {
            let resource = Resource { kind: "Scale".to_owned(), ..Resource::default() };
            Patch::parse(&call.headers, bytes, &resource)?.patched(&scale)?
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    let replicas = wanted.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or_default();
    if !(0..=i64::from(i32::MAX)).contains(&replicas) {
        let rule = "must be greater than or equal to 0";
        let cause = Cause::invalid("spec.replicas", &json!(replicas), rule);
        return Err(ApiError::invalid(&call.resource, &call.path.name, &[cause]));
    }
    let version = object::text(&wanted, "/metadata/resourceVersion").to_owned();
    let mut whole = call.whole();
    whole.method = Method::PUT;
    let changed = write::change(api, &whole, |current| {
        let mut value = current.value.clone();
        object::section(&mut value, "spec").insert("replicas".to_owned(), json!(replicas));
        object::set_metadata(&mut value, "resourceVersion", json!(version));
        Ok(write::Draft::of(value))
    })
    .await?;
    if call.query.dry_run()? {
        return Ok(http_io::json_value(StatusCode::OK, &wanted));
    }
    drop(changed);
    let current: Arc<_> = api.get(call)?;
    Ok(http_io::json_value(StatusCode::OK, &of(&current.value)))
}

fn of(workload: &Value) -> Value {
    let metadata = |key: &str| workload.pointer(&format!("/metadata/{key}")).cloned();
    let mut scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {},
        "spec": {"replicas": workload.pointer("/spec/replicas").cloned().unwrap_or(json!(1))},
        "status": {"replicas":
            workload.pointer("/status/replicas").and_then(Value::as_i64).unwrap_or_default()}});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = metadata(key) {
            object::set_metadata(&mut scale, key, value);
        }
    }
    if let Some(labels) = workload.pointer("/spec/selector/matchLabels").and_then(Value::as_object)
    {
        let mut terms: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        terms.sort();
        object::section(&mut scale, "status").insert("selector".to_owned(), json!(terms.join(",")));
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_tells_wanted_and_running_replicas() {
        let deployment = json!({"metadata": {"name": "a", "namespace": "n"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"b": "2", "a": "1"}}},
            "status": {"replicas": 1}});
        insta::assert_snapshot!(of(&deployment).to_string(), @r#"{"kind":"Scale","apiVersion":"autoscaling/v1","metadata":{"name":"a","namespace":"n"},"spec":{"replicas":2},"status":{"replicas":1,"selector":"a=1,b=2"}}"#);
    }
}
