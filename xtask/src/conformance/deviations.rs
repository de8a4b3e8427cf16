//! Reads conformance/deviations.yaml.

use std::{fs, path::Path};

use anyhow::Context;
use serde::Deserialize;

use super::policies;

/// The deviations that are declared.
#[derive(Debug)]
pub(crate) struct Deviations(Vec<Deviation>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "condition, reason and cases are for people, but must be there")]
struct Deviation {
    name: String,
    condition: String,
    reason: String,
    cases: Vec<String>,
}

impl Deviations {
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).context("reading conformance/deviations.yaml")?;
        let content = policies::document(&text).context("reading conformance/deviations.yaml")?;
        Ok(Self(serde_json::from_value(content).context("reading conformance/deviations.yaml")?))
    }

    /// Whether a deviation is declared.
    pub(crate) fn declares(&self, name: &str) -> bool {
        self.0.iter().any(|deviation| deviation.name == name)
    }
}
