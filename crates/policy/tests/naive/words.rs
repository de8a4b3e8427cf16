//! What single values mean: patterns, templates, blocks of addresses; and reading lists of texts.

use std::net::IpAddr;

use serde_json::Value;

pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(crate) fn list(value: &Value) -> Vec<String> {
    items(value).iter().map(text).collect()
}

/// Bits of an address, and how many there are.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u32::from(v4).into(), 32),
        IpAddr::V6(v6) => (v6.into(), 128),
    }
}

/// An address, how many bits it has, and how many of them count.
pub(crate) fn block(value: &str) -> Option<(u128, u32, u32)> {
    let (address, length) = value.split_once('/').unwrap_or((value, ""));
    let (address, family) = bits(address.parse().ok()?);
    let length = if length.is_empty() { family } else { length.parse().ok()? };
    (length <= family).then_some((address, family, length))
}

pub(crate) fn inside(address: IpAddr, value: &str) -> bool {
    let (address, family) = bits(address);
    let Some((block, of_family, length)) = block(value) else { return false };
    let start = |bits: u128| bits.checked_shr(family - length);
    family == of_family && start(block) == start(address)
}

pub(crate) fn pattern(pattern: &str, text: &str) -> bool {
    match (pattern, pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        ("*", ..) => !text.is_empty(),
        (_, Some(suffix), _) => text.ends_with(suffix),
        (_, _, Some(prefix)) => text.starts_with(prefix),
        _ => text == pattern,
    }
}

/// 1 is any text, 2 one character, 3 any text without a slash.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    let mut ends = (0..=text.len()).filter(|n| text.is_char_boundary(*n));
    match first {
        '\u{1}' => ends.any(|n| glob(rest, &text[n..])),
        '\u{2}' => !text.is_empty() && glob(rest, &text[1..]),
        '\u{3}' => ends.any(|n| !text[..n].contains('/') && glob(rest, &text[n..])),
        c => text.strip_prefix(c).is_some_and(|text| glob(rest, text)),
    }
}

pub(crate) fn template(template: &str, path: &str) -> bool {
    let takes = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;:@=".contains(c);
    let mut ends = (0..=path.len()).filter(|n| path.is_char_boundary(*n));
    if let Some(rest) = template.strip_prefix("{**}") {
        return ends.any(|n| {
            path[..n].chars().all(|c| takes(c) || c == '/') && self::template(rest, &path[n..])
        });
    }
    if let Some(rest) = template.strip_prefix("{*}") {
        return ends
            .any(|n| n > 0 && path[..n].chars().all(takes) && self::template(rest, &path[n..]));
    }
    match template.chars().next() {
        None => path.is_empty(),
        Some(c) => {
            path.strip_prefix(c).is_some_and(|path| self::template(&template[c.len_utf8()..], path))
        }
    }
}
