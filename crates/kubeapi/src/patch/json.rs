//! JSON patch (RFC 6902), within bounds: `copy` can double an object with every operation.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::http_io::MAX_BODY;

/// Bytes that one patch may copy within an object.
const MAX_COPIED: usize = MAX_BODY;

/// Nesting that an object may have; the same as what a body may have.
const MAX_DEPTH: u8 = 127;

/// Applies a patch; an error says why it can't be.
pub(crate) fn patch(object: &mut Value, patch: &Patch) -> Result<(), String> {
    let mut copied = 0;
    for operation in &patch.0 {
        if let PatchOperation::Copy(copy) = operation {
            let source = object.pointer(copy.from.as_str());
            copied += source.map_or(0, |source| source.to_string().len());
            if copied > MAX_COPIED {
                return Err(format!("the patch copies more than {MAX_COPIED} bytes"));
            }
        }
        json_patch::patch(object, std::slice::from_ref(operation))
            .map_err(|error| error.to_string())?;
        let grows = matches!(operation, PatchOperation::Copy(_) | PatchOperation::Move(_));
        if grows && is_deeper(object, MAX_DEPTH) {
            return Err("the patch nests the object too deeply".to_owned());
        }
    }
    if is_deeper(object, MAX_DEPTH) {
        return Err("the patch nests the object too deeply".to_owned());
    }
    Ok(())
}

fn is_deeper(value: &Value, depth: u8) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return true };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper(item, depth)),
        Value::Object(fields) => fields.values().any(|field| is_deeper(field, depth)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(object: &Value, operations: &Value) -> Result<Value, String> {
        let mut object = object.clone();
        let operations: Patch = serde_json::from_value(operations.clone()).unwrap();
        patch(&mut object, &operations).map(|()| object)
    }

    #[test]
    fn operations_are_done_in_order() {
        let object = json!({"a": [1, 2]});
        let operations = json!([
            {"op": "test", "path": "/a/0", "value": 1},
            {"op": "add", "path": "/a/-", "value": 3},
            {"op": "copy", "from": "/a", "path": "/b"},
            {"op": "remove", "path": "/a/0"}]);
        assert_eq!(patched(&object, &operations), Ok(json!({"a": [2, 3], "b": [1, 2, 3]})));
        let wrong = json!([{"op": "test", "path": "/a/0", "value": 2}]);
        assert!(patched(&object, &wrong).is_err());
    }

    #[test]
    fn an_object_cannot_be_doubled_without_end() {
        let copy = json!({"op": "copy", "from": "/a", "path": "/a/-"});
        let object = json!({"a": ["x".repeat(1000)]});
        let wide: Vec<Value> = (0..64).map(|_| copy.clone()).collect();
        assert!(patched(&object, &json!(wide)).is_err());
        let deep: Vec<Value> =
            (0..200).map(|_| json!({"op": "copy", "from": "", "path": "/a"})).collect();
        assert!(patched(&json!({}), &json!(deep)).is_err());
    }
}
