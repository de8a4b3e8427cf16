//! DestinationRule as typed values: how clients reach a host.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{ObjectMeta, value::go_duration};

/// `networking.istio.io/v1` DestinationRule.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DestinationRule {
    /// Name, namespace, age.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: DestinationRuleSpec,
}

/// `spec` of a [`DestinationRule`]: what Palisade acts on.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRuleSpec {
    /// Service host, short or fully qualified.
    pub host: String,
    /// Named subsets of its workloads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subsets: Vec<Subset>,
    /// How clients connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_policy: Option<TrafficPolicy>,
}

/// A named subset of a service's workloads.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subset {
    /// Name.
    pub name: String,
    /// Labels of its workloads.
    pub labels: BTreeMap<String, String>,
}

/// `trafficPolicy`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// Limits on connections and requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPool>,
    /// How endpoints are chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// When endpoints that fail are left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
    /// Client TLS settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
}

/// `trafficPolicy.connectionPool`. A number that is 0 is no limit.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectionPool {
    /// Limits on all connections.
    pub tcp: TcpPool,
    /// Limits on requests.
    pub http: HttpPool,
}

/// `trafficPolicy.connectionPool.tcp`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpPool {
    /// Connections in use at once.
    pub max_connections: u32,
    /// How long connecting may take, as Go writes durations.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub connect_timeout: String,
}

impl TcpPool {
    /// How long connecting may take, if that is said.
    #[must_use]
    pub fn connect_timeout(&self) -> Option<Duration> {
        go_duration(&self.connect_timeout)
    }
}

/// `trafficPolicy.connectionPool.http`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPool {
    /// Requests that wait for a connection at once.
    #[serde(rename = "http1MaxPendingRequests")]
    pub max_pending_requests: u32,
    /// Requests under way at once.
    #[serde(rename = "http2MaxRequests")]
    pub max_requests: u32,
    /// Requests of one connection.
    pub max_requests_per_connection: u32,
    /// Retries under way at once.
    pub max_retries: u32,
    /// How long a connection is kept without requests, as Go writes durations.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub idle_timeout: String,
}

impl HttpPool {
    /// How long a connection is kept without requests, if that is said.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        go_duration(&self.idle_timeout)
    }
}

/// `trafficPolicy.loadBalancer`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadBalancer {
    /// The algorithm.
    pub simple: SimpleLb,
}

/// `trafficPolicy.loadBalancer.simple`; PASSTHROUGH is refused by validation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLb {
    /// Istio's default, which is the next one.
    #[default]
    Unspecified,
    /// The one of two random endpoints that has fewer requests.
    LeastRequest,
    /// The older name of the same.
    LeastConn,
    /// Any.
    Random,
    /// One after the other.
    RoundRobin,
}

/// `trafficPolicy.outlierDetection`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// Answers 5xx and failures in a row; 0: not counted. Default 5.
    #[serde(rename = "consecutive5xxErrors", skip_serializing_if = "Option::is_none")]
    pub consecutive_5xx_errors: Option<u32>,
    /// Answers 502, 503, 504 and failures in a row; 0 or absent: not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_gateway_errors: Option<u32>,
    /// How long it takes until one ejection is forgotten, as Go writes durations.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interval: String,
    /// How long the first ejection lasts, as Go writes durations.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub base_ejection_time: String,
    /// How many of a hundred endpoints may be ejected; 0: 10.
    pub max_ejection_percent: u32,
    /// Of a hundred endpoints, how many must be left for ejections to count.
    pub min_health_percent: u32,
}

impl OutlierDetection {
    /// How long it takes until one ejection is forgotten: Envoy's default is 10 s.
    #[must_use]
    pub fn interval(&self) -> Duration {
        go_duration(&self.interval).unwrap_or(Duration::from_secs(10))
    }

    /// How long the first ejection lasts: Envoy's default is 30 s.
    #[must_use]
    pub fn base_ejection_time(&self) -> Duration {
        go_duration(&self.base_ejection_time).unwrap_or(Duration::from_secs(30))
    }
}

/// `trafficPolicy.tls`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsSettings {
    /// The mode.
    pub mode: TlsMode,
}

/// `trafficPolicy.tls.mode`; SIMPLE and MUTUAL are refused by validation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsMode {
    /// Plaintext.
    #[default]
    Disable,
    /// The mesh's mTLS.
    IstioMutual,
}
