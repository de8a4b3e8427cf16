//! A tree of YAML values that remembers where each key and value was written.
//!
//! Everything that is checked is checked on this tree, also objects that came as JSON from an API:
//! they just have no places. Aliases and merge keys are expanded before.

use palisade_types::Span;
use serde_json::{Map, Number, Value};

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it was written; all zero if it was not read from a text.
    pub span: Span,
    /// The value.
    pub value: Content,
}

/// The value of a [`Node`].
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// `null`, `~` or nothing at all.
    Null,
    /// A truth value.
    Bool(bool),
    /// A finite number.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order it was written; keys are unique.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key was written.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

/// One document of a YAML stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its root.
    pub root: Node,
}

impl Document {
    /// The document as JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.root.to_value()
    }

    /// Where the value at a path such as `spec.rules[0].from` was written.
    #[must_use]
    pub fn span_of(&self, path: &str) -> Option<Span> {
        self.root.at(path).map(|node| node.span)
    }
}

impl Node {
    /// A tree without places.
    #[must_use]
    pub fn from_value(value: &Value) -> Self {
        let value = match value {
            Value::Null => Content::Null,
            Value::Bool(value) => Content::Bool(*value),
            Value::Number(value) => Content::Number(value.clone()),
            Value::String(value) => Content::Text(value.clone()),
            Value::Array(items) => Content::List(items.iter().map(Self::from_value).collect()),
            Value::Object(fields) => Content::Map(
                fields
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        key_span: Span::default(),
                        value: Self::from_value(value),
                    })
                    .collect(),
            ),
        };
        Self { span: Span::default(), value }
    }

    /// The value as JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.value {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(value) => Value::Number(value.clone()),
            Content::Text(value) => Value::String(value.clone()),
            Content::List(items) => items.iter().map(Self::to_value).collect(),
            Content::Map(entries) => {
                let mut fields = Map::with_capacity(entries.len());
                for entry in entries {
                    fields.insert(entry.key.clone(), entry.value.to_value());
                }
                Value::Object(fields)
            }
        }
    }

    /// The value of a map at a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of a map with a key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entries of a map; none if it is something else.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none if it is something else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, if it is one.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        match &self.value {
            Content::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.value == Content::Null
    }

    /// What it is, for messages.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match &self.value {
            Content::Null => "nothing",
            Content::Bool(_) => "a truth value",
            Content::Number(_) => "a number",
            Content::Text(_) => "text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }

    /// The node at a path such as `spec.rules[0].from` or `metadata.labels[example.com/a]`.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Self> {
        let mut node = self;
        let mut rest = path;
        while !rest.is_empty() {
            let (step, after) = if let Some(inside) = rest.strip_prefix('[') {
                inside.split_once(']')?
            } else {
                rest = rest.strip_prefix('.').unwrap_or(rest);
                rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()))
            };
            node = match &node.value {
                Content::List(items) => items.get(step.parse::<usize>().ok()?)?,
                _ => node.get(step)?,
            };
            rest = after;
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let value = json!({"metadata": {"labels": {"a.b/c": "d"}}, "list": [{"x": 1}]});
        let node = Node::from_value(&value);
        let text = |path| node.at(path).map(Node::to_value);
        assert_eq!(text("metadata.labels[a.b/c]"), Some(json!("d")));
        assert_eq!(text("list[0].x"), Some(json!(1)));
        assert_eq!(text(""), Some(value.clone()));
        assert_eq!(text("list[1]"), None);
        assert_eq!(text("list[0"), None);
        assert_eq!(text("nothing.x"), None);
    }
}
