//! Where in a request a rule looks for tokens.

use std::borrow::Cow;

use palisade_manifest::JwtRule;

use crate::{HeaderFields, Http};

/// A place for a token.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Location {
    /// A header field, and what stands before the token; the prefix counts to the letter.
    Header { name: String, prefix: String },
    /// A parameter of the query.
    Parameter(String),
    /// A cookie.
    Cookie(String),
}

/// The parameter of the query that tokens are taken from where a rule names no place (RFC 6750, 2.3).
pub(crate) const ACCESS_TOKEN: &str = "access_token";

/// A token and where it was found.
#[derive(Clone, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) at: &'a Location,
    pub(crate) text: Cow<'a, str>,
}

impl Location {
    /// The places of a rule, in the order in which they are looked at.
    pub(crate) fn of(rule: &JwtRule) -> Vec<Self> {
        let header = |name: &str, prefix: &str| Self::Header {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
        };
        let mut all: Vec<Self> = Vec::new();
        all.extend(rule.from_headers.iter().flatten().map(|it| header(&it.name, &it.prefix)));
        all.extend(rule.from_params.iter().cloned().map(Self::Parameter));
        all.extend(rule.from_cookies.iter().cloned().map(Self::Cookie));
        if all.is_empty() {
            all =
                vec![header("authorization", "Bearer "), Self::Parameter(ACCESS_TOKEN.to_owned())];
        }
        all
    }

    /// Adds the tokens here. What lacks the prefix is no token, and nor is nothing.
    pub(crate) fn find<'a>(&'a self, request: &Http<'a>, found: &mut Vec<Found<'a>>) {
        let headers = request.headers;
        let mut add = |text: Cow<'a, str>| {
            if !text.is_empty() {
                found.push(Found { at: self, text });
            }
        };
        match self {
            Self::Header { name, prefix } => {
                for value in headers.values(name) {
                    if let Some(rest) = value.strip_prefix(prefix.as_bytes()) {
                        add(String::from_utf8_lossy(rest.trim_ascii()));
                    }
                }
            }
            Self::Parameter(name) => {
                for (_, value) in parameters(request).filter(|(key, _)| decoded(key) == *name) {
                    add(decoded(value));
                }
            }
            Self::Cookie(name) => cookies(headers, name).for_each(add),
        }
    }
}

fn query(path: Option<&str>) -> &str {
    path.and_then(|path| path.split_once('?')).map_or("", |(_, query)| query)
}

fn parameters<'a>(request: &Http<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    query(request.path).split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The path without the parameters of these names.
pub(crate) fn without_parameters(path: &str, names: &[&str]) -> String {
    let Some((before, query)) = path.split_once('?') else { return path.to_owned() };
    let name = |pair: &str| pair.split_once('=').map_or(pair, |(name, _)| name).to_owned();
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !names.iter().any(|removed| decoded(&name(pair)) == *removed))
        .collect();
    if kept.is_empty() { before.to_owned() } else { format!("{before}?{}", kept.join("&")) }
}

fn cookies<'a>(headers: HeaderFields<'a>, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    headers.values("cookie").flat_map(move |value| {
        value.split(|byte| *byte == b';').filter_map(move |pair| {
            let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(String::from_utf8_lossy(value.trim_ascii()))
        })
    })
}

/// Percent-decoded, so that an escaped name hides no token; as it is where that is no text.
fn decoded(escaped: &str) -> Cow<'_, str> {
    if !escaped.contains('%') {
        return Cow::Borrowed(escaped);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let (mut rest, mut out) = (escaped.as_bytes(), Vec::new());
    loop {
        match rest {
            [] => break,
            [b'%', high, low, after @ ..] if digit(*high).is_some() && digit(*low).is_some() => {
                out.push(digit(*high).unwrap_or(0) * 16 + digit(*low).unwrap_or(0));
                rest = after;
            }
            [byte, after @ ..] => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(out).map_or(Cow::Borrowed(escaped), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parameters_named_are_taken_out() {
        for (path, expected) in [
            ("/a?access_token=x", "/a"),
            ("/a?b=1&access_token=x&c", "/a?b=1&c"),
            ("/a?acce%73s_token=x&b", "/a?b"),
            ("/a?xaccess_token=x", "/a?xaccess_token=x"),
            ("/a", "/a"),
        ] {
            assert_eq!(without_parameters(path, &["access_token"]), expected, "{path}");
        }
    }

    #[test]
    fn what_is_not_escaped_well_stays() {
        for (text, expected) in [("a%2fb", "a/b"), ("%", "%"), ("%zz", "%zz"), ("%ff", "%ff")] {
            assert_eq!(decoded(text), expected);
        }
    }
}
