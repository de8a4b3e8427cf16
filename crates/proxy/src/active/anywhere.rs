//! Ports at which a connection to any address is known to be a service's by what it says, or by its port alone:
//! HTTP ports of services, and ServiceEntries without addresses.

use std::sync::Arc;

use palisade_model::Matching;

use super::{Route, hosts::Hosts};

/// What is known at one port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Anywhere {
    hosts: Hosts,
    server_names: Vec<Arc<Route>>,
    port: Option<Arc<Route>>,
}

/// What a connection says about where it wants to go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'a> {
    /// The host of a request.
    Host(&'a str),
    /// The server name of a ClientHello.
    ServerName(&'a str),
    /// Nothing that is understood.
    Nothing,
}

impl Anywhere {
    /// Takes in what clients of a namespace may call without its address.
    pub(super) fn insert(&mut self, route: &Arc<Route>, client: &str) {
        match route.port.entry.as_ref().map(|entry| entry.matching) {
            None => self.hosts.insert_service(route, client),
            Some(Matching::Host) => self.hosts.insert_entry(route),
            Some(Matching::ServerName) => self.server_names.push(Arc::clone(route)),
            Some(Matching::Port) => {
                self.port.get_or_insert_with(|| Arc::clone(route));
            }
            Some(Matching::Address) => {}
        }
    }

    /// Whether HTTP is expected here.
    pub(crate) fn has_hosts(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// Whether what says nothing has a place to go.
    pub(crate) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Whether TLS is expected here.
    pub(crate) fn has_server_names(&self) -> bool {
        !self.server_names.is_empty()
    }

    /// Whose connection it is.
    pub(crate) fn find(&self, said: Said<'_>, port: u16) -> Option<&Arc<Route>> {
        let named = match said {
            Said::Host(host) => self.hosts.find(without_port(host, port)),
            Said::ServerName(name) => most_specific(&self.server_names, name),
            Said::Nothing => None,
        };
        named.or(self.port.as_ref())
    }
}

/// The entry with this very host, or with the longest pattern that fits; of equals the first.
fn most_specific<'a>(routes: &'a [Arc<Route>], name: &str) -> Option<&'a Arc<Route>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let fitting = routes.iter().filter(|route| fits(&route.port.service.host, name));
    fitting.reduce(|best, other| if rank(other) > rank(best) { other } else { best })
}

fn rank(route: &Route) -> (bool, usize) {
    let host = &route.port.service.host;
    (!host.starts_with('*'), host.len())
}

fn fits(host: &str, name: &str) -> bool {
    let Some(suffix) = host.strip_prefix('*') else { return host.eq_ignore_ascii_case(name) };
    let start = name.len().checked_sub(suffix.len()).filter(|start| *start > 0);
    let end = start.and_then(|start| name.get(start..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// A host without the port that the connection goes to anyway; another port is another service.
fn without_port(host: &str, port: u16) -> &str {
    match host.rsplit_once(':') {
        Some((name, number)) if number.parse() == Ok(port) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use palisade_model::{Entry, OutboundPort, ServiceRef, Traffic, Upstream};
    use palisade_types::Protocol;

    use super::*;
    use crate::active::Targets;

    fn route(host: &str, matching: Matching) -> Arc<Route> {
        let (host, name, namespace) = (host.to_owned(), host.to_owned(), "a".to_owned());
        let entry = Some(Entry { matching, upstream: Upstream::OriginalDestination });
        let port = OutboundPort {
            service: ServiceRef { host, name, namespace },
            addresses: Vec::new(),
            port: 80,
            protocol: Protocol::Http,
            sni: String::new(),
            identities: Vec::new(),
            endpoints: Vec::new(),
            traffic: Traffic::default(),
            routes: Vec::new(),
            entry,
        };
        Arc::new(Route::new(port, &mut Targets::default(), None))
    }

    fn anywhere(hosts: &[(&str, Matching)]) -> Anywhere {
        let mut all = Anywhere::default();
        for (host, matching) in hosts {
            all.insert(&route(host, *matching), "a");
        }
        all
    }

    #[test]
    fn a_connection_belongs_to_the_most_specific_entry_that_it_names() {
        use Matching::{Host, ServerName};
        let all = anywhere(&[
            ("*.example.com", Host),
            ("www.example.com", Host),
            ("*.deep.example.com", Host),
            ("secure.example.com", ServerName),
        ]);
        for (said, expected) in [
            (Said::Host("www.example.com"), "www.example.com"),
            (Said::Host("WWW.Example.com:80"), "www.example.com"),
            (Said::Host("www.example.com."), "www.example.com"),
            (Said::Host("www.example.com:81"), "none"),
            (Said::Host("api.example.com"), "*.example.com"),
            (Said::Host("a.deep.example.com"), "*.deep.example.com"),
            (Said::Host("example.com"), "none"),
            (Said::Host(".example.com"), "none"),
            (Said::Host("example.com.evil.net"), "none"),
            (Said::Host("evilexample.com"), "none"),
            (Said::Host("secure.example.com"), "*.example.com"),
            (Said::Host(""), "none"),
            (Said::ServerName("secure.example.com"), "secure.example.com"),
            (Said::ServerName("www.example.com"), "none"),
            (Said::Nothing, "none"),
        ] {
            let found = all.find(said, 80).map_or("none", |route| &route.port.service.host);
            assert_eq!(found, expected, "{said:?}");
        }
    }

    #[test]
    fn a_port_of_opaque_bytes_takes_what_nothing_else_does() {
        let all = anywhere(&[("db.example.com", Matching::Port), ("a.net", Matching::ServerName)]);
        for (said, expected) in [
            (Said::Nothing, "db.example.com"),
            (Said::ServerName("other.net"), "db.example.com"),
            (Said::ServerName("a.net"), "a.net"),
        ] {
            let found = all.find(said, 80).map_or("none", |route| &route.port.service.host);
            assert_eq!(found, expected, "{said:?}");
        }
    }
}
