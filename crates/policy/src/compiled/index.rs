//! Rules by what a request must have for them to match ([`super::guard`]).

use super::{
    guard::{Frequencies, Key, Shape, Subject},
    identity::SPIFFE,
    rule::CompiledRule,
    test::View,
    trie::Trie,
};

/// Positions of rules, by what they need.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Of those that may match any request.
    always: Vec<u32>,
    callers: Texts,
    hosts: Texts,
    paths: Texts,
}

/// Positions by the texts that a value must have at its ends.
#[derive(Clone, Debug, Default)]
struct Texts {
    /// A whole value is one that [`END`] follows.
    starts: Trie,
    /// Backwards.
    ends: Trie,
}

impl Index {
    pub(super) fn new<'a>(rules: impl Iterator<Item = &'a CompiledRule> + Clone) -> Self {
        let mut frequencies = Frequencies::default();
        rules.clone().flat_map(CompiledRule::tests).for_each(|test| frequencies.count(test));
        let mut index = Self::default();
        for (position, rule) in (0..).zip(rules) {
            match rule.guard(&frequencies) {
                Some(keys) => keys.iter().for_each(|key| index.insert(key, position)),
                None => index.always.push(position),
            }
        }
        for texts in [&mut index.callers, &mut index.hosts, &mut index.paths] {
            texts.starts.shrink();
            texts.ends.shrink();
        }
        index
    }

    fn insert(&mut self, key: &Key<'_>, position: u32) {
        let texts = match key.subject {
            Subject::Caller => &mut self.callers,
            Subject::Host => &mut self.hosts,
            Subject::Path => &mut self.paths,
        };
        let text = key.text.iter().copied();
        match key.shape {
            Shape::Whole => texts.starts.insert(&text.chain([END]).collect::<Vec<_>>(), position),
            Shape::Start => texts.starts.insert(&key.text, position),
            Shape::End => texts.ends.insert(&text.rev().collect::<Vec<_>>(), position),
        }
    }

    /// Calls with positions, in order, of rules that the request may match; with all of them in the end,
    /// and some twice.
    pub(super) fn visit(&self, view: &View<'_>, mut found: impl FnMut(&[u32])) {
        found(&self.always);
        if let Some(path) = view.path {
            self.paths.visit(path.iter().copied(), &mut found);
        }
        if let Some(http) = view.attributes.http {
            self.hosts.visit(http.authority.bytes().map(|b| b.to_ascii_lowercase()), &mut found);
        }
        if !self.callers.is_empty() {
            for identity in view.attributes.identities {
                self.visit_caller(identity, &mut found);
            }
        }
    }

    fn visit_caller(&self, identity: &str, found: &mut impl FnMut(&[u32])) {
        if let Some(principal) = identity.strip_prefix(SPIFFE) {
            self.callers.visit(principal.bytes(), found);
        }
        for from in tails(identity, "/ns/") {
            self.callers.starts.visit(from.bytes().chain([END]), &mut *found);
            // A service account may stand further behind, as if it followed the namespace.
            let Some(end) = from.get(4..).and_then(|name| Some(name.find('/')? + 4)) else {
                continue;
            };
            let (namespace, rest) = from.split_at(end);
            for account in tails(rest, "/sa/").filter(|account| account.len() < rest.len()) {
                let text = namespace.bytes().chain(account.bytes()).chain([END]);
                self.callers.starts.visit(text, &mut *found);
            }
        }
    }
}

impl Texts {
    fn is_empty(&self) -> bool {
        self.starts.is_empty() && self.ends.is_empty()
    }

    fn visit(
        &self,
        text: impl DoubleEndedIterator<Item = u8> + Clone,
        found: &mut impl FnMut(&[u32]),
    ) {
        self.starts.visit(text.clone().chain([END]), &mut *found);
        self.ends.visit(text.rev(), found);
    }
}

/// A text from each occurrence of `piece` on.
fn tails<'a>(text: &'a str, piece: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices('/')
        .filter_map(|(at, _)| text.get(at..))
        .filter(move |from| from.starts_with(piece))
}

/// Ends whole texts; no UTF-8 text has this byte.
const END: u8 = 0xff;
