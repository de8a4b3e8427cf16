//! The attempts of a request: where each goes, and whether another is made.
//!
//! What is tried again is said by a VirtualService, the mesh's settings, or Istio's default, in Envoy's words
//! (`x-envoy-retry-on`). A request of which the server may have seen a part is sent again only if all of it is at
//! hand.

use std::{cell::Cell, net::SocketAddr, sync::Arc, time::Duration};

use palisade_http::{Method, RequestHead};
use palisade_telemetry::ResponseFlags;
use palisade_types::{RetryCondition as Condition, RetryPolicy};
use smallvec::SmallVec;
use tokio::time::sleep;

use crate::{
    active::{Budget, Counted, Slot},
    answer::Answer,
    outbound::Routed,
    patience::{Late, Patience},
    upstream::{ConnectError, Dial},
    worker::Worker,
};

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Towards<'a> {
    /// To our own workload, once.
    Workload(SocketAddr),
    /// To a service, or to what the mesh does not know.
    Service(Attempts<'a>),
}

/// The attempts of one request to a service.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    worker: &'a Worker,
    routed: &'a mut Routed,
    original: SocketAddr,
    method: Method,
    /// None: it may take for ever, and is sent once.
    budget: Option<Arc<Budget>>,
    tried: SmallVec<[usize; 3]>,
    retries: u32,
    flags: Cell<ResponseFlags>,
    _under_way: Slot,
    /// Held while a retry is under way.
    retrying: Slot,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// There was no connection.
    Connect,
    /// A limit was reached.
    Overflow,
    /// The server has refused the stream without having looked at it.
    Refused,
    /// The answer was not taken, as [`Towards::declines`] has said.
    Declined,
    /// There was no answer.
    Lost,
    /// There was none in time.
    Late(Late),
    /// It is not the server's fault, or the client has been told something already.
    Final,
}

impl Trouble {
    /// Of an attempt without a connection.
    pub(crate) fn of(error: &ConnectError) -> Self {
        match error {
            ConnectError::Overflow => Self::Overflow,
            ConnectError::Left => Self::Final,
            ConnectError::Tcp(_) | ConnectError::Tls(_) | ConnectError::NoCredentials => {
                Self::Connect
            }
        }
    }
}

/// What the head of a final response says, and whether the request could be sent again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    /// HTTP status.
    pub(crate) status: u16,
    /// gRPC status, if the head has one.
    pub(crate) grpc_status: Option<u8>,
    /// Whether the whole request is at hand.
    pub(crate) replayable: bool,
}

impl Towards<'_> {
    /// Where the current attempt goes.
    pub(crate) fn dial(&self) -> Dial<'_> {
        match self {
            Self::Workload(address) => Dial::workload(*address),
            Self::Service(attempts) => attempts.routed.dial(attempts.original),
        }
    }

    /// Takes note of a response. Whether it is not passed on, and another attempt is made instead.
    pub(crate) fn declines(&self, begun: Begun) -> bool {
        match self {
            Self::Workload(_) => false,
            Self::Service(attempts) => attempts.declines(begun),
        }
    }

    /// Whether the request is sent once more, which is then, after a pause, on its way elsewhere. `restartable` says
    /// whether nothing of it would be missing.
    pub(crate) async fn again(&mut self, trouble: Trouble, restartable: bool) -> bool {
        match self {
            Self::Workload(_) => false,
            Self::Service(attempts) => {
                attempts.failed(trouble);
                // Boxed, since nearly all requests do without it.
                attempts.allows(trouble, restartable) && Box::pin(attempts.go_on()).await
            }
        }
    }

    /// What is to be said of all attempts together.
    pub(crate) fn flags(&self) -> ResponseFlags {
        match self {
            Self::Workload(_) => ResponseFlags::NONE,
            Self::Service(attempts) => attempts.flags.get(),
        }
    }

    /// Whether the request may have to be sent again.
    pub(crate) fn may_repeat(&self) -> bool {
        matches!(self, Self::Service(attempts) if attempts.retries().is_some())
    }

    /// How long the request with this head may take. A connection that is to become something else than HTTP takes
    /// as long as it takes.
    pub(crate) fn patience(&self, head: &RequestHead) -> Patience {
        match self {
            Self::Service(Attempts { budget: Some(budget), .. }) if !head.is_upgrade() => {
                Patience::new(budget.timeout, budget.retries.per_try_timeout)
            }
            Self::Workload(_) | Self::Service(_) => Patience::default(),
        }
    }
}

