//! Manifests that people bring, and objects that an API server stored: all without a complaint.
#![expect(clippy::unwrap_used, reason = "a test stops where it can't go on")]

use std::path::{Path, PathBuf};

use palisade_manifest::{apply_defaults, crds, decode, validate_object};
use serde_json::Value;

/// All YAML files below a folder; test suites are no manifests.
fn manifests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            manifests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml")
            && path.file_name().is_some_and(|name| name != "probes.yaml")
        {
            found.push(path);
        }
    }
}

#[test]
fn scenarios_and_examples_decode_without_a_complaint() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    manifests(&here.join("tests/good"), &mut files);
    manifests(&here.join("../../examples"), &mut files);
    assert!(files.len() >= 10);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let decoded = decode(&path.to_string_lossy(), &text);
        assert_eq!(decoded.diagnostics, [], "{}", path.display());
        let kinds = text.lines().filter(|line| line.starts_with("kind: ")).count();
        assert_eq!(decoded.objects.len(), kinds, "{}", path.display());
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
