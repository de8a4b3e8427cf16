//! Makes a disagreement small: whatever can be left out without the two agreeing is.

use serde_json::Value;

use super::{
    envoy::Envoy,
    pairs::{Disagreement, disagreements},
    random::Draft,
};

/// The smallest disagreement that leaving single things out leads to.
pub(super) fn shrink(mut from: Disagreement, envoy: &mut Envoy) -> anyhow::Result<Disagreement> {
    loop {
        let smaller: Vec<Draft> = candidates(&from.draft);
        match disagreements(&smaller, envoy)?.into_iter().next() {
            Some(found) => from = found,
            None => return Ok(from),
        }
    }
}

/// The draft with one thing left out, big things first.
fn candidates(draft: &Draft) -> Vec<Draft> {
    let whole = serde_json::json!({"policies": draft.policies, "requests": draft.requests});
    let mut paths = Vec::new();
    collect(&whole, &mut String::new(), &mut paths);
    paths.sort_by_key(|path| path.matches('/').count());
    paths.iter().filter_map(|path| without(draft, &whole, path)).collect()
}

/// Pointers to everything that is inside of something.
fn collect(value: &Value, at: &mut String, paths: &mut Vec<String>) {
    let mut inside = |key: &str, value: &Value| {
        let length = at.len();
        at.push('/');
        at.push_str(&key.replace('~', "~0").replace('/', "~1"));
        paths.push(at.clone());
        collect(value, at, paths);
        at.truncate(length);
    };
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| inside(&index.to_string(), item));
        }
        Value::Object(fields) => fields.iter().for_each(|(key, value)| inside(key, value)),
        _ => {}
    }
}

/// The draft without what is at a pointer, if it still means something.
fn without(draft: &Draft, whole: &Value, path: &str) -> Option<Draft> {
    let (parent, key) = path.rsplit_once('/')?;
    let key = key.replace("~1", "/").replace("~0", "~");
    if ["kind", "metadata", "name", "namespace", "iss", "port"].contains(&key.as_str()) {
        return None;
    }
    let mut whole = whole.clone();
    match whole.pointer_mut(parent)? {
        Value::Array(items) => drop(items.remove(key.parse().ok()?)),
        Value::Object(fields) => drop(fields.shift_remove(&key)),
        _ => return None,
    }
    let take = |name: &str| whole.get(name).and_then(Value::as_array).cloned();
    let (policies, requests) = (take("policies")?, take("requests")?);
    let smaller = Draft { policies, requests, ..draft.clone() };
    (smaller.requests.len() == 1 && is_readable(&smaller)).then_some(smaller)
}

fn is_readable(draft: &Draft) -> bool {
    crate::conformance::Stage::new(&draft.mesh, &draft.workload, &draft.policies).is_ok()
}
