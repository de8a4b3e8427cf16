//! What a real API server (1.36) stored is valid here, and our defaults are its defaults.
#![expect(clippy::unwrap_used, reason = "a test stops where it can't go on")]

use std::{fs, path::PathBuf};

use palisade_manifest::{apply_defaults, validate_object};
use palisade_types::Diagnostic;
use serde_json::Value;

fn read(name: &str) -> Value {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stored"));
    serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

/// The objects of all files; items of a list get the kind that the list implies.
fn stored() -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stored");
    let mut objects = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = read(&entry.unwrap().file_name().to_string_lossy());
        let Some(items) = file["items"].as_array() else {
            objects.push(file);
            continue;
        };
        for item in items {
            let mut item = item.clone();
            item["kind"] = file["kind"].as_str().unwrap().trim_end_matches("List").into();
            item["apiVersion"] = file["apiVersion"].clone();
            objects.push(item);
        }
    }
    assert!(objects.len() >= 9);
    objects
}

#[test]
fn stored_objects_are_valid() {
    for object in stored() {
        let errors: Vec<_> =
            validate_object(&object).into_iter().filter(Diagnostic::is_error).collect();
        assert_eq!(errors, [], "{} {}", object["kind"], object["metadata"]["name"]);
    }
}

#[test]
fn stored_objects_have_their_defaults() {
    for object in stored() {
        let mut again = object.clone();
        apply_defaults(&mut again);
        assert_eq!(again, object, "{} {}", object["kind"], object["metadata"]["name"]);
    }
}

#[test]
fn what_was_applied_becomes_what_was_stored() {
    for (file, allocated) in [
        ("deployment.json", vec![]),
        ("service.json", vec!["clusterIP", "clusterIPs"]),
        ("namespace.json", vec![]),
        ("serviceaccount.json", vec![]),
    ] {
        let mut stored = read(file);
        let applied =
            &stored["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
        let mut applied: Value = serde_json::from_str(applied.as_str().unwrap()).unwrap();
        apply_defaults(&mut applied);
        for key in allocated {
            stored["spec"].as_object_mut().unwrap().remove(key);
        }
        assert_eq!(applied["spec"], stored["spec"], "{file}");
        assert_eq!(applied["metadata"]["labels"], stored["metadata"]["labels"], "{file}");
    }
}
