//! A work queue: a task waits at most once, runs at most once at a time, and is tried again with
//! growing delays when it fails. Time is passed in.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// Tasks to do.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// In order of arrival, without those that wait for a time.
    ready: VecDeque<T>,
    waiting: BTreeMap<T, Instant>,
    running: BTreeSet<T>,
    /// Touched while running.
    again: BTreeSet<T>,
    failures: BTreeMap<T, u32>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            waiting: BTreeMap::new(),
            running: BTreeSet::new(),
            again: BTreeSet::new(),
            failures: BTreeMap::new(),
        }
    }
}

impl<T: Clone + Ord> Queue<T> {
    /// Something changed: do the task as soon as possible.
    pub(crate) fn add(&mut self, task: T) {
        if self.running.contains(&task) {
            self.again.insert(task);
        } else if !self.ready.contains(&task) {
            self.waiting.remove(&task);
            self.ready.push_back(task);
        }
    }

    /// The next task; it runs until [`Queue::done`] or [`Queue::failed`].
    pub(crate) fn take(&mut self, now: Instant) -> Option<T> {
        let due: Vec<T> = self
            .waiting
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(task, _)| task.clone())
            .collect();
        for task in due {
            self.waiting.remove(&task);
            self.ready.push_back(task);
        }
        let task = self.ready.pop_front()?;
        self.running.insert(task.clone());
        Some(task)
    }

    /// The task is done; look again after a while if there is a reason to.
    pub(crate) fn done(&mut self, task: &T, again: Option<Duration>, now: Instant) {
        self.failures.remove(task);
        self.finish(task, again.map(|delay| now + delay));
    }

    /// The task failed and is tried again.
    pub(crate) fn failed(&mut self, task: &T, now: Instant) {
        let count = self.failures.entry(task.clone()).or_default();
        let delay = backoff(*count);
        *count = count.saturating_add(1);
        // What touched it meanwhile may well be the cause, and is no reason to try at once.
        self.again.remove(task);
        self.finish(task, Some(now + delay));
    }

    /// When the next waiting task is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }

    fn finish(&mut self, task: &T, at: Option<Instant>) {
        self.running.remove(task);
        if self.again.remove(task) {
            self.ready.push_back(task.clone());
        } else if let Some(at) = at {
            self.waiting.insert(task.clone(), at);
        }
    }
}

/// Quick at first, since on one machine the cause is most often something that is just starting
/// (the control plane's webhook), then slower.
fn backoff(failures: u32) -> Duration {
    let steps = failures.saturating_sub(QUICK).min(16);
    let delay = if failures < QUICK {
        Duration::from_millis(10) * (failures + 1)
    } else {
        QUICK_MAX * 2_u32.pow(steps)
    };
    let limit = if failures < QUICK { QUICK_MAX } else { MAX };
    delay.min(limit)
}

const QUICK: u32 = 40;

const QUICK_MAX: Duration = Duration::from_millis(100);

const MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_waits_and_runs_once() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for task in ["a", "b", "a"] {
            queue.add(task);
        }
        assert_eq!(queue.take(now), Some("a"));
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.take(now), Some("b"));
        assert_eq!(queue.take(now), None, "`a` still runs");
        queue.done(&"a", None, now);
        assert_eq!(queue.take(now), Some("a"), "it was touched while it ran");
        queue.done(&"a", None, now);
        queue.done(&"b", None, now);
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn a_failed_task_waits_longer_each_time_and_a_change_does_not_wait() {
        let mut now = Instant::now();
        let mut queue = Queue::default();
        queue.add("a");
        let mut before = Duration::ZERO;
        for _ in 0..60 {
            let task = queue.take(now).unwrap();
            queue.failed(&task, now);
            assert_eq!(queue.take(now), None);
            let due = queue.next_due().unwrap();
            let delay = due - now;
            assert!(delay >= before && delay <= MAX, "{delay:?}");
            before = delay;
            now = due;
        }
        assert_eq!(before, MAX);
        queue.take(now);
        queue.failed(&"a", now);
        queue.add("a");
        assert_eq!(queue.take(now), Some("a"), "a change is tried at once");
        queue.done(&"a", Some(Duration::from_secs(5)), now);
        assert_eq!(queue.next_due(), Some(now + Duration::from_secs(5)));
        queue.add("a");
        queue.take(now);
        queue.failed(&"a", now);
        assert_eq!(queue.next_due(), Some(now + backoff(0)), "success forgets failures");
    }

    #[test]
    fn in_the_first_seconds_a_retry_is_never_far() {
        let total: Duration = (0..QUICK).map(backoff).sum();
        assert!(total > Duration::from_secs(3), "{total:?}");
        assert!((0..QUICK).all(|count| backoff(count) <= QUICK_MAX));
        assert_eq!(backoff(u32::MAX), MAX);
    }
}
