//! What a sidecar is started with. Everything comes from the environment that the injector writes,
//! or from a bootstrap file; reading both is a pure function of their text.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use palisade_types::{IdentityError, SpiffeId, TrustDomain};
use serde::Deserialize;
use thiserror::Error;

use crate::{Bootstrap, BootstrapError};

/// What a sidecar is started with.
#[derive(Clone, Debug, PartialEq)]
pub struct SidecarOptions {
    /// Where configuration and certificates come from.
    pub source: Source,
    /// Worker threads; each has its own listeners and upstream connections.
    pub workers: usize,
    /// Addresses and ports.
    pub listen: Listen,
    /// Where a captured connection was going.
    pub original_destination: OriginalDestination,
    /// The node's address, which application probes are answered to, as to the pod's default gateway.
    pub host_ip: Option<IpAddr>,
    /// The pod's address, where application probes are sent.
    pub pod_ip: IpAddr,
    /// The application's probes by the path that they were rewritten to.
    pub probes: BTreeMap<String, AppProbe>,
    /// How long requests in flight may take to end after SIGTERM.
    pub drain: Duration,
}

/// Where configuration and certificates come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A file, for good.
    Static(Box<Bootstrap>),
    /// The control plane.
    Control(ControlPlane),
}

/// How to reach the control plane, and as whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ControlPlane {
    /// `HOST:PORT` of its gRPC services.
    pub address: String,
    /// Certificates that its server certificate must chain to (PEM).
    pub roots: PathBuf,
    /// Service account token for the audience `istio-ca`, read again whenever it is used.
    pub token: PathBuf,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// The identity to ask for.
    pub identity: SpiffeId,
    /// The lifetime to ask for.
    pub ttl: Duration,
}

impl ControlPlane {
    /// The name that the server certificate must have.
    #[must_use]
    pub fn server_name(&self) -> &str {
        self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host)
    }
}

/// Addresses and ports; the defaults are Istio's.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Listen {
    /// Address of all listeners but the admin one, which is on loopback only.
    pub address: IpAddr,
    /// Connections from the workload.
    pub outbound: u16,
    /// Connections to the workload.
    pub inbound: u16,
    /// Admin interface.
    pub admin: u16,
    /// Metrics and application probes.
    pub status: u16,
    /// Metrics.
    pub metrics: u16,
    /// Readiness of the sidecar.
    pub health: u16,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            outbound: 15001,
            inbound: 15006,
            admin: 15000,
            status: 15020,
            metrics: 15090,
            health: 15021,
        }
    }
}

/// Where a captured connection was going.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OriginalDestination {
    /// What the kernel says (`SO_ORIGINAL_DST`).
    #[default]
    Redirect,
    /// Always the same: for tests without a redirect.
    Fixed {
        /// Destination of inbound connections.
        inbound: SocketAddr,
        /// Destination of outbound connections.
        outbound: SocketAddr,
    },
}

/// A probe of the application, as `ISTIO_KUBE_APP_PROBERS` carries it.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppProbe {
    /// An HTTP request.
    #[serde(default)]
    pub http_get: Option<HttpGet>,
    /// A connection.
    #[serde(default)]
    pub tcp_socket: Option<TcpSocket>,
    /// A question for a gRPC server's health.
    #[serde(default)]
    pub grpc: Option<GrpcHealth>,
    /// How long it may take; Kubernetes' default is one second.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
}

/// `httpGet` of a probe.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpGet {
    /// Path and query.
    #[serde(default)]
    pub path: String,
    /// Port.
    pub port: u16,
    /// `HTTP` (default) or `HTTPS`.
    #[serde(default)]
    pub scheme: Option<String>,
    /// Header fields to send.
    #[serde(default)]
    pub http_headers: Vec<HttpHeader>,
}

/// One header field of a probe.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpHeader {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// `tcpSocket` of a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpSocket {
    /// Port.
    pub port: u16,
}

