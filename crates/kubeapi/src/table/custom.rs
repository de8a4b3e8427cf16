//! Rows of custom resources: `additionalPrinterColumns` with their JSON paths.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use crate::{object, resource::CustomVersion};

const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

const CREATED: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// Column definitions; name and age if the CRD names none.
pub(super) fn columns(version: Option<&CustomVersion>) -> Value {
    let mut columns = vec![json!({"name": "Name", "type": "string", "format": "name",
                                  "description": NAME, "priority": 0})];
    let declared = declared(version);
    if declared.is_empty() {
        columns.push(json!({"name": "Age", "type": "date", "format": "",
                            "description": CREATED, "priority": 0}));
    }
    columns.extend(declared.iter().map(|column| {
        let description = match object::text(column, "/description") {
            "" => {
                let path = object::text(column, "/jsonPath");
                format!("Custom resource definition column (in JSONPath format): {path}")
            }
            description => description.to_owned(),
        };
        json!({"name": column.get("name"), "type": column.get("type"),
               "format": object::text(column, "/format"), "description": description,
               "priority": super::number(column, "/priority")})
    }));
    Value::Array(columns)
}

/// Cells of one object.
pub(super) fn cells(version: Option<&CustomVersion>, object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![json!(object::name(object))];
    let declared = declared(version);
    if declared.is_empty() {
        cells.push(json!(age::of(object, now)));
    }
    cells.extend(declared.iter().map(|column| {
        let found = find(object, object::text(column, "/jsonPath"));
        cell(found, object::text(column, "/type"), now)
    }));
    cells
}

fn declared(version: Option<&CustomVersion>) -> &[Value] {
    version.map_or(&[], |version| version.columns.as_slice())
}

fn cell(found: Option<&Value>, kind: &str, now: Timestamp) -> Value {
    match (kind, found) {
        (_, None | Some(Value::Null)) => Value::Null,
        ("date", Some(time)) => json!(age::since(time.as_str().unwrap_or_default(), now)),
        ("string", Some(Value::String(text))) => json!(text),
        ("string", Some(other)) => json!(other.to_string()),
        ("integer" | "number", Some(number @ Value::Number(_))) => number.clone(),
        ("boolean", Some(truth @ Value::Bool(_))) => truth.clone(),
        _ => Value::Null,
    }
}

/// The first value at a JSON path; what the path means beyond fields, indices, `[*]` and one
/// comparison in a filter is not understood, and finds nothing.
fn find<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut current = object;
    let mut rest = path.trim();
    loop {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            return Some(current);
        }
        if let Some(bracket) = rest.strip_prefix('[') {
            let (inside, after) = bracket.split_once(']')?;
            current = step(current, inside)?;
            rest = after;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (field, after) = rest.split_at_checked(end)?;
            current = current.get(field)?;
            rest = after;
        }
    }
}

fn step<'a>(value: &'a Value, inside: &str) -> Option<&'a Value> {
    if let Some(filter) = inside.strip_prefix("?(@.").and_then(|rest| rest.strip_suffix(')')) {
        let (field, wanted) = filter.split_once("==")?;
        let wanted = wanted.trim().trim_matches(['"', '\'']);
        return value.as_array()?.iter().find(|entry| {
            entry.get(field.trim()).and_then(Value::as_str).is_some_and(|text| text == wanted)
        });
    }
    if let Some(field) = inside.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return value.get(field);
    }
    match inside {
        "*" => value.as_array()?.first(),
        index => value.as_array()?.get(index.parse::<usize>().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_paths_find_what_crds_ask_for() {
        let object = json!({"spec": {"hosts": ["a", "b"], "mtls": {"mode": "STRICT"}, "n": 3},
            "metadata": {"annotations": {"a.b/c": "x"}},
            "status": {"conditions": [{"type": "A", "status": "False"},
                                      {"type": "Ready", "status": "True"}]}});
        let cases = [
            (".spec.mtls.mode", json!("STRICT")),
            (".spec.hosts", json!(["a", "b"])),
            (".spec.hosts[1]", json!("b")),
            (".spec.hosts[*]", json!("a")),
            (".status.conditions[?(@.type==\"Ready\")].status", json!("True")),
            (".status.conditions[?(@.type=='Other')].status", Value::Null),
            (".metadata.annotations['a.b/c']", json!("x")),
            (".spec.none.at.all", Value::Null),
            (".spec.hosts[", Value::Null),
        ];
        for (path, wanted) in cases {
            assert_eq!(find(&object, path).cloned().unwrap_or_default(), wanted, "{path}");
        }
    }

    #[test]
    fn cells_have_the_type_of_their_column() {
        let now = "2026-11-22T00:51:28Z".parse().unwrap();
        assert_eq!(cell(Some(&json!(["a"])), "string", now), json!("[\"a\"]"));
        assert_eq!(cell(Some(&json!(3)), "integer", now), json!(3));
        assert_eq!(cell(Some(&json!("3")), "integer", now), Value::Null);
        assert_eq!(cell(Some(&json!("2026-11-22T00:49:56Z")), "date", now), json!("92s"));
    }
}
