//! JSON values as the YAML that people write: blocks, and quotes only where they are needed.

use serde_json::Value;

/// The value as one YAML document.
pub(crate) fn yaml(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

fn block(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                indent(depth, text);
                text.push_str(&scalar(name));
                text.push(':');
                below(value, depth + 1, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                indent(depth, text);
                let mut inside = String::new();
                block(item, depth + 1, &mut inside);
                text.push_str("- ");
                text.push_str(inside.trim_start());
            }
        }
        other => {
            indent(depth, text);
            text.push_str(&flow(other));
            text.push('\n');
        }
    }
}

/// What stands behind a colon: on the same line, or as a block below.
fn below(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            block(value, depth, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            block(value, depth, text);
        }
        other => {
            text.push(' ');
            text.push_str(&flow(other));
            text.push('\n');
        }
    }
}

fn indent(depth: usize, text: &mut String) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(string) => scalar(string),
        other => other.to_string(),
    }
}

/// A string, plain if no reader could take it for anything else. JSON's quotes are YAML's, too, but for characters
/// that YAML calls not printable (YAML 1.2.2, 5.1).
fn scalar(string: &str) -> String {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '/' || c == '_';
    let goes_on = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    let plain = string.starts_with(begins) && string.chars().all(goes_on);
    let word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    match plain && !word.contains(&string.to_lowercase().as_str()) {
        true => string.to_owned(),
        false => Value::from(string).to_string().chars().fold(String::new(), |text, c| match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                text + &format!("\\u{:04x}", u32::from(c))
            }
            c => text + c.encode_utf8(&mut [0; 4]),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_reads_as_people_write_it() {
        let policy = json!({
            "kind": "AuthorizationPolicy",
            "spec": {
                "action": "ALLOW",
                "rules": [{"from": [{"source": {"principals": ["a.b/ns/x"]}}], "to": [{"operation": {"methods": ["GET"]}}]}],
            },
        });
        assert_eq!(
            yaml(&policy),
            "\
kind: AuthorizationPolicy
spec:
  action: ALLOW
  rules:
    - from:
        - source:
            principals:
              - a.b/ns/x
      to:
        - operation:
            methods:
              - GET
"
        );
    }

    #[test]
    fn whatever_is_written_is_read_back() {
        let value = json!({
            "strings": ["", "no", "Y", "12", "1e3", "-", "a b", "*", "/api/*", "a: b", "#", "line\nline", "ü\u{7f}", "\"", "~", "0x1"],
            "others": [true, null, 1, 2.5, [], {}, [[1, [2]], {"a": [{"b": {}}]}]],
            "true": {"a key with: colon": 1},
        });
        let (documents, problems) = palisade_manifest::read(&yaml(&value));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(documents.len(), 1);
        assert_eq!(documents[0].to_value(), value);
    }
}
