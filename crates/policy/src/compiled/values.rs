//! Lists of patterns, of which one must match.

use palisade_types::{PathTemplate, StringPattern};

use super::guard::Shape;

/// The patterns of one field. Exact values, the usual kind, are found by bisection.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    /// Whether `*` is among them; what it means differs by field.
    pub(super) any: bool,
    exact: Box<[Box<str>]>,
    others: Box<[StringPattern]>,
}

impl Patterns {
    pub(super) fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut any, mut exact, mut others) = (false, Vec::new(), Vec::new());
        for value in values {
            match StringPattern::new(value) {
                StringPattern::Any => any = true,
                StringPattern::Exact(value) => exact.push(value),
                other => others.push(other),
            }
        }
        exact.sort_unstable();
        exact.dedup();
        Self { any, exact: exact.into(), others: others.into() }
    }

    /// What stands where in a value that matches; none if that can be anything.
    pub(super) fn texts(&self) -> Option<impl Iterator<Item = (Shape, &[u8])>> {
        let exact = self.exact.iter().map(|value| (Shape::Whole, value.as_bytes()));
        (!self.any).then(|| exact.chain(self.others.iter().filter_map(text)))
    }

    /// Whether a value matches, `*` standing for one that is not empty.
    pub(super) fn matches(&self, value: &[u8]) -> bool {
        (self.any && !value.is_empty()) || self.matches_text(value)
    }

    /// Whether a value that is present matches, `*` standing for presence.
    pub(super) fn matches_present(&self, value: &[u8]) -> bool {
        self.any || self.matches_text(value)
    }

    fn matches_text(&self, value: &[u8]) -> bool {
        self.exact.binary_search_by(|exact| exact.as_bytes().cmp(value)).is_ok()
            || self.others.iter().any(|pattern| pattern.matches(value))
    }
}

/// The patterns of `hosts`: case does not count, and `*` is any host, also an empty one.
#[derive(Clone, Debug)]
pub(super) struct Hosts(Box<[StringPattern]>);

impl Hosts {
    pub(super) fn new(values: &[String]) -> Self {
        Self(values.iter().map(|value| StringPattern::new(value)).collect())
    }

    /// What stands where in a host that matches, in any case; none if that can be anything.
    pub(super) fn texts(&self) -> Option<impl Iterator<Item = (Shape, &[u8])>> {
        let texts: Option<Vec<_>> = self.0.iter().map(text).collect();
        texts.map(IntoIterator::into_iter)
    }

    pub(super) fn matches(&self, host: &[u8]) -> bool {
        self.0
            .iter()
            .any(|pattern| *pattern == StringPattern::Any || pattern.matches_ignoring_case(host))
    }
}

/// The patterns of `paths`: templates and ordinary ones.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    patterns: Patterns,
    templates: Box<[PathTemplate]>,
}

impl Paths {
    pub(super) fn new(values: &[String]) -> Self {
        let (mut plain, mut templates) = (Vec::new(), Vec::new());
        for value in values {
            match PathTemplate::new(value) {
                Some(template) => templates.push(template),
                None => plain.push(value.as_str()),
            }
        }
        Self { patterns: Patterns::new(plain), templates: templates.into() }
    }

    /// What stands where in a path that matches; none if that can be anything.
    pub(super) fn texts(&self) -> Option<impl Iterator<Item = (Shape, &[u8])>> {
        let templates = self.templates.iter().map(|template| {
            let (start, end) = template.ends();
            if start.len() < end.len() { (Shape::End, end) } else { (Shape::Start, start) }
        });
        Some(self.patterns.texts()?.chain(templates))
    }

    /// Whether a path without query matches.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.patterns.matches(path) || self.templates.iter().any(|template| template.matches(path))
    }
}

/// What stands where in a value that matches a pattern; none if that can be anything.
fn text(pattern: &StringPattern) -> Option<(Shape, &[u8])> {
    match pattern {
        StringPattern::Any => None,
        StringPattern::Suffix(end) => Some((Shape::End, end.as_bytes())),
        StringPattern::Prefix(start) => Some((Shape::Start, start.as_bytes())),
        StringPattern::Exact(whole) => Some((Shape::Whole, whole.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_is_presence_or_a_value_as_the_field_wants() {
        let patterns = Patterns::new(["*", "b", "a", "x*"]);
        assert!(patterns.matches(b"z") && !patterns.matches(b""));
        assert!(patterns.matches_present(b""));
        let patterns = Patterns::new(["b", "a", "b", "x*"]);
        for (value, expected) in [("a", true), ("b", true), ("c", false), ("xy", true), ("", false)]
        {
            assert_eq!(patterns.matches(value.as_bytes()), expected, "{value}");
            assert_eq!(patterns.matches_present(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn hosts_ignore_case_and_star_takes_an_empty_one() {
        let hosts = Hosts::new(&["Example.com".to_owned(), "*.B.c".to_owned()]);
        assert!(hosts.matches(b"eXAMPLE.com") && hosts.matches(b"a.b.C"));
        assert!(!hosts.matches(b"example.com:80") && !hosts.matches(b""));
        assert!(Hosts::new(&["*".to_owned()]).matches(b""));
    }

    #[test]
    fn paths_are_templates_or_patterns() {
        let paths = Paths::new(&["/a/{*}".to_owned(), "/b*".to_owned(), "/c".to_owned()]);
        for (path, expected) in [("/a/x", true), ("/a/x/y", false), ("/bx", true), ("/cx", false)] {
            assert_eq!(paths.matches(path.as_bytes()), expected, "{path}");
        }
    }
}
