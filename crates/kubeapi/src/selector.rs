//! Label and field selectors: parsed once per request, matched against objects.
//!
//! Labels follow Kubernetes' grammar in full (`a=b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`,
//! `!a`). Fields are those that Kubernetes' own kinds offer; an unknown field is refused rather
//! than ignored, since ignoring it would answer with too much.

mod labels;

use serde_json::Value;

pub(crate) use labels::LabelSelector;

use crate::{object, resource::Resource, status::ApiError};

/// What a list or watch wants to see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: LabelSelector,
    fields: Vec<FieldTest>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct FieldTest {
    field: &'static str,
    equal: bool,
    value: String,
}

impl Selector {
    /// From the query parameters `labelSelector` and `fieldSelector`.
    pub(crate) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let labels = LabelSelector::parse(labels)
            .map_err(|why| ApiError::bad_request(format!("unable to parse requirement: {why}")))?;
        Ok(Self { labels, fields: parse_fields(resource, fields)? })
    }

    /// Whether everything matches.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is wanted.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object::labels(object))
            && self
                .fields
                .iter()
                .all(|test| (field_value(object, test.field) == test.value) == test.equal)
    }
}

fn parse_fields(resource: &Resource, text: &str) -> Result<Vec<FieldTest>, ApiError> {
    text.split(',')
        .filter(|term| !term.is_empty())
        .map(|term| {
            let (field, equal, value) = split_term(term).ok_or_else(|| {
                let why = format!("invalid selector: '{text}'; can't understand '{term}'");
                ApiError::bad_request(why)
            })?;
            let field = known_field(resource, field).ok_or_else(|| {
                ApiError::bad_request(format!("field label not supported: {field}"))
            })?;
            Ok(FieldTest { field, equal, value: value.to_owned() })
        })
        .collect()
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    if let Some((field, value)) = term.split_once("!=") {
        return Some((field, false, value));
    }
    let (field, value) = term.split_once('=')?;
    Some((field, true, value.strip_prefix('=').unwrap_or(value)))
}

/// Fields that every kind offers.
const COMMON: &[&str] = &["metadata.name", "metadata.namespace"];

const POD: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];

const EVENT: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

fn known_field(resource: &Resource, field: &str) -> Option<&'static str> {
    let own: &[&'static str] = match resource.plural.as_str() {
        "pods" => POD,
        "events" => EVENT,
        "jobs" => &["status.successful"],
        "namespaces" => &["status.phase"],
        "nodes" => &["spec.unschedulable"],
        "secrets" => &["type"],
        "replicasets" => &["status.replicas"],
        "services" => &["spec.clusterIP", "spec.type"],
        _ => &[],
    };
    // Events of the newer API name the object they are about differently.
    let field = match (resource.group.as_str(), field.strip_prefix("regarding.")) {
        ("events.k8s.io", Some(rest)) => &format!("involvedObject.{rest}"),
        _ => field,
    };
    COMMON.iter().chain(own).copied().find(|known| *known == field)
}

fn field_value(object: &Value, field: &str) -> String {
    if field == "source" {
        return match object::text(object, "/source/component") {
            "" => object::text(object, "/reportingComponent").to_owned(),
            component => component.to_owned(),
        };
    }
    let pointer = format!("/{}", field.replace('.', "/"));
    match object.pointer(&pointer) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => default_of(field).to_owned(),
        Some(other) => other.to_string(),
    }
}

fn default_of(field: &str) -> &'static str {
    match field {
        "spec.hostNetwork" | "spec.unschedulable" => "false",
        "status.replicas" => "0",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pods() -> Resource {
        Resource { plural: "pods".to_owned(), ..Resource::default() }
    }

    #[test]
    fn fields_select_by_value() {
        let pod = json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"nodeName": "node1"},
                         "status": {"phase": "Running"}});
        let cases = [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a", true),
            ("metadata.name!=a", false),
            ("spec.nodeName=node1,status.phase!=Succeeded", true),
            ("spec.nodeName=,status.phase=Running", false),
            ("spec.hostNetwork=false", true),
        ];
        for (text, wanted) in cases {
            let selector = Selector::parse(&pods(), "", text).unwrap();
            assert_eq!(selector.matches(&pod), wanted, "{text}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let error = Selector::parse(&pods(), "", "spec.color=red").unwrap_err();
        assert_eq!(error.to_string(), "field label not supported: spec.color");
        assert!(Selector::parse(&pods(), "", "metadata.name").is_err());
    }
}
