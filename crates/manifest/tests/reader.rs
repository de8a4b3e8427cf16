//! The reader takes any bytes: it never panics, and its places are places of the text.
#![expect(clippy::unwrap_used, reason = "a test stops where it can't go on")]

use palisade_manifest::{
    Document, MAX_DIAGNOSTICS, Node, apply_defaults, decode, read, text_of, validate_object,
};
use palisade_types::Span;
use proptest::prelude::*;

/// Line and column as a person counts them.
fn counted(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    (line, column)
}

fn check_span(text: &str, span: Span) {
    assert!(span.start <= span.end && span.end <= text.len(), "{span:?} of {}", text.len());
    assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end), "{span:?}");
    assert_eq!((span.line, span.column), counted(text, span.start), "{span:?}");
}

fn check_node(text: &str, node: &Node) {
    check_span(text, node.span);
    for entry in node.entries() {
        check_span(text, entry.key_span);
        check_node(text, &entry.value);
    }
    node.items().iter().for_each(|item| check_node(text, item));
}

fn check(text: &str) -> Vec<Document> {
    let (documents, diagnostics) = read(text);
    documents.iter().for_each(|document| check_node(text, &document.root));
    let all = decode("a", text).diagnostics;
    assert!(all.len() <= MAX_DIAGNOSTICS);
    for label in diagnostics.iter().chain(&all).flat_map(|problem| &problem.labels) {
        check_span(text, label.span);
    }
    documents
}

fn good() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/good/poc-mesh.yaml"))
        .unwrap()
}

fn list_pointers(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    for (key, value) in value.as_object().into_iter().flatten() {
        list_pointers(value, &format!("{at}/{}", escaped(key)), found);
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        list_pointers(value, &format!("{at}/{index}"), found);
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u32>().prop_map(|n| (f64::from(n) + 0.5).into()),
        "\\PC{0,40}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map("\\PC{0,20}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(text) = text_of(&bytes) {
            check(text);
        }
    }

    #[test]
    fn any_text_of_yaml_characters(text in "[-:?,\\[\\]{}#&*!|>'\"%@` \t\r\na-c0-2<=ä]{0,120}") {
        check(&text);
    }

    #[test]
    fn mutated_manifests(
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[-:?,\\[\\]{}#&*!|>'\" \t\nax0é]{0,3}", 0..4_usize), 1..6)
    ) {
        let mut text: Vec<char> = good().chars().collect();
        for (at, insert, remove) in edits {
            let at = at.index(text.len());
            let end = (at + remove).min(text.len());
            text.splice(at..end, insert.chars());
        }
        check(&text.into_iter().collect::<String>());
    }

    #[test]
    fn objects_of_an_api_with_anything_in_them(
        object in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), value in json()
    ) {
        let objects = decode("a", &good()).objects;
        let mut object = object.get(&objects).value.clone();
        let mut pointers = Vec::new();
        list_pointers(&object, "", &mut pointers);
        if let Some(place) = object.pointer_mut(at.get::<String>(&pointers)) {
            *place = value;
        }
        let problems = validate_object(&object);
        prop_assert!(problems.iter().all(|problem| problem.labels.is_empty()));
        apply_defaults(&mut object);
        let _ = validate_object(&object);
    }

    #[test]
    fn json_is_a_part_of_yaml(value in json()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let (documents, diagnostics) = read(&text);
            prop_assert_eq!(&diagnostics, &[]);
            let read = documents.first().map_or(serde_json::Value::Null, Document::to_value);
            prop_assert_eq!(&read, &value, "{}", text);
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_told_by_line() {
    let problem = text_of(b"a: b\nc: \xff\n").unwrap_err();
    assert_eq!(
        (problem.code.as_str(), problem.message.as_str()),
        ("PAL0009", "the text is not UTF-8 on line 2")
    );
}

#[test]
fn a_text_that_is_too_long_is_refused_unread() {
    let (documents, diagnostics) = read(&" ".repeat(palisade_manifest::MAX_BYTES + 1));
    assert!(documents.is_empty());
    assert_eq!(diagnostics[0].code, "PAL0005");
}

#[test]
fn long_values_in_json_are_no_keys() {
    let long = "x".repeat(5000);
    let text = serde_json::json!({"metadata": {"annotations": {"a": long}}, "b": 1}).to_string();
    assert_eq!(check(&text)[0].to_value()["metadata"]["annotations"]["a"], long);
}

#[test]
fn anchors_and_merge_keys_are_expanded() {
    let text =
        "base: &b {x: 1, w: [2]}\nit:\n  <<: *b\n  x: 3\nagain: *b\nmore:\n  <<: [*b, {z: 4}]\n";
    assert_eq!(
        check(text)[0].to_value(),
        serde_json::json!({
            "base": {"x": 1, "w": [2]},
            "it": {"x": 3, "w": [2]},
            "again": {"x": 1, "w": [2]},
            "more": {"x": 1, "w": [2], "z": 4},
        })
    );
}

#[test]
fn documents_have_places_of_the_whole_text() {
    let documents = check("# first\na: 1\n---\n# second\nb:\n  - ä: 2\n...\n---\n---\nc: 3\n");
    assert_eq!(documents.len(), 3);
    let span = documents[1].span_of("b[0][ä]").unwrap();
    assert_eq!((span.line, span.column), (6, 8));
    assert_eq!(documents[2].span_of("c").unwrap().line, 10);
}

#[test]
fn line_ends_of_windows_are_line_ends() {
    assert_eq!(
        check("a: 1\r\nb:\r\n  c: x\r\n")[0].to_value(),
        serde_json::json!({"a": 1, "b": {"c": "x"}})
    );
}
