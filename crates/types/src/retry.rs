//! When a request is sent again: Istio's `HTTPRetry`, with what it means where it says nothing.

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// How often, and after what, a request is sent again. The default is Istio's
/// (`pilot/pkg/networking/core/route/retry`), and 503 where repeating is safe, which Istio retried until 1.23.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryPolicy {
    /// Most attempts after the first one; 0: none.
    pub attempts: u32,
    /// How long an attempt may take until its answer begins; none: as long as the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_try_timeout: Option<Duration>,
    /// After what.
    pub on: RetryOn,
    /// Whether endpoints that were tried already are as good as others.
    #[serde(default)]
    pub previous_hosts: bool,
    /// Longest pause before the first retry.
    pub backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 2,
            per_try_timeout: None,
            on: RetryOn::default(),
            previous_hosts: false,
            backoff: Duration::from_millis(25),
        }
    }
}

/// What a request is sent again after.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryOn {
    /// Conditions, of which one must hold.
    pub conditions: Vec<RetryCondition>,
    /// HTTP statuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<u16>,
}

impl Default for RetryOn {
    fn default() -> Self {
        use RetryCondition::{Cancelled, ConnectFailure, RefusedStream, Safe503, Unavailable};
        let conditions = vec![ConnectFailure, RefusedStream, Unavailable, Cancelled, Safe503];
        Self { conditions, statuses: Vec::new() }
    }
}

/// A condition of Envoy's `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryCondition {
    /// Any answer 5xx, or none.
    #[serde(rename = "5xx")]
    ServerError,
    /// 502, 503 or 504, or no answer.
    GatewayError,
    /// No answer.
    Reset,
    /// No answer, before anything of the request was sent.
    ResetBeforeRequest,
    /// No connection.
    ConnectFailure,
    /// 409.
    #[serde(rename = "retriable-4xx")]
    Retriable4xx,
    /// The server refuses the stream without having looked at it.
    RefusedStream,
    /// gRPC status 1.
    Cancelled,
    /// gRPC status 4.
    DeadlineExceeded,
    /// gRPC status 13.
    Internal,
    /// gRPC status 8.
    ResourceExhausted,
    /// gRPC status 14.
    Unavailable,
    /// 503, where the method may be repeated; has no name in `retryOn`.
    #[serde(rename = "safe-503")]
    Safe503,
}

impl RetryOn {
    /// After nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self { conditions: Vec::new(), statuses: Vec::new() }
    }

    /// Whether any of these conditions is asked for.
    #[must_use]
    pub fn any(&self, conditions: &[RetryCondition]) -> bool {
        self.conditions.iter().any(|condition| conditions.contains(condition))
    }
}

impl FromStr for RetryOn {
    type Err = String;

    /// Reads `retryOn`: conditions and statuses, with commas between them.
    ///
    /// # Errors
    ///
    /// The first part that Istio's validation does not know.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut read = Self::nothing();
        for part in text.split(',') {
            match part.parse() {
                Ok(status) if is_status(status) => read.statuses.push(status),
                _ if WITHOUT_EFFECT.contains(&part) => {}
                _ => match CONDITIONS.iter().find(|(name, _)| *name == part) {
                    Some((_, condition)) => read.conditions.push(*condition),
                    None => return Err(part.to_owned()),
                },
            }
        }
        Ok(read)
    }
}

/// Whether a number is a status that has a name, as Go's `http.StatusText` has it.
fn is_status(number: u16) -> bool {
    matches!(
        number,
        100..=103
            | 200..=208
            | 226
            | 300..=305
            | 307..=308
            | 400..=418
            | 421..=426
            | 428..=429
            | 431
            | 451
            | 500..=508
            | 510..=511
    )
}

const CONDITIONS: &[(&str, RetryCondition)] = &[
    ("5xx", RetryCondition::ServerError),
    ("gateway-error", RetryCondition::GatewayError),
    ("reset", RetryCondition::Reset),
    ("reset-before-request", RetryCondition::ResetBeforeRequest),
    ("connect-failure", RetryCondition::ConnectFailure),
    ("retriable-4xx", RetryCondition::Retriable4xx),
    ("refused-stream", RetryCondition::RefusedStream),
    ("cancelled", RetryCondition::Cancelled),
    ("deadline-exceeded", RetryCondition::DeadlineExceeded),
    ("internal", RetryCondition::Internal),
    ("resource-exhausted", RetryCondition::ResourceExhausted),
    ("unavailable", RetryCondition::Unavailable),
];

/// Conditions that name nothing by themselves, or what sidecars never see.
const WITHOUT_EFFECT: &[&str] = &[
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_and_statuses_are_read_and_nothing_else() {
        use RetryCondition::{Cancelled, ServerError};
        let read: RetryOn = "5xx,418,retriable-status-codes,cancelled".parse().unwrap();
        assert_eq!(read.conditions, [ServerError, Cancelled]);
        assert_eq!(read.statuses, [418]);
        for (text, wrong) in [("5xx,", ""), ("5xx, 503", " 503"), ("999", "999"), ("6xx", "6xx")] {
            assert_eq!(text.parse::<RetryOn>(), Err(wrong.to_owned()), "{text}");
        }
        assert!("safe-503".parse::<RetryOn>().is_err(), "it is the default's only");
    }
}
