//! Batches: changes of several objects that take force as one generation. While one is open nothing is
//! published; when it is closed, as soon as every object of it has come.
//!
//! Nobody holds the mesh back for long: a batch whose owner is gone ends by itself, and what is held back
//! again and again is published in between.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::index::{Seen, Stored, is_reached};

/// The batches that hold generations back.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    open: BTreeMap<u64, Batch>,
    since: Option<Instant>,
}

#[derive(Debug)]
struct Batch {
    until: Instant,
    /// The versions that have to come; none: it is not known yet what will.
    awaited: Option<Vec<(Stored, String)>>,
}

impl Batches {
    /// Begins a batch.
    pub(crate) fn open(&mut self, id: u64, now: Instant) {
        self.since.get_or_insert(now);
        self.open.insert(id, Batch { until: now + LONGEST, awaited: None });
    }

    /// Ends a batch with the versions that it has stored; one that has ended by itself stays so.
    pub(crate) fn close(&mut self, id: u64, awaited: Vec<(Stored, String)>, now: Instant) {
        if let Some(batch) = self.open.get_mut(&id) {
            *batch = Batch { until: now + SOON, awaited: Some(awaited) };
        }
    }

    /// Until when nothing is to be published; none: it may be.
    pub(crate) fn hold_until(
        &mut self,
        seen: &BTreeMap<Stored, Seen>,
        now: Instant,
    ) -> Option<Instant> {
        self.open.retain(|id, batch| {
            let late = batch.until <= now;
            if late {
                tracing::warn!(
                    id,
                    "a batch of changes was not ended: what has come of it takes force"
                );
            }
            !late && !batch.has_come(seen)
        });
        let end = self.since.map(|since| since + 2 * LONGEST).filter(|_| !self.open.is_empty());
        match end {
            Some(end) if end > now => {
                self.open.values().map(|batch| batch.until).chain([end]).min()
            }
            _ => {
                *self = Self::default();
                None
            }
        }
    }
}

impl Batch {
    fn has_come(&self, seen: &BTreeMap<Stored, Seen>) -> bool {
        let has_come = |(at, version): &(Stored, String)| {
            seen.get(at).is_some_and(|seen| is_reached(&seen.resource_version, version))
        };
        self.awaited.as_ref().is_some_and(|awaited| awaited.iter().all(has_come))
    }
}

/// How long a batch may be open.
const LONGEST: Duration = Duration::from_secs(10);
/// How long what was stored may take to come.
const SOON: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str) -> Stored {
        Stored {
            kind: "AuthorizationPolicy".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    fn seen(objects: &[(&str, &str)]) -> BTreeMap<Stored, Seen> {
        let seen = |version: &str| Seen { resource_version: version.to_owned(), ..Seen::default() };
        objects.iter().map(|(name, version)| (at(name), seen(version))).collect()
    }

    #[tokio::test]
    async fn all_of_a_batch_is_waited_for_but_not_for_ever() {
        let (mut batches, now) = (Batches::default(), Instant::now());
        assert_eq!(batches.hold_until(&seen(&[]), now), None);
        batches.open(1, now);
        let half = seen(&[("a", "7")]);
        assert_eq!(batches.hold_until(&half, now), Some(now + LONGEST));
        let wanted = vec![(at("a"), "7".to_owned()), (at("b"), "8".to_owned())];
        batches.close(1, wanted.clone(), now);
        assert_eq!(batches.hold_until(&half, now), Some(now + SOON));
        assert_eq!(batches.hold_until(&seen(&[("a", "7"), ("b", "9")]), now), None);

        batches.open(2, now);
        assert_eq!(batches.hold_until(&half, now + LONGEST), None, "its owner is gone");
        batches.close(2, wanted.clone(), now + LONGEST);
        assert_eq!(batches.hold_until(&half, now + LONGEST), None, "it has ended");

        batches.open(3, now);
        batches.close(3, wanted, now);
        assert_eq!(batches.hold_until(&half, now + SOON), None, "an object was deleted since");
    }

    #[tokio::test]
    async fn batch_upon_batch_holds_nobody_back_for_ever() {
        let (mut batches, start) = (Batches::default(), Instant::now());
        let held = (0..60).take_while(|second| {
            let now = start + Duration::from_secs(*second);
            batches.open(*second, now);
            batches.hold_until(&seen(&[]), now).is_some()
        });
        assert_eq!(held.count(), 20);
    }
}
