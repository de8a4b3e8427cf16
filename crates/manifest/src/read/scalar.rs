//! What a plain word means.
//!
//! The rules are those of `sigs.k8s.io/yaml`, which kubectl and API servers use: YAML 1.1 truth
//! values and octal numbers, underscores in numbers, and whole floats that become integers.

use serde_json::Number;

use crate::tree::Content;

/// A word and what it means.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// A value like any other.
    Plain(Content),
    /// A truth value to YAML 1.1 only.
    OldBoolean(bool),
    /// A number that JSON has no form for.
    NotFinite,
}

/// The meaning of a plain (unquoted) scalar.
pub(super) fn resolve(word: &str) -> Meaning {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => Meaning::Plain(Content::Null),
        "true" | "True" | "TRUE" => Meaning::Plain(Content::Bool(true)),
        "false" | "False" | "FALSE" => Meaning::Plain(Content::Bool(false)),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Meaning::OldBoolean(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Meaning::OldBoolean(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF"
        | ".nan" | ".NaN" | ".NAN" => Meaning::NotFinite,
        _ => number(word),
    }
}

fn number(word: &str) -> Meaning {
    let text = || Meaning::Plain(Content::Text(word.to_owned()));
    if !word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return text();
    }
    let digits = word.replace('_', "");
    if let Some(whole) = integer(&digits) {
        return Meaning::Plain(Content::Number(whole));
    }
    if !is_float(&digits) {
        return text();
    }
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() => match whole(value).or_else(|| Number::from_f64(value)) {
            Some(number) => Meaning::Plain(Content::Number(number)),
            None => Meaning::NotFinite,
        },
        _ => text(),
    }
}

/// A float without fraction is an integer once it went through JSON.
#[expect(clippy::cast_possible_truncation, reason = "the value is whole and within 2^53")]
fn whole(value: f64) -> Option<Number> {
    (value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0)
        .then(|| Number::from(value as i64))
}

/// Go's `strconv.ParseInt` with base 0: `0x`, `0o`, `0b` and a leading `0` name the base.
fn integer(word: &str) -> Option<Number> {
    let (negative, magnitude) = match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (digits, radix) = match magnitude.as_bytes() {
        [b'0', b'x' | b'X', ..] => (magnitude.get(2..)?, 16),
        [b'0', b'o' | b'O', ..] => (magnitude.get(2..)?, 8),
        [b'0', b'b' | b'B', ..] => (magnitude.get(2..)?, 2),
        [b'0', _, ..] => (magnitude.get(1..)?, 8),
        _ => (magnitude, 10),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if negative { 0_i64.checked_sub_unsigned(value).map(Number::from) } else { Some(value.into()) }
}

fn is_float(word: &str) -> bool {
    let word = word.strip_prefix(['-', '+']).unwrap_or(word);
    let (mantissa, exponent) = match word.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (word, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_fits = digits(before) && digits(after) && !(before.is_empty() && after.is_empty());
    mantissa_fits
        && exponent.is_none_or(|text| {
            let text = text.strip_prefix(['-', '+']).unwrap_or(text);
            !text.is_empty() && digits(text)
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree::Node;

    #[test]
    fn words_mean_what_they_mean_to_kubectl_1_37() {
        for (word, expected) in [
            ("1", json!(1)),
            ("-7", json!(-7)),
            ("+7", json!(7)),
            ("0644", json!(420)),
            ("0o644", json!(420)),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("1_000", json!(1000)),
            ("08", json!(8)),
            ("1.5", json!(1.5)),
            ("2.0", json!(2)),
            ("1e3", json!(1000)),
            (".5", json!(0.5)),
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("-", json!("-")),
            (".", json!(".")),
            ("+", json!("+")),
            ("1.2.3", json!("1.2.3")),
            ("10.0.0.1", json!("10.0.0.1")),
            ("0x", json!("0x")),
            ("1e", json!("1e")),
            ("2001-01-01", json!("2001-01-01")),
            ("12:30", json!("12:30")),
            ("1Gi", json!("1Gi")),
            ("True", json!(true)),
            ("~", json!(null)),
            ("nulls", json!("nulls")),
            ("1e400", json!("1e400")),
            ("0o9", json!("0o9")),
            ("_1", json!("_1")),
            ("1__0", json!(10)),
            ("-0x1", json!(-1)),
            ("12345678901234567890123", json!(1.2345678901234568e22)),
        ] {
            let Meaning::Plain(value) = resolve(word) else {
                panic!("{word} is not plain");
            };
            let node = Node { span: palisade_types::Span::default(), value };
            assert_eq!(node.to_value(), expected, "{word}");
        }
    }

    #[test]
    fn old_booleans_are_told_apart() {
        assert_eq!(resolve("on"), Meaning::OldBoolean(true));
        assert_eq!(resolve("No"), Meaning::OldBoolean(false));
        assert_eq!(resolve(".inf"), Meaning::NotFinite);
        assert_eq!(resolve("y"), Meaning::OldBoolean(true));
    }
}
