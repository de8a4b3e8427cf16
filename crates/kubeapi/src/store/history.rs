//! The last changes of one resource, bounded: a watcher that falls behind must list again.

use std::{collections::VecDeque, sync::Arc};

use super::Object;

/// Changes kept per resource.
const CAPACITY: usize = 2048;

/// Bytes of JSON that the kept changes may have; at 5 KiB an object this is no limit, but an
/// object may have megabytes.
const MAX_BYTES: usize = 16 << 20;

/// What a change did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ChangeKind {
    /// The object is new.
    Added,
    /// It was written.
    Modified,
    /// It is gone.
    Deleted,
}

/// One change of one object.
#[derive(Debug)]
pub(crate) struct Change {
    /// What it did.
    pub(crate) kind: ChangeKind,
    /// Version of the change.
    pub(crate) version: u64,
    /// The object after it; for a deletion, as it was last.
    pub(crate) object: Arc<Object>,
    /// The object before it.
    pub(crate) previous: Option<Arc<Object>>,
}

#[derive(Debug)]
pub(super) struct History {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    /// Changes up to this version may be missing.
    forgotten: u64,
}

impl History {
    /// A history that knows nothing of changes up to a version.
    pub(super) fn new(forgotten: u64) -> Self {
        Self { changes: VecDeque::new(), bytes: 0, forgotten }
    }

    pub(super) fn push(&mut self, change: Change) {
        self.bytes += change.object.json.len();
        self.changes.push_back(Arc::new(change));
        while self.changes.len() > CAPACITY || (self.bytes > MAX_BYTES && self.changes.len() > 1) {
            let Some(oldest) = self.changes.pop_front() else { return };
            self.bytes -= oldest.object.json.len();
            self.forgotten = oldest.version;
        }
    }

    /// Changes after a version, oldest first; none if some are forgotten.
    pub(super) fn since(&self, version: u64) -> Option<Vec<Arc<Change>>> {
        if version < self.forgotten {
            return None;
        }
        let start = self.changes.partition_point(|change| change.version <= version);
        Some(self.changes.iter().skip(start).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;

    use super::*;

    fn change(version: u64) -> Change {
        sized(version, 0)
    }

    fn sized(version: u64, bytes: usize) -> Change {
        let json = Bytes::from(vec![0; bytes]);
        let object = Arc::new(Object { value: Value::Null, version, json, applied: None });
        Change { kind: ChangeKind::Added, version, object, previous: None }
    }

    #[test]
    fn a_full_history_forgets_the_oldest_and_says_so() {
        let mut history = History::new(10);
        let last = 10 + CAPACITY as u64 + 1;
        for version in 11..=last {
            history.push(change(version));
        }
        assert!(history.since(10).is_none(), "the change of version 11 is forgotten");
        assert_eq!(history.since(11).unwrap().len(), CAPACITY);
        assert_eq!(history.since(last).unwrap().len(), 0);
    }

    #[test]
    fn large_objects_are_forgotten_sooner() {
        let mut history = History::new(0);
        for version in 1..=6 {
            history.push(sized(version, MAX_BYTES / 4));
        }
        assert!(history.since(1).is_none());
        assert_eq!(history.since(2).unwrap().len(), 4);
    }
}