/// `grpc` of a probe.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcHealth {
    /// Port.
    pub port: u16,
    /// The service asked for; all of the server without it.
    #[serde(default)]
    pub service: Option<String>,
}

/// Why a sidecar can't be started with these options.
#[derive(Debug, Error)]
pub enum OptionsError {
    /// A variable is missing.
    #[error("environment variable `{0}` is not set; the injector sets it")]
    Missing(&'static str),
    /// A variable has a value that makes no sense.
    #[error("environment variable `{name}` is `{value}`: {problem}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it is set to.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Namespace, account and trust domain do not form an identity.
    #[error("the environment does not describe an identity")]
    Identity(#[source] IdentityError),
    /// The bootstrap file can't be used.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
}

impl SidecarOptions {
    /// The options of an injected sidecar.
    ///
    /// # Errors
    /// When a variable that the injector sets is missing or makes no sense.
    pub fn from_env(env: &BTreeMap<String, String>) -> Result<Self, OptionsError> {
        let env = Env(env);
        let trust_domain: TrustDomain = env.parsed("TRUST_DOMAIN")?.unwrap_or_default();
        let namespace = env.required("POD_NAMESPACE")?.to_owned();
        let identity = SpiffeId::new(trust_domain, &namespace, env.required("SERVICE_ACCOUNT")?)
            .map_err(OptionsError::Identity)?;
        let control = ControlPlane {
            address: env.text("CA_ADDR").unwrap_or("istiod.istio-system.svc:15012").to_owned(),
            roots: env.text("ROOT_CA_FILE").unwrap_or(ROOT_CA_FILE).into(),
            token: env.text("TOKEN_FILE").unwrap_or(TOKEN_FILE).into(),
            namespace,
            pod: env.required("POD_NAME")?.to_owned(),
            identity,
            ttl: env.duration("SECRET_TTL")?.unwrap_or(DEFAULT_TTL),
        };
        Ok(Self {
            host_ip: env.parsed("HOST_IP")?,
            pod_ip: env.parsed("INSTANCE_IP")?.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            probes: env.json("ISTIO_KUBE_APP_PROBERS")?.unwrap_or_default(),
            drain: env.duration("TERMINATION_DRAIN_DURATION_SECONDS")?.unwrap_or(DEFAULT_DRAIN),
            workers: env
                .parsed("PALISADE_PROXY_WORKERS")?
                .map_or_else(default_workers, at_least_one),
            ..Self::new(Source::Control(control))
        })
    }

    /// The options that a bootstrap file holds.
    ///
    /// # Errors
    /// When the file can't be read or understood.
    pub fn from_bootstrap(path: &Path) -> Result<Self, OptionsError> {
        let bootstrap = Bootstrap::read(path)?;
        Ok(Self {
            workers: bootstrap.workers.map_or_else(default_workers, at_least_one),
            listen: bootstrap.listen.clone(),
            ..Self::new(Source::Static(Box::new(bootstrap)))
        })
    }

    /// Defaults for everything but the source.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            workers: default_workers(),
            listen: Listen::default(),
            original_destination: OriginalDestination::Redirect,
            host_ip: None,
            pod_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            probes: BTreeMap::new(),
            drain: DEFAULT_DRAIN,
        }
    }
}

/// Typed access to environment variables.
struct Env<'a>(&'a BTreeMap<String, String>);

impl<'a> Env<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<&'a str, OptionsError> {
        self.text(name).ok_or(OptionsError::Missing(name))
    }

    fn parsed<T>(&self, name: &'static str) -> Result<Option<T>, OptionsError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        self.text(name)
            .map(|value| value.parse().map_err(|error: T::Err| invalid(name, value, error)))
            .transpose()
    }

    fn json<T: serde::de::DeserializeOwned>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, OptionsError> {
        self.text(name)
            .map(|value| serde_json::from_str(value).map_err(|error| invalid(name, value, error)))
            .transpose()
    }

    fn duration(&self, name: &'static str) -> Result<Option<Duration>, OptionsError> {
        self.text(name)
            .map(|value| {
                go_duration(value)
                    .ok_or_else(|| invalid(name, value, "not a duration such as `24h` or `90s`"))
            })
            .transpose()
    }
}

