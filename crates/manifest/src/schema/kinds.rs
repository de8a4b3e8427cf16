//! The kinds that Palisade knows, by group, version and kind.

use super::{
    Object,
    tables::{
        admission, apps, batch, core, crd, istio, pod, records, service, service_entry, telemetry,
        virtual_service,
    },
};

/// A kind of object: its names in YAML and in URLs, and its fields.
#[derive(Debug)]
pub struct Kind {
    /// API group; empty is core.
    pub group: &'static str,
    /// Versions that are served with the same fields; the first one is stored.
    pub versions: &'static [&'static str],
    /// Name in YAML.
    pub kind: &'static str,
    /// Names in URLs and on the command line.
    pub names: Names,
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
    /// Whether it is defined by a CustomResourceDefinition.
    pub custom: bool,
    /// Its fields besides `apiVersion` and `kind`.
    pub schema: &'static Object,
}

/// Names of a [`Kind`] in URLs and on the command line.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// As in `/api/v1/pods`.
    pub plural: &'static str,
    /// As in `kubectl get pod`.
    pub singular: &'static str,
    /// As in `kubectl get po`.
    pub short: &'static [&'static str],
    /// As in `kubectl get all`.
    pub categories: &'static [&'static str],
}

impl Kind {
    /// Whether this is the kind for `apiVersion` and `kind`.
    #[must_use]
    pub fn is(&self, api_version: &str, kind: &str) -> bool {
        let (group, version) = split(api_version);
        self.kind == kind && self.group == group && self.versions.contains(&version)
    }

    /// `apiVersion` of the stored version.
    #[must_use]
    pub fn api_version(&self) -> String {
        let version = self.versions.first().copied().unwrap_or_default();
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }
}

/// A kind in the version of an object.
#[derive(Clone, Copy, Debug)]
pub struct KindRef {
    /// The kind.
    pub kind: &'static Kind,
    /// The version of the object.
    pub version: &'static str,
}

/// All known kinds.
#[must_use]
pub fn kinds() -> &'static [Kind] {
    KINDS
}

/// The kind for `apiVersion` and `kind`.
#[must_use]
pub fn lookup(api_version: &str, kind: &str) -> Option<KindRef> {
    let (_, version) = split(api_version);
    let kind = KINDS.iter().find(|known| known.is(api_version, kind))?;
    let version = kind.versions.iter().find(|known| **known == version)?;
    Some(KindRef { kind, version })
}

/// The kind of an object, by its `apiVersion` and `kind`.
#[must_use]
pub fn kind_of(object: &serde_json::Value) -> Option<KindRef> {
    lookup(object.get("apiVersion")?.as_str()?, object.get("kind")?.as_str()?)
}

fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

const fn kind(
    group: &'static str,
    versions: &'static [&'static str],
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    schema: &'static Object,
) -> Kind {
    Kind {
        group,
        versions,
        kind,
        names: Names { plural, singular, short: &[], categories: &[] },
        namespaced: true,
        custom: false,
        schema,
    }
}

impl Kind {
    const fn short(mut self, short: &'static [&'static str]) -> Self {
        self.names.short = short;
        self
    }

    const fn categories(mut self, categories: &'static [&'static str]) -> Self {
        self.names.categories = categories;
        self
    }

    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn custom(mut self) -> Self {
        self.custom = true;
        self
    }
}

const V1: &[&str] = &["v1"];
const ISTIO: &[&str] = &["v1", "v1beta1"];
const ISTIO_NETWORKING: &[&str] = &["v1", "v1alpha3", "v1beta1"];
const ALL: &[&str] = &["all"];
const SECURITY: &[&str] = &["istio-io", "security-istio-io"];
const NETWORKING: &[&str] = &["istio-io", "networking-istio-io"];
const API_EXTENSIONS: &[&str] = &["api-extensions"];
const TELEMETRY: &[&str] = &["istio-io", "telemetry-istio-io"];
const ISTIO_TELEMETRY: &[&str] = &["v1", "v1alpha1"];
const WEBHOOKS: &str = "admissionregistration.k8s.io";

