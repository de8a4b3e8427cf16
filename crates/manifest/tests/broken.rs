//! Each broken manifest of the corpus has the diagnostics that its snapshot says.
#![expect(clippy::unwrap_used, reason = "a test stops where it can't go on")]

#[path = "broken/render.rs"]
mod render;

use std::{fs, path::PathBuf};

use palisade_manifest::{codes, decode, validate_object};

fn corpus() -> Vec<(String, String)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broken"));
    let mut files: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn each_broken_manifest_gives_its_messages() {
    let corpus = corpus();
    assert!(corpus.len() >= 40);
    for (name, text) in corpus {
        let decoded = decode(&name, &text);
        assert!(!decoded.diagnostics.is_empty(), "{name} has no diagnostics");
        let rendered = render::render(&format!("{name}.yaml"), &text, &decoded.diagnostics);
        insta::with_settings!({
            snapshot_path => "broken",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(name, rendered);
        });
    }
}

#[test]
fn every_code_but_those_of_bytes_has_an_example_in_the_corpus() {
    let seen: Vec<String> = corpus()
        .iter()
        .flat_map(|(name, text)| decode(name, text).diagnostics)
        .map(|problem| problem.code)
        .collect();
    // Problems of meaning are no problems of one text.
    for code in codes::codes().filter(|code| code.text.is_empty()) {
        let shown = seen.iter().any(|seen| seen == code.id);
        assert!(shown || code == codes::ENCODING, "{} {} has none", code.id, code.title);
    }
}

#[test]
fn messages_keep_to_the_house_style() {
    for (name, text) in corpus() {
        for problem in decode(&name, &text).diagnostics {
            let message = &problem.message;
            let first = message.chars().next().unwrap();
            let proper = message.starts_with("Palisade");
            assert!(first.is_lowercase() || first == '`' || proper, "{name}: {message}");
            assert!(!message.ends_with('.') && !message.contains('\n'), "{name}: {message}");
            assert!(
                !message.contains("Option<") && !message.contains("serde"),
                "{name}: {message}"
            );
            assert!(codes::code(&problem.code).is_some(), "{name}: {}", problem.code);
            assert!(!problem.labels.is_empty(), "{name}: no place for {message}");
        }
    }
}

#[test]
fn an_api_hears_the_same_without_places() {
    for (name, text) in corpus() {
        let (documents, _) = palisade_manifest::read(&text);
        for document in documents {
            let from_file: Vec<_> = decode(&name, &document.to_value().to_string()).diagnostics;
            let mut from_api = validate_object(&document.to_value());
            assert!(from_api.iter().all(|problem| problem.labels.is_empty()), "{name}");
            if document.root.get("kind").and_then(|kind| kind.text()) == Some("List") {
                continue;
            }
            let mut messages: Vec<_> = from_file.iter().map(|problem| &problem.message).collect();
            messages.sort();
            from_api.sort_by(|a, b| a.message.cmp(&b.message));
            let api: Vec<_> = from_api.iter().map(|problem| &problem.message).collect();
            assert_eq!(messages, api, "{name}");
        }
    }
}
