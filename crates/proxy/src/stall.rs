//! Readers that take nothing of what waits for them.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::timer::Timer;

/// How long a peer may take nothing of what waits for it.
pub(crate) const STALLED: Duration = Duration::from_secs(300);

/// How long a reader has taken nothing.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    since: Option<Instant>,
    taken: u64,
    /// Made when something waits for the first time, and kept: most readers are slower than we are now and then.
    timer: Option<Timer>,
}

impl Stall {
    /// Ready when the reader has taken nothing for [`STALLED`]. `taken` says how much it has taken in all; none that
    /// nothing waits for it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, taken: Option<u64>) -> Poll<()> {
        let Some(taken) = taken else {
            self.since = None;
            return Poll::Pending;
        };
        let since = match self.since.filter(|_| taken == self.taken) {
            Some(since) => since,
            None => *self.since.insert(Instant::now()),
        };
        self.taken = taken;
        let deadline = since + STALLED;
        self.timer.get_or_insert_with(|| Timer::new(deadline)).poll(cx, deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_something_now_and_then_is_no_stalled_reader() {
        let mut stall = Stall::default();
        let almost = STALLED - Duration::from_secs(1);
        let mut waits = async |taken: Option<u64>, time: Duration| {
            timeout(time, poll_fn(|cx| stall.poll(cx, taken))).await.is_err()
        };
        for taken in 0..5 {
            assert!(waits(Some(taken), almost).await);
        }
        assert!(waits(None, 2 * STALLED).await, "nothing waits for it");
        assert!(waits(Some(4), almost).await, "it is counted anew");
        advance(Duration::from_secs(2)).await;
        assert!(!waits(Some(4), Duration::from_millis(1)).await);
    }
}
