//! Names of callers and workloads, as people type them and as suites have them.

use std::net::{IpAddr, Ipv4Addr};

use palisade_manifest::{Pod, Service, TlsMode};
use palisade_model::{World, has_sidecar};

use crate::{CliError, commands::split_namespace};

/// Who makes a call.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Its identity; none: it speaks plaintext.
    pub(crate) identities: Vec<String>,
    /// Its address.
    pub(crate) address: IpAddr,
    /// Its namespace, in which short names of services are looked up.
    pub(crate) namespace: String,
    /// What is to be said about its way of calling.
    pub(crate) note: Option<String>,
}

impl Caller {
    /// The caller as a target sees it: without an identity if a DestinationRule turns mTLS off.
    pub(crate) fn calling(mut self, world: &World, target: &Target<'_>) -> Self {
        let mode = target.service.and_then(|service| world.client_tls(&self.namespace, service));
        if let Some(mode) = mode.filter(|mode| *mode != TlsMode::IstioMutual)
            && !self.identities.is_empty()
        {
            let mode = format!("{mode:?}").to_uppercase();
            let host = &target.host;
            self.note = Some(format!(
                "A DestinationRule sets TLS mode {mode} for calls from `{}` to `{host}`: no mTLS, \
                 so the caller has no identity.",
                self.namespace
            ));
            self.identities.clear();
        }
        self
    }
}

/// Where a call goes.
#[derive(Clone, Debug)]
pub(crate) struct Target<'w> {
    /// The pod.
    pub(crate) pod: &'w Pod,
    /// The workload's port.
    pub(crate) port: u16,
    /// The host that a client would name.
    pub(crate) host: String,
    /// The service that it is called by, if there is one.
    pub(crate) service: Option<&'w Service>,
}

/// The address of a caller of whom none is known: one kept for documentation (RFC 5737).
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// `none`, `NAMESPACE/SERVICE-ACCOUNT`, a SPIFFE ID, `deploy/NAME.NAMESPACE` or `POD.NAMESPACE`.
pub(crate) fn caller(world: &World, text: &str) -> Result<Caller, CliError> {
    let by_identity = |identity: String, namespace: &str| Caller {
        identities: vec![identity],
        address: NOWHERE,
        namespace: namespace.to_owned(),
        note: None,
    };
    if text == "none" {
        return Ok(Caller {
            identities: Vec::new(),
            address: NOWHERE,
            namespace: "default".to_owned(),
            note: None,
        });
    }
    if text.starts_with("spiffe://") {
        let namespace = text.split("/ns/").nth(1).and_then(|rest| rest.split('/').next());
        return Ok(by_identity(text.to_owned(), namespace.unwrap_or("default")));
    }
    match text.split_once('/') {
        Some((kind, name)) if is_workload_kind(kind) => of_pod(world, pod(world, name)?),
        None => of_pod(world, pod(world, text)?),
        Some((namespace, account)) if !account.contains('/') => {
            let domain = &world.mesh().trust_domain;
            Ok(by_identity(format!("spiffe://{domain}/ns/{namespace}/sa/{account}"), namespace))
        }
        Some(_) => Err(CliError::Trouble(format!(
            "`{text}` is no caller: write NAMESPACE/SERVICE-ACCOUNT, none, deploy/NAME.NAMESPACE or \
             a SPIFFE ID"
        ))),
    }
}

/// `NAME.NAMESPACE` of a workload or service, or one of them with its kind before it. The port is the
/// workload's, or else the service's.
pub(crate) fn target<'w>(
    world: &'w World,
    text: &str,
    port: Option<u16>,
) -> Result<Target<'w>, CliError> {
    let (kind, name) = text.split_once('/').unwrap_or(("", text));
    if ["svc", "service", "services"].contains(&kind) {
        let (name, namespace) = split_namespace(name, None);
        let service = world.service(&name, &namespace).ok_or_else(|| unknown(world, text))?;
        return of_service(world, service, port);
    }
    if !kind.is_empty() && !is_workload_kind(kind) {
        return Err(unknown(world, text));
    }
    let (short, namespace) = split_namespace(name, None);
    match world.pod(&short, &namespace) {
        Some(pod) => of_workload(world, pod, port, format!("{short}.{namespace}")),
        None => match world.service(&short, &namespace).filter(|_| kind.is_empty()) {
            Some(service) => of_service(world, service, port),
            None => Err(unknown(world, text)),
        },
    }
}

