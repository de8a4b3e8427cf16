//! How long a request may take: all of it, and each attempt. Both clocks run from when the client has said all that
//! it had to say, as in Envoy's router; that of an attempt until its answer begins.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

/// The clocks of one request. Without limits there are none, and they cost nothing.
#[derive(Debug, Default)]
pub(crate) struct Patience(Option<Box<Clocks>>);

#[derive(Debug)]
struct Clocks {
    whole: Clock,
    attempt: Clock,
}

#[derive(Debug)]
struct Clock {
    limit: Option<Duration>,
    running: Option<Pin<Box<Sleep>>>,
}

/// What took too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Late {
    /// The request.
    Whole,
    /// An attempt.
    Attempt,
}

impl Patience {
    /// With these limits.
    pub(crate) fn new(whole: Option<Duration>, attempt: Option<Duration>) -> Self {
        if whole.is_none() && attempt.is_none() {
            return Self::default();
        }
        let clock = |limit| Clock { limit, running: None };
        Self(Some(Box::new(Clocks { whole: clock(whole), attempt: clock(attempt) })))
    }

    /// Ends an attempt, so that another may begin.
    pub(crate) fn start_over(&mut self) {
        if let Some(clocks) = &mut self.0 {
            clocks.attempt.running = None;
        }
    }

    /// Ready when it took too long. `complete` says whether the client has said all, and `begun` whether an answer is
    /// on its way.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, complete: bool, begun: bool) -> Poll<Late> {
        let Some(clocks) = self.0.as_mut().filter(|_| complete) else { return Poll::Pending };
        if clocks.whole.poll(cx).is_ready() {
            return Poll::Ready(Late::Whole);
        }
        if !begun && clocks.attempt.poll(cx).is_ready() {
            return Poll::Ready(Late::Attempt);
        }
        Poll::Pending
    }

    /// The result of a step that no attempt's clock counts, unless the request takes too long.
    pub(crate) fn step<T>(
        &mut self,
        complete: bool,
        mut step: Pin<&mut impl Future<Output = T>>,
    ) -> impl Future<Output = Result<T, Late>> {
        poll_fn(move |cx| match (step.as_mut().poll(cx), &mut self.0) {
            (Poll::Ready(done), _) => Poll::Ready(Ok(done)),
            (Poll::Pending, Some(clocks)) if complete => {
                clocks.whole.poll(cx).map(|()| Err(Late::Whole))
            }
            (Poll::Pending, _) => Poll::Pending,
        })
    }
}

impl Clock {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.limit else { return Poll::Pending };
        self.running.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx)
    }
}

impl Late {
    /// `RESPONSE_CODE_DETAILS` of the access log.
    pub(crate) fn details(self) -> &'static str {
        match self {
            Self::Whole => "response_timeout",
            Self::Attempt => "upstream_per_try_timeout",
        }
    }
}