fn invalid(name: &'static str, value: &str, problem: impl std::fmt::Display) -> OptionsError {
    OptionsError::Invalid { name, value: value.to_owned(), problem: problem.to_string() }
}

/// Go's duration text in hours, minutes and whole seconds; a bare number is seconds.
fn go_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let (mut total, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.chars().next()?;
        let seconds = match unit {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(seconds)?)?;
        rest = tail.get(1..)?;
    }
    (!text.is_empty()).then(|| Duration::from_secs(total))
}

/// A sidecar gets at most two workers: a pod rarely has more to give, and every worker has upstream
/// connections of its own. It gets one where its container is limited to less than two CPUs: what is asked
/// for here takes the quota of its control group into account, version 1 and 2.
fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(2))
}

fn at_least_one(workers: usize) -> usize {
    workers.max(1)
}

const ROOT_CA_FILE: &str = "/var/run/secrets/istio/root-cert.pem";
const TOKEN_FILE: &str = "/var/run/secrets/tokens/istio-token";
const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_DRAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn env(extra: &[(&str, &str)]) -> BTreeMap<String, String> {
        [
            ("POD_NAME", "backend-1"),
            ("POD_NAMESPACE", "poc-mesh"),
            ("SERVICE_ACCOUNT", "backend-sa"),
            ("INSTANCE_IP", "10.244.0.7"),
            ("HOST_IP", "10.244.0.1"),
        ]
        .iter()
        .chain(extra)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
    }

    #[test]
    fn the_injected_environment_is_enough() {
        let probes = r#"{"/app-health/app/livez":{"httpGet":{"path":"/health","port":8080,"scheme":"HTTP","httpHeaders":[]},"timeoutSeconds":1},"/app-health/app/readyz":{"tcpSocket":{"port":8080}},"/app-health/app/startupz":{"grpc":{"port":8080,"service":"a.b"},"timeoutSeconds":2}}"#;
        let options = SidecarOptions::from_env(&env(&[
            ("TRUST_DOMAIN", "cluster.local"),
            ("SECRET_TTL", "24h0m0s"),
            ("TERMINATION_DRAIN_DURATION_SECONDS", "7"),
            ("ISTIO_KUBE_APP_PROBERS", probes),
        ]))
        .unwrap();
        let Source::Control(control) = &options.source else { panic!("{options:?}") };
        assert_eq!(
            control.identity.to_string(),
            "spiffe://cluster.local/ns/poc-mesh/sa/backend-sa"
        );
        assert_eq!(control.server_name(), "istiod.istio-system.svc");
        assert_eq!(control.ttl, Duration::from_secs(86_400));
        assert_eq!(options.drain, Duration::from_secs(7));
        assert_eq!(options.host_ip, Some("10.244.0.1".parse().unwrap()));
        assert_eq!(options.probes.len(), 3);
        assert_eq!(options.listen.inbound, 15006);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut missing = env(&[]);
        missing.remove("POD_NAME");
        let cases = [
            (missing, "environment variable `POD_NAME` is not set; the injector sets it"),
            (
                env(&[("SECRET_TTL", "soon")]),
                "environment variable `SECRET_TTL` is `soon`: not a duration such as `24h` or `90s`",
            ),
            (env(&[("SERVICE_ACCOUNT", "a/b")]), "the environment does not describe an identity"),
        ];
        for (env, message) in cases {
            assert_eq!(SidecarOptions::from_env(&env).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, seconds) in
            [("24h0m0s", Some(86_400)), ("90s", Some(90)), ("15", Some(15)), ("1m30s", Some(90))]
                .into_iter()
                .chain([
                    ("", None),
                    ("h", None),
                    ("1d", None),
                    ("1h2", None),
                    ("99999999999999999999s", None),
                ])
        {
            assert_eq!(go_duration(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
