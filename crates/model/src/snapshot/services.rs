//! Services, the pods behind them, and what their ports speak.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use palisade_manifest::{EndpointSlice, ObjectMeta, Pod, Service, ServicePort, TargetPort};
use palisade_types::Protocol;

use crate::{Objects, ServiceRef};

/// Label by which an EndpointSlice names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What a service's port speaks: `appProtocol`, else the prefix of its name, else sniffed. None for
/// a port that is not TCP. Istio `pkg/config/kube/conversion.go`.
#[must_use]
pub fn port_protocol(port: &ServicePort) -> Option<Protocol> {
    if !matches!(port.protocol.as_str(), "" | "TCP") {
        return None;
    }
    let declared = port.app_protocol.as_deref().unwrap_or(&port.name).to_ascii_lowercase();
    match declared.as_str() {
        "kubernetes.io/h2c" => return Some(Protocol::Http2),
        "kubernetes.io/ws" => return Some(Protocol::Http),
        "kubernetes.io/wss" => return Some(Protocol::Tcp),
        _ => {}
    }
    Some(match declared.split('-').next().unwrap_or_default() {
        "http" => Protocol::Http,
        "http2" => Protocol::Http2,
        "grpc" => Protocol::Grpc,
        "tcp" | "tls" | "https" | "mongo" | "mysql" | "redis" => Protocol::Tcp,
        _ if SERVER_FIRST.contains(&port.port) => Protocol::Tcp,
        _ => Protocol::Auto,
    })
}

/// SMTP, DNS, MySQL and MongoDB: never sniffed, since the server may speak first.
const SERVER_FIRST: [u16; 4] = [25, 53, 3306, 27017];

/// Every service with its pods and endpoint slices.
pub(super) struct Registry<'a> {
    /// In order of namespace and name.
    pub(super) services: Vec<Entry<'a>>,
}

/// One service.
pub(super) struct Entry<'a> {
    pub(super) service: &'a Service,
    pub(super) reference: ServiceRef,
    /// Live pods that its selector selects or its endpoints name, ready or not.
    pub(super) pods: Vec<&'a Pod>,
    pub(super) slices: Vec<&'a EndpointSlice>,
}

impl<'a> Registry<'a> {
    pub(super) fn new(objects: &'a Objects, pods: &[&'a Pod]) -> Self {
        let mut slices: HashMap<(&str, &str), Vec<&EndpointSlice>> = HashMap::new();
        for slice in objects.endpoint_slices.good() {
            if let Some(name) = slice.metadata.labels.get(SERVICE_NAME) {
                slices.entry((&slice.metadata.namespace, name)).or_default().push(slice);
            }
        }
        let mut by_namespace: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
        for pod in pods {
            by_namespace.entry(&pod.metadata.namespace).or_default().push(pod);
        }
        let services = objects
            .services()
            .map(|service| {
                let metadata = &service.metadata;
                let at = (metadata.namespace.as_str(), metadata.name.as_str());
                let slices = slices.remove(&at).unwrap_or_default();
                let neighbours = by_namespace.get(at.0).map(Vec::as_slice).unwrap_or_default();
                Entry {
                    service,
                    reference: service_ref(service),
                    pods: pods_behind(service, &slices, neighbours),
                    slices,
                }
            })
            .collect();
        Self { services }
    }

    /// The services that select or list a pod.
    pub(super) fn of_pod(&self, pod: &Pod) -> impl Iterator<Item = &Entry<'a>> {
        self.services.iter().filter(move |entry| {
            entry.service.metadata.namespace == pod.metadata.namespace
                && entry.pods.iter().any(|other| other.metadata.name == pod.metadata.name)
        })
    }
}

impl Entry<'_> {
    /// The virtual addresses; none for a headless service.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.service.spec.cluster_ips.iter().filter_map(|ip| ip.parse().ok()).collect()
    }
}

/// The port of a pod that a service's port leads to.
pub(crate) fn target_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target_port {
        None => Some(port.port),
        Some(TargetPort::Number(number)) => Some(*number),
        Some(TargetPort::Name(name)) => {
            let spec = &pod.spec;
            spec.containers
                .iter()
                .chain(&spec.init_containers)
                .flat_map(|container| &container.ports)
                .find(|declared| {
                    declared.name == *name && matches!(declared.protocol.as_str(), "" | "TCP")
                })
                .map(|declared| declared.container_port)
        }
    }
}

/// The fully qualified name of a service.
pub(crate) fn service_host(service: &ObjectMeta) -> String {
    format!("{}.{}.svc.cluster.local", service.name, service.namespace)
}

pub(crate) fn service_ref(service: &Service) -> ServiceRef {
    let (name, namespace) = (&service.metadata.name, &service.metadata.namespace);
    ServiceRef {
        host: service_host(&service.metadata),
        name: name.clone(),
        namespace: namespace.clone(),
    }
}

fn pods_behind<'a>(
    service: &Service,
    slices: &[&EndpointSlice],
    neighbours: &[&'a Pod],
) -> Vec<&'a Pod> {
    let selector = &service.spec.selector;
    let listed = |pod: &Pod| {
        slices.iter().flat_map(|slice| &slice.endpoints).any(|endpoint| {
            endpoint
                .target_ref
                .as_ref()
                .is_some_and(|target| target.kind == "Pod" && target.name == pod.metadata.name)
        })
    };
    let selected = |pod: &Pod| {
        !selector.is_empty()
            && selector.iter().all(|(key, value)| pod.metadata.labels.get(key) == Some(value))
    };
    neighbours.iter().filter(|pod| selected(pod) || listed(pod)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ports_protocol_is_what_its_app_protocol_or_name_declares() {
        use Protocol::{Auto, Grpc, Http, Http2, Tcp};
        for (name, app_protocol, number, protocol) in [
            ("", None, 80, Some(Auto)),
            ("web", None, 80, Some(Auto)),
            ("http", None, 80, Some(Http)),
            ("http-web", None, 80, Some(Http)),
            ("HTTP-web", None, 80, Some(Http)),
            ("http2-web", None, 80, Some(Http2)),
            ("httpweb", None, 80, Some(Auto)),
            ("grpc", None, 80, Some(Grpc)),
            ("grpc-web", None, 80, Some(Grpc)),
            ("tcp-db", None, 80, Some(Tcp)),
            ("tls", None, 80, Some(Tcp)),
            ("https", None, 443, Some(Tcp)),
            ("mongo", None, 80, Some(Tcp)),
            ("redis", None, 80, Some(Tcp)),
            ("", None, 3306, Some(Tcp)),
            ("http", None, 3306, Some(Http)),
            ("http", Some("tcp"), 80, Some(Tcp)),
            ("tcp", Some("http"), 80, Some(Http)),
            ("http", Some("example.com/own"), 80, Some(Auto)),
            ("x", Some("kubernetes.io/h2c"), 80, Some(Http2)),
            ("x", Some("kubernetes.io/ws"), 80, Some(Http)),
            ("x", Some("kubernetes.io/wss"), 80, Some(Tcp)),
        ] {
            let port = ServicePort {
                name: name.to_owned(),
                port: number,
                app_protocol: app_protocol.map(str::to_owned),
                ..ServicePort::default()
            };
            assert_eq!(port_protocol(&port), protocol, "{name} {app_protocol:?} {number}");
        }
        let udp = ServicePort { protocol: "UDP".to_owned(), ..ServicePort::default() };
        assert_eq!(port_protocol(&udp), None);
    }
}
