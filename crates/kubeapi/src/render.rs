//! Objects as the client wants them: whole, as a table, or only their metadata.

use http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    convert, object, request::Query, resource::Resource, status::ApiError, store::Object, table,
};

/// What an answer should look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// The objects themselves.
    Whole,
    /// Only their metadata.
    Metadata,
    /// A table; each row with this much of its object.
    Table(Include),
}

/// How much of its object a table row carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Include {
    /// Its metadata.
    Metadata,
    /// Nothing.
    None,
    /// All of it.
    Object,
}

impl Form {
    /// The first form that the client accepts and that we speak.
    pub(crate) fn negotiate(headers: &HeaderMap, query: &Query) -> Result<Self, ApiError> {
        let accept = headers.get_all(header::ACCEPT);
        let accept: Vec<&str> = accept.iter().filter_map(|value| value.to_str().ok()).collect();
        if accept.is_empty() {
            return Ok(Self::Whole);
        }
        accept
            .iter()
            .flat_map(|value| value.split(','))
            .find_map(|range| media_range(range, query))
            .ok_or_else(|| {
                ApiError::not_acceptable(&["application/json", "application/json;as=Table"])
            })
    }
}

fn media_range(range: &str, query: &Query) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next()?;
    if !matches!(media_type, "application/json" | "application/*" | "*/*") {
        return None;
    }
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let parameter = |name| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let meta = parameter("g") == Some("meta.k8s.io") && parameter("v") == Some("v1");
    match parameter("as") {
        None => Some(Form::Whole),
        Some("Table") if meta => Some(Form::Table(match query.text("includeObject") {
            "None" => Include::None,
            "Object" => Include::Object,
            _ => Include::Metadata,
        })),
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta => Some(Form::Metadata),
        Some(_) => None,
    }
}

/// Writes objects of one resource in one version and form.
#[derive(Clone, Debug)]
pub(crate) struct Renderer<'a> {
    /// The resource.
    pub(crate) resource: &'a Resource,
    /// The version that the client speaks.
    pub(crate) version: &'a str,
    /// The form.
    pub(crate) form: Form,
}

/// What a list says beside its items.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListMeta {
    /// Its version.
    pub(crate) version: u64,
    /// Where the next page starts; empty on the last one.
    pub(crate) next: String,
    /// How many objects follow, if known.
    pub(crate) remaining: Option<usize>,
}

impl Renderer<'_> {
    /// One object as JSON text.
    pub(crate) fn object(&self, object: &Object) -> String {
        match self.form {
            Form::Whole => self.whole(object),
            Form::Metadata => partial(&object.value).to_string(),
            Form::Table(include) => {
                let version = object::text(&object.value, "/metadata/resourceVersion");
                let meta = json!({"resourceVersion": version});
                self.table(&meta, std::iter::once(object), include).to_string()
            }
        }
    }

    /// A list as JSON text.
    pub(crate) fn list<'o>(
        &self,
        meta: &ListMeta,
        objects: impl Iterator<Item = &'o Object>,
    ) -> String {
        let meta = list_meta(meta);
        match self.form {
            Form::Table(include) => self.table(&meta, objects, include).to_string(),
            Form::Metadata => {
                let items: Vec<Value> = objects.map(|object| partial(&object.value)).collect();
                json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                       "metadata": meta, "items": items})
                .to_string()
            }
            Form::Whole => {
                let mut text = format!(
                    "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{meta},\"items\":[",
                    json!(self.resource.list_kind),
                    json!(self.resource.api_version(self.version))
                );
                for (index, object) in objects.enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    text.push_str(&self.item(object));
                }
                text.push_str("]}");
                text
            }
        }
    }

    /// A watch event as one line.
    pub(crate) fn event(&self, kind: &str, object: &Object) -> String {
        format!("{{\"type\":\"{kind}\",\"object\":{}}}\n", self.object(object))
    }

    /// The event that only tells a version.
    pub(crate) fn bookmark(&self, version: u64, initial_events_end: bool) -> String {
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let whole = json!({"kind": self.resource.kind,
                               "apiVersion": self.resource.api_version(self.version),
                               "metadata": metadata});
        let object = match self.form {
            Form::Whole => whole,
            Form::Metadata => partial(&whole),
            Form::Table(_) => {
                let object = partial(&whole);
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1",
                       "metadata": {"resourceVersion": version.to_string()},
                       "columnDefinitions": table::columns(self.resource, self.version),
                       "rows": [{"cells": [], "object": object}]})
            }
        };
        format!("{}\n", json!({"type": "BOOKMARK", "object": object}))
    }

    /// An object in the form of its own kind.
    fn whole(&self, object: &Object) -> String {
        if convert::is_newer_event(self.resource) {
            return convert::from_storage(self.resource, self.version, &object.value).to_string();
        }
        match (self.head(self.version), self.rest(object)) {
            (head, Some(rest)) => format!("{{{head}{rest}"),
            (_, None) => {
                convert::from_storage(self.resource, self.version, &object.value).to_string()
            }
        }
    }

    /// An object in a list: Kubernetes' own kinds do not repeat kind and version there.
    fn item(&self, object: &Object) -> String {
        if self.resource.is_builtin()
            && !convert::is_newer_event(self.resource)
            && let Some(rest) = self.rest(object)
        {
            return format!("{{{rest}");
        }
        self.whole(object)
    }

    fn head(&self, version: &str) -> String {
        let api_version = self.resource.api_version(version);
        format!("\"kind\":{},\"apiVersion\":{},", json!(self.resource.kind), json!(api_version))
    }

    /// The stored text behind kind and version.
    fn rest<'o>(&self, object: &'o Object) -> Option<&'o str> {
        let head = self.head(self.resource.storage_version());
        std::str::from_utf8(&object.json).ok()?.strip_prefix('{')?.strip_prefix(head.as_str())
    }

    fn table<'o>(
        &self,
        metadata: &Value,
        objects: impl Iterator<Item = &'o Object>,
        include: Include,
    ) -> Value {
        let now = Timestamp::now();
        let rows: Vec<Value> = objects
            .map(|object| {
                let served = convert::from_storage(self.resource, self.version, &object.value);
                let mut row = Map::new();
                let cells = table::cells(self.resource, self.version, &object.value, now);
                row.insert("cells".to_owned(), Value::Array(cells));
                match include {
                    Include::None => None,
                    Include::Metadata => Some(partial(&object.value)),
                    Include::Object => Some(served.into_owned()),
                }
                .map(|object| row.insert("object".to_owned(), object));
                Value::Object(row)
            })
            .collect();
        json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
               "columnDefinitions": table::columns(self.resource, self.version), "rows": rows})
    }
}

fn partial(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

fn list_meta(meta: &ListMeta) -> Value {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), json!(meta.version.to_string()));
    if !meta.next.is_empty() {
        metadata.insert("continue".to_owned(), json!(meta.next));
    }
    if let Some(remaining) = meta.remaining {
        metadata.insert("remainingItemCount".to_owned(), json!(remaining));
    }
    Value::Object(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_we_speak_is_taken() {
        let cases = [
            ("application/json", Some(Form::Whole)),
            ("application/vnd.kubernetes.protobuf,application/json", Some(Form::Whole)),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                Some(Form::Table(Include::Metadata)),
            ),
            (
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Some(Form::Whole),
            ),
            (
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                Some(Form::Metadata),
            ),
            ("application/json, */*", Some(Form::Whole)),
            ("text/html", None),
        ];
        for (accept, wanted) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(Form::negotiate(&headers, &Query::default()).ok(), wanted, "{accept}");
        }
    }
}
