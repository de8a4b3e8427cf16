//! Istio's kinds as CustomResourceDefinitions, from the same tables as everything else.

use serde_json::{Value, json};

use crate::{
    openapi,
    schema::{self, Kind},
};

/// The CustomResourceDefinitions of all custom kinds.
#[must_use]
pub fn crds() -> Vec<Value> {
    schema::kinds().iter().filter(|kind| kind.custom).map(crd).collect()
}

fn crd(kind: &Kind) -> Value {
    let versions: Vec<Value> = kind
        .versions
        .iter()
        .enumerate()
        .map(|(index, version)| {
            json!({
                "name": version,
                "served": true,
                "storage": index == 0,
                "schema": {"openAPIV3Schema": openapi::structural(kind.schema)},
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(kind.kind),
            })
        })
        .collect();
    let mut names = json!({
        "plural": kind.names.plural,
        "singular": kind.names.singular,
        "kind": kind.kind,
        "listKind": format!("{}List", kind.kind),
        "categories": kind.names.categories,
    });
    if !kind.names.short.is_empty() {
        names["shortNames"] = kind.names.short.into();
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", kind.names.plural, kind.group),
            "labels": {"app": "istio-pilot", "istio": "security"},
        },
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced",
            "conversion": {"strategy": "None"},
            "versions": versions,
        },
    })
}

/// What `kubectl get` shows besides the name; the texts are Istio's.
fn columns(kind: &str) -> Vec<Value> {
    let mut columns = match kind {
        "AuthorizationPolicy" => {
            vec![column("Action", "string", ".spec.action", "The operation to take.")]
        }
        "PeerAuthentication" => vec![column(
            "Mode",
            "string",
            ".spec.mtls.mode",
            "Defines the mTLS mode used for peer authentication.",
        )],
        "DestinationRule" => vec![column(
            "Host",
            "string",
            ".spec.host",
            "The name of a service from the service registry",
        )],
        "ServiceEntry" => vec![
            column("Hosts", "string", ".spec.hosts", "The hosts associated with the ServiceEntry"),
            column(
                "Location",
                "string",
                ".spec.location",
                "Whether the service is external to the mesh or part of the mesh (MESH_EXTERNAL or \
                 MESH_INTERNAL)",
            ),
            column(
                "Resolution",
                "string",
                ".spec.resolution",
                "Service resolution mode for the hosts (NONE, STATIC, or DNS)",
            ),
        ],
        "VirtualService" => vec![
            column(
                "Gateways",
                "string",
                ".spec.gateways",
                "The names of gateways and sidecars that should apply these routes",
            ),
            column(
                "Hosts",
                "string",
                ".spec.hosts",
                "The destination hosts to which traffic is being sent",
            ),
        ],
        _ => Vec::new(),
    };
    columns.push(column("Age", "date", ".metadata.creationTimestamp", AGE));
    columns
}

fn column(name: &str, ty: &str, path: &str, description: &str) -> Value {
    json!({"name": name, "type": ty, "jsonPath": path, "description": description})
}

const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object \
    was created. It is not guaranteed to be set in happens-before order across separate operations. \
    Clients may not set this value. It is represented in RFC3339 form and is in UTC. Populated by \
    the system. Read-only. Null for lists. More info: \
    https://git.k8s.io/community/contributors/devel/api-conventions.md#metadata";