static KINDS: &[Kind] = &[
    kind("", V1, "Namespace", "namespaces", "namespace", &core::NAMESPACE).short(&["ns"]).cluster(),
    kind("", V1, "ServiceAccount", "serviceaccounts", "serviceaccount", &core::SERVICE_ACCOUNT)
        .short(&["sa"]),
    kind("", V1, "ConfigMap", "configmaps", "configmap", &core::CONFIG_MAP).short(&["cm"]),
    kind("", V1, "Secret", "secrets", "secret", &core::SECRET),
    kind("", V1, "Service", "services", "service", &service::SERVICE)
        .short(&["svc"])
        .categories(ALL),
    kind("", V1, "Pod", "pods", "pod", &pod::POD).short(&["po"]).categories(ALL),
    kind("", V1, "Event", "events", "event", &records::EVENT).short(&["ev"]),
    kind("events.k8s.io", V1, "Event", "events", "event", &records::EVENTS_EVENT).short(&["ev"]),
    kind(
        "discovery.k8s.io",
        V1,
        "EndpointSlice",
        "endpointslices",
        "endpointslice",
        &service::ENDPOINT_SLICE,
    ),
    kind("apps", V1, "ReplicaSet", "replicasets", "replicaset", &apps::REPLICA_SET)
        .short(&["rs"])
        .categories(ALL),
    kind("apps", V1, "Deployment", "deployments", "deployment", &apps::DEPLOYMENT)
        .short(&["deploy"])
        .categories(ALL),
    kind("batch", V1, "Job", "jobs", "job", &batch::JOB).categories(ALL),
    kind(
        WEBHOOKS,
        V1,
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "mutatingwebhookconfiguration",
        &admission::MUTATING_WEBHOOK_CONFIGURATION,
    )
    .categories(API_EXTENSIONS)
    .cluster(),
    kind(
        WEBHOOKS,
        V1,
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "validatingwebhookconfiguration",
        &admission::VALIDATING_WEBHOOK_CONFIGURATION,
    )
    .categories(API_EXTENSIONS)
    .cluster(),
    kind(
        "apiextensions.k8s.io",
        V1,
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "customresourcedefinition",
        &crd::CUSTOM_RESOURCE_DEFINITION,
    )
    .short(&["crd", "crds"])
    .categories(API_EXTENSIONS)
    .cluster(),
    kind("coordination.k8s.io", V1, "Lease", "leases", "lease", &records::LEASE),
    kind(
        "security.istio.io",
        ISTIO,
        "PeerAuthentication",
        "peerauthentications",
        "peerauthentication",
        &istio::PEER_AUTHENTICATION,
    )
    .short(&["pa"])
    .categories(SECURITY)
    .custom(),
    kind(
        "security.istio.io",
        ISTIO,
        "AuthorizationPolicy",
        "authorizationpolicies",
        "authorizationpolicy",
        &istio::AUTHORIZATION_POLICY,
    )
    .short(&["ap"])
    .categories(SECURITY)
    .custom(),
    kind(
        "security.istio.io",
        ISTIO,
        "RequestAuthentication",
        "requestauthentications",
        "requestauthentication",
        &istio::REQUEST_AUTHENTICATION,
    )
    .short(&["ra"])
    .categories(SECURITY)
    .custom(),
    kind(
        "networking.istio.io",
        ISTIO_NETWORKING,
        "DestinationRule",
        "destinationrules",
        "destinationrule",
        &istio::DESTINATION_RULE,
    )
    .short(&["dr"])
    .categories(NETWORKING)
    .custom(),
    kind(
        "networking.istio.io",
        ISTIO_NETWORKING,
        "ServiceEntry",
        "serviceentries",
        "serviceentry",
        &service_entry::SERVICE_ENTRY,
    )
    .short(&["se"])
    .categories(NETWORKING)
    .custom(),
    kind(
        "telemetry.istio.io",
        ISTIO_TELEMETRY,
        "Telemetry",
        "telemetries",
        "telemetry",
        &telemetry::TELEMETRY,
    )
    .short(&["telemetry"])
    .categories(TELEMETRY)
    .custom(),
    kind(
        "networking.istio.io",
        ISTIO_NETWORKING,
        "VirtualService",
        "virtualservices",
        "virtualservice",
        &virtual_service::VIRTUAL_SERVICE,
    )
    .short(&["vs"])
    .categories(NETWORKING)
    .custom(),
];
