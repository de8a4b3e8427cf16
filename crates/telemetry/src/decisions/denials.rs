//! The denials since they were last told: the last few of each class, so that a flood of one kind hides no
//! other. Every denial is counted elsewhere; here are examples with their circumstances.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Decided, DecisionRecord, Slot};
use crate::cells::Counter;

/// What was denied lately.
#[derive(Debug)]
pub(crate) struct Denials {
    classes: Mutex<HashMap<u64, VecDeque<Slot>>>,
    hasher: RandomState,
    lost: Arc<Counter>,
    news: Notify,
}

impl Denials {
    /// None yet. Those that will never be told are counted in `lost`.
    pub(super) fn new(lost: Arc<Counter>) -> Self {
        let hasher = RandomState::new();
        Self { classes: Mutex::default(), hasher, lost, news: Notify::new() }
    }

    /// Keeps a denial, in the place of the oldest one of its class if there are enough.
    pub(super) fn keep(&self, decided: &Decided<'_>) {
        let Decided { principal, source, destination, policy, reason, .. } = *decided;
        let class = self.hasher.hash_one((principal, source.ip(), destination, policy, reason));
        self.keep_in(class, decided);
        self.news.notify_one();
    }

    fn keep_in(&self, class: u64, decided: &Decided<'_>) {
        let mut classes = self.classes.lock();
        if classes.len() >= MAX_CLASSES && !classes.contains_key(&class) {
            return self.lost.add(1);
        }
        let examples = classes.entry(class).or_default();
        let oldest = if examples.len() < EXAMPLES { None } else { examples.pop_front() };
        if oldest.is_some() {
            self.lost.add(1);
        }
        let text = oldest.map(|slot| slot.text).unwrap_or_default();
        examples.push_back(Slot::new(decided, text));
    }

    /// What was kept, oldest first. It is kept no longer.
    pub(crate) fn take(&self) -> Vec<DecisionRecord> {
        let classes = std::mem::take(&mut *self.classes.lock());
        let mut slots: Vec<Slot> = classes.into_values().flatten().collect();
        slots.sort_by_key(|slot| slot.time);
        slots.iter().map(Slot::record).collect()
    }

    /// Waits for a denial since the last call.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }
}

/// Classes between two reports.
const MAX_CLASSES: usize = 128;
/// Examples of a class between two reports.
const EXAMPLES: usize = 4;

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{decided, denied_by},
        *,
    };

    #[test]
    fn a_flood_of_one_class_hides_no_other() {
        let denials = Denials::new(Arc::default());
        denials.keep(&denied_by("rare", 1));
        for millis in 2..1_000 {
            denials.keep(&decided("flood", "/", millis));
        }
        let kept = denials.take();
        let of = |id: &str| kept.iter().filter(|record| record.request_id == id).count();
        assert_eq!((of(""), of("flood")), (1, EXAMPLES));
        assert_eq!(denials.lost.value(), 998 - EXAMPLES as u64);
        assert!(denials.take().is_empty());
    }

    #[test]
    fn classes_are_bounded_and_what_is_lost_is_counted() {
        let denials = Denials::new(Arc::default());
        for index in 0..MAX_CLASSES + 7 {
            denials.keep(&denied_by(&index.to_string(), 1));
        }
        assert_eq!(denials.take().len(), MAX_CLASSES);
        assert_eq!(denials.lost.value(), 7);
    }
}
