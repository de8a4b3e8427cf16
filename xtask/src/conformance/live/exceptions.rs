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
        let name = case.split_once(' ').map_or(case, |(name, _)| name);
        let exception = self.0.iter().find(|exception| exception.cases.iter().any(|c| c == name));
        exception.map(|exception| exception.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_only_shrinks() {
        let cases: usize = Exceptions::read().unwrap().0.iter().map(|e| e.cases.len()).sum();
        assert!(cases <= 4, "{cases} cases are not sent");
    }
}
