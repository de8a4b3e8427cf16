//! What is done to a request path before policies see it and before it is forwarded:
//! `MeshConfig.pathNormalization`.
//!
//! The steps and their order are Envoy's as Istio configures them (`listener_builder.go:408-422`);
//! `conformance/path-normalization.json` has what a real Envoy made of each path in each mode. Case,
//! trailing slashes, path parameters and double encodings are left alone, as there.

use std::borrow::Cow;

use palisade_types::PathNormalization;
use thiserror::Error;

/// Why a request target has no path that policies could judge.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TargetError {
    /// An encoded NUL, or a character that no request target has: 400.
    #[error("the path has an encoded NUL or a character that is not visible ASCII")]
    Malformed,
    /// `*`, or something else that is not a path: 404.
    #[error("the request target does not start with `/`")]
    NotAPath,
}

/// Normalises path and query (the target without scheme and authority). Nothing is allocated unless
/// the path changes by more than the loss of its fragment.
///
/// # Errors
/// When the request must be answered 400 or 404 instead.
pub fn normalize(target: &str, mode: PathNormalization) -> Result<Cow<'_, str>, TargetError> {
    if !target.starts_with('/') {
        return Err(TargetError::NotAPath);
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TargetError::Malformed);
    }
    let target = target.split_once('#').map_or(target, |(before, _)| before);
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    if mode == PathNormalization::None || is_normal(path.as_bytes(), mode) {
        return Ok(Cow::Borrowed(target));
    }
    if path.contains("%00") {
        return Err(TargetError::Malformed);
    }
    let query = target.get(path.len()..).unwrap_or_default();
    let mut normalized = rewrite(path, mode);
    normalized.push_str(query);
    Ok(Cow::Owned(normalized))
}

/// Whether no step changes the path.
fn is_normal(path: &[u8], mode: PathNormalization) -> bool {
    path.iter().enumerate().all(|(at, byte)| {
        let rest = path.get(at + 1..).unwrap_or_default();
        match byte {
            b'%' => match escaped(rest) {
                Some(0) => false,
                Some(b'/' | b'\\') => mode != PathNormalization::DecodeAndMergeSlashes,
                Some(decoded) => !is_unreserved(decoded),
                None => true,
            },
            b'/' => {
                let doubled = merges(mode) && rest.first() == Some(&b'/');
                !doubled && !starts_with_dots(rest)
            }
            b'\\' => false,
            other => !is_always_escaped(*other),
        }
    })
}

/// Whether the next segment is `.` or `..`, with or without parameters.
fn starts_with_dots(segment: &[u8]) -> bool {
    let dots = segment.iter().take_while(|byte| **byte == b'.').count();
    matches!(dots, 1 | 2) && matches!(segment.get(dots), None | Some(b'/' | b';'))
}

fn rewrite(path: &str, mode: PathNormalization) -> String {
    let decoded = if mode == PathNormalization::DecodeAndMergeSlashes {
        Cow::Owned(decode_slashes(path))
    } else {
        Cow::Borrowed(path)
    };
    let plain = remove_dot_segments(&unify_escapes(&strip_dot_parameters(&decoded)));
    if merges(mode) { merge_slashes(&plain) } else { plain }
}

fn merges(mode: PathNormalization) -> bool {
    matches!(mode, PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes)
}

/// `%2F` to `/` and `%5C` to `\`, in any case.
fn decode_slashes(path: &str) -> String {
    map_escapes(path, |decoded| matches!(decoded, b'/' | b'\\'))
}

/// `/..;x/` to `/../`. This comes before decoding: an encoded dot segment keeps its parameter.
fn strip_dot_parameters(path: &str) -> String {
    let segments = path.split('/').map(|segment| match segment.split_once(';') {
        Some((dots @ ("." | ".."), _)) => dots,
        _ => segment,
    });
    join(segments)
}

/// Unreserved characters unescaped, backslashes to slashes, characters that no path has escaped.
fn unify_escapes(path: &str) -> String {
    let decoded = map_escapes(path, is_unreserved);
    let mut unified = String::with_capacity(decoded.len());
    for character in decoded.chars() {
        match character {
            '\\' => unified.push('/'),
            '"' => unified.push_str("%22"),
            '<' => unified.push_str("%3C"),
            '>' => unified.push_str("%3E"),
            '^' => unified.push_str("%5E"),
            '`' => unified.push_str("%60"),
            '{' => unified.push_str("%7B"),
            '|' => unified.push_str("%7C"),
            '}' => unified.push_str("%7D"),
            other => unified.push(other),
        }
    }
    unified
}

/// RFC 3986, 5.2.4, except that an empty segment counts as a segment.
fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            other => {
                kept.push(other);
                continue;
            }
        }
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    join(std::iter::once("").chain(kept))
}

/// Runs of slashes to one; of slashes alone, the first and the last stay, as in Envoy.
fn merge_slashes(path: &str) -> String {
    if !path.contains("//") {
        return path.to_owned();
    }
    let inner = join(path.split('/').filter(|segment| !segment.is_empty()));
    let end = if path.ends_with('/') { "/" } else { "" };
    format!("/{inner}{end}")
}

fn join<'a>(segments: impl Iterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for (index, segment) in segments.enumerate() {
        if index > 0 {
            joined.push('/');
        }
        joined.push_str(segment);
    }
    joined
}

