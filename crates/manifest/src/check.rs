//! Rules that take more than the type of one field, kind by kind.
//!
//! They are checked also when the structure is broken, so that one run reports everything; a value
//! of the wrong type is simply not looked at again.

mod authorization;
mod condition;
mod config;
mod container;
mod crd;
mod destination;
mod istio;
mod job;
mod labels;
mod meta;
mod names;
mod peer;
mod pod;
mod probe;
mod request;
pub(crate) mod retries;
mod service;
mod service_entry;
mod source;
mod telemetry;
mod virtual_service;
mod volume;
mod webhook;
mod workload;

pub use request::is_reserved_header;
pub(crate) use telemetry::custom_tags;

use crate::{
    place::{Place, Report},
    schema::KindRef,
};

/// Checks an object of a kind.
pub(crate) fn check(kind: KindRef, root: &Place<'_>, report: &mut Report) {
    meta::object(kind.kind, root, report);
    let spec = root.get("spec");
    let spec = spec.as_ref();
    match (kind.kind.kind, spec) {
        ("ConfigMap", _) => config::config_map(root, report),
        ("Secret", _) => config::secret(root, report),
        ("EndpointSlice", _) => service::endpoint_slice(root, report),
        ("MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration", _) => {
            webhook::configuration(root, report);
        }
        ("AuthorizationPolicy", Some(spec)) => authorization::policy(spec, report),
        ("CustomResourceDefinition", Some(spec)) => crd::definition(root, spec, report),
        ("Deployment", Some(spec)) => workload::deployment(spec, report),
        ("DestinationRule", Some(spec)) => destination::rule(spec, report),
        ("Job", Some(spec)) => job::job(spec, report),
        ("PeerAuthentication", Some(spec)) => peer::policy(spec, report),
        ("Pod", Some(spec)) => {
            pod::spec(spec, report);
            if let Some(metadata) = root.get("metadata") {
                pod::annotations(&metadata, report);
            }
        }
        ("ReplicaSet", Some(spec)) => workload::replica_set(spec, report),
        ("RequestAuthentication", Some(spec)) => request::policy(spec, report),
        ("Service", Some(spec)) => service::service(spec, report),
        ("ServiceEntry", Some(spec)) => service_entry::entry(spec, report),
        ("Telemetry", Some(spec)) => telemetry::telemetry(spec, report),
        ("VirtualService", Some(spec)) => virtual_service::service(root, spec, report),
        (
            "CustomResourceDefinition"
            | "Deployment"
            | "DestinationRule"
            | "Job"
            | "Pod"
            | "Service"
            | "ServiceEntry"
            | "VirtualService",
            None,
        ) => {
            report.missing(root, "spec");
        }
        _ => {}
    }
}

/// Whether a text can be the name of a namespace.
pub(crate) fn is_namespace(name: &str) -> bool {
    names::LABEL.fits(name)
}