/// A workload's own port; a number that only its services have is the port behind that.
fn of_workload<'w>(
    world: &'w World,
    pod: &'w Pod,
    port: Option<u16>,
    host: String,
) -> Result<Target<'w>, CliError> {
    let ports = world.arrival(pod).ports();
    let behind = |port: u16| {
        let services = world.services().filter(|it| world.behind(it).any(|p| is_same(p, pod)));
        services.filter_map(|service| world.target(service, port, pod)).next()
    };
    let port = match port {
        Some(port) if ports.contains(&port) => port,
        Some(port) => behind(port).unwrap_or(port),
        None => ports.first().copied().unwrap_or(80),
    };
    let mut services = world.services().filter(|it| world.behind(it).any(|p| is_same(p, pod)));
    let service = services.find(|it| world.targets(it, pod).any(|target| target == port));
    Ok(Target { pod, port, host, service })
}

fn of_service<'w>(
    world: &'w World,
    service: &'w Service,
    port: Option<u16>,
) -> Result<Target<'w>, CliError> {
    let metadata = &service.metadata;
    let name = format!("{}.{}", metadata.name, metadata.namespace);
    let Some(pod) = world.behind(service).next() else {
        return Err(CliError::Trouble(format!("no workload is behind the service `{name}`")));
    };
    let first = service.spec.ports.first().map(|it| it.port);
    let asked = port.or(first).unwrap_or(80);
    let target = world.target(service, asked, pod);
    let declares = |port: &u16| world.arrival(pod).ports().contains(port);
    let port = target.or_else(|| port.filter(declares)).ok_or_else(|| {
        let ports: Vec<String> =
            service.spec.ports.iter().map(|port| port.port.to_string()).collect();
        let ports = ports.join(", ");
        CliError::Trouble(format!("the service `{name}` has no port {asked}, but {ports}"))
    })?;
    let host = if asked == 80 { name } else { format!("{name}:{asked}") };
    Ok(Target { pod, port, host, service: Some(service) })
}

fn of_pod(world: &World, pod: &Pod) -> Result<Caller, CliError> {
    let name = &pod.metadata.name;
    let identity = world.identity(pod).ok_or_else(|| {
        CliError::Trouble(format!("`{name}` has a service account that no identity can have"))
    })?;
    Ok(Caller {
        identities: if has_sidecar(pod) { vec![identity.to_string()] } else { Vec::new() },
        address: pod.status.pod_ip.unwrap_or(NOWHERE),
        namespace: pod.metadata.namespace.clone(),
        note: None,
    })
}

fn pod<'w>(world: &'w World, name: &str) -> Result<&'w Pod, CliError> {
    let (short, namespace) = split_namespace(name, None);
    world.pod(&short, &namespace).ok_or_else(|| unknown(world, name))
}

fn is_same(one: &Pod, other: &Pod) -> bool {
    one.metadata.name == other.metadata.name && one.metadata.namespace == other.metadata.namespace
}

fn is_workload_kind(kind: &str) -> bool {
    const KINDS: [&str; 15] = [
        "pod",
        "pods",
        "po",
        "deploy",
        "deployment",
        "deployments",
        "sts",
        "statefulset",
        "ds",
        "daemonset",
        "job",
        "cronjob",
        "rs",
        "replicaset",
        "workload",
    ];
    KINDS.contains(&kind.to_lowercase().as_str())
}

fn unknown(world: &World, text: &str) -> CliError {
    let mut names: Vec<String> = world
        .pods()
        .map(|pod| &pod.metadata)
        .chain(world.services().map(|service| &service.metadata))
        .map(|metadata| format!("{}.{}", metadata.name, metadata.namespace))
        .collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    let known = match (names.is_empty(), more) {
        (true, _) => "there are no workloads and no services".to_owned(),
        (false, 0) => format!("there are {}", names.join(", ")),
        (false, more) => format!("there are {} and {more} more", names.join(", ")),
    };
    CliError::Trouble(format!("there is no workload or service `{text}`: {known}"))
}

/// Names that a message lists.
const MOST: usize = 12;
