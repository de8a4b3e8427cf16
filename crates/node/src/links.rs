//! Variables by which containers find services, as kubelet and Docker's links set them. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Service;

/// Names and values.
type Variables = Vec<(String, String)>;

/// The variables of all services that have an address, by namespace.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Links {
    namespaces: BTreeMap<String, Variables>,
    /// Those of the API server's own service, which every container gets.
    api_server: Variables,
}

/// None as long as the services have not been listed.
pub(crate) type CurrentLinks = Option<Arc<Links>>;

impl Links {
    /// Links to these services.
    pub(crate) fn new<'a>(services: impl IntoIterator<Item = &'a Service>) -> Self {
        let mut links = Self::default();
        for service in services {
            let variables = of_service(service);
            let namespace = service.metadata.namespace.clone().unwrap_or_default();
            if namespace == "default" && service.metadata.name.as_deref() == Some("kubernetes") {
                links.api_server.clone_from(&variables);
            }
            links.namespaces.entry(namespace).or_default().extend(variables);
        }
        links
    }

    /// What a container of a namespace gets; `enabled` is the pod's `enableServiceLinks`.
    pub(crate) fn of(&self, namespace: &str, enabled: bool) -> Variables {
        let own = self.namespaces.get(namespace).filter(|_| enabled);
        let own = own.map(Vec::as_slice).unwrap_or_default();
        let holds_api_server = namespace == "default" && !own.is_empty();
        let api_server = self.api_server.as_slice();
        [if holds_api_server { &[] } else { api_server }, own].concat()
    }
}

fn of_service(service: &Service) -> Variables {
    let spec = service.spec.clone().unwrap_or_default();
    let ip = spec.cluster_ip.filter(|ip| !ip.is_empty() && ip != "None");
    let ports = spec.ports.unwrap_or_default();
    let (Some(ip), Some(first)) = (ip, ports.first()) else { return Vec::new() };
    let name = variable(service.metadata.name.as_deref().unwrap_or_default());
    let mut all = vec![
        (format!("{name}_SERVICE_HOST"), ip.clone()),
        (format!("{name}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in &ports {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let key = format!("{name}_SERVICE_PORT_{}", variable(port_name));
            all.push((key, port.port.to_string()));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        let url = format!("{lower}://{ip}:{}", port.port);
        if index == 0 {
            all.push((format!("{name}_PORT"), url.clone()));
        }
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        all.extend([
            (prefix.clone(), url),
            (format!("{prefix}_PROTO"), lower),
            (format!("{prefix}_PORT"), port.port.to_string()),
            (format!("{prefix}_ADDR"), ip.clone()),
        ]);
    }
    all
}

fn variable(name: &str) -> String {
    name.to_uppercase().replace(['-', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_told_in_the_words_of_kubelet() {
        let services: Vec<Service> = serde_json::from_value(serde_json::json!([
            {"metadata": {"namespace": "shop", "name": "my-db"}, "spec": {"clusterIP": "10.96.0.9", "ports": [
                {"name": "http-api", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"},
            ]}},
            {"metadata": {"namespace": "shop", "name": "headless"}, "spec": {
                "clusterIP": "None", "ports": [{"port": 1}]}},
            {"metadata": {"namespace": "shop", "name": "nothing"}, "spec": {
                "clusterIP": "10.96.0.8"}},
        ]))
        .unwrap();
        let links = Links::new(&services);
        let lines: Vec<_> =
            links.of("shop", true).iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(
            lines,
            [
                "MY_DB_SERVICE_HOST=10.96.0.9",
                "MY_DB_SERVICE_PORT=80",
                "MY_DB_SERVICE_PORT_HTTP_API=80",
                "MY_DB_SERVICE_PORT_DNS=53",
                "MY_DB_PORT=tcp://10.96.0.9:80",
                "MY_DB_PORT_80_TCP=tcp://10.96.0.9:80",
                "MY_DB_PORT_80_TCP_PROTO=tcp",
                "MY_DB_PORT_80_TCP_PORT=80",
                "MY_DB_PORT_80_TCP_ADDR=10.96.0.9",
                "MY_DB_PORT_53_UDP=udp://10.96.0.9:53",
                "MY_DB_PORT_53_UDP_PROTO=udp",
                "MY_DB_PORT_53_UDP_PORT=53",
                "MY_DB_PORT_53_UDP_ADDR=10.96.0.9",
            ]
        );
    }

    #[test]
    fn every_container_finds_the_api_server_and_its_own_namespace() {
        let service = |namespace: &str, name: &str| -> Service {
            serde_json::from_value(serde_json::json!({
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 443}]},
            }))
            .unwrap()
        };
        let all =
            [("default", "kubernetes"), ("default", "web"), ("shop", "db"), ("else", "kubernetes")];
        let links = Links::new(&all.map(|(namespace, name)| service(namespace, name)));
        for (namespace, enabled, expected) in [
            ("default", true, "KUBERNETES WEB"),
            ("default", false, "KUBERNETES"),
            ("shop", true, "KUBERNETES DB"),
            ("shop", false, "KUBERNETES"),
            ("empty", true, "KUBERNETES"),
        ] {
            let variables = links.of(namespace, enabled);
            let hosts = variables.iter().filter_map(|(name, _)| name.strip_suffix("_SERVICE_HOST"));
            let hosts = hosts.collect::<Vec<_>>().join(" ");
            assert_eq!(hosts, expected, "{namespace} {enabled}");
        }
    }
}
