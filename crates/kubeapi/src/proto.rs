//! Kubernetes' protobuf bodies to JSON.
//!
//! kubectl sends several built-in kinds as protobuf (`create serviceaccount`, `create token`,
//! `auth can-i`), so an API that reads JSON only can't serve them. The field numbers are data
//! (`proto/fields.txt`, from the struct tags of github.com/kubernetes/api and apimachinery,
//! Apache-2.0); answers are always JSON, which every client accepts.
//!
//! The file has one block per message (`#NAME`), and one line per field: number, JSON name, type.
//! Types: `s` text, `b` truth, `i` integer, `d` double, `y` bytes, `t` time, `u` time with
//! microseconds, `q` quantity, `x` number or text, `r` JSON, `v` list in a message, `.NAME`
//! message; before it `*` for a list and `%` for a map of texts; after it `?` if the empty value
//! means absent, `^` if its fields are those of the message around it.

mod wire;

use std::{collections::HashMap, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{object, status::ApiError};
use wire::{Field, Reader};

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Nested messages, of which real objects have less than half as many.
const MAX_DEPTH: u8 = 32;

/// A field of a message: its JSON name and type.
type Fields = HashMap<u32, (&'static str, &'static str)>;

static MESSAGES: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(|| {
    let mut messages: HashMap<&'static str, Fields> = HashMap::new();
    let mut current = "";
    for line in include_str!("proto/fields.txt").lines() {
        if let Some(name) = line.strip_prefix('#') {
            current = name;
            messages.entry(name).or_default();
        } else if let [number, name, kind] = line.split(' ').collect::<Vec<_>>().as_slice()
            && let Ok(number) = number.parse()
        {
            messages.entry(current).or_default().insert(number, (name, kind));
        }
    }
    messages
});

/// Decodes a body: an envelope with the type, and the object in it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, ApiError> {
    let body = bytes.strip_prefix(MAGIC).ok_or_else(malformed)?;
    let (mut kind_meta, mut raw): (&[u8], &[u8]) = (&[], &[]);
    for field in Reader::new(body) {
        match field.map_err(|_| malformed())? {
            (1, Field::Bytes(bytes)) => kind_meta = bytes,
            (2, Field::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (mut api_version, mut kind) = (String::new(), String::new());
    for field in Reader::new(kind_meta) {
        match field.map_err(|_| malformed())? {
            (1, Field::Bytes(bytes)) => api_version = text(bytes)?,
            (2, Field::Bytes(bytes)) => kind = text(bytes)?,
            _ => {}
        }
    }
    let name = message_name(&api_version, &kind);
    let Some((name, _)) = MESSAGES.get_key_value(name.as_str()) else {
        return Err(ApiError::bad_request(format!(
            "no kind \"{kind}\" in version \"{api_version}\" can be read as protobuf: send JSON"
        )));
    };
    let fields = message(name, raw, MAX_DEPTH)?;
    let mut object = json!({"kind": kind, "apiVersion": api_version});
    object::map(&mut object).extend(fields);
    Ok(object)
}

/// `apps/v1` and `Deployment` to `apps.v1.Deployment`.
fn message_name(api_version: &str, kind: &str) -> String {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or_default();
    match kind {
        "DeleteOptions" => "meta.v1.DeleteOptions".to_owned(),
        kind => format!("{group}.{version}.{kind}"),
    }
}

fn message(name: &str, bytes: &[u8], depth: u8) -> Result<Map<String, Value>, ApiError> {
    let depth = depth.checked_sub(1).ok_or_else(malformed)?;
    let known = MESSAGES.get(name).ok_or_else(malformed)?;
    let mut object = Map::new();
    for field in Reader::new(bytes) {
        let (number, field) = field.map_err(|_| malformed())?;
        let Some((json_name, kind)) = known.get(&number) else { continue };
        add(&mut object, json_name, kind, &field, depth)?;
    }
    Ok(object)
}

fn add(
    object: &mut Map<String, Value>,
    name: &str,
    kind: &str,
    field: &Field<'_>,
    depth: u8,
) -> Result<(), ApiError> {
    if let Some(item) = kind.strip_prefix('*') {
        // Numbers may be packed; Kubernetes has none that are, and text is the common case.
        let item = value(item, field, depth)?.unwrap_or_default();
        if let Value::Array(list) = object.entry(name).or_insert_with(|| json!([])) {
            list.push(item);
        }
    } else if let Some(item) = kind.strip_prefix('%') {
        let (key, item) = entry(item, field, depth)?;
        object::child(object, name).insert(key, item);
    } else if let Some(inner) = kind.strip_suffix('^') {
        if let Some(Value::Object(fields)) = value(inner, field, depth)? {
            object.extend(fields);
        }
    } else if let Some(inner) = kind.strip_suffix('?') {
        let found = value(inner, field, depth)?;
        let found = found.filter(|v| *v != json!("") && *v != json!(0) && *v != json!(false));
        object.extend(found.map(|found| (name.to_owned(), found)));
    } else {
        let found = value(kind, field, depth)?;
        object.extend(found.map(|found| (name.to_owned(), found)));
    }
    Ok(())
}

fn entry(kind: &str, field: &Field<'_>, depth: u8) -> Result<(String, Value), ApiError> {
    let Field::Bytes(bytes) = field else { return Err(malformed()) };
    let (mut key, mut found) = (String::new(), None);
    for part in Reader::new(bytes) {
        match part.map_err(|_| malformed())? {
            (1, Field::Bytes(bytes)) => key = text(bytes)?,
            (2, part) => found = value(kind, &part, depth)?,
            _ => {}
        }
    }
    let empty = match kind {
        "s" | "y" => json!(""),
        _ => Value::Null,
    };
    Ok((key, found.unwrap_or(empty)))
}

fn value(kind: &str, field: &Field<'_>, depth: u8) -> Result<Option<Value>, ApiError> {
    Ok(match (kind, field) {
        ("s", Field::Bytes(bytes)) => Some(json!(text(bytes)?)),
        ("b", Field::Varint(number)) => Some(json!(*number != 0)),
        ("i", Field::Varint(number)) => Some(json!(number.cast_signed())),
        ("d", Field::Fixed64(bits)) => Some(json!(f64::from_bits(*bits))),
        ("y", Field::Bytes(bytes)) => Some(json!(STANDARD.encode(bytes))),
        ("t", Field::Bytes(bytes)) => time(bytes)?.map(|time| json!(object::timestamp(time))),
        ("u", Field::Bytes(bytes)) => time(bytes)?.map(|time| json!(format!("{time:.6}"))),
        ("q", Field::Bytes(bytes)) => first_text(bytes)?.map(|text| json!(text)),
        ("x", Field::Bytes(bytes)) => number_or_text(bytes)?,
        ("r", Field::Bytes(bytes)) => raw_json(bytes)?,
        ("v" | "*s", Field::Bytes(bytes)) => Some(texts(bytes)?),
        (name, Field::Bytes(bytes)) => {
            let name = name.strip_prefix('.').ok_or_else(malformed)?;
            Some(Value::Object(message(name, bytes, depth)?))
        }
        _ => return Err(malformed()),
    })
}

/// Seconds and nanoseconds; none for the zero time, which Go writes for an absent one.
fn time(bytes: &[u8]) -> Result<Option<Timestamp>, ApiError> {
    let (mut seconds, mut nanoseconds) = (0, 0);
    for field in Reader::new(bytes) {
        match field.map_err(|_| malformed())? {
            (1, Field::Varint(number)) => seconds = number.cast_signed(),
            (2, Field::Varint(number)) => {
                nanoseconds = i32::try_from(number).map_err(|_| malformed())?;
            }
            _ => {}
        }
    }
    if (seconds, nanoseconds) == (0, 0) {
        return Ok(None);
    }
    Timestamp::new(seconds, nanoseconds).map(Some).map_err(|_| malformed())
}

fn first_text(bytes: &[u8]) -> Result<Option<String>, ApiError> {
    for field in Reader::new(bytes) {
        if let (1, Field::Bytes(bytes)) = field.map_err(|_| malformed())? {
            return text(bytes).map(Some);
        }
    }
    Ok(None)
}

fn number_or_text(bytes: &[u8]) -> Result<Option<Value>, ApiError> {
    let (mut is_text, mut number, mut said) = (false, 0, String::new());
    for field in Reader::new(bytes) {
        match field.map_err(|_| malformed())? {
            (1, Field::Varint(kind)) => is_text = kind == 1,
            (2, Field::Varint(value)) => number = value.cast_signed(),
            (3, Field::Bytes(bytes)) => said = text(bytes)?,
            _ => {}
        }
    }
    Ok(match (is_text, number) {
        (true, _) => Some(json!(said)),
        (false, 0) => None,
        (false, number) => Some(json!(number)),
    })
}

fn raw_json(bytes: &[u8]) -> Result<Option<Value>, ApiError> {
    let text = first_text(bytes)?.filter(|text| !text.is_empty());
    text.map(|text| serde_json::from_str(&text).map_err(|_| malformed())).transpose()
}

fn texts(bytes: &[u8]) -> Result<Value, ApiError> {
    let mut items = Vec::new();
    for field in Reader::new(bytes) {
        if let (1, Field::Bytes(bytes)) = field.map_err(|_| malformed())? {
            items.push(json!(text(bytes)?));
        }
    }
    Ok(Value::Array(items))
}

fn text(bytes: &[u8]) -> Result<String, ApiError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| malformed())
}

fn malformed() -> ApiError {
    ApiError::bad_request("the body is not a Kubernetes protobuf message")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type 2 field.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend_from_slice(content);
        out
    }

    fn envelope(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
        let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &meta), bytes(2, object)].concat()
    }

    #[test]
    fn what_kubectl_sends_for_a_service_account_is_read() {
        // `kubectl create sa x`, as recorded.
        let body = b"k8s\0\n\x14\n\x02v1\x12\x0eServiceAccount\x12\x13\n\x11\n\x01x\x12\0\x1a\0\"\0*\x002\08\0B\0\x1a\0\"\0";
        let object = decode(body).unwrap();
        assert_eq!(
            object,
            json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "x"}})
        );
    }

    #[test]
    fn inline_fields_maps_lists_and_zeros_have_their_json_form() {
        let reference = bytes(1, b"cm");
        let config_map = bytes(1, &reference);
        let source = bytes(19, &[]);
        drop(source);
        let key_ref = [config_map, bytes(2, b"k")].concat();
        let env = [bytes(1, b"E"), bytes(3, &bytes(3, &key_ref))].concat();
        let container = [bytes(1, b"c"), bytes(7, &env)].concat();
        let template = bytes(2, &bytes(2, &container));
        let spec = [vec![1 << 3, 0], bytes(3, &template)].concat();
        let metadata = bytes(11, &[bytes(1, b"a"), bytes(2, b"b")].concat());
        let body = [bytes(1, &metadata), bytes(2, &spec)].concat();
        let object = decode(&envelope("apps/v1", "Deployment", &body)).unwrap();
        insta::assert_snapshot!(object.to_string(), @r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"labels":{"a":"b"}},"spec":{"replicas":0,"template":{"spec":{"containers":[{"name":"c","env":[{"name":"E","valueFrom":{"configMapKeyRef":{"name":"cm","key":"k"}}}]}]}}}}"#);
    }

    #[test]
    fn what_is_malformed_or_too_deep_is_refused() {
        let mut deep = Vec::new();
        for _ in 0..40 {
            deep = bytes(2, &deep);
        }
        for body in [
            b"{}".to_vec(),
            b"k8s\0".to_vec(),
            b"k8s\0\x0a\xff".to_vec(),
            envelope("v1", "Unknown", b""),
            envelope("v1", "Pod", b"\x0a\x05ab"),
            envelope("v1", "Pod", b"\x08\x01"),
        ] {
            assert!(decode(&body).is_err(), "{body:?}");
        }
        assert!(message("meta.v1.ObjectMeta", &[], 0).is_err());
    }

    #[test]
    fn every_field_of_the_table_has_a_known_type() {
        assert!(MESSAGES.len() > 200);
        for (message, fields) in MESSAGES.iter() {
            for (name, kind) in fields.values() {
                let kind = kind.trim_start_matches(['*', '%']).trim_end_matches(['?', '^']);
                let known = match kind.strip_prefix('.') {
                    Some(inner) => MESSAGES.contains_key(inner),
                    None => "sbidytuqxrv".contains(kind) && kind.len() == 1,
                };
                assert!(known, "{message}.{name}: {kind}");
            }
        }
    }
}
