//! Patterns on the caller's identity: principals, namespaces, service accounts and trust domains.
//!
//! An identity is the text of a URI SAN. Source: Istio `pilot/pkg/security/authz/model/generator.go`
//! (179-260), whose regular expressions are written out here as searches.

use super::{guard::Shape, values::Patterns};

/// `principals`: patterns on what follows `spiffe://`; `*` is any identity.
#[derive(Clone, Debug)]
pub(super) struct Principals(Patterns);

impl Principals {
    pub(super) fn new(values: &[String]) -> Self {
        Self(Patterns::new(values.iter().map(String::as_str)))
    }

    /// What stands where in a principal that matches; none if that can be anything.
    pub(super) fn texts(&self) -> Option<impl Iterator<Item = (Shape, &[u8])>> {
        self.0.texts()
    }

    pub(super) fn matches(&self, identity: &str) -> bool {
        if self.0.any && !identity.is_empty() {
            return true;
        }
        identity
            .strip_prefix(SPIFFE)
            .is_some_and(|principal| !principal.is_empty() && self.0.matches(principal.as_bytes()))
    }
}

/// `namespaces`: `.*/ns/VALUE/.*`, where each `*` of the value stands for anything.
#[derive(Clone, Debug)]
pub(super) struct Namespace {
    /// Texts that follow each other, with anything between.
    pieces: Box<[Box<str>]>,
}

impl Namespace {
    pub(super) fn new(value: &str) -> Self {
        let pattern = format!("/ns/{value}/");
        Self { pieces: pattern.split('*').map(Into::into).collect() }
    }

    /// What an identity that matches has from one of its `/ns/` on.
    pub(super) fn start(&self) -> &[u8] {
        self.pieces.first().map_or(&[], |piece| piece.as_bytes())
    }

    pub(super) fn matches(&self, identity: &str) -> bool {
        after_all(&self.pieces, identity).is_some()
    }
}

/// `serviceAccounts`: `spiffe://.+/ns/NAMESPACE/(.+/|)sa/NAME(/.+)?`, without wildcards.
#[derive(Clone, Debug)]
pub(super) struct ServiceAccount {
    /// `/ns/NAMESPACE/`.
    namespace: Box<str>,
    /// `sa/NAME`.
    account: Box<str>,
}

impl ServiceAccount {
    /// `NAMESPACE/NAME`, or `NAME` in the namespace of the policy.
    pub(super) fn new(value: &str, policy_namespace: &str) -> Self {
        let (namespace, name) = value.split_once('/').unwrap_or((policy_namespace, value));
        Self { namespace: format!("/ns/{namespace}/").into(), account: format!("sa/{name}").into() }
    }

    /// `/ns/NAMESPACE/sa/NAME`.
    pub(super) fn usual(&self) -> String {
        [&*self.namespace, &*self.account].concat()
    }

    pub(super) fn matches(&self, identity: &str) -> bool {
        let Some(principal) = identity.strip_prefix(SPIFFE) else { return false };
        // Matches may overlap by the slash that they share, so that each start is tried.
        starts(principal, &self.namespace).any(|(before, after)| {
            !before.is_empty()
                && starts(after, &self.account).any(|(between, after)| {
                    (between.is_empty() || (between.len() > 1 && between.ends_with('/')))
                        && (after.is_empty() || (after.len() > 1 && after.starts_with('/')))
                })
        })
    }
}

/// `trustDomains`: a star stands for characters of the trust domain; alone, for any SPIFFE identity.
#[derive(Clone, Debug)]
pub(super) enum TrustDomainPattern {
    Any,
    /// `VALUE/` begins what follows `spiffe://`.
    Exact(Box<str>),
    /// What stands before the first star, and after it with a slash at the end; further stars are
    /// themselves.
    Wildcard(Box<str>, Box<str>),
}

impl TrustDomainPattern {
    pub(super) fn new(value: &str) -> Self {
        match value.split_once('*') {
            Some(("", "")) => Self::Any,
            Some((before, after)) => Self::Wildcard(before.into(), format!("{after}/").into()),
            None => Self::Exact(format!("{value}/").into()),
        }
    }

    pub(super) fn matches(&self, identity: &str) -> bool {
        let Some(principal) = identity.strip_prefix(SPIFFE) else { return false };
        match self {
            Self::Any => true,
            Self::Exact(prefix) => principal.starts_with(&**prefix),
            Self::Wildcard(before, after) => principal
                .strip_prefix(&**before)
                .and_then(|rest| rest.split_once(&**after))
                .is_some_and(|(starred, _)| !starred.contains('/')),
        }
    }
}

/// What stands after the pieces, which must come in order. The leftmost place for each leaves most to the
/// later ones.
fn after_all<'a>(pieces: &[Box<str>], text: &'a str) -> Option<&'a str> {
    pieces.iter().try_fold(text, |rest, piece| {
        // For texts as short as these, comparing at each place beats building a searcher.
        let found = |at: &usize| {
            rest.as_bytes().get(*at..).is_some_and(|from| from.starts_with(piece.as_bytes()))
        };
        rest.get((0..=rest.len().checked_sub(piece.len())?).find(found)? + piece.len()..)
    })
}

