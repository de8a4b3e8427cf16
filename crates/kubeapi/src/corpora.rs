//! What must hold for anything that a client of the API sends, tried on corpora and on what is near to them.

use serde_json::{Value, json};

use crate::{
    patch::json_patch,
    proto,
    request::{Query, Target},
    selector::LabelSelector,
    smoke::smoke,
};

/// Names cannot climb out of their place, whatever their escapes say.
fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    if let Ok(query) = Query::parse(query) {
        assert_eq!(query.text("no such parameter"), "");
    }
    let Ok(Target::Resource(it)) = Target::parse(path) else { return };
    for part in [&it.group, &it.version, &it.namespace, &it.plural, &it.name, &it.subresource] {
        assert!(!part.contains(['/', '\0', '%']) && part != "." && part != "..", "{part:?}");
    }
    assert!(!it.version.is_empty() && !it.plural.is_empty());
    assert!(it.rest.is_empty() || it.rest.starts_with('/') && it.subresource == "proxy");
}

/// What several terms ask for is what each of them asks for.
fn selector(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(selector) = LabelSelector::parse(text) else { return };
    let labels = json!({"app": "web", "tier": "a"});
    let labels = labels.as_object();
    if !text.contains(['(', ')']) {
        let terms = text.split(',').map(|term| LabelSelector::parse(term).expect("it is a term"));
        assert_eq!(selector.matches(labels), terms.into_iter().all(|it| it.matches(labels)));
    }
    assert!(!selector.is_empty() || selector.matches(None));
}

/// A body is an object that says what it is, and that JSON can hold.
fn protobuf(bytes: &[u8]) {
    let Ok(object) = proto::decode(bytes) else { return };
    assert!(object["kind"].is_string() && object["apiVersion"].is_string());
    let again: Value = serde_json::from_str(&object.to_string()).expect("it is not too deep");
    assert_eq!(again, object);
}

/// A patched object is not too deep to be read again. The bytes are an object and a patch, one a line.
fn patch(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (Ok(mut object), Ok(patch)) =
        (serde_json::from_slice::<Value>(line()), serde_json::from_slice(line()))
    else {
        return;
    };
    if json_patch(&mut object, &patch).is_ok() {
        let again: Value = serde_json::from_str(&object.to_string()).expect("it is not too deep");
        assert_eq!(again, object);
    }
}

#[test]
fn the_corpora_hold() {
    smoke("kube_path", 2_000, path);
    smoke("kube_selector", 2_000, selector);
    smoke("kube_proto", 2_000, protobuf);
    smoke("json_patch", 2_000, patch);
}
