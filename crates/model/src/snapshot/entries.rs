//! ServiceEntries as ports that workloads may connect to: which of them a namespace sees, how their
//! connections are known, and where they go.

use std::net::IpAddr;

use palisade_manifest::{Resolution, ServiceEntry, ServiceEntryPort, ServiceEntrySpec};
use palisade_types::Protocol;

use super::outbound::unknown;
use crate::{
    Endpoint, Entry, Matching, NamedEndpoint, Objects, OutboundPort, ServiceRef, Traffic, Upstream,
};

/// All entries, the oldest first: of two with the same host and port, it is the one in force.
pub(super) struct Entries<'a>(Vec<&'a ServiceEntry>);

impl<'a> Entries<'a> {
    pub(super) fn new(objects: &'a Objects) -> Self {
        let mut entries: Vec<&ServiceEntry> = objects.service_entries.good().collect();
        entries.sort_by_key(|entry| {
            let metadata = &entry.metadata;
            (metadata.creation_timestamp, &metadata.name, &metadata.namespace)
        });
        Self(entries)
    }

    /// A name for all namespaces that see the same entries.
    pub(super) fn scope<'b>(&self, client: &'b str) -> Option<&'b str> {
        self.0.iter().any(|entry| !entry.spec.export_to.is_empty()).then_some(client)
    }

    /// The ports that clients of a namespace see.
    pub(super) fn seen_from(&self, client: &str) -> impl Iterator<Item = OutboundPort> {
        let visible = self.0.iter().filter(move |entry| is_visible(entry, client));
        visible.flat_map(|entry| {
            let hosts = entry.spec.hosts.iter();
            hosts.flat_map(move |host| {
                entry.spec.ports.iter().map(move |port| outbound(entry, host, port))
            })
        })
    }
}

fn is_visible(entry: &ServiceEntry, client: &str) -> bool {
    let ServiceEntry { metadata, spec } = entry;
    spec.export_to.is_empty()
        || spec.export_to.iter().any(|namespace| match namespace.as_str() {
            "*" => true,
            "." => client == metadata.namespace,
            name => client == name,
        })
}

fn outbound(entry: &ServiceEntry, host: &str, port: &ServiceEntryPort) -> OutboundPort {
    let spec = &entry.spec;
    let addresses: Vec<IpAddr> = spec.addresses.iter().filter_map(|ip| ip.parse().ok()).collect();
    let protocol = protocol(&port.protocol);
    let matching = match port.protocol.as_str() {
        _ if !addresses.is_empty() => Matching::Address,
        "TLS" | "HTTPS" => Matching::ServerName,
        _ if protocol.is_http() => Matching::Host,
        _ => Matching::Port,
    };
    OutboundPort {
        service: ServiceRef {
            host: host.to_owned(),
            name: host.to_owned(),
            namespace: entry.metadata.namespace.clone(),
        },
        addresses,
        port: port.number,
        protocol,
        sni: format!("outbound_.{}_._.{host}", port.number),
        identities: Vec::new(),
        endpoints: endpoints(spec, port),
        traffic: Traffic::default(),
        routes: Vec::new(),
        entry: Some(Entry { matching, upstream: upstream(spec, host, port) }),
    }
}

/// What Istio's names of protocols mean for a sidecar; TLS of the application is opaque to it.
fn protocol(name: &str) -> Protocol {
    match name {
        "HTTP" | "GRPC-WEB" => Protocol::Http,
        "HTTP2" => Protocol::Http2,
        "GRPC" => Protocol::Grpc,
        "" => Protocol::Auto,
        _ => Protocol::Tcp,
    }
}

/// Endpoints with addresses, which are called without mutual TLS: nobody vouches for them.
fn endpoints(spec: &ServiceEntrySpec, port: &ServiceEntryPort) -> Vec<Endpoint> {
    if spec.resolution != Resolution::Static {
        return Vec::new();
    }
    servers(spec, port)
        .filter_map(|(address, port)| {
            let address = address.parse().ok()?;
            Some(Endpoint { address, port, mtls: false, metadata: unknown() })
        })
        .collect()
}

fn upstream(spec: &ServiceEntrySpec, host: &str, port: &ServiceEntryPort) -> Upstream {
    match spec.resolution {
        Resolution::None => Upstream::OriginalDestination,
        Resolution::Static => Upstream::Endpoints,
        Resolution::Dns => {
            let named = |(name, port): (&str, u16)| NamedEndpoint { name: name.to_owned(), port };
            let mut names: Vec<NamedEndpoint> = servers(spec, port).map(named).collect();
            if names.is_empty() {
                names.push(named((host, port.target_port.unwrap_or(port.number))));
            }
            Upstream::Names(names)
        }
    }
}

/// The entry's servers: addresses or names, with the ports that they have for a port of it.
fn servers<'a>(
    spec: &'a ServiceEntrySpec,
    port: &ServiceEntryPort,
) -> impl Iterator<Item = (&'a str, u16)> {
    let usual = port.target_port.unwrap_or(port.number);
    spec.endpoints.iter().map(move |endpoint| {
        (endpoint.address.as_str(), endpoint.ports.get(&port.name).copied().unwrap_or(usual))
    })
}