/// What stands before and after each occurrence of a text, overlapping ones included.
fn starts<'a>(text: &'a str, piece: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    text.char_indices().filter_map(move |(at, _)| {
        let (before, rest) = text.split_at(at);
        Some((before, rest.strip_prefix(piece)?))
    })
}

pub(super) const SPIFFE: &str = "spiffe://";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_compared_after_the_scheme() {
        for (value, identity, expected) in [
            ("td/ns/foo/sa/a", "spiffe://td/ns/foo/sa/a", true),
            ("td/ns/foo/sa/A", "spiffe://td/ns/foo/sa/a", false),
            ("spiffe://td/ns/foo/sa/a", "spiffe://td/ns/foo/sa/a", false),
            ("*/sa/a", "spiffe://td/ns/foo/sa/a", true),
            ("*/td/ns/foo/sa/a", "spiffe://td/ns/foo/sa/a", false),
            ("td/ns/foo/*", "spiffe://td/ns/foo/sa/a", true),
            ("*", "spiffe://td/ns/foo/sa/a", true),
            ("*", "https://other", true),
            ("*", "", false),
            ("*r", "https://other", false),
        ] {
            let got = Principals::new(&[value.to_owned()]).matches(identity);
            assert_eq!(got, expected, "{value} {identity}");
        }
    }

    #[test]
    fn every_star_of_a_namespace_is_a_wildcard() {
        for (value, identity, expected) in [
            ("foo", "spiffe://td/ns/foo/sa/a", true),
            ("fo", "spiffe://td/ns/foo/sa/a", false),
            ("oo", "spiffe://td/ns/foo/sa/a", false),
            ("f.o", "spiffe://td/ns/foo/sa/a", false),
            ("*", "spiffe://td/ns/foo/sa/a", true),
            ("*", "spiffe://td/ns/foo", false),
            ("f*o", "spiffe://td/ns/foo/sa/a", true),
            ("f*o", "spiffe://td/ns/fo/sa/a", true),
            ("f*sa", "spiffe://td/ns/foo/sa/a", true),
            ("*o*", "spiffe://td/ns/bar/sa/a", false),
            ("f*f", "spiffe://td/ns/f/sa/a", false),
        ] {
            assert_eq!(Namespace::new(value).matches(identity), expected, "{value} {identity}");
        }
    }

    #[test]
    fn a_service_account_is_whole_and_may_have_segments_around() {
        for (value, identity, expected) in [
            ("foo/a", "spiffe://td/ns/foo/sa/a", true),
            ("foo/a", "spiffe://other/ns/foo/sa/a", true),
            ("a", "spiffe://td/ns/here/sa/a", true),
            ("a", "spiffe://td/ns/foo/sa/a", false),
            ("foo/a", "spiffe://td/ns/foo/sa/ab", false),
            ("foo/a", "spiffe://td/ns/foo/sa/a/x/y", true),
            ("foo/a", "spiffe://td/ns/foo/sa/a/", false),
            ("foo/a", "spiffe://td/ns/foo/x/y/sa/a", true),
            ("foo/a", "spiffe://td/ns/foo/xsa/a", false),
            ("foo/a", "spiffe://td/ns/foo//sa/a", false),
            ("foo/a", "spiffe:///ns/foo/sa/a", false),
            ("foo/a", "spiffe://ns/foo/sa/a", false),
            ("foo/a", "https://td/ns/foo/sa/a", false),
            ("foo/a", "spiffe://td/ns/foo/sa/x/ns/foo/sa/a", true),
            ("foo/sa", "spiffe://td/ns/foo/sa/sa", true),
            ("foo/*", "spiffe://td/ns/foo/sa/a", false),
        ] {
            let account = ServiceAccount::new(value, "here");
            assert_eq!(account.matches(identity), expected, "{value} {identity}");
        }
    }

    #[test]
    fn a_trust_domain_ends_at_the_slash() {
        for (value, identity, expected) in [
            ("td", "spiffe://td/ns/foo/sa/a", true),
            ("td", "spiffe://td.evil/ns/foo/sa/a", false),
            ("td/ns", "spiffe://td/ns/foo/sa/a", true),
            ("*", "spiffe://td", true),
            ("*", "https://td/", false),
            ("*td", "spiffe://old-td/ns/foo/sa/a", true),
            ("*a", "spiffe://td/ns/foo/sa/a", false),
            ("old*", "spiffe://old-td/ns/foo/sa/a", true),
            ("old*", "spiffe://old-td", false),
            ("o*-*d", "spiffe://old-td/x", false),
            ("o*-*d", "spiffe://old-*d/x", true),
            ("td**", "spiffe://td/x", false),
            ("tdd*d", "spiffe://tdd/x", false),
            ("*d/ns", "spiffe://td/ns/foo", true),
            ("*s", "spiffe://td/ns/foo", false),
        ] {
            let got = TrustDomainPattern::new(value).matches(identity);
            assert_eq!(got, expected, "{value} {identity}");
        }
    }
}
