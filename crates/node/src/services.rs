//! Service addresses: routes for ClusterIPs and names for DNS, from Services and EndpointSlices.

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::{Service, ServicePort},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, Resource, runtime::watcher::Event};
use palisade_net::{Fabric, ServiceRoute, Transport, dns::DnsTable};
use tokio::{sync::watch, time::sleep};

use crate::{
    agent::patiently,
    links::{CurrentLinks, Links},
};

/// Follows Services and EndpointSlices and keeps routes, names and links up to date.
pub(crate) async fn follow(
    client: Client,
    fabric: Fabric,
    (table, links): (watch::Sender<Arc<DnsTable>>, watch::Sender<CurrentLinks>),
) {
    let mut services = Box::pin(patiently(Api::<Service>::all(client.clone())));
    let mut slices = Box::pin(patiently(Api::<EndpointSlice>::all(client)));
    let mut known = Known::default();
    let mut applied = Vec::new();
    loop {
        let listed = tokio::select! {
            Some(event) = services.next() => known.services.apply(event),
            Some(event) = slices.next() => known.slices.apply(event),
            else => return,
        };
        // What else is coming at the same moment goes with it.
        let settle = sleep(SETTLE);
        tokio::pin!(settle);
        loop {
            tokio::select! {
                Some(event) = services.next() => { known.services.apply(event); },
                Some(event) = slices.next() => { known.slices.apply(event); },
                () = &mut settle => break,
            }
        }
        if listed == Listed::Partly && !known.is_complete() {
            continue;
        }
        table.send_replace(Arc::new(names(&known)));
        links.send_replace(Some(Arc::new(Links::new(known.services.by_name.values()))));
        let routes = routes(&known);
        if routes != applied {
            let (fabric, wanted) = (fabric.clone(), routes.clone());
            let loaded = tokio::task::spawn_blocking(move || fabric.apply_services(&wanted)).await;
            match loaded {
                Ok(Ok(())) => applied = routes,
                Ok(Err(error)) => tracing::warn!(%error, "service rules were not loaded"),
                Err(error) => tracing::warn!(%error, "service rules were not loaded"),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    services: Objects<Service>,
    slices: Objects<EndpointSlice>,
}

impl Known {
    fn is_complete(&self) -> bool {
        self.services.is_listed && self.slices.is_listed
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Listed {
    Partly,
    Wholly,
}

/// Objects by namespace and name.
#[derive(Debug)]
struct Objects<K> {
    by_name: BTreeMap<(String, String), K>,
    listing: BTreeMap<(String, String), K>,
    is_listed: bool,
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), listing: BTreeMap::new(), is_listed: false }
    }
}

impl<K: Resource> Objects<K> {
    fn apply(&mut self, event: Event<K>) -> Listed {
        let key = |object: &K| {
            let metadata = object.meta();
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            (text(&metadata.namespace), text(&metadata.name))
        };
        match event {
            Event::Init => {
                self.listing.clear();
                return Listed::Partly;
            }
            Event::InitApply(object) => {
                self.listing.insert(key(&object), object);
                return Listed::Partly;
            }
            Event::InitDone => {
                self.by_name = std::mem::take(&mut self.listing);
                self.is_listed = true;
            }
            Event::Apply(object) => drop(self.by_name.insert(key(&object), object)),
            Event::Delete(object) => drop(self.by_name.remove(&key(&object))),
        }
        Listed::Wholly
    }
}

fn routes(known: &Known) -> Vec<ServiceRoute> {
    let slices = by_service(known);
    let mut routes = Vec::new();
    for (key, service) in &known.services.by_name {
        let Some(spec) = &service.spec else { continue };
        let slices = slices.get(key).map(Vec::as_slice).unwrap_or_default();
        for cluster_ip in cluster_ips(service) {
            for port in spec.ports.iter().flatten() {
                let transport = match port.protocol.as_deref() {
                    None | Some("TCP" | "") => Transport::Tcp,
                    Some("UDP") => Transport::Udp,
                    Some(_) => continue,
                };
                let Ok(number) = u16::try_from(port.port) else { continue };
                let endpoints = endpoints(slices, port);
                routes.push(ServiceRoute { cluster_ip, port: number, transport, endpoints });
            }
        }
    }
    routes
}

/// Ready addresses behind a port of a service.
fn endpoints(slices: &[&EndpointSlice], port: &ServicePort) -> Vec<SocketAddrV4> {
    let name = port.name.as_deref().unwrap_or_default();
    let mut endpoints = Vec::new();
    for slice in slices {
        let same = |port: &&k8s_openapi::api::discovery::v1::EndpointPort| {
            port.name.as_deref().unwrap_or_default() == name
        };
        let target = slice.ports.iter().flatten().find(same).and_then(|port| port.port);
        let Some(target) = target.and_then(|port| u16::try_from(port).ok()) else { continue };
        endpoints.extend(ready_addresses(slice).map(|(ip, _)| SocketAddrV4::new(ip, target)));
    }
    endpoints.sort_unstable();
    endpoints.dedup();
    endpoints
}

fn names(known: &Known) -> DnsTable {
    let slices = by_service(known);
    let mut table = DnsTable::default();
    for (key, service) in &known.services.by_name {
        let (namespace, name) = key;
        let own: Vec<_> = cluster_ips(service).collect();
        if !own.is_empty() {
            table.insert_service(namespace, name, own);
            continue;
        }
        let slices = slices.get(key).map(Vec::as_slice).unwrap_or_default();
        let pods: Vec<_> = slices.iter().flat_map(|slice| ready_addresses(slice)).collect();
        let mut addresses: Vec<_> = pods.iter().map(|(ip, _)| *ip).collect();
        addresses.sort_unstable();
        addresses.dedup();
        table.insert_service(namespace, name, addresses);
        for (ip, host) in pods {
            if let Some(host) = host {
                table.insert_pod(namespace, name, host, ip);
            }
        }
    }
    table
}

/// Addresses that take traffic, with hostnames where pods have them.
fn ready_addresses(slice: &EndpointSlice) -> impl Iterator<Item = (Ipv4Addr, Option<&str>)> {
    let ready = slice.endpoints.iter().filter(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    ready.flat_map(|endpoint| {
        let host = endpoint.hostname.as_deref();
        endpoint.addresses.iter().filter_map(move |ip| Some((ip.parse().ok()?, host)))
    })
}

fn cluster_ips(service: &Service) -> impl Iterator<Item = Ipv4Addr> {
    let spec = service.spec.as_ref();
    let all = spec.and_then(|spec| spec.cluster_ips.clone());
    let one = spec.and_then(|spec| spec.cluster_ip.clone()).map(|ip| vec![ip]);
    all.or(one).unwrap_or_default().into_iter().filter_map(|ip| ip.parse().ok())
}

fn by_service(known: &Known) -> HashMap<(String, String), Vec<&EndpointSlice>> {
    let mut slices: HashMap<_, Vec<_>> = HashMap::new();
    for ((namespace, _), slice) in &known.slices.by_name {
        let labels = slice.metadata.labels.as_ref();
        if let Some(service) = labels.and_then(|labels| labels.get("kubernetes.io/service-name")) {
            slices.entry((namespace.clone(), service.clone())).or_default().push(slice);
        }
    }
    slices
}

/// Short against what a person notices, long against a burst of changes.
const SETTLE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn known(services: Value, slices: Value) -> Known {
        let mut known = Known::default();
        let services: Vec<Service> = serde_json::from_value(services).unwrap();
        let slices: Vec<EndpointSlice> = serde_json::from_value(slices).unwrap();
        for service in services {
            known.services.apply(Event::Apply(service));
        }
        for slice in slices {
            known.slices.apply(Event::Apply(slice));
        }
        known
    }

    fn example() -> Known {
        known(
            json!([
                {"metadata": {"namespace": "poc-mesh", "name": "backend"}, "spec": {
                    "clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"],
                    "ports": [{"name": "http", "port": 80}, {"name": "other", "port": 81}]}},
                {"metadata": {"namespace": "poc-mesh", "name": "headless"}, "spec": {
                    "clusterIP": "None", "clusterIPs": ["None"], "ports": [{"port": 5432}]}},
            ]),
            json!([
                {"metadata": {"namespace": "poc-mesh", "name": "backend-1",
                    "labels": {"kubernetes.io/service-name": "backend"}},
                 "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
                 "endpoints": [
                    {"addresses": ["10.244.0.6"]},
                    {"addresses": ["10.244.0.5"], "conditions": {"ready": true}},
                    {"addresses": ["10.244.0.7"], "conditions": {"ready": false}}]},
                {"metadata": {"namespace": "poc-mesh", "name": "headless-1",
                    "labels": {"kubernetes.io/service-name": "headless"}},
                 "addressType": "IPv4", "ports": [{"port": 5432}],
                 "endpoints": [{"addresses": ["10.244.0.8"], "hostname": "db-0"}]},
                {"metadata": {"namespace": "other", "name": "backend-9",
                    "labels": {"kubernetes.io/service-name": "backend"}},
                 "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
                 "endpoints": [{"addresses": ["10.244.0.99"]}]},
            ]),
        )
    }

    #[test]
    fn a_cluster_ip_leads_to_ready_pods_of_its_own_service() {
        let route = |port, endpoints: &[&str]| ServiceRoute {
            cluster_ip: [10, 96, 0, 20].into(),
            port,
            transport: Transport::Tcp,
            endpoints: endpoints.iter().map(|endpoint| endpoint.parse().unwrap()).collect(),
        };
        let expected = [route(80, &["10.244.0.5:8080", "10.244.0.6:8080"]), route(81, &[])];
        assert_eq!(routes(&example()), expected);
    }

    #[test]
    fn names_stand_for_cluster_ips_or_pods() {
        let mut expected = DnsTable::default();
        expected.insert_service("poc-mesh", "backend", vec![[10, 96, 0, 20].into()]);
        expected.insert_service("poc-mesh", "headless", vec![[10, 244, 0, 8].into()]);
        expected.insert_pod("poc-mesh", "headless", "db-0", [10, 244, 0, 8].into());
        assert_eq!(names(&example()), expected);
    }
}
