//! Manifests that people bring, and objects that an API server stored: all without a complaint.

use palisade_manifest::{apply_defaults, crds, decode, validate_object};
use serde_json::Value;

#[test]
fn scenarios_decode_without_a_complaint() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/good")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let decoded = decode(&path.to_string_lossy(), &text);
        assert_eq!(decoded.diagnostics, [], "{}", path.display());
        assert_eq!(decoded.objects.len(), text.matches("kind: ").count(), "{}", path.display());
    }
}

#[test]
fn our_own_definitions_are_sound() {
    for crd in crds() {
        assert_eq!(validate_object(&crd), [], "{}", crd["metadata"]["name"]);
    }
}

#[test]
fn json_decodes_to_what_it_is() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/good/poc-mesh.yaml"))
            .unwrap();
    for object in decode("a", &text).objects {
        let json = serde_json::to_string_pretty(&object.value).unwrap();
        let again = decode("b", &json);
        assert_eq!(again.diagnostics, []);
        assert_eq!(again.objects[0].value, object.value);
        assert_eq!(again.objects[0].typed, object.typed);
        let mut filled = object.value;
        apply_defaults(&mut filled);
        let once: Value = filled.clone();
        apply_defaults(&mut filled);
        assert_eq!(filled, once, "defaults are stable");
        assert_eq!(validate_object(&filled), []);
    }
}
