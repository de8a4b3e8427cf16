//! Which names objects may have.

use serde_json::json;

use crate::{resource::Resource, status::Cause};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

const SERVICE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// What is wrong with a name, if anything.
pub(crate) fn check(resource: &Resource, name: &str) -> Option<Cause> {
    if name.is_empty() {
        return Some(Cause::required("metadata.name", "name or generateName is required"));
    }
    let (limit, rule, good) = match resource.plural.as_str() {
        "services" => {
            (63, SERVICE, is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase()))
        }
        "namespaces" => (63, LABEL, is_label(name)),
        _ => (253, SUBDOMAIN, name.split('.').all(is_label)),
    };
    if name.len() > limit {
        let rule = format!("must be no more than {limit} bytes");
        return Some(Cause::invalid("metadata.name", &json!(name), &rule));
    }
    (!good).then(|| Cause::invalid("metadata.name", &json!(name), rule))
}

fn is_label(text: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|byte| edge(byte) || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_dns() {
        let cases = [
            ("pods", "a.b-c.1", true),
            ("pods", "Bad_Name", false),
            ("pods", "a..b", false),
            ("pods", "-a", false),
            ("pods", "", false),
            ("namespaces", "a.b", false),
            ("namespaces", "1a", true),
            ("services", "1a", false),
            ("services", "a1", true),
        ];
        for (plural, name, good) in cases {
            let resource = Resource { plural: plural.to_owned(), ..Resource::default() };
            assert_eq!(check(&resource, name).is_none(), good, "{plural} {name}");
        }
        let pods = Resource { plural: "pods".to_owned(), ..Resource::default() };
        assert!(check(&pods, &"a".repeat(254)).is_some());
    }
}
