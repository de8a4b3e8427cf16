//! `/openapi/v3`: what kubectl reads to merge, to explain and to validate.
//!
//! The documents are manifest's. They are made once, at the first question, since they are the
//! same for the life of the process; clients keep them by their hash.

use std::{collections::BTreeMap, fmt::Write as _, sync::LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use palisade_manifest::{openapi_v3, schema};
use serde_json::{Map, Value, json};

/// One document with its hash.
#[derive(Debug)]
struct Document {
    hash: String,
    json: Bytes,
}

/// By path under `/openapi/v3`, such as `apis/apps/v1`.
static DOCUMENTS: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
    let mut documents = BTreeMap::new();
    for kind in schema::kinds() {
        for version in kind.versions {
            let path = match kind.group {
                "" => format!("api/{version}"),
                group => format!("apis/{group}/{version}"),
            };
            if documents.contains_key(&path) {
                continue;
            }
            if let Some(document) = openapi_v3(kind.group, version) {
                let json = Bytes::from(document.to_string());
                documents.insert(path, Document { hash: hash(&json), json });
            }
        }
    }
    documents
});

/// The list of documents.
pub(crate) fn index() -> Value {
    let paths: Map<String, Value> = DOCUMENTS
        .iter()
        .map(|(path, document)| {
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            (path.clone(), json!({ "serverRelativeURL": url }))
        })
        .collect();
    json!({ "paths": paths })
}

/// One document and its hash.
pub(crate) fn document(path: &str) -> Option<(Bytes, &'static str)> {
    DOCUMENTS.get(path).map(|document| (document.json.clone(), document.hash.as_str()))
}

fn hash(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_names_documents_that_exist() {
        let index = index();
        let paths = index["paths"].as_object().unwrap();
        for path in ["api/v1", "apis/apps/v1", "apis/security.istio.io/v1"] {
            assert!(paths.contains_key(path), "{path}: {paths:?}");
            assert!(document(path).is_some());
        }
        assert!(document("apis/nothing/v1").is_none());
    }
}
