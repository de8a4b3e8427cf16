//! How clients share a service's endpoints out: what a DestinationRule's traffic policy says besides TLS, with
//! Istio's meaning of what is absent.

use std::time::Duration;

use palisade_manifest::{OutlierDetection, SimpleLb, TrafficPolicy};
use serde::{Deserialize, Serialize};

/// How clients share the endpoints of a service out. No limit is none.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Traffic {
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Connections in use at once.
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection at once.
    pub max_pending: Option<u32>,
    /// Requests under way at once.
    pub max_requests: Option<u32>,
    /// Retries under way at once.
    pub max_retries: Option<u32>,
    /// Requests of one connection.
    pub max_requests_per_connection: Option<u32>,
    /// How long connecting may take, if not as long as by default.
    pub connect_timeout: Option<Duration>,
    /// How long a connection is kept without requests, if not as long as by default.
    pub idle_timeout: Option<Duration>,
    /// When endpoints that fail are left alone.
    pub outliers: Option<Outliers>,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Balance {
    /// The one of two random endpoints that has fewer requests under way.
    #[default]
    LeastRequest,
    /// Any.
    Random,
    /// One after the other.
    RoundRobin,
}

/// When endpoints that fail are left alone.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outliers {
    /// Errors in a row, of any kind, that eject an endpoint; 0: never.
    pub errors: u32,
    /// Errors in a row that eject an endpoint, of those that tell of a server out of reach; 0: never.
    pub gateway_errors: u32,
    /// How long it takes until one ejection is forgotten.
    pub interval: Duration,
    /// How long the first ejection lasts.
    pub base_ejection: Duration,
    /// How many of a hundred endpoints may be ejected.
    pub max_ejected_percent: u32,
    /// Of a hundred endpoints, how many must be left for ejections to count.
    pub min_healthy_percent: u32,
}

impl Traffic {
    /// What a traffic policy says.
    #[must_use]
    pub fn of(policy: &TrafficPolicy) -> Self {
        let pool = policy.connection_pool.clone().unwrap_or_default();
        let limit = |number: u32| Some(number).filter(|number| *number > 0);
        Self {
            balance: match policy
                .load_balancer
                .as_ref()
                .map_or_else(SimpleLb::default, |it| it.simple)
            {
                SimpleLb::Unspecified | SimpleLb::LeastRequest | SimpleLb::LeastConn => {
                    Balance::LeastRequest
                }
                SimpleLb::Random => Balance::Random,
                SimpleLb::RoundRobin => Balance::RoundRobin,
            },
            max_connections: limit(pool.tcp.max_connections),
            max_pending: limit(pool.http.max_pending_requests),
            max_requests: limit(pool.http.max_requests),
            max_retries: limit(pool.http.max_retries),
            max_requests_per_connection: limit(pool.http.max_requests_per_connection),
            connect_timeout: pool.tcp.connect_timeout(),
            idle_timeout: pool.http.idle_timeout(),
            outliers: policy.outlier_detection.as_ref().map(Outliers::of),
        }
    }
}

impl Outliers {
    fn of(detection: &OutlierDetection) -> Self {
        Self {
            errors: detection.consecutive_5xx_errors.unwrap_or(5),
            gateway_errors: detection.consecutive_gateway_errors.unwrap_or(0),
            interval: detection.interval(),
            base_ejection: detection.base_ejection_time(),
            max_ejected_percent: match detection.max_ejection_percent {
                0 => 10,
                percent => percent,
            },
            min_healthy_percent: detection.min_health_percent,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn traffic(policy: Value) -> Traffic {
        Traffic::of(&serde_json::from_value(policy).unwrap())
    }

    #[test]
    fn what_is_absent_means_what_it_means_to_istio() {
        assert_eq!(traffic(json!({"tls": {"mode": "DISABLE"}})), Traffic::default());
        let zeros = json!({"connectionPool": {
            "tcp": {"maxConnections": 0},
            "http": {"http1MaxPendingRequests": 0, "http2MaxRequests": 0, "maxRetries": 0},
        }});
        assert_eq!(traffic(zeros), Traffic::default(), "0 is no limit");
        let bare = traffic(json!({"outlierDetection": {}})).outliers.unwrap();
        assert_eq!((bare.errors, bare.gateway_errors), (5, 0));
        assert_eq!((bare.interval.as_secs(), bare.base_ejection.as_secs()), (10, 30));
        assert_eq!((bare.max_ejected_percent, bare.min_healthy_percent), (10, 0));
    }

    #[test]
    fn what_is_said_is_taken() {
        let said = traffic(json!({
            "loadBalancer": {"simple": "ROUND_ROBIN"},
            "connectionPool": {
                "tcp": {"maxConnections": 1, "connectTimeout": "250ms"},
                "http": {
                    "http1MaxPendingRequests": 2, "http2MaxRequests": 3, "maxRetries": 4,
                    "maxRequestsPerConnection": 5, "idleTimeout": "30s",
                },
            },
            "outlierDetection": {
                "consecutive5xxErrors": 0, "consecutiveGatewayErrors": 7, "interval": "1s",
                "baseEjectionTime": "3m", "maxEjectionPercent": 100, "minHealthPercent": 20,
            },
        }));
        let expected = Traffic {
            balance: Balance::RoundRobin,
            max_connections: Some(1),
            max_pending: Some(2),
            max_requests: Some(3),
            max_retries: Some(4),
            max_requests_per_connection: Some(5),
            connect_timeout: Some(Duration::from_millis(250)),
            idle_timeout: Some(Duration::from_secs(30)),
            outliers: Some(Outliers {
                errors: 0,
                gateway_errors: 7,
                interval: Duration::from_secs(1),
                base_ejection: Duration::from_secs(180),
                max_ejected_percent: 100,
                min_healthy_percent: 20,
            }),
        };
        assert_eq!(said, expected);
        let told = serde_json::to_value(&said).unwrap();
        assert_eq!(serde_json::from_value::<Traffic>(told).unwrap(), expected);
    }
}
