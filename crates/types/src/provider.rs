//! External authorizers, Istio's `MeshConfig.extensionProviders` as far as CUSTOM policies ask them.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

/// A service that is asked about requests.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtensionProvider {
    /// Name that policies call it by.
    pub name: String,
    /// Fully qualified host of the service.
    pub service: String,
    /// Namespace of the service, where it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Port of the service.
    pub port: u16,
    /// How long an answer may take; Istio's default is 600 s.
    pub timeout: Duration,
    /// What an answer that does not come means.
    pub on_error: OnError,
    /// How it is asked.
    pub protocol: ProviderProtocol,
    /// What it sees of the body of a request; by default nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodySeen>,
    /// Why it can't be asked at all, so that what would ask it is denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// How much of a request's body an authorizer sees (`includeRequestBodyInCheck`). That much of it is held
/// until the authorizer has answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BodySeen {
    /// Bytes at most (`maxRequestBytes`).
    pub most: NonZeroU32,
    /// What becomes of a longer body.
    pub longer: LongerBody,
    /// How a gRPC authorizer gets it.
    pub form: BodyForm,
}

/// What becomes of a request whose body is longer than an authorizer may see (`allowPartialMessage`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LongerBody {
    /// It is refused with 413.
    Refused,
    /// The authorizer sees the beginning.
    Cut,
}

/// The field of a gRPC check that has the body (`packAsBytes`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BodyForm {
    /// `body`, in which what is not UTF-8 is replaced.
    Text,
    /// `raw_body`.
    Bytes,
}

/// What becomes of a request when its authorizer does not answer, or answers nonsense.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnError {
    /// It passes (`failOpen`).
    Allow,
    /// It is refused with this status (`statusOnError`, by default 403).
    Refuse(u16),
}

/// How a provider is asked.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProviderProtocol {
    /// By `envoy.service.auth.v3.Authorization/Check`.
    Grpc,
    /// By the request itself.
    Http(Box<HttpProvider>),
}

/// Which fields go to an HTTP authorizer and come back from it. A pattern is a name, or has one `*` at an
/// end; case does not count.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpProvider {
    /// Stands before the path of the request.
    pub path_prefix: String,
    /// Fields of the request that it sees, besides method, path, host and `authorization`.
    pub request_headers: Vec<String>,
    /// Fields that are added for it.
    pub additional_headers: BTreeMap<String, String>,
    /// Fields of its answer that the workload gets.
    pub upstream_on_allow: Vec<String>,
    /// Fields of its answer that the client gets with the workload's.
    pub downstream_on_allow: Vec<String>,
    /// Fields of its answer that the client gets with a refusal; empty: all.
    pub downstream_on_deny: Vec<String>,
}

/// Whether a pattern of `names` takes a field name.
#[must_use]
pub fn takes_field(names: &[String], name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    names.iter().any(|pattern| {
        let pattern = pattern.to_ascii_lowercase();
        if let Some(end) = pattern.strip_prefix('*') {
            name.ends_with(end)
        } else if let Some(start) = pattern.strip_suffix('*') {
            name.starts_with(start)
        } else {
            name == pattern
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_or_one_end_of_it() {
        for (pattern, name, taken) in [
            ("x-user", "X-User", true),
            ("X-User", "x-user", true),
            ("x-user", "x-user-id", false),
            ("x-*", "X-anything", true),
            ("x-*", "y-x-", false),
            ("*-id", "x-user-ID", true),
            ("*-id", "x-id-user", false),
        ] {
            assert_eq!(takes_field(&[pattern.to_owned()], name), taken, "{pattern} {name}");
        }
    }
}
