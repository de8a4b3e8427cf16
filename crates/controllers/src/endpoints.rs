//! EndpointSlices: for each service with a selector, the addresses of its pods.
//!
//! Pods that are not ready are listed as such; pods that end stay listed as terminating until they
//! are gone. A service without pods keeps one empty slice.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod, Service, ServicePort},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use serde_json::json;

use crate::{
    action::{Action, Plan},
    objects::{Id, Kind, Object, controlled_by, is_terminating, name, namespace},
    pod,
    world::World,
};

/// Brings the slices of a service in line with its pods.
pub(crate) fn reconcile(world: &World, id: &Id) -> Plan {
    let existing: Vec<&EndpointSlice> = world
        .within(Kind::EndpointSlice, &id.namespace)
        .filter_map(|object| match object {
            Object::EndpointSlice(slice) if is_ours(&slice.metadata, &id.name) => Some(&**slice),
            _ => None,
        })
        .collect();
    let service = match world.get(id) {
        Some(Object::Service(service)) if !is_terminating(&service.metadata) => service,
        _ => return existing.iter().map(|slice| delete(slice)).collect::<Vec<_>>().into(),
    };
    if selector(service).is_none() || !world.is_open(&service.metadata) {
        return Plan::default();
    }
    let pods = world.pods(&id.namespace).filter(|pod| selects(service, &pod.metadata));
    align(service, &existing, wanted(service, pods)).into()
}

/// The service that a slice says it belongs to.
pub(crate) fn service_of(slice: &Id, metadata: &ObjectMeta) -> Option<Id> {
    let service = metadata.labels.as_ref()?.get(SERVICE)?;
    Some(Id::new(Kind::Service, &slice.namespace, service))
}

/// Whether a service selects a pod.
pub(crate) fn selects(service: &Service, pod: &ObjectMeta) -> bool {
    selector(service).is_some_and(|selector| {
        let labels = pod.labels.as_ref();
        selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    })
}

fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    spec.selector.as_ref().filter(|selector| !selector.is_empty() && !is_external)
}

fn is_ours(metadata: &ObjectMeta, service: &str) -> bool {
    let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key));
    label(SERVICE).is_some_and(|found| found == service)
        && label(MANAGED_BY).is_some_and(|found| found == CONTROLLER)
}

/// Addresses and ports that one slice holds.
#[derive(Clone, Debug, PartialEq)]
struct Content {
    family: &'static str,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
}

/// What slices there should be: pods whose named ports have other numbers are in others.
fn wanted<'a>(service: &Service, pods: impl Iterator<Item = &'a Pod>) -> Vec<Content> {
    let mut contents: Vec<Content> = Vec::new();
    let mut pods: Vec<&Pod> = pods.filter(|pod| !pod::has_ended(pod)).collect();
    pods.sort_by_key(|pod| name(&pod.metadata));
    for pod in pods {
        let Some(address) = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()) else {
            continue;
        };
        let family = if address.contains(':') { "IPv6" } else { "IPv4" };
        let ports = ports(service, pod);
        let endpoint = endpoint(service, pod, address);
        let open = contents.iter_mut().find(|content| {
            content.family == family && content.ports == ports && content.endpoints.len() < MAX
        });
        match open {
            Some(content) => content.endpoints.push(endpoint),
            None => contents.push(Content { family, ports, endpoints: vec![endpoint] }),
        }
    }
    if contents.is_empty() {
        contents.push(Content { family: "IPv4", ports: Vec::new(), endpoints: Vec::new() });
    }
    contents
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let declared = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    declared
        .iter()
        .filter_map(|port| {
            Some(EndpointPort {
                // A port without name has the empty one, not none.
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(number(port, pod)?),
                protocol: Some(protocol(port.protocol.as_deref()).to_owned()),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

/// The pod's port that a service's port leads to; none if the pod has none of that name.
fn number(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|found| {
            found.name.as_ref() == Some(name)
                && protocol(found.protocol.as_deref()) == protocol(port.protocol.as_deref())
        })
        .map(|found| found.container_port)
}

fn protocol(declared: Option<&str>) -> &str {
    declared.filter(|text| !text.is_empty()).unwrap_or("TCP")
}

fn endpoint(service: &Service, pod: &Pod, address: &str) -> Endpoint {
    let spec = service.spec.as_ref();
    let is_ending = is_terminating(&pod.metadata);
    let is_serving = pod::is_ready(pod);
    let publishes_all = spec.and_then(|spec| spec.publish_not_ready_addresses).unwrap_or_default();
    let pod_spec = pod.spec.as_ref();
    let hostname = pod_spec.and_then(|spec| {
        let is_in_service = spec.subdomain.as_deref() == service.metadata.name.as_deref();
        spec.hostname.clone().filter(|name| is_in_service && !name.is_empty())
    });
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_all || (is_serving && !is_ending)),
            serving: Some(is_serving),
            terminating: Some(is_ending),
        }),
        hostname,
        node_name: pod_spec.and_then(|spec| spec.node_name.clone()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

/// Changes as few slices as possible: one with the same ports takes the new addresses first.
fn align(service: &Service, existing: &[&EndpointSlice], wanted: Vec<Content>) -> Vec<Action> {
    let mut free: Vec<&EndpointSlice> =
        existing.iter().copied().filter(|slice| !is_terminating(&slice.metadata)).collect();
    let mut actions = Vec::new();
    for content in wanted {
        let usable = |slice: &&EndpointSlice| slice.address_type == content.family;
        let at = free
            .iter()
            .position(|slice| usable(slice) && has_ports(slice, &content))
            .or_else(|| free.iter().position(usable));
        match at {
            Some(at) => actions.extend(update(service, free.remove(at), &content)),
            None => actions.push(create(service, content)),
        }
    }
    actions.extend(free.into_iter().map(delete));
    actions
}

fn has_ports(slice: &EndpointSlice, content: &Content) -> bool {
    slice.ports.as_deref().unwrap_or_default() == content.ports
}

fn update(service: &Service, slice: &EndpointSlice, content: &Content) -> Option<Action> {
    let labels = labels(service);
    let has_labels = labels.iter().all(|(key, value)| {
        slice.metadata.labels.as_ref().and_then(|found| found.get(key)) == Some(value)
    });
    if slice.endpoints == content.endpoints && has_ports(slice, content) && has_labels {
        return None;
    }
    let patch = json!({
        "metadata": { "labels": labels },
        "endpoints": content.endpoints,
        "ports": content.ports,
    });
    let object = Object::EndpointSlice(Box::new(slice.clone()));
    Some(Action::merge(Id::of(Kind::EndpointSlice, &slice.metadata), &object, patch))
}

fn create(service: &Service, content: Content) -> Action {
    let slice = EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(&service.metadata))),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels(service)),
            owner_references: Some(vec![controlled_by(Kind::Service, &service.metadata)]),
            ..ObjectMeta::default()
        },
        address_type: content.family.to_owned(),
        endpoints: content.endpoints,
        ports: Some(content.ports),
    };
    Action::create(Id::new(Kind::EndpointSlice, namespace(&service.metadata), ""), &slice)
}

fn delete(slice: &EndpointSlice) -> Action {
    let object = Object::EndpointSlice(Box::new(slice.clone()));
    Action::delete(Id::of(Kind::EndpointSlice, &slice.metadata), &object)
}

/// The service's own labels and those that say whose slice it is.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE.to_owned(), name(&service.metadata).to_owned());
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    if address == Some("None") {
        labels.insert("service.kubernetes.io/headless".to_owned(), String::new());
    }
    labels
}

const SERVICE: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Addresses in one slice.
const MAX: usize = 100;
