//! Where in a rule a condition was written.

/// A part of a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    From,
    To,
    When,
}

/// An entry of a part of a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) part: Part,
    pub(crate) entry: usize,
}

impl Place {
    /// The path of a field there, below the rule.
    pub(crate) fn path(self, field: &str) -> String {
        format!("{}.{field}", self.entry_path())
    }

    /// The path of the entry, below the rule.
    pub(crate) fn entry_path(self) -> String {
        let entry = self.entry;
        match self.part {
            Part::From => format!("from[{entry}].source"),
            Part::To => format!("to[{entry}].operation"),
            Part::When => format!("when[{entry}]"),
        }
    }
}
