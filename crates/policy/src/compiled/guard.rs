//! What a request must have for a rule to match, so that a rule is looked up and not tried on every
//! request. A guard may let pass what the rule then refuses, and never keeps out what it would match.

use std::{borrow::Cow, collections::HashMap};

use super::test::{Sense, Test, Values};

/// A text that a request must have.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key<'a> {
    pub(super) subject: Subject,
    pub(super) shape: Shape,
    pub(super) text: Cow<'a, [u8]>,
}

/// What has the text.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Subject {
    /// The principal, or an identity from one of its `/ns/` on.
    Caller,
    /// The host, in lower case.
    Host,
    /// The path without query.
    Path,
}

/// Where the text stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Shape {
    Whole,
    Start,
    End,
}

/// How many rules have a key. The fewer, the fewer are tried in vain.
#[derive(Debug, Default)]
pub(super) struct Frequencies<'a>(HashMap<Key<'a>, usize>);

impl<'a> Frequencies<'a> {
    pub(super) fn count(&mut self, test: &'a Test) {
        for key in test.keys().into_iter().flatten() {
            *self.0.entry(key).or_default() += 1;
        }
    }

    /// Of tests that must all hold, the keys of the one that leaves the fewest rules to try; none if no
    /// test has keys.
    pub(super) fn best(&self, tests: &'a [Test]) -> Option<Vec<Key<'a>>> {
        tests.iter().filter_map(Test::keys).min_by_key(|keys| self.cost(keys))
    }

    /// The most rules that one key leaves to try, and the number of keys.
    pub(super) fn cost(&self, keys: &[Key<'_>]) -> (usize, usize) {
        let most = keys.iter().filter_map(|key| self.0.get(key)).max();
        (most.copied().unwrap_or_default(), keys.len())
    }
}

impl Test {
    /// Of which a request must have one for the test to hold; none if it can hold for others.
    fn keys(&self) -> Option<Vec<Key<'_>>> {
        if self.sense == Sense::NoneOf {
            return None;
        }
        let key = |subject| move |(shape, text)| Key { subject, shape, text: Cow::Borrowed(text) };
        match &self.values {
            Values::Principals(all) => Some(all.texts()?.map(key(Subject::Caller)).collect()),
            Values::Namespaces(all) => {
                let texts = all.iter().map(|one| (Shape::Start, one.start()));
                Some(texts.map(key(Subject::Caller)).collect())
            }
            Values::ServiceAccounts(all) => {
                let below = |whole: &str| [whole, "/"].concat();
                let both = |whole: String| [(Shape::Start, below(&whole)), (Shape::Whole, whole)];
                let texts = all.iter().flat_map(|one| both(one.usual()));
                Some(texts.map(|(shape, text)| Key::owned(Subject::Caller, shape, text)).collect())
            }
            Values::Hosts(all) => {
                let lower = |(shape, text): (_, &[u8])| (shape, text.to_ascii_lowercase());
                let texts = all.texts()?.map(lower);
                Some(texts.map(|(shape, text)| Key::owned(Subject::Host, shape, text)).collect())
            }
            Values::Paths(all) => Some(all.texts()?.map(key(Subject::Path)).collect()),
            _ => None,
        }
    }
}

impl Key<'_> {
    fn owned(subject: Subject, shape: Shape, text: impl Into<Vec<u8>>) -> Self {
        Self { subject, shape, text: Cow::Owned(text.into()) }
    }
}
