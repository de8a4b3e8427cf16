//! Istio's `MeshConfig`: key `mesh` of the ConfigMap `istio`.
//!
//! What Palisade acts on is taken over; what it knows and leaves is named in a warning; the rest
//! is an error. A value with an error keeps its default, and it is the caller's decision whether to
//! use a configuration that has errors.

mod providers;
mod tracing;

use palisade_types::{Diagnostic, Mesh, OutboundTrafficPolicy, PathNormalization, TrustDomain};

use crate::{
    Content, HttpRetry, check, codes,
    place::{Place, Report},
    read::read,
    schema::MESH_CONFIG,
    structure,
};

/// Reads a mesh configuration; an empty text is the default one.
#[must_use]
pub fn mesh_config(text: &str) -> (Mesh, Vec<Diagnostic>) {
    let mut mesh = Mesh::default();
    let (documents, mut diagnostics) = read(text);
    let mut report = Report::default();
    if let [document, rest @ ..] = documents.as_slice() {
        let root = Place::root(&document.root);
        if let Some(second) = rest.first() {
            let message = "a mesh configuration is one document";
            report.error(codes::NO_OBJECT, &Place::root(&second.root), message);
        }
        if matches!(document.root.value, Content::Map(_)) {
            structure::check_object(&MESH_CONFIG, &root, &mut report);
            take(&root, &mut mesh, &mut report);
        } else {
            let message = format!("expected a map, found {}", document.root.describe());
            report.error(codes::NO_OBJECT, &root, message);
        }
    }
    diagnostics.extend(report.finish());
    (mesh, diagnostics)
}

fn take(root: &Place<'_>, mesh: &mut Mesh, report: &mut Report) {
    if let Some(place) = root.get("trustDomain")
        && let Some(domain) = trust_domain(&place, report)
    {
        mesh.trust_domain = domain;
    }
    let aliases = root.list("trustDomainAliases").filter_map(|at| trust_domain(&at, report));
    mesh.trust_domain_aliases = aliases.collect();
    let text = |place: Place<'_>| place.node.text().map(str::to_owned);
    if let Some(place) = root.get("rootNamespace") {
        let namespace = place.node.text().unwrap_or_default();
        if check::is_namespace(namespace) {
            mesh.root_namespace = namespace.to_owned();
        } else {
            report.error(codes::NAME, &place, format!("`{namespace}` is no name of a namespace"));
        }
    }
    if let Some(place) = root.walk(&["pathNormalization", "normalization"]) {
        mesh.path_normalization = match place.node.text() {
            Some("NONE") => PathNormalization::None,
            Some("MERGE_SLASHES") => PathNormalization::MergeSlashes,
            Some("DECODE_AND_MERGE_SLASHES") => PathNormalization::DecodeAndMergeSlashes,
            _ => PathNormalization::Base,
        };
    }
    if let Some(place) = root.walk(&["outboundTrafficPolicy", "mode"]) {
        mesh.outbound_traffic_policy = match place.node.text() {
            Some("REGISTRY_ONLY") => OutboundTrafficPolicy::RegistryOnly,
            _ => OutboundTrafficPolicy::AllowAny,
        };
    }
    if let Some(file) = root.get("accessLogFile").and_then(text) {
        mesh.access_log_file = file;
    }
    if let Some(place) = root.get("defaultHttpRetryPolicy") {
        check::retries::policy(&place, report);
        let said = serde_json::from_value::<HttpRetry>(place.node.to_value());
        mesh.retries = said.ok().map(|it| it.policy());
    }
    mesh.extension_providers = providers::take(root, report);
    mesh.tracing = tracing::take(root, report);
}

fn trust_domain(place: &Place<'_>, report: &mut Report) -> Option<TrustDomain> {
    let text = place.node.text()?;
    let domain = text.parse::<TrustDomain>();
    if domain.is_err() {
        let message = format!("`{text}` is no trust domain");
        let help = "a trust domain has lower case letters, digits, `-`, `.` and `_`";
        report.error_help(codes::NAME, place, message, help);
    }
    domain.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<String> {
        mesh_config(text).1.into_iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn what_is_given_is_taken_and_the_rest_is_default() {
        let (mesh, problems) = mesh_config(
            "trustDomain: td1\ntrustDomainAliases: [td2, td3]\nrootNamespace: istio-config\n\
             pathNormalization: {normalization: MERGE_SLASHES}\n\
             outboundTrafficPolicy: {mode: REGISTRY_ONLY}\naccessLogFile: /dev/stdout\n",
        );
        assert_eq!(problems, []);
        assert_eq!(mesh.trust_domain.as_str(), "td1");
        assert_eq!(mesh.trust_domain_aliases.len(), 2);
        assert_eq!(mesh.root_namespace, "istio-config");
        assert_eq!(mesh.path_normalization, PathNormalization::MergeSlashes);
        assert_eq!(mesh.outbound_traffic_policy, OutboundTrafficPolicy::RegistryOnly);
        assert_eq!(mesh.access_log_file, "/dev/stdout");
        assert_eq!(mesh_config(""), (Mesh::default(), Vec::new()));
    }

    #[test]
    fn the_rest_is_named() {
        for (text, expected) in [
            ("enablePrometheusMerge: true", vec!["PAL0018"]),
            ("enablePrometheusMerge: false", vec![]),
            ("trustDomian: a", vec!["PAL0013"]),
            ("trustDomain: A/b", vec!["PAL0020"]),
            ("rootNamespace: a.b", vec!["PAL0020"]),
            ("pathNormalization: {normalization: MERGE}", vec!["PAL0016"]),
            ("meshMTLS: {minProtocolVersion: TLSV1_3}", vec!["PAL0017"]),
            ("- a", vec!["PAL0010"]),
            ("a: [", vec!["PAL0001"]),
            ("trustDomain: a\n---\ntrustDomain: b", vec!["PAL0010"]),
        ] {
            assert_eq!(codes(text), expected, "{text}");
        }
    }
}
