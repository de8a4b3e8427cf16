//! The attempts of a request: where each goes, and whether another is made.
//!
//! This is Istio's default retry policy (`pilot/pkg/networking/core/route/retry`): two retries, at endpoints that
//! were not tried yet, after `connect-failure`, `refused-stream`, and the gRPC statuses `unavailable` and
//! `cancelled`. An answer 503 is retried too where that is safe: Istio did so for all requests until 1.23, and
//! does for none since; here it is done for methods that may be repeated. A request of which the server may have
//! seen a part is sent again only if all of it is at hand.

use std::{cell::Cell, net::SocketAddr, time::Duration};

use palisade_http::Method;
use palisade_telemetry::ResponseFlags;
use smallvec::SmallVec;
use tokio::time::sleep;

use crate::{
    active::{Counted, Slot},
    answer::Answer,
    outbound::Routed,
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
            Self::Workload(address) => Dial::plain(*address),
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
        matches!(self, Self::Service(attempts) if attempts.routed.route().is_some())
    }
}

impl<'a> Attempts<'a> {
    /// The first attempt at where `routed` leads.
    ///
    /// # Errors
    /// What the client is told if as many requests are under way as may be.
    pub(crate) fn new(
        worker: &'a Worker,
        routed: &'a mut Routed,
        original: SocketAddr,
        method: Method,
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
            tried: SmallVec::new(),
            retries: 0,
            flags: Cell::default(),
            _under_way: under_way,
            retrying: Slot::default(),
        })
    }

    fn declines(&self, begun: Begun) -> bool {
        self.routed.answered(self.worker, begun.status);
        let wanted = match begun.grpc_status {
            Some(status) => matches!(status, CANCELLED | UNAVAILABLE),
            None => begun.status == 503 && self.method.is_idempotent(),
        };
        wanted && begun.replayable && self.routed.route().is_some() && self.has_one_left()
    }

    /// Whether another attempt may be made after this one; what the client gets says so if not.
    fn has_one_left(&self) -> bool {
        if self.retries < RETRIES {
            return true;
        }
        self.flags.set(self.flags.get().and(ResponseFlags::UPSTREAM_RETRY_LIMIT));
        false
    }

    fn allows(&self, trouble: Trouble, restartable: bool) -> bool {
        let wanted = match trouble {
            Trouble::Connect | Trouble::Refused => restartable && self.routed.route().is_some(),
            Trouble::Declined => true,
            Trouble::Overflow | Trouble::Lost | Trouble::Final => false,
        };
        wanted && self.has_one_left()
    }

    fn failed(&self, trouble: Trouble) {
        match trouble {
            // As Envoy counts what has no status of its own.
            Trouble::Connect | Trouble::Refused | Trouble::Lost => {
                self.routed.answered(self.worker, 503);
            }
            Trouble::Overflow => self.worker.shared.metrics.overflowed(),
            Trouble::Declined | Trouble::Final => {}
        }
    }

    /// Pauses and goes to another endpoint, if there is one.
    async fn go_on(&mut self) -> bool {
        let Some(route) = self.routed.route() else { return false };
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
        self.tried.extend(self.routed.endpoint());
        sleep(pause(self.retries, |bound| self.worker.random.borrow_mut().below(bound))).await;
        self.retries += 1;
        self.routed.go_on(self.worker, self.original, &self.tried).await;
        let goes = self.routed.refusal().is_none();
        if goes {
            self.worker.shared.metrics.retried();
        }
        goes
    }
}

/// The pause before a retry, when there have been so many: random, and growing with their number, as Envoy's
/// `JitteredExponentialBackOffStrategy` with its default base.
fn pause(retries: u32, mut below: impl FnMut(usize) -> usize) -> Duration {
    let most = BASE_PAUSE_MILLIS.saturating_mul(1 << retries.min(8)).min(10 * BASE_PAUSE_MILLIS);
    Duration::from_millis(u64::try_from(below(most)).unwrap_or_default())
}

/// How often a request is sent once more.
const RETRIES: u32 = 2;

const BASE_PAUSE_MILLIS: usize = 25;

/// gRPC statuses.
const CANCELLED: u8 = 1;
const UNAVAILABLE: u8 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_random_and_grow_up_to_a_quarter_of_a_second() {
        let longest: Vec<u128> =
            (0..6).map(|retries| pause(retries, |bound| bound - 1).as_millis()).collect();
        assert_eq!(longest, [24, 49, 99, 199, 249, 249]);
        assert_eq!(pause(1, |_| 0), Duration::ZERO);
    }
}
