//! The kinds that the control plane reads and writes, as the Kubernetes API names them.

use kube::core::{ApiResource, GroupVersionKind};
use palisade_model::Kind;

/// The API resource of a kind of the mesh.
pub(crate) fn of(kind: Kind) -> ApiResource {
    let (group, version, plural) = match kind {
        Kind::Namespace => ("", "v1", "namespaces"),
        Kind::Service => ("", "v1", "services"),
        Kind::Pod => ("", "v1", "pods"),
        Kind::EndpointSlice => ("discovery.k8s.io", "v1", "endpointslices"),
        Kind::PeerAuthentication => (SECURITY, "v1", "peerauthentications"),
        Kind::AuthorizationPolicy => (SECURITY, "v1", "authorizationpolicies"),
        Kind::RequestAuthentication => (SECURITY, "v1", "requestauthentications"),
        Kind::DestinationRule => (NETWORKING, "v1", "destinationrules"),
        Kind::ServiceEntry => (NETWORKING, "v1", "serviceentries"),
        Kind::Telemetry => ("telemetry.istio.io", "v1", "telemetries"),
        Kind::VirtualService => (NETWORKING, "v1", "virtualservices"),
    };
    resource(group, version, kind.as_str(), plural)
}

/// EndpointSlices of an API server that does not have them under `v1` yet.
pub(crate) fn early_endpoint_slices() -> ApiResource {
    resource("discovery.k8s.io", "v1beta1", "EndpointSlice", "endpointslices")
}

/// ConfigMaps: the mesh's settings, and the roots in every namespace.
pub(crate) fn config_maps() -> ApiResource {
    resource("", "v1", "ConfigMap", "configmaps")
}

/// Secrets: of them, the authority that somebody brings.
pub(crate) fn secrets() -> ApiResource {
    resource("", "v1", "Secret", "secrets")
}

/// The webhooks that change objects.
pub(crate) fn mutating_webhooks() -> ApiResource {
    let plural = "mutatingwebhookconfigurations";
    resource("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", plural)
}

/// The webhooks that refuse objects.
pub(crate) fn validating_webhooks() -> ApiResource {
    let plural = "validatingwebhookconfigurations";
    resource("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", plural)
}

/// Events.
pub(crate) fn events() -> ApiResource {
    resource("", "v1", "Event", "events")
}

/// Reviews of tokens.
pub(crate) fn token_reviews() -> ApiResource {
    resource("authentication.k8s.io", "v1", "TokenReview", "tokenreviews")
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
