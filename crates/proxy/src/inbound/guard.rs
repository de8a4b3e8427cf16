//! What was allowed and is still under way: judged again with every configuration, so that a policy that is taken
//! away takes along what it allowed. Istio closes all connections of a workload whose policies change, 45 s later;
//! here only what is denied now ends, and at once.

use std::{
    borrow::Cow,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use palisade_http::{RequestHead, refusal::Refusal};
use palisade_policy::Decision;
use palisade_telemetry::ResponseFlags;

use super::{
    judge::{self, Judged, Stop},
    peer::Connection,
};
use crate::{report::Since, signal::Watch, worker::Worker};

/// Watches over a request that was allowed.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    worker: &'a Worker,
    connection: &'a Connection,
    judged: &'a Judged,
    /// When it was judged, in seconds since 1970: a token that expires on the way does not end its request.
    time: u64,
    watch: Watch,
    revoked: Option<(Option<Decision>, u64)>,
}

/// Why a request that was allowed may not go on.
#[derive(Clone, Debug)]
pub(crate) enum Revoked {
    /// It is refused now.
    Refused(Refusal),
    /// Its connection would not be admitted any more.
    Cut,
}

impl Revoked {
    /// What the access log says about it.
    pub(crate) fn flags(&self) -> ResponseFlags {
        match self {
            Self::Refused(_) => ResponseFlags::NONE,
            Self::Cut => ResponseFlags::NO_ROUTE,
        }
    }

    /// `RESPONSE_CODE_DETAILS` of the access log.
    pub(crate) fn details(&self) -> Cow<'static, str> {
        match self {
            Self::Refused(refusal) => refusal.details(),
            Self::Cut => "filter_chain_not_found".into(),
        }
    }

    /// `grpc-status` and `grpc-message` of a call that ends with it.
    pub(crate) fn grpc(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Refused(refusal) => refusal.grpc(),
            Self::Cut => None,
        }
    }
}

impl<'a> Guard<'a> {
    /// Watches with `watch`, which has seen every configuration since the request was judged.
    pub(crate) fn new(
        worker: &'a Worker,
        connection: &'a Connection,
        judged: &'a Judged,
        since: Since,
        watch: Watch,
    ) -> Self {
        let time = since.time.0 / 1000;
        Self { worker, connection, judged, time, watch, revoked: None }
    }

    /// What was decided instead, if the request was revoked, and by the configuration of which generation. No
    /// decision: it did not come to that.
    pub(crate) fn verdict(self) -> Option<(Option<Decision>, u64)> {
        self.revoked
    }

    /// Ready when the request with this head may not go on.
    pub(crate) fn poll_revoked(
        &mut self,
        cx: &mut Context<'_>,
        request: (&RequestHead, &[u8]),
    ) -> Poll<Revoked> {
        while self.watch.poll_changed(cx).is_ready() {
            if let Some(revoked) = self.judge(request) {
                return Poll::Ready(revoked);
            }
        }
        Poll::Pending
    }

    fn judge(&mut self, (head, received): (&RequestHead, &[u8])) -> Option<Revoked> {
        let Self { worker, connection, judged, .. } = *self;
        let active = worker.shared.active();
        let active = active.as_ref()?;
        if !connection.is_admitted(active) {
            self.revoked = Some((None, active.generation()));
            return Some(Revoked::Cut);
        }
        let path = judged.path.as_deref().or_else(|| head.path(received));
        let request = (head, received);
        let granted = judged.granted.as_deref();
        let (decision, refusal) =
            match judge::decide(active, connection, request, path, granted, self.time) {
                Ok((decision, token)) => {
                    let refusal = decision.refusal()?;
                    let id = judged.id(head, received);
                    judge::explain(worker, connection, active, request, id, &token);
                    (Some(decision), refusal)
                }
                Err(Stop::Refused(refusal)) => (None, refusal),
                // A provider that was not asked might say no: the client is to come again.
                Err(Stop::Ask(_, rule)) => {
                    let decision = Decision::denied(Arc::clone(&rule), None);
                    let refusal = decision.refusal()?;
                    (Some(decision), refusal)
                }
            };
        self.revoked = Some((decision, active.generation()));
        Some(Revoked::Refused(refusal))
    }
}

/// The result of `work`, unless the request is revoked first.
pub(crate) async fn unless_revoked<T, E: From<Revoked>>(
    guard: &mut Option<&mut Guard<'_>>,
    request: (&RequestHead, &[u8]),
    mut work: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Result<T, E> {
    poll_fn(|cx| {
        if let Some(guard) = guard
            && let Poll::Ready(revoked) = guard.poll_revoked(cx, request)
        {
            return Poll::Ready(Err(revoked.into()));
        }
        work.as_mut().poll(cx)
    })
    .await
}
