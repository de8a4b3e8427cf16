//! Which node a party is.

use std::net::IpAddr;

use super::{GraphType, Node, NodeKind};
use crate::{
    Edge, Party, UNKNOWN,
    history::{Directory, Place},
    report::ReportingWorkload,
};

/// Names nodes for one type of graph.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver<'a> {
    pub(super) graph_type: GraphType,
    pub(super) directory: &'a Directory,
}

impl Resolver<'_> {
    /// Who called.
    pub(super) fn source(&self, edge: &Edge) -> Node {
        self.place(&place(&edge.source))
    }

    /// Who was called.
    pub(super) fn target(&self, edge: &Edge) -> Node {
        let service = &edge.service;
        let mut target = place(&edge.destination);
        if self.graph_type == GraphType::Service || !is_known(&target.workload) {
            return named(NodeKind::Service, &service.namespace, &service.name, "", "");
        }
        if !is_known(&target.namespace) {
            service.namespace.as_ref().clone_into(&mut target.namespace);
        }
        self.place(&target)
    }

    /// A caller that is known by its address, if by anything.
    pub(super) fn address(&self, address: IpAddr) -> Node {
        match self.directory.addresses.get(&address) {
            Some(place) => self.place(place),
            None if address.is_unspecified() => named(NodeKind::Unknown, "", UNKNOWN, "", ""),
            None => named(NodeKind::Address, "", &address.to_string(), "", ""),
        }
    }

    /// A pod.
    pub(super) fn pod(&self, pod: &ReportingWorkload) -> Node {
        match self.directory.pods.get(pod) {
            Some(place) => self.place(place),
            None => named(NodeKind::Workload, &pod.namespace, &pod.pod, "", &pod.pod),
        }
    }

    fn place(&self, place: &Place) -> Node {
        let Place { namespace, workload, app, version, service } = place;
        let version = if is_known(version) { version.as_str() } else { "" };
        match self.graph_type {
            GraphType::Service if is_known(service) => {
                named(NodeKind::Service, namespace, service, "", "")
            }
            GraphType::App if is_known(app) => named(NodeKind::App, namespace, app, "", ""),
            GraphType::VersionedApp if is_known(app) => {
                named(NodeKind::App, namespace, app, version, workload)
            }
            _ if is_known(workload) => {
                named(NodeKind::Workload, namespace, workload, version, workload)
            }
            _ => named(NodeKind::Unknown, "", UNKNOWN, "", ""),
        }
    }
}

fn named(kind: NodeKind, namespace: &str, name: &str, version: &str, workload: &str) -> Node {
    let namespace = if is_known(namespace) { namespace } else { "" };
    let word = match kind {
        NodeKind::App => "app",
        NodeKind::Workload => "workload",
        NodeKind::Service => "service",
        NodeKind::Address => "address",
        NodeKind::Unknown => "unknown",
    };
    let id = match version {
        "" => format!("{word}:{namespace}/{name}"),
        version => format!("{word}:{namespace}/{name}/{version}"),
    };
    Node {
        id,
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        version: version.to_owned(),
        workload: workload.to_owned(),
    }
}

fn place(party: &Party) -> Place {
    Place {
        namespace: party.namespace.to_string(),
        workload: party.workload.to_string(),
        app: party.app.to_string(),
        version: party.version.to_string(),
        service: party.canonical_service.to_string(),
    }
}

fn is_known(name: &str) -> bool {
    !name.is_empty() && name != UNKNOWN
}
