//! Path templates of `paths`: `{*}` stands for characters of one segment, `{**}` for any number of them.
//!
//! Source: Envoy's URI template matcher as Istio uses it (`pkg/config/security/security.go:183-229`);
//! the characters are those that a real Envoy takes. Anything between operators is literal.

/// A path with `{*}` or `{**}` in it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PathTemplate(Box<[Part]>);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Part {
    /// These bytes.
    Literal(Box<[u8]>),
    /// `{*}`: one or more characters, no slash.
    Star,
    /// `{**}`: any number of characters and slashes.
    DoubleStar,
}

impl PathTemplate {
    /// Reads a template; none if the value has no operator, and is then an ordinary pattern.
    #[must_use]
    pub fn new(value: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = value;
        while let Some((at, part, len)) = next_operator(rest) {
            let (literal, tail) = rest.split_at(at);
            push_literal(&mut parts, literal);
            parts.push(part);
            rest = tail.get(len..).unwrap_or_default();
        }
        if parts.is_empty() {
            return None;
        }
        push_literal(&mut parts, rest);
        Some(Self(parts.into()))
    }

    /// What every path that matches starts and ends with.
    #[must_use]
    pub fn ends(&self) -> (&[u8], &[u8]) {
        (self.0.first().map_or(&[], Part::literal), self.0.last().map_or(&[], Part::literal))
    }

    /// Whether a whole path (without query) matches.
    ///
    /// Each operator first takes as little as it can; on a mismatch the last `{*}` takes one more
    /// character, and if it cannot, the last `{**}`. That finds a match if there is one, since a later
    /// operator can take whatever an earlier one could have.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        let mut at = Cursor { part: 0, byte: 0 };
        let mut star: Option<Cursor> = None;
        let mut double_star: Option<Cursor> = None;
        loop {
            let rest = path.get(at.byte..).unwrap_or_default();
            let advanced = match self.0.get(at.part) {
                None if rest.is_empty() => return true,
                None => None,
                Some(Part::Literal(literal)) => rest
                    .starts_with(literal)
                    .then(|| Cursor { part: at.part + 1, byte: at.byte + literal.len() }),
                Some(Part::Star) => rest.first().filter(|byte| in_segment(**byte)).map(|_| {
                    let after = Cursor { part: at.part + 1, byte: at.byte + 1 };
                    star = Some(after);
                    after
                }),
                Some(Part::DoubleStar) => {
                    let after = Cursor { part: at.part + 1, byte: at.byte };
                    star = None;
                    double_star = Some(after);
                    Some(after)
                }
            };
            let next = advanced
                .or_else(|| extend(&mut star, path, in_segment))
                .or_else(|| extend(&mut double_star, path, in_path));
            match next {
                Some(cursor) => at = cursor,
                None => return false,
            }
        }
    }
}

impl Part {
    /// The bytes; an operator has none.
    fn literal(&self) -> &[u8] {
        match self {
            Self::Literal(literal) => literal,
            Self::Star | Self::DoubleStar => &[],
        }
    }
}

/// Where matching stands: the next part and the next byte.
#[derive(Clone, Copy)]
struct Cursor {
    part: usize,
    byte: usize,
}

/// Lets an operator take one more character, if it may; otherwise it is exhausted.
fn extend(operator: &mut Option<Cursor>, path: &[u8], takes: fn(u8) -> bool) -> Option<Cursor> {
    let Cursor { part, byte } = (*operator)?;
    *operator =
        path.get(byte).is_some_and(|next| takes(*next)).then_some(Cursor { part, byte: byte + 1 });
    *operator
}

fn next_operator(text: &str) -> Option<(usize, Part, usize)> {
    let star = text.find("{*}").map(|at| (at, Part::Star, 3));
    let double_star = text.find("{**}").map(|at| (at, Part::DoubleStar, 4));
    match (star, double_star) {
        (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
        (a, b) => a.or(b),
    }
}

fn push_literal(parts: &mut Vec<Part>, literal: &str) {
    if !literal.is_empty() {
        parts.push(Part::Literal(literal.as_bytes().into()));
    }
}

/// What `{*}` takes.
fn in_segment(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;:@=".contains(&byte)
}

/// What `{**}` takes.
fn in_path(byte: u8) -> bool {
    byte == b'/' || in_segment(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(template: &str, path: &str) -> bool {
        PathTemplate::new(template).unwrap().matches(path.as_bytes())
    }

    /// The meaning, tried in every way.
    fn naive(parts: &[Part], path: &[u8]) -> bool {
        let Some((first, parts)) = parts.split_first() else { return path.is_empty() };
        let (takes, least): (fn(u8) -> bool, _) = match first {
            Part::Literal(literal) => {
                return path.strip_prefix(&**literal).is_some_and(|rest| naive(parts, rest));
            }
            Part::Star => (in_segment, 1),
            Part::DoubleStar => (in_path, 0),
        };
        let most = path.iter().take_while(|byte| takes(**byte)).count();
        (least..=most).any(|taken| naive(parts, &path[taken..]))
    }

    #[test]
    fn values_without_operator_are_no_template() {
        for value in ["/foo", "/foo/*", "/{x}", "*", "/{***}", ""] {
            assert_eq!(PathTemplate::new(value), None, "{value}");
        }
    }

    #[test]
    fn templates_match_whole_paths() {
        for (template, path, expected) in [
            ("/foo/{*}", "/foo/x", true),
            ("/foo/{*}", "/foo/", false),
            ("/foo/{*}", "/foo/x/y", false),
            ("/foo/{*}", "/foo/a%2Fb", true),
            ("/foo/{*}", "/foo/[x]", false),
            ("/a/{**}", "/a/", true),
            ("/a/{**}", "/a/x/y", true),
            ("/a/{**}", "/a", false),
            ("/secret/{**}", "/secret/[x]", false),
            ("/s/{**}/c", "/s//c", true),
            ("/s/{**}/c", "/s/x/y/c", true),
            ("/s/{**}/c", "/s/c", false),
            ("/{*}/{**}", "/x/", true),
            ("{**}/a{*}/b", "/a/x/ay/b", true),
        ] {
            assert_eq!(matches(template, path), expected, "{template} {path}");
        }
    }

    proptest! {
        #[test]
        fn backtracking_finds_what_trying_everything_finds(
            template in "([ab/\\[]|\\{\\*\\}|\\{\\*\\*\\}){1,8}", path in "[ab/\\[]{0,12}",
        ) {
            if let Some(compiled) = PathTemplate::new(&template) {
                let expected = naive(&compiled.0, path.as_bytes());
                prop_assert_eq!(compiled.matches(path.as_bytes()), expected);
            }
        }
    }
}
