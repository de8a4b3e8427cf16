//! Istio's value patterns: exact, prefix (`x*`), suffix (`*x`) or anything (`*`), with one star only.
//!
//! Source: Istio `pilot/pkg/security/authz/matcher/string.go:97-116`. What `*` alone means differs by
//! field (a non-empty value, or mere presence), so that it is a variant of its own.

/// One value of a policy field.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum StringPattern {
    /// `*`: any value that is not empty.
    Any,
    /// `*x`: values that end with `x`.
    Suffix(Box<str>),
    /// `x*`: values that start with `x`, also `x` itself.
    Prefix(Box<str>),
    /// Anything else: that value.
    Exact(Box<str>),
}

impl StringPattern {
    /// Reads a pattern. A star that is not at an end, and a second one, are literal: `*a*` is
    /// "ends with `a*`".
    #[must_use]
    pub fn new(value: &str) -> Self {
        if value == "*" {
            Self::Any
        } else if let Some(suffix) = value.strip_prefix('*') {
            Self::Suffix(suffix.into())
        } else if let Some(prefix) = value.strip_suffix('*') {
            Self::Prefix(prefix.into())
        } else {
            Self::Exact(value.into())
        }
    }

    /// Whether a value matches, case counting.
    #[must_use]
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Any => !value.is_empty(),
            Self::Suffix(suffix) => value.ends_with(suffix.as_bytes()),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Exact(exact) => value == exact.as_bytes(),
        }
    }

    /// Whether a value matches, ASCII case not counting (`hosts`).
    #[must_use]
    pub fn matches_ignoring_case(&self, value: &[u8]) -> bool {
        match self {
            Self::Any => !value.is_empty(),
            Self::Suffix(suffix) => value
                .len()
                .checked_sub(suffix.len())
                .and_then(|start| value.get(start..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes())),
            Self::Prefix(prefix) => value
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())),
            Self::Exact(exact) => value.eq_ignore_ascii_case(exact.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pattern, values that match, values that do not.
    const TABLE: &[(&str, &[&str], &[&str])] = &[
        ("*", &["a", "*", " "], &[""]),
        ("abc", &["abc"], &["", "ab", "abcd", "ABC", "xabc"]),
        ("abc*", &["abc", "abcd", "abc*"], &["", "ab", "ABCd", "xabc"]),
        ("*abc", &["abc", "xabc", "*abc"], &["", "bc", "abcx", "xABC"]),
        ("*a*", &["a*", "xa*"], &["a", "bab", "*a*x"]),
        ("a*b", &["a*b"], &["ab", "axb"]),
        ("**", &["*", "x*"], &["", "x"]),
        ("", &[""], &["a"]),
    ];

    #[test]
    fn one_star_at_one_end_is_the_only_wildcard() {
        for (pattern, matching, others) in TABLE {
            let compiled = StringPattern::new(pattern);
            for value in *matching {
                assert!(compiled.matches(value.as_bytes()), "`{pattern}` must match `{value}`");
            }
            for value in *others {
                assert!(
                    !compiled.matches(value.as_bytes()),
                    "`{pattern}` must not match `{value}`"
                );
            }
        }
    }

    #[test]
    fn hosts_ignore_ascii_case_only() {
        for (pattern, value, expected) in [
            ("Example.COM", "eXample.com", true),
            ("example.com", "example.com:80", false),
            ("example.com", "example.com.", false),
            ("*.Example.com", "A.eXample.COM", true),
            ("*.example.com", "example.com", false),
            ("EXAMPLE.*", "example.org", true),
            ("EXAMPLE.*", "exam", false),
            ("\u{c4}", "\u{e4}", false),
        ] {
            let matched = StringPattern::new(pattern).matches_ignoring_case(value.as_bytes());
            assert_eq!(matched, expected, "`{pattern}` on `{value}`");
        }
    }

    proptest! {
        #[test]
        fn ignoring_case_is_matching_after_lowering(
            pattern in "[aAbB.*]{0,4}", value in "[aAbB.*]{0,6}",
        ) {
            let folded = StringPattern::new(&pattern.to_ascii_lowercase());
            prop_assert_eq!(
                StringPattern::new(&pattern).matches_ignoring_case(value.as_bytes()),
                folded.matches(value.to_ascii_lowercase().as_bytes())
            );
        }
    }
}
