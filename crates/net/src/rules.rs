//! What the infrastructure namespace routes and refuses, as a pure function to an nftables script.
//!
//! The script replaces its table as a whole in one transaction; connections that exist keep their
//! translation.

use std::{
    collections::BTreeSet,
    fmt::{self, Write},
    net::{Ipv4Addr, SocketAddrV4},
};

use crate::{
    egress::{self, Egress},
    fabric::{GATEWAY, POD_CIDR, SERVICE_CIDR},
};

/// A port of a ClusterIP and where its connections go.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ServiceRoute {
    /// Address of the service.
    pub cluster_ip: Ipv4Addr,
    /// Port of the service.
    pub port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// Ready endpoints, picked at random; with none, connections are refused.
    pub endpoints: Vec<SocketAddrV4>,
}

/// Transport protocols that a service can have.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Rules for the infrastructure namespace: services are translated to endpoints, pods reach each
/// other and of the node only DNS and the control plane's port for sidecars. With a way out, their
/// TCP connections to other addresses end at the forwarder.
#[must_use]
pub fn infrastructure(routes: &[ServiceRoute], egress: Egress) -> String {
    let routed: Vec<_> = routes.iter().filter(|route| !route.endpoints.is_empty()).collect();
    let mut script =
        String::from("table ip palisade\ndelete table ip palisade\ntable ip palisade {\n");
    hairpin_set(&mut script, &routed);
    for route in &routed {
        endpoint_chain(&mut script, route);
    }
    service_chain(&mut script, &routed);
    egress_chains(&mut script, egress);
    script.push_str(&fixed_chains());
    script.push_str("}\n");
    script
}

/// Pods that may reach themselves through a service: the answer has to come back this way.
fn hairpin_set(script: &mut String, routes: &[&ServiceRoute]) {
    let pods: BTreeSet<_> =
        routes.iter().flat_map(|route| &route.endpoints).map(SocketAddrV4::ip).collect();
    let pods: Vec<_> = pods.iter().map(|ip| format!("{ip} . {ip}")).collect();
    script.push_str("  set hairpin {\n    type ipv4_addr . ipv4_addr\n");
    if !pods.is_empty() {
        let _ = writeln!(script, "    elements = {{ {} }}", pods.join(", "));
    }
    script.push_str("  }\n");
}

fn endpoint_chain(script: &mut String, route: &ServiceRoute) {
    let ServiceRoute { transport, endpoints, .. } = route;
    let map: Vec<_> = endpoints
        .iter()
        .enumerate()
        .map(|(index, endpoint)| format!("{index} : {} . {}", endpoint.ip(), endpoint.port()))
        .collect();
    let _ = writeln!(
        script,
        "  chain {} {{\n    meta l4proto {transport} dnat to numgen random mod {} map {{ {} }}\n  }}",
        chain_name(route),
        endpoints.len(),
        map.join(", "),
    );
}

fn service_chain(script: &mut String, routes: &[&ServiceRoute]) {
    script.push_str("  chain services {\n");
    for transport in [Transport::Tcp, Transport::Udp] {
        let map: Vec<_> = routes
            .iter()
            .filter(|route| route.transport == transport)
            .map(|route| {
                format!("{} . {} : goto {}", route.cluster_ip, route.port, chain_name(route))
            })
            .collect();
        if !map.is_empty() {
            let _ =
                writeln!(script, "    ip daddr . {transport} dport vmap {{ {} }}", map.join(", "));
        }
    }
    script.push_str("  }\n");
}

/// Two chains: what leaves is translated to the forwarder, and only what was may reach it.
fn egress_chains(script: &mut String, egress: Egress) {
    let (mut leave, mut forwarder) = (String::new(), String::new());
    if egress == Egress::Host {
        let (pods, bits) = POD_CIDR;
        let closed: Vec<_> =
            egress::CLOSED.iter().map(|(network, bits, _)| format!("{network}/{bits}")).collect();
        let closed = closed.join(", ");
        let to = format!("{GATEWAY}:{}", egress::PORT);
        let from = format!("ip saddr {pods}/{bits} meta l4proto tcp");
        leave = format!("    {from} ip daddr != {{ {closed} }} dnat to {to}\n");
        forwarder = format!("    ct status dnat tcp dport {} accept\n", egress::PORT);
    }
    let _ =
        write!(script, "  chain egress {{\n{leave}  }}\n  chain forwarder {{\n{forwarder}  }}\n");
}

fn chain_name(route: &ServiceRoute) -> String {
    let [a, b, c, d] = route.cluster_ip.octets();
    format!("{}_{a}_{b}_{c}_{d}_{}", route.transport, route.port)
}

fn fixed_chains() -> String {
    let (pods, pod_bits) = POD_CIDR;
    let (services, service_bits) = SERVICE_CIDR;
    let mut text = format!(
        "  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
    jump services
    jump egress
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr . ip daddr @hairpin snat to {GATEWAY}
  }}
"
    );
    // What is still addressed to a service after translation has no endpoint.
    for hook in ["prerouting", "output"] {
        let _ = write!(
            text,
            "  chain unserved_{hook} {{
    type filter hook {hook} priority -90; policy accept;
    ip daddr {services}/{service_bits} meta l4proto tcp reject with tcp reset
    ip daddr {services}/{service_bits} reject
  }}
"
        );
    }
    // The kernel's own answer, that there is no route, would not end a wait for a datagram.
    let _ = write!(
        text,
        "  chain unrouted {{
    type filter hook prerouting priority -80; policy accept;
    meta l4proto udp ip daddr != {pods}/{pod_bits} reject with icmp admin-prohibited
  }}
"
    );
    let _ = write!(
        text,
        "  chain input {{
    type filter hook input priority 0; policy drop;
    iifname \"lo\" accept
    ct state established,related accept
    tcp dport {{ 53, 15012 }} accept
    udp dport 53 accept
    jump forwarder
    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain forward {{
    type filter hook forward priority 0; policy drop;
    ip saddr {pods}/{pod_bits} ip daddr {pods}/{pod_bits} meta l4proto {{ icmp, tcp, udp }} accept
  }}
"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(ip: [u8; 4], port: u16, transport: Transport, endpoints: &[&str]) -> ServiceRoute {
        let endpoints = endpoints.iter().map(|endpoint| endpoint.parse().unwrap()).collect();
        ServiceRoute { cluster_ip: ip.into(), port, transport, endpoints }
    }

    #[test]
    fn services_are_translated_to_ready_endpoints() {
        insta::assert_snapshot!(infrastructure(
            &[
                route([10, 96, 0, 20], 80, Transport::Tcp, &["10.244.0.5:8080", "10.244.0.6:8080"]),
                route([10, 96, 0, 20], 443, Transport::Tcp, &[]),
                route([10, 96, 0, 30], 5353, Transport::Udp, &["10.244.0.6:53"]),
            ],
            Egress::Refused
        ));
    }

    #[test]
    fn without_services_the_node_is_still_closed() {
        insta::assert_snapshot!(infrastructure(&[], Egress::Refused));
    }

    #[test]
    fn what_leaves_goes_to_the_forwarder_but_for_closed_networks() {
        insta::assert_snapshot!(infrastructure(&[], Egress::Host));
    }
}