/// Decodes the escapes of the characters that `decodes` names, once.
fn map_escapes(path: &str, decodes: fn(u8) -> bool) -> String {
    let mut mapped = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        mapped.push_str(before);
        match escaped(after.as_bytes()).filter(|decoded| decodes(*decoded)) {
            Some(decoded) => {
                mapped.push(char::from(decoded));
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                mapped.push('%');
                rest = after;
            }
        }
    }
    mapped.push_str(rest);
    mapped
}

/// The character that two hex digits after `%` stand for.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    match digits {
        [high, low, ..] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn is_always_escaped(byte: u8) -> bool {
    b"\"<>^`{|}".contains(&byte)
}

#[cfg(test)]
mod tests {
    use palisade_types::PathNormalization::{
        Base, DecodeAndMergeSlashes, MergeSlashes, None as Off,
    };
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_mode_does_its_own_steps() {
        for (path, mode, expected) in [
            ("/a/../b#f", Off, "/a/../b"),
            ("/a%00", Off, "/a%00"),
            ("/a#?b", Base, "/a"),
            ("/a?b#c", Base, "/a?b"),
            ("/app//../admin", Base, "/app/admin"),
            ("/a/..;x/b", Base, "/b"),
            ("/a/%2e%2e;/b", Base, "/a/..;/b"),
            ("/a/..\\b", Base, "/b"),
            ("/a%2Fb%61", Base, "/a%2Fba"),
            ("/%%32e", Base, "/%2e"),
            ("/a/b/..", Base, "/a/"),
            ("/a//b?c//d", MergeSlashes, "/a/b?c//d"),
            ("///", MergeSlashes, "//"),
            ("/a%2f..%5cb", DecodeAndMergeSlashes, "/b"),
            ("/x?a=%2f../%00", DecodeAndMergeSlashes, "/x?a=%2f../%00"),
        ] {
            assert_eq!(normalize(path, mode).as_deref(), Ok(expected), "{path} {mode:?}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for mode in [Off, Base, MergeSlashes, DecodeAndMergeSlashes] {
            assert_eq!(normalize("*", mode), Err(TargetError::NotAPath));
            assert_eq!(normalize("", mode), Err(TargetError::NotAPath));
            assert_eq!(normalize("a/b", mode), Err(TargetError::NotAPath));
            for target in ["/a b", "/a\tb", "/a\r\nb", "/\u{e4}", "/\u{7f}", "/a?\0"] {
                assert_eq!(normalize(target, mode), Err(TargetError::Malformed), "{target:?}");
            }
        }
        assert_eq!(normalize("/a%00?b", Base), Err(TargetError::Malformed));
        assert_eq!(normalize("/a/%00/../b", DecodeAndMergeSlashes), Err(TargetError::Malformed));
    }

    #[test]
    fn a_normal_path_is_borrowed() {
        for path in ["/", "/a/b.c/..d/.e/...", "/a%20b%2Fc", "/a/?x=//..", "/a;b=c#frag"] {
            assert!(matches!(normalize(path, Base), Ok(Cow::Borrowed(_))), "{path}");
        }
    }

    fn modes() -> impl Strategy<Value = PathNormalization> {
        prop_oneof![Just(Off), Just(Base), Just(MergeSlashes), Just(DecodeAndMergeSlashes)]
    }

    proptest! {
        #[test]
        fn a_normalised_path_has_no_way_up(
            path in "/([a./\\\\;%?#]|%2[eEfF]|%5[cC]|%61|\\.\\.){0,12}", mode in modes(),
        ) {
            let Ok(normalized) = normalize(&path, mode) else { return Ok(()) };
            prop_assert!(normalized.starts_with('/') && !normalized.contains('#'));
            let (before, query) = match normalized.split_once('?') {
                Some((before, query)) => (before, Some(query)),
                None => (&*normalized, None),
            };
            let kept = path.split('#').next().unwrap().split_once('?').map(|(_, query)| query);
            prop_assert_eq!(query, kept);
            if mode != Off {
                prop_assert!(!before.split('/').any(|segment| matches!(segment, "." | "..")));
                prop_assert!(!before.contains('\\'));
            }
            if merges(mode) {
                prop_assert!(before == "//" || !before.contains("//"));
            }
        }

        #[test]
        fn normalising_twice_changes_nothing_without_escapes_of_escapes(
            path in "/([a./\\\\;^]|%2[eF]|%61|%20){0,12}", mode in modes(),
        ) {
            let once = normalize(&path, mode).unwrap().into_owned();
            let encoded_dots_had_parameters = once.split('/')
                .any(|segment| segment.starts_with(".;") || segment.starts_with("..;"));
            if !encoded_dots_had_parameters {
                prop_assert_eq!(&*normalize(&once, mode).unwrap(), &*once);
            }
        }

        #[test]
        fn any_text_is_normalised_or_refused(path in "\\PC{0,24}", mode in modes()) {
            let _ = normalize(&path, mode);
            let _ = normalize(&format!("/{path}"), mode);
        }

        #[test]
        fn a_path_called_normal_is_one_that_the_steps_leave_alone(
            path in "/([a./\\\\;%^]|%2[eEfF]|%61|%20){0,10}",
            mode in prop_oneof![Just(Base), Just(MergeSlashes), Just(DecodeAndMergeSlashes)],
        ) {
            if is_normal(path.as_bytes(), mode) {
                prop_assert_eq!(rewrite(&path, mode), path);
            }
        }
    }
}
