//! How a container is stopped: its `preStop` hook, its turn among the others, SIGTERM, SIGKILL.
//!
//! The grace period covers all of it and begins when the pod is told to end. A hook or a wait that
//! has used it up still leaves a moment between SIGTERM and SIGKILL, as kubelet does.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::ContainerWorker;
use crate::{launch::Running, spec::ProcessSpec};

/// What a container is told when it is to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stop {
    /// When it is killed.
    pub deadline: Instant,
    /// When it is asked to end.
    pub turn: Turn,
}

/// When a container that is to stop is asked to end.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Turn {
    /// After others; its hook is run already.
    Later,
    /// As soon as its hook has run.
    Now,
}

impl Stop {
    /// This and a further order: whatever is sooner.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { deadline: self.deadline.min(other.deadline), turn: self.turn.max(other.turn) }
    }
}

impl ContainerWorker {
    /// Brings a container's end about; its exit code.
    pub(super) async fn end(
        &self,
        running: &mut Running,
        (container, process): (&Container, &ProcessSpec),
        deadline: Instant,
    ) -> i32 {
        let mut countdown = Countdown::new(deadline, self.stop.clone(), Instant::now());
        let pid = running.pid();
        let asked = async {
            if countdown.is_running() {
                tokio::select! {
                    () = self.pre_stop(container, (pid, process), deadline) => {}
                    () = countdown.expired() => {}
                }
            }
            countdown.turn().await;
        };
        tokio::select! {
            code = running.wait() => return code.unwrap_or(UNKNOWN),
            () = asked => {}
        }
        countdown.leave_a_moment(Instant::now());
        running.terminate();
        tokio::select! {
            code = running.wait() => return code.unwrap_or(UNKNOWN),
            () = countdown.expired() => {}
        }
        running.kill();
        running.wait().await.unwrap_or(UNKNOWN)
    }
}

/// The time that is left, which may become less.
#[derive(Debug)]
struct Countdown {
    deadline: Instant,
    /// What there is between SIGTERM and SIGKILL at least.
    least: Duration,
    stop: watch::Receiver<Option<Stop>>,
}

impl Countdown {
    fn new(deadline: Instant, stop: watch::Receiver<Option<Stop>>, now: Instant) -> Self {
        let least = LEAST.min(deadline.duration_since(now));
        Self { deadline, least, stop }
    }

    /// Whether there was any time at all.
    fn is_running(&self) -> bool {
        !self.least.is_zero()
    }

    async fn expired(&mut self) {
        loop {
            tokio::select! {
                () = sleep_until(self.deadline) => return,
                Ok(()) = self.stop.changed() => self.hasten(Instant::now()),
            }
        }
    }

    /// Waits for the turn; others before it have deadlines too, so it comes.
    async fn turn(&mut self) {
        let may = |stop: &Option<Stop>| stop.is_none_or(|stop| stop.turn == Turn::Now);
        // The sender is dropped when the pod is torn down.
        let _ = self.stop.wait_for(may).await;
        self.hasten(Instant::now());
    }

    fn hasten(&mut self, now: Instant) {
        let told = self.stop.borrow_and_update().map(|stop| stop.deadline);
        if let Some(sooner) = told.filter(|told| *told < self.deadline) {
            self.deadline = sooner;
            self.least = self.least.min(sooner.duration_since(now));
        }
    }

    fn leave_a_moment(&mut self, now: Instant) {
        self.deadline = self.deadline.max(now + self.least);
    }
}

/// Exit code of a container whose own is not known.
const UNKNOWN: i32 = 255;

/// Kubelet's least time between SIGTERM and SIGKILL.
const LEAST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_after_a_hook_is_as_kubelet_has_it() {
        let start = Instant::now();
        // Grace, time that the hook took, sooner deadline told meanwhile; when SIGKILL comes.
        for (grace, hook, sooner, killed) in [
            (30.0, 0.0, None, 30.0),
            (30.0, 5.0, None, 30.0),
            (30.0, 29.0, None, 31.0),
            (30.0, 30.0, None, 32.0),
            (1.5, 1.5, None, 3.0),
            (30.0, 5.0, Some(10.0), 10.0),
            (30.0, 5.0, Some(6.0), 6.0),
            (30.0, 5.0, Some(5.0), 5.0),
            (0.0, 0.0, None, 0.0),
        ] {
            let begin = Instant::now();
            let (sender, stop) = watch::channel(None);
            let mut countdown = Countdown::new(begin + after(grace), stop, begin);
            tokio::time::advance(after(hook)).await;
            if let Some(sooner) = sooner {
                let stop = Stop { deadline: begin + after(sooner), turn: Turn::Now };
                sender.send_replace(Some(stop));
            }
            countdown.turn().await;
            countdown.leave_a_moment(Instant::now());
            assert_eq!(countdown.deadline - begin, after(killed), "{grace} {hook} {sooner:?}");
        }
        assert!(start.elapsed() < after(120.0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_turn_is_waited_for_and_time_can_become_less() {
        let begin = Instant::now();
        let later = Stop { deadline: begin + after(30.0), turn: Turn::Later };
        let (sender, stop) = watch::channel(Some(later));
        let mut countdown = Countdown::new(later.deadline, stop, begin);
        let waited = tokio::time::timeout(after(60.0), countdown.turn()).await;
        assert!(waited.is_err(), "not its turn");
        sender.send_replace(Some(later.and(Stop { turn: Turn::Now, ..later })));
        countdown.turn().await;
        let now = Instant::now();
        countdown.leave_a_moment(now);
        assert_eq!(countdown.deadline, now + LEAST);
        sender.send_replace(Some(Stop { deadline: now, turn: Turn::Now }));
        countdown.expired().await;
        assert_eq!(Instant::now(), now);
    }
}
