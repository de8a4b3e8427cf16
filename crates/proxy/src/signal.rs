//! A value that changes now and then, and the tasks of one worker that want to know. Waiting costs
//! nothing per poll: no lock, since a worker is one thread.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Counts changes and wakes those who watch.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    version: Cell<u64>,
    waiters: RefCell<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Signal {
    /// Changes the value and wakes everyone.
    pub(crate) fn raise(&self) {
        self.version.set(self.version.get().wrapping_add(1));
        for waker in self.waiters.borrow().wakers.iter().flatten() {
            waker.wake_by_ref();
        }
    }

    /// Whether it was ever raised.
    pub(crate) fn is_raised(&self) -> bool {
        self.version.get() != 0
    }
}

/// One watcher of a [`Signal`].
#[derive(Debug)]
pub(crate) struct Watch {
    signal: Rc<Signal>,
    seen: u64,
    slot: Option<usize>,
}

impl Watch {
    /// Watches from now on: earlier changes count as seen.
    pub(crate) fn new(signal: &Rc<Signal>) -> Self {
        Self { signal: Rc::clone(signal), seen: signal.version.get(), slot: None }
    }

    /// Watches from the beginning: a signal that was raised before is a change.
    pub(crate) fn from_start(signal: &Rc<Signal>) -> Self {
        Self { signal: Rc::clone(signal), seen: 0, slot: None }
    }

    /// Ready when there was a change since the last time that it was ready.
    pub(crate) fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let version = self.signal.version.get();
        if version != self.seen {
            self.seen = version;
            return Poll::Ready(());
        }
        let mut waiters = self.signal.waiters.borrow_mut();
        let slot = *self.slot.get_or_insert_with(|| {
            waiters.free.pop().unwrap_or_else(|| {
                waiters.wakers.push(None);
                waiters.wakers.len() - 1
            })
        });
        if let Some(waker) = waiters.wakers.get_mut(slot)
            && !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            let mut waiters = self.signal.waiters.borrow_mut();
            if let Some(waker) = waiters.wakers.get_mut(slot) {
                *waker = None;
            }
            waiters.free.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_watcher_sees_a_change_once() {
        let signal = Rc::new(Signal::default());
        let mut cx = Context::from_waker(Waker::noop());
        let (mut first, mut second) = (Watch::new(&signal), Watch::new(&signal));
        assert!(first.poll_changed(&mut cx).is_pending());
        signal.raise();
        assert!(first.poll_changed(&mut cx).is_ready());
        assert!(first.poll_changed(&mut cx).is_pending());
        assert!(second.poll_changed(&mut cx).is_ready());
        assert!(Watch::new(&signal).poll_changed(&mut cx).is_pending());
        assert!(Watch::from_start(&signal).poll_changed(&mut cx).is_ready());
    }

    #[test]
    fn slots_of_the_gone_are_used_again() {
        let signal = Rc::new(Signal::default());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            let mut watch = Watch::new(&signal);
            assert!(watch.poll_changed(&mut cx).is_pending());
        }
        assert_eq!(signal.waiters.borrow().wakers.len(), 1);
    }
}
