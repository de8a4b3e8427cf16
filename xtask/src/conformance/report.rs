//! Counts cases and prints what differs.

use std::{collections::BTreeMap, io::Write};

/// What came of the cases so far.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    group: Option<&'a str>,
    passed: usize,
    differences: Vec<Difference>,
    skipped: BTreeMap<String, usize>,
    deviated: BTreeMap<String, usize>,
}

/// A case that did not come out as recorded.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) name: String,
    pub(crate) expected: String,
    pub(crate) got: String,
    /// What the case is about: policies and request.
    pub(crate) context: String,
}

/// What came of one case.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed,
    Failed(Difference),
    /// Not run, and why.
    Skipped(String),
    /// Refused by a deviation, where Istio answers otherwise.
    Deviated(String),
}

impl<'a> Report<'a> {
    pub(crate) fn new(group: Option<&'a str>) -> Self {
        Self {
            group,
            passed: 0,
            differences: Vec::new(),
            skipped: BTreeMap::new(),
            deviated: BTreeMap::new(),
        }
    }

    /// Whether cases of a group are to be run.
    pub(crate) fn wants(&self, group: &str) -> bool {
        self.group.is_none_or(|wanted| wanted == group)
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(difference) => self.differences.push(difference),
            Outcome::Skipped(why) => *self.skipped.entry(why).or_default() += 1,
            Outcome::Deviated(name) => {
                self.passed += 1;
                *self.deviated.entry(name).or_default() += 1;
            }
        }
    }

    /// Counts a case whose expectation and result are texts.
    pub(crate) fn compare(
        &mut self,
        name: impl Into<String>,
        expected: String,
        got: String,
        context: impl FnOnce() -> String,
    ) {
        self.add(if expected == got {
            Outcome::Passed
        } else {
            Outcome::Failed(Difference { name: name.into(), expected, got, context: context() })
        });
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.differences.is_empty()
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        for Difference { name, expected, got, context } in &self.differences {
            writeln!(out, "FAIL {name}\n  expected: {expected}\n  got:      {got}")?;
            for line in context.lines() {
                writeln!(out, "    {line}")?;
            }
            writeln!(out)?;
        }
        for (deviation, count) in &self.deviated {
            writeln!(out, "{count} refused by the deviation `{deviation}`")?;
        }
        for (why, count) in &self.skipped {
            writeln!(out, "{count} skipped: {why}")?;
        }
        writeln!(out, "{} passed, {} failed", self.passed, self.differences.len())
    }
}
