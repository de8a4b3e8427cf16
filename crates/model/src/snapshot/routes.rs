//! Which VirtualService says how a client's requests to a service are treated.
//!
//! Looked up as Istio does (`push_context.go`, `VirtualServicesForGateway`): those that only the client's namespace
//! sees, then those that are exported to it by name, then those that all see, the oldest first. Of several for one
//! host, the first one is in force, whole.

use palisade_manifest::{VirtualService, qualified};

use crate::{HttpRoute, Objects, OutboundPort};

/// All VirtualServices that hold in sidecars, the oldest first, with their hosts.
pub(super) struct ClientRoutes<'a>(Vec<(Vec<String>, &'a VirtualService)>);

impl<'a> ClientRoutes<'a> {
    pub(super) fn new(objects: &'a Objects) -> Self {
        let mut all: Vec<&VirtualService> =
            objects.virtual_services.good().filter(|it| it.spec.is_for_mesh()).collect();
        all.sort_by_key(|it| {
            let metadata = &it.metadata;
            (metadata.creation_timestamp, &metadata.name, &metadata.namespace)
        });
        let hosts = |it: &VirtualService| {
            it.spec.hosts.iter().map(|host| qualified(host, &it.metadata.namespace)).collect()
        };
        Self(all.into_iter().map(|it| (hosts(it), it)).collect())
    }

    /// A name for all namespaces whose clients see the same ones.
    pub(super) fn scope<'b>(&self, client: &'b str) -> Option<&'b str> {
        self.0.iter().any(|(_, it)| !it.spec.export_to.is_empty()).then_some(client)
    }

    /// The routes of requests of clients of a namespace to a port; none: all are treated alike.
    pub(super) fn of(&self, client: &str, port: &OutboundPort) -> Vec<HttpRoute> {
        let about = self.0.iter().filter(|(hosts, _)| hosts.contains(&port.service.host));
        let seen = about.filter_map(|(_, it)| Some((rank(it, client)?, it)));
        let Some((_, first)) = seen.min_by_key(|(rank, _)| *rank) else { return Vec::new() };
        let routes = first.spec.http.iter();
        routes
            .map(|route| HttpRoute {
                matches: route.matches.clone(),
                port: route.port().filter(|number| *number != port.port),
                timeout: route.timeout(),
                retries: route.retries.as_ref().map(palisade_manifest::HttpRetry::policy),
            })
            .collect()
    }
}

/// How near a VirtualService is to clients of a namespace, if they see it.
fn rank(service: &VirtualService, client: &str) -> Option<u8> {
    let export = &service.spec.export_to;
    let own = service.metadata.namespace == client;
    let says = |what: &str| export.iter().any(|it| it == what);
    if export.is_empty() || says("*") {
        Some(2)
    } else if says(client) {
        Some(1)
    } else {
        (says(".") && own).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{Object, ServiceRef, Traffic};

    fn service(namespace: &str, name: &str, age: i64, spec: serde_json::Value) -> Object {
        let spec = serde_json::from_value(spec).unwrap();
        let mut it = VirtualService { spec, ..VirtualService::default() };
        name.clone_into(&mut it.metadata.name);
        namespace.clone_into(&mut it.metadata.namespace);
        it.metadata.creation_timestamp = Timestamp::from_second(1000 - age).ok();
        Object::VirtualService(Box::new(it))
    }

    fn port() -> OutboundPort {
        OutboundPort {
            service: ServiceRef {
                host: "backend.shop.svc.cluster.local".to_owned(),
                name: "backend".to_owned(),
                namespace: "shop".to_owned(),
            },
            addresses: Vec::new(),
            port: 80,
            protocol: palisade_types::Protocol::Http,
            sni: String::new(),
            identities: Vec::new(),
            endpoints: Vec::new(),
            traffic: Traffic::default(),
            routes: Vec::new(),
            entry: None,
        }
    }

    #[test]
    fn the_nearest_and_oldest_is_in_force_for_those_who_see_it() {
        let seconds = |hosts: &[&str], timeout: u64, export: &[&str]| {
            let timeout = format!("{timeout}s");
            let to = json!({"destination": {"host": "backend", "port": {"number": 80}}});
            json!({"hosts": hosts, "exportTo": export, "http": [{"route": [to], "timeout": timeout}]})
        };
        let full = "backend.shop.svc.cluster.local";
        let gateway = |mut spec: serde_json::Value| {
            spec["gateways"] = json!(["front"]);
            spec
        };
        for (services, expected) in [
            (vec![], None),
            (vec![service("shop", "a", 0, seconds(&["backend"], 1, &[]))], Some(1)),
            (vec![service("other", "a", 0, seconds(&["backend"], 1, &[]))], None),
            (vec![service("other", "a", 0, seconds(&[full], 1, &[]))], Some(1)),
            (vec![service("other", "a", 0, gateway(seconds(&[full], 1, &[])))], None),
            (vec![service("other", "a", 0, seconds(&[full], 1, &["."]))], None),
            (vec![service("other", "a", 0, seconds(&[full], 1, &["client"]))], Some(1)),
            (
                vec![
                    service("shop", "a", 1, seconds(&["backend"], 1, &[])),
                    service("shop", "b", 2, seconds(&["else", "backend"], 2, &["*"])),
                ],
                Some(2),
            ),
            (
                vec![
                    service("shop", "a", 9, seconds(&["backend"], 1, &[])),
                    service("shop", "b", 5, seconds(&["backend"], 2, &["client"])),
                    service("client", "c", 0, seconds(&[full], 3, &["."])),
                ],
                Some(3),
            ),
        ] {
            let shown = format!("{services:?}");
            let objects: Objects = services.into_iter().collect();
            let routes = ClientRoutes::new(&objects).of("client", &port());
            let timeout = routes.first().and_then(|it| it.timeout).map(|it| it.as_secs());
            assert_eq!(timeout, expected, "{shown}");
            assert!(routes.iter().all(|it| it.port.is_none()), "its own port is not another");
        }
    }
}
