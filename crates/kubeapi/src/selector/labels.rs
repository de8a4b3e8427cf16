//! The label selector grammar, and selectors written as objects (`matchLabels`).

use serde_json::{Map, Value};

use crate::object;

/// Requirements that must all hold.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl LabelSelector {
    /// From text such as `app=web,tier in (a,b),!legacy`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for term in split_outside_parentheses(text)? {
            requirements.push(requirement(term)?);
        }
        Ok(Self(requirements))
    }

    /// From an object with `matchLabels` and `matchExpressions`. An operator that is not known
    /// makes the selector match nothing, not everything.
    pub(crate) fn from_object(selector: &Value) -> Option<Self> {
        let mut requirements = Vec::new();
        for (key, value) in
            selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten()
        {
            let test = Test::In(vec![value.as_str()?.to_owned()]);
            requirements.push(Requirement { key: key.clone(), test });
        }
        for expression in object::array(selector, "/matchExpressions") {
            let values: Vec<String> = object::array(expression, "/values")
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            let test = match object::text(expression, "/operator") {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::Absent,
                _ => return None,
            };
            requirements
                .push(Requirement { key: object::text(expression, "/key").to_owned(), test });
        }
        Some(Self(requirements))
    }

    /// Whether it asks for nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether labels satisfy it.
    pub(crate) fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.0.iter().all(|requirement| {
            let value =
                labels.and_then(|labels| labels.get(&requirement.key)).and_then(Value::as_str);
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.iter().any(|v| v == value)),
            }
        })
    }
}

fn split_outside_parentheses(text: &str) -> Result<Vec<&str>, String> {
    let mut terms = Vec::new();
    let (mut start, mut inside) = (0, false);
    for (at, character) in text.char_indices() {
        match character {
            '(' if inside => return Err(format!("found a second `(` in `{text}`")),
            '(' => inside = true,
            ')' => inside = false,
            ',' if !inside => {
                terms.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(format!("found no `)` in `{text}`"));
    }
    terms.push(text.get(start..).unwrap_or_default());
    Ok(terms.into_iter().map(str::trim).filter(|term| !term.is_empty()).collect())
}

fn requirement(term: &str) -> Result<Requirement, String> {
    let (key, test) = if let Some(key) = term.strip_prefix('!') {
        (key.trim(), Test::Absent)
    } else if let Some((key, value)) = term.split_once("!=") {
        (key.trim(), Test::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = term.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value).trim();
        (key.trim(), Test::In(vec![value.to_owned()]))
    } else if let Some((head, values)) = term.split_once('(') {
        let values: Vec<String> =
            values.trim_end_matches(')').split(',').map(|value| value.trim().to_owned()).collect();
        let mut words = head.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(key), Some("in"), None) => (key, Test::In(values)),
            (Some(key), Some("notin"), None) => (key, Test::NotIn(values)),
            _ => return Err(format!("found `{head}`, expected: in, notin")),
        }
    } else {
        (term, Test::Exists)
    };
    if key.is_empty()
        || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
    {
        return Err(format!("`{key}` is not a label key"));
    }
    Ok(Requirement { key: key.to_owned(), test })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_select_as_kubernetes_says() {
        let labels = json!({"app": "web", "tier": "a", "empty": ""});
        let cases = [
            ("", true),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("app=web", true),
            ("app==web,tier=a", true),
            ("app = web , tier = b", false),
            ("app!=web", false),
            ("other!=web", true),
            ("tier in (a, b)", true),
            ("tier in (b)", false),
            ("tier notin (b,c),app", true),
            ("other notin (b)", true),
            ("empty=", true),
            ("other=", false),
        ];
        for (text, wanted) in cases {
            let selector = LabelSelector::parse(text).unwrap();
            assert_eq!(selector.matches(labels.as_object()), wanted, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in ["a in (b", "a of (b)", "=b", "a b", "a((b))", "é=1"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn selector_objects_match_all_of_their_parts() {
        let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "env", "operator": "NotIn", "values": ["prod"]},
            {"key": "app", "operator": "Exists"}]});
        let selector = LabelSelector::from_object(&selector).unwrap();
        assert!(selector.matches(json!({"app": "web"}).as_object()));
        assert!(!selector.matches(json!({"app": "web", "env": "prod"}).as_object()));
        assert!(!selector.matches(None));
        let unknown = json!({"matchExpressions": [{"key": "a", "operator": "Like"}]});
        assert!(LabelSelector::from_object(&unknown).is_none());
    }
}
