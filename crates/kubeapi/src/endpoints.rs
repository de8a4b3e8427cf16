//! From a service and a port to an address that serves it.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::{api::Api, ids, object, status::ApiError};

/// A service's port as a client names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PortName<'a> {
    /// By number.
    Number(u16),
    /// By name; empty for the only one.
    Name(&'a str),
}

impl<'a> PortName<'a> {
    /// From text: a number or a name.
    pub(crate) fn parse(text: &'a str) -> Self {
        text.parse().map_or(Self::Name(text), Self::Number)
    }
}

/// The address of a ready endpoint of a service; a random one if there are several.
pub(crate) fn of_service(
    api: &Api,
    namespace: &str,
    name: &str,
    port: PortName<'_>,
) -> Result<SocketAddr, ApiError> {
    let service = api
        .find("services", namespace, name)
        .ok_or_else(|| ApiError::unavailable(format!("service \"{name}\" not found")))?;
    let ports: Vec<&Value> = object::array(&service.value, "/spec/ports").collect();
    let wanted = ports.iter().find(|candidate| match port {
        PortName::Number(number) => {
            candidate.get("port").and_then(Value::as_u64) == Some(number.into())
        }
        PortName::Name("") => ports.len() == 1,
        PortName::Name(name) => object::text(candidate, "/name") == name,
    });
    let wanted = wanted.ok_or_else(|| {
        ApiError::unavailable(format!("no service port {port:?} found for service \"{name}\""))
    })?;
    let port_name = object::text(wanted, "/name");
    let (_, slices) = api.store.list("endpointslices.discovery.k8s.io", Some(namespace));
    let ready: Vec<SocketAddr> = slices
        .iter()
        .map(|slice| &slice.value)
        .filter(|slice| {
            let labels = object::labels(slice);
            labels
                .and_then(|labels| labels.get("kubernetes.io/service-name"))
                .and_then(Value::as_str)
                == Some(name)
        })
        .flat_map(|slice| ready_addresses(slice, port_name))
        .collect();
    let index = choose(ready.len())?;
    ready.get(index).copied().ok_or_else(|| {
        ApiError::unavailable(format!("no endpoints available for service \"{name}\""))
    })
}

fn ready_addresses(slice: &Value, port_name: &str) -> Vec<SocketAddr> {
    let port = object::array(slice, "/ports")
        .find(|port| object::text(port, "/name") == port_name)
        .and_then(|port| port.get("port").and_then(Value::as_u64))
        .and_then(|port| u16::try_from(port).ok());
    let Some(port) = port else { return Vec::new() };
    object::array(slice, "/endpoints")
        .filter(|endpoint| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false)))
        .flat_map(|endpoint| object::array(endpoint, "/addresses"))
        .filter_map(|address| address.as_str()?.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, port))
        .collect()
}

/// The address of a pod's port; the port of its first container if none is named.
pub(crate) fn of_pod(pod: &Value, port: PortName<'_>) -> Result<SocketAddr, ApiError> {
    let name = object::name(pod);
    let address: IpAddr = object::text(pod, "/status/podIP")
        .parse()
        .map_err(|_| ApiError::unavailable(format!("pod \"{name}\" has no address yet")))?;
    let declared = || {
        object::array(pod, "/spec/containers")
            .flat_map(|container| object::array(container, "/ports"))
    };
    let number = |port: &Value| {
        port.get("containerPort").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok())
    };
    let port = match port {
        PortName::Number(number) => Some(number),
        PortName::Name("") => declared().find_map(number).or(Some(80)),
        PortName::Name(wanted) => {
            declared().find(|port| object::text(port, "/name") == wanted).and_then(number)
        }
    };
    let port = port
        .ok_or_else(|| ApiError::unavailable(format!("pod \"{name}\" has no port of that name")))?;
    Ok(SocketAddr::new(address, port))
}

fn choose(count: usize) -> Result<usize, ApiError> {
    let mut random = [0u8; 8];
    ids::fill(&mut random)?;
    let random = usize::try_from(u64::from_ne_bytes(random) >> 32).unwrap_or_default();
    Ok(random.checked_rem(count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_ready_endpoints_of_the_port_count() {
        let slice = json!({
            "ports": [{"name": "http", "port": 8080}, {"name": "grpc", "port": 9090}],
            "endpoints": [
                {"addresses": ["10.244.0.3"], "conditions": {"ready": true}},
                {"addresses": ["10.244.0.4"], "conditions": {"ready": false}},
                {"addresses": ["10.244.0.5"]}]});
        let found = ready_addresses(&slice, "grpc");
        let wanted: Vec<SocketAddr> =
            ["10.244.0.3:9090", "10.244.0.5:9090"].map(|a| a.parse().unwrap()).to_vec();
        assert_eq!(found, wanted);
        assert!(ready_addresses(&slice, "other").is_empty());
    }

    #[test]
    fn a_pods_port_goes_by_number_name_or_order() {
        let pod = json!({"status": {"podIP": "10.244.0.3"}, "spec": {"containers": [
            {"ports": [{"name": "http", "containerPort": 8080}]}]}});
        for (port, wanted) in [("", "8080"), ("http", "8080"), ("15000", "15000")] {
            let address = of_pod(&pod, PortName::parse(port)).unwrap();
            assert_eq!(address.to_string(), format!("10.244.0.3:{wanted}"));
        }
        assert!(of_pod(&pod, PortName::parse("grpc")).is_err());
        assert!(of_pod(&json!({}), PortName::parse("1")).is_err());
    }
}
