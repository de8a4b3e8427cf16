//! One condition of a rule beside what the request has.

use std::fmt;

use palisade_manifest::AuthorizationPolicy;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hint::hint;
use crate::compiled::Tried;

/// A condition: what is expected, and what the request has.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Path of the field, such as `spec.rules[0].to[0].operation.paths`.
    pub field: String,
    /// What it is about, such as `path` or `header `x-tenant``.
    pub attribute: String,
    /// Whether one of the values must match (`oneOf`), or none may (`noneOf`).
    pub sense: Sense,
    /// The values, as written.
    pub expected: Vec<String>,
    /// What the request has.
    pub got: Vec<String>,
    /// Why it has nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// What may be the mistake, if it looks like one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How values are meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sense {
    /// One must match.
    OneOf,
    /// None may match.
    NoneOf,
}

impl Condition {
    /// A condition of the rule of a policy at an index.
    pub(super) fn of(tried: &Tried, policy: &AuthorizationPolicy, rule: usize) -> Self {
        let mut condition = Self {
            field: format!("spec.rules[{rule}].{}", tried.field),
            attribute: tried.seen.attribute.clone(),
            sense: if tried.one_of { Sense::OneOf } else { Sense::NoneOf },
            expected: written(policy, rule, &tried.field),
            got: tried.seen.values.clone(),
            missing: tried.seen.missing.map(str::to_owned),
            hint: None,
        };
        if !tried.holds {
            condition.hint = hint(&condition);
        }
        condition
    }

    /// A condition of an object's metadata or selector, where one value is expected.
    pub(super) fn plain(field: &str, attribute: &str, expected: &str, got: Option<&str>) -> Self {
        let mut condition = Self {
            field: field.to_owned(),
            attribute: attribute.to_owned(),
            sense: Sense::OneOf,
            expected: vec![expected.to_owned()],
            got: got.map(str::to_owned).into_iter().collect(),
            missing: got.is_none().then(|| "the workload has none".to_owned()),
            hint: None,
        };
        condition.hint = hint(&condition);
        condition
    }

    /// Expected and got in one clause: `path: expected `/a`, got `/b``.
    #[must_use]
    pub fn clause(&self) -> String {
        let sense = match (self.sense, self.expected.len()) {
            (Sense::OneOf, 1) => "expected",
            (Sense::OneOf, _) => "expected one of",
            (Sense::NoneOf, 1) => "expected anything but",
            (Sense::NoneOf, _) => "expected none of",
        };
        let got = match &self.missing {
            Some(why) => format!("but {why}"),
            None => format!("got {}", Ticked(&self.got)),
        };
        format!("{}: {sense} {}, {got}", self.attribute, Ticked(&self.expected))
    }
}

/// Values in back-ticks, with commas between; of a long list the beginning.
pub(super) struct Ticked<'a>(pub(super) &'a [String]);

impl fmt::Display for Ticked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.iter().take(MOST).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}`{value}`")?;
        }
        match self.0.len().checked_sub(MOST) {
            Some(more) if more > 0 => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

/// The values of a field of a rule, as written.
fn written(policy: &AuthorizationPolicy, rule: usize, field: &str) -> Vec<String> {
    let rule = policy.spec.rules.get(rule).and_then(Option::as_ref);
    let value = serde_json::to_value(rule).unwrap_or_default();
    let pointer = format!("/{}", field.replace("].", "/").replace(['[', '.'], "/"));
    let values = value.pointer(&pointer).and_then(Value::as_array);
    let texts = values.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// Values of a list that are shown in a text.
const MOST: usize = 5;
