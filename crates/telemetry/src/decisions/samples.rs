//! Examples of what was decided since they were last told. The kept decisions are looked through when a report
//! is made, so that no request pays for it.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::{DecisionLog, DecisionRecord, Direction, Ring, Slot};

/// Which of the kept decisions have been looked at.
#[derive(Debug)]
pub(crate) struct Samples {
    rings: Vec<(Arc<Mutex<Ring>>, u64)>,
}

impl Samples {
    pub(crate) fn new(log: &DecisionLog) -> Self {
        Self { rings: log.rings.iter().map(|ring| (Arc::clone(ring), 0)).collect() }
    }

    /// Allowed requests and connections since the last call, oldest first: the newest few of each kind, so that a
    /// flood of one hides no other. Denials are told in full elsewhere.
    pub(crate) fn take(&mut self) -> Vec<DecisionRecord> {
        let share = (MOST / self.rings.len().max(1)).max(1);
        let mut taken = Vec::new();
        for (ring, seen) in &mut self.rings {
            let ring = ring.lock();
            let new = usize::try_from(ring.recorded - *seen).unwrap_or(usize::MAX);
            *seen = ring.recorded;
            let mut kinds: HashMap<_, usize> = HashMap::new();
            let newest = ring.slots.iter().rev().take(new.min(LOOKED_AT));
            let chosen = newest.filter(|slot| is_allowed(slot)).filter(|slot| {
                let [_, principal, method, host, path, _] = slot.texts();
                let kind = (principal, slot.source.ip(), slot.destination, method, host, path);
                let known = kinds.entry(kind).or_default();
                *known += 1;
                *known <= OF_A_KIND
            });
            taken.extend(chosen.take(share).map(|slot| (slot.time, slot.record())));
        }
        taken.sort_by_key(|(time, _)| *time);
        taken.into_iter().map(|(_, record)| record).collect()
    }
}

fn is_allowed(slot: &Slot) -> bool {
    slot.verdict == "allow" && slot.direction == Direction::Inbound
}

/// Examples in a report.
const MOST: usize = 64;
/// Examples of the same call in a report.
const OF_A_KIND: usize = 2;
/// Decisions of a worker that are looked through for a report.
const LOOKED_AT: usize = 512;

#[cfg(test)]
mod tests {
    use super::{
        super::{Decided, tests::decided},
        *,
    };
    use crate::metrics::Dropped;

    fn allowed(path: &str, millis: u64) -> Decided<'_> {
        Decided { verdict: "allow", reason: "allowed", ..decided("", path, millis) }
    }

    #[test]
    fn a_flood_hides_no_other_kind_and_nothing_is_told_twice() {
        let log = DecisionLog::new(1, 4_000, &Dropped::default());
        let (sender, mut samples) = (log.senders().remove(0), Samples::new(&log));
        sender.record(&allowed("/rare", 1));
        sender.record(&decided("denied", "/", 1));
        for millis in 2..400 {
            sender.record(&allowed("/flood", millis));
        }
        let paths: Vec<String> = samples.take().into_iter().map(|it| it.path).collect();
        assert_eq!(paths, ["/rare", "/flood", "/flood"]);
        assert!(samples.take().is_empty());
        sender.record(&allowed("/next", 500));
        assert_eq!(samples.take().len(), 1);
    }

    #[test]
    fn a_report_holds_so_many_and_no_more() {
        let log = DecisionLog::new(2, 4_000, &Dropped::default());
        let mut samples = Samples::new(&log);
        for (index, sender) in log.senders().iter().enumerate() {
            for millis in 0..1_000 {
                sender.record(&allowed(&format!("/{index}/{millis}"), millis));
            }
        }
        let taken = samples.take();
        assert_eq!(taken.len(), MOST);
        assert!(taken.iter().all(|it| it.path.len() > 5), "the newest: {taken:?}");
    }

    #[test]
    fn what_newer_decisions_replaced_is_not_missed_twice() {
        let log = DecisionLog::new(1, 3, &Dropped::default());
        let (sender, mut samples) = (log.senders().remove(0), Samples::new(&log));
        for millis in 0..9 {
            sender.record(&allowed(&format!("/{millis}"), millis));
        }
        assert_eq!(samples.take().len(), 3);
    }
}