impl<'a> Attempts<'a> {
    /// The first attempt at where `routed` leads.
    ///
    /// # Errors
    /// What the client is told if as many requests are under way as may be.
    pub(crate) fn new(
        worker: &'a Worker,
        (routed, original): (&'a mut Routed, SocketAddr),
        method: Method,
        budget: Option<Arc<Budget>>,
    ) -> Result<Self, Answer> {
        let under_way = match routed.route() {
            None => Slot::default(),
            Some(route) => {
                let most = route.port.traffic.max_requests;
                route.cluster.take(Counted::Requests, most).map_err(|_| {
                    worker.shared.metrics.overflowed();
                    Answer::NoConnection(ConnectError::Overflow)
                })?
            }
        };
        Ok(Self {
            worker,
            routed,
            original,
            method,
            budget,
            tried: SmallVec::new(),
            retries: 0,
            flags: Cell::default(),
            _under_way: under_way,
            retrying: Slot::default(),
        })
    }

    /// When it is sent again, if ever.
    fn retries(&self) -> Option<&RetryPolicy> {
        let retries = &self.budget.as_ref()?.retries;
        (retries.attempts > 0).then_some(retries)
    }

    fn declines(&self, begun: Begun) -> bool {
        self.routed.answered(self.worker, begun.status);
        let Some(retries) = self.retries() else { return false };
        is_retriable(retries, begun, self.method) && begun.replayable && self.has_one_left(retries)
    }

    /// Whether another attempt may be made after this one; what the client gets says so if not.
    fn has_one_left(&self, retries: &RetryPolicy) -> bool {
        if self.retries < retries.attempts {
            return true;
        }
        self.flags.set(self.flags.get().and(ResponseFlags::UPSTREAM_RETRY_LIMIT));
        false
    }

    fn allows(&self, trouble: Trouble, restartable: bool) -> bool {
        let Some(retries) = self.retries() else { return false };
        let asked = |condition| retries.on.any(&[condition]) || retries.on.any(WITHOUT_ANSWER);
        let wanted = match trouble {
            Trouble::Connect => {
                asked(Condition::ConnectFailure) || asked(Condition::ResetBeforeRequest)
            }
            Trouble::Refused => asked(Condition::RefusedStream),
            Trouble::Lost | Trouble::Late(Late::Attempt) => retries.on.any(WITHOUT_ANSWER),
            Trouble::Declined => return self.has_one_left(retries),
            Trouble::Overflow | Trouble::Late(Late::Whole) | Trouble::Final => false,
        };
        wanted && restartable && self.has_one_left(retries)
    }

    fn failed(&self, trouble: Trouble) {
        match trouble {
            // As Envoy counts what has no status of its own.
            Trouble::Connect | Trouble::Refused | Trouble::Lost => {
                self.routed.answered(self.worker, 503);
            }
            // As Envoy counts what has not come in time.
            Trouble::Late(_) => self.routed.answered(self.worker, 504),
            Trouble::Overflow => self.worker.shared.metrics.overflowed(),
            Trouble::Declined | Trouble::Final => {}
        }
    }

    /// Pauses and goes to another endpoint, if there is one.
    async fn go_on(&mut self) -> bool {
        let Some(route) = self.routed.route() else { return false };
        let Some(retries) = self.retries() else { return false };
        let (backoff, anew) = (retries.backoff, !retries.previous_hosts);
        // The last retry is over: it must not stand in the way of the next.
        self.retrying = Slot::default();
        match route.cluster.take(Counted::Retries, route.port.traffic.max_retries) {
            Ok(slot) => self.retrying = slot,
            Err(_) => {
                self.worker.shared.metrics.overflowed();
                self.flags.set(self.flags.get().and(ResponseFlags::UPSTREAM_OVERFLOW));
                return false;
            }
        }
        if anew {
            self.tried.extend(self.routed.endpoint());
        }
        sleep(pause(backoff, self.retries, |bound| self.worker.random.borrow_mut().below(bound)))
            .await;
        self.retries += 1;
        self.routed.go_on(self.worker, self.original, &self.tried).await;
        let goes = self.routed.refusal().is_none();
        if goes {
            self.worker.shared.metrics.retried();
        }
        goes
    }
}

/// Whether a policy has a request sent again after this answer.
fn is_retriable(retries: &RetryPolicy, begun: Begun, method: Method) -> bool {
    let on = &retries.on;
    let of_status = match begun.status {
        409 => on.any(&[Condition::Retriable4xx]),
        502..=504 => on.any(&[Condition::ServerError, Condition::GatewayError]),
        500..=599 => on.any(&[Condition::ServerError]),
        _ => false,
    };
    let of_grpc = match begun.grpc_status {
        Some(1) => on.any(&[Condition::Cancelled]),
        Some(4) => on.any(&[Condition::DeadlineExceeded]),
        Some(8) => on.any(&[Condition::ResourceExhausted]),
        Some(13) => on.any(&[Condition::Internal]),
        Some(14) => on.any(&[Condition::Unavailable]),
        Some(_) => false,
        None => begun.status == 503 && method.is_idempotent() && on.any(&[Condition::Safe503]),
    };
    of_status || of_grpc || on.statuses.contains(&begun.status)
}

/// Conditions that hold whenever there is no answer.
const WITHOUT_ANSWER: &[Condition] =
    &[Condition::ServerError, Condition::GatewayError, Condition::Reset];

/// The pause before a retry, when there have been so many: random, and growing with their number, as Envoy's
/// `JitteredExponentialBackOffStrategy`.
fn pause(base: Duration, retries: u32, mut below: impl FnMut(usize) -> usize) -> Duration {
    let base = usize::try_from(base.as_millis()).unwrap_or(usize::MAX).max(1);
    let most = base.saturating_mul(1 << retries.min(8)).min(base.saturating_mul(10));
    Duration::from_millis(u64::try_from(below(most)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use palisade_types::RetryOn;

    use super::*;

    #[test]
    fn pauses_are_random_and_grow_up_to_a_quarter_of_a_second() {
        let usual = RetryPolicy::default().backoff;
        let longest: Vec<u128> =
            (0..6).map(|retries| pause(usual, retries, |bound| bound - 1).as_millis()).collect();
        assert_eq!(longest, [24, 49, 99, 199, 249, 249]);
        assert_eq!(pause(usual, 1, |_| 0), Duration::ZERO);
    }

    #[test]
    fn answers_are_retried_as_envoy_retries_them() {
        let (get, post) = (Method::GET, Method::POST);
        for (on, status, grpc_status, method, expected) in [
            ("", 503, None, get, true),
            ("", 503, None, post, false),
            ("", 500, None, get, false),
            ("", 503, Some(2), get, false),
            ("", 200, Some(14), post, true),
            ("", 200, Some(1), post, true),
            ("", 200, Some(13), post, false),
            ("5xx", 500, None, post, true),
            ("5xx", 503, None, post, true),
            ("5xx", 200, Some(14), post, false),
            ("gateway-error", 504, None, post, true),
            ("gateway-error", 500, None, post, false),
            ("retriable-4xx", 409, None, post, true),
            ("retriable-4xx", 404, None, post, false),
            ("418,internal", 418, None, post, true),
            ("418,internal", 200, Some(13), post, true),
            ("418,internal", 503, None, get, false),
            ("deadline-exceeded,resource-exhausted", 200, Some(4), post, true),
            ("deadline-exceeded,resource-exhausted", 200, Some(8), post, true),
            ("retriable-status-codes", 503, None, get, false),
        ] {
            let on = if on.is_empty() { RetryOn::default() } else { on.parse().unwrap() };
            let policy = RetryPolicy { on, ..RetryPolicy::default() };
            let begun = Begun { status, grpc_status, replayable: true };
            let told = format!("{:?} {begun:?} {method:?}", policy.on);
            assert_eq!(is_retriable(&policy, begun, method), expected, "{told}");
        }
    }
}
