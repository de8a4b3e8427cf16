//! Whose a request is, by its host, among the services of one HTTP port: the virtual hosts that istiod gives an
//! Envoy (`pilot/pkg/networking/core/httproute.go`, `generateVirtualHostDomains`).

use std::{borrow::Cow, collections::HashMap, net::IpAddr, sync::Arc};

use super::Route;

/// The hosts of one port. What Kubernetes names is no entry's.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    names: HashMap<String, Arc<Route>>,
    /// By what follows the `*`.
    suffixes: HashMap<String, Arc<Route>>,
}

impl Hosts {
    /// A service as clients of a namespace call it; names in front of a headless one are those of its pods.
    pub(super) fn insert_service(&mut self, route: &Arc<Route>, client: &str) {
        let service = &route.port.service;
        let short = format!("{}.{}", service.name, service.namespace);
        let mut names = vec![
            service.host.to_ascii_lowercase(),
            format!("{}.", service.host.to_ascii_lowercase()),
            format!("{short}.svc"),
            short,
        ];
        if service.namespace == client {
            names.push(service.name.clone());
        }
        for name in names {
            if route.is_headless() {
                self.suffixes.entry(format!(".{name}")).or_insert_with(|| Arc::clone(route));
            }
            self.names.entry(name).or_insert_with(|| Arc::clone(route));
        }
        for address in &route.port.addresses {
            self.names.entry(authority(*address)).or_insert_with(|| Arc::clone(route));
        }
    }

    /// A ServiceEntry; a leading `*` stands for any subdomain.
    pub(super) fn insert_entry(&mut self, route: &Arc<Route>) {
        let host = route.port.service.host.to_ascii_lowercase();
        if self.find(&host).is_some_and(|route| route.port.entry.is_none()) {
            return;
        }
        let (names, host) = match host.strip_prefix('*') {
            Some(suffix) => (&mut self.suffixes, suffix),
            None => (&mut self.names, host.as_str()),
        };
        for name in [host.to_owned(), format!("{host}.")] {
            names.entry(name).or_insert_with(|| Arc::clone(route));
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.suffixes.is_empty()
    }

    /// Whose host this is, without a port: by its very name, else by the longest end of it.
    pub(super) fn find(&self, host: &str) -> Option<&Arc<Route>> {
        let host = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(host.to_ascii_lowercase()),
            false => Cow::Borrowed(host),
        };
        self.names.get(&*host).or_else(|| self.by_suffix(&host))
    }

    fn by_suffix(&self, host: &str) -> Option<&Arc<Route>> {
        if self.suffixes.is_empty() {
            return None;
        }
        let dots = host.match_indices('.').map(|(at, _)| at).filter(|at| *at > 0);
        let ends = dots.filter_map(|at| host.get(at..)).chain((!host.is_empty()).then_some(""));
        ends.into_iter().find_map(|end| self.suffixes.get(end))
    }
}

/// An address as the host of a request.
fn authority(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
