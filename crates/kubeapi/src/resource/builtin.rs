//! The built-in resources, as one table in the order of discovery.

use super::{Resource, Subresource};

/// Group, version, plural, kind, short name, flags.
///
/// Flags: `n` namespaced, `a` in category `all`, `g` counts generations, `s` has a status
/// subresource, `c` has a scale subresource, `r` a review: it can only be created, and is not kept.
#[rustfmt::skip]
const TABLE: &[(&str, &str, &str, &str, &str)] = &[
    ("", "configmaps", "ConfigMap", "cm", "n"),
    ("", "events", "Event", "ev", "n"),
    ("", "namespaces", "Namespace", "ns", "s"),
    ("", "nodes", "Node", "no", "s"),
    ("", "pods", "Pod", "po", "nags"),
    ("", "secrets", "Secret", "", "n"),
    ("", "serviceaccounts", "ServiceAccount", "sa", "n"),
    ("", "services", "Service", "svc", "nas"),
    ("apps", "deployments", "Deployment", "deploy", "nagsc"),
    ("apps", "replicasets", "ReplicaSet", "rs", "nagsc"),
    ("events.k8s.io", "events", "Event", "ev", "n"),
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", "", "r"),
    ("authentication.k8s.io", "tokenreviews", "TokenReview", "", "r"),
    ("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview", "", "nr"),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", "", "r"),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", "", "r"),
    ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", "", "r"),
    ("batch", "jobs", "Job", "", "nags"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", "", "g"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", "", "g"),
    ("apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition", "crd", "gs"),
    ("coordination.k8s.io", "leases", "Lease", "", "n"),
    ("discovery.k8s.io", "endpointslices", "EndpointSlice", "", "ng"),
];

/// Verbs of a resource that is kept.
const KEPT: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Verbs of a subresource that is a part of its object.
const PART: &[&str] = &["get", "patch", "update"];

pub(super) fn resources() -> Vec<Resource> {
    TABLE.iter().map(resource).collect()
}

fn resource((group, plural, kind, short, flags): &(&str, &str, &str, &str, &str)) -> Resource {
    let has = |flag: char| flags.contains(flag);
    let verbs: &[&str] = if has('r') { &["create"] } else { KEPT };
    let verbs = verbs.iter().filter(|verb| *plural != "namespaces" || **verb != "deletecollection");
    Resource {
        group: (*group).to_owned(),
        versions: vec!["v1".to_owned()],
        plural: (*plural).to_owned(),
        singular: kind.to_lowercase(),
        kind: (*kind).to_owned(),
        list_kind: format!("{kind}List"),
        short_names: Some(*short)
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .into_iter()
            .collect(),
        categories: if has('a') { vec!["all".to_owned()] } else { Vec::new() },
        namespaced: has('n'),
        verbs: verbs.map(|verb| (*verb).to_owned()).collect(),
        subresources: subresources(plural, kind, has('s'), has('c')),
        has_generation: has('g'),
        storage: match (*group, *plural) {
            ("" | "events.k8s.io", plural) => plural.to_owned(),
            (group, plural) => format!("{plural}.{group}"),
        },
        custom: None,
    }
}

fn subresources(plural: &str, kind: &str, status: bool, scale: bool) -> Vec<Subresource> {
    let mut all = match plural {
        "namespaces" => vec![sub("finalize", kind, &["update"])],
        "pods" => vec![
            sub("attach", "PodAttachOptions", &["create", "get"]),
            sub("exec", "PodExecOptions", &["create", "get"]),
            sub("log", kind, &["get"]),
            sub("portforward", "PodPortForwardOptions", &["create", "get"]),
            sub("proxy", "PodProxyOptions", &["create", "delete", "get", "patch", "update"]),
        ],
        "serviceaccounts" => vec![Subresource {
            group_version: Some(("authentication.k8s.io".to_owned(), "v1".to_owned())),
            ..sub("token", "TokenRequest", &["create"])
        }],
        "services" => {
            vec![sub(
                "proxy",
                "ServiceProxyOptions",
                &["create", "delete", "get", "patch", "update"],
            )]
        }
        _ => Vec::new(),
    };
    if scale {
        all.push(Subresource {
            group_version: Some(("autoscaling".to_owned(), "v1".to_owned())),
            ..sub("scale", "Scale", PART)
        });
    }
    if status {
        all.push(sub("status", kind, PART));
    }
    all
}

fn sub(name: &str, kind: &str, verbs: &[&str]) -> Subresource {
    Subresource {
        name: name.to_owned(),
        group_version: None,
        kind: kind.to_owned(),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
    }
}
