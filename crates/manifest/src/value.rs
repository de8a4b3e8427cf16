//! Texts of a certain form: quantities, times, durations, base64.

use std::time::Duration;

use jiff::Timestamp;
use regex::bytes::{Regex, RegexBuilder};

/// The bytes of standard base64.
#[must_use]
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(text.replace(['\n', '\r'], "")).ok()
}

/// The host that a rule of Istio's means: a short name is relative to the rule's own namespace, a name with a dot is
/// taken as it is.
#[must_use]
pub fn qualified(host: &str, namespace: &str) -> String {
    if host.contains(['.', '*']) {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.cluster.local")
    }
}

/// A regular expression of RE2 for the whole of a text.
#[must_use]
pub fn regex(text: &str) -> Option<Regex> {
    let build = |text: &str| RegexBuilder::new(text).unicode(false).build().ok();
    build(text).and_then(|_| build(&format!("^(?:{text})$")))
}

/// Whether a text is a time as API servers write it.
pub(crate) fn is_time(text: &str) -> bool {
    text.parse::<Timestamp>().is_ok()
}

/// Whether a text is a Kubernetes quantity, such as `1.5Gi`, `100m` or `1e3`.
pub(crate) fn is_quantity(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let sound = number.bytes().any(|byte| byte.is_ascii_digit())
        && number.bytes().filter(|byte| *byte == b'.').count() <= 1;
    let exponent = suffix.strip_prefix(['e', 'E']).filter(|rest| !rest.is_empty());
    sound
        && match exponent {
            Some(rest) => rest.parse::<i32>().is_ok(),
            None => SUFFIXES.contains(&suffix),
        }
}

const SUFFIXES: &[&str] =
    &["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// A duration as Go writes it: `1h30m`, `5s`, `250ms`; no sign.
#[must_use]
pub(crate) fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = 0.0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().ok()?;
        let (unit, seconds) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        total += number * seconds;
        rest = after.get(unit.len()..)?;
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(total).ok() }
}

const UNITS: &[(&str, f64)] = &[
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_numbers_with_a_suffix() {
        for sound in ["1", "1.5Gi", "100m", "1e3", "-1", "+2Ki", ".5", "5.", "1E2", "3E"] {
            assert!(is_quantity(sound), "{sound}");
        }
        for broken in ["", "Gi", "1GiB", "1 Gi", "1.2.3", "1e", "1ee3", "ten", "."] {
            assert!(!is_quantity(broken), "{broken}");
        }
    }

    #[test]
    fn durations_are_read_as_go_does() {
        for (text, millis) in [("5s", 5000), ("1m30s", 90_000), ("250ms", 250), ("1.5h", 5_400_000)]
        {
            assert_eq!(go_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for broken in ["", "5", "s", "5 s", "-5s", "5x", "1..5s"] {
            assert_eq!(go_duration(broken), None, "{broken}");
        }
    }
}
