//! Reads conformance/not-live.yaml.

use std::{fs, path::Path};

use anyhow::Context;
use serde::Deserialize;

use crate::conformance::policies;

/// Cases that are not sent.
#[derive(Debug)]
pub(super) struct Exceptions(Vec<Exception>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    reason: String,
    cases: Vec<String>,
}

impl Exceptions {
    pub(super) fn read() -> anyhow::Result<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/not-live.yaml");
        let read = || anyhow::Ok(policies::document(&fs::read_to_string(&file)?)?);
        let content = read().context("reading conformance/not-live.yaml")?;
        Ok(Self(serde_json::from_value(content).context("reading conformance/not-live.yaml")?))
    }

    /// Why a case is not sent; none if it is. Names of single cases end with their group.
    pub(super) fn why(&self, case: &str) -> Option<&str> {
        let name = case.split_once(" (").map_or(case, |(name, _)| name);
        let exception = self.0.iter().find(|exception| exception.cases.iter().any(|c| c == name));
        exception.map(|exception| exception.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_only_shrinks() {
        let all = Exceptions::read().unwrap();
        let cases: Vec<&String> = all.0.iter().flat_map(|exception| &exception.cases).collect();
        assert!(cases.len() <= 4, "{} cases are not sent", cases.len());
        assert!(all.0.iter().all(|exception| !exception.reason.is_empty()));
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance");
        let texts: Vec<String> = crate::conformance::case_files(&corpus)
            .unwrap()
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        for case in cases {
            assert!(texts.iter().any(|text| text.contains(case)), "there is no case `{case}`");
        }
    }
}
