//! Outlier detection: an endpoint that fails several times in a row is left alone for a while, longer each time.
//! As Envoy does it, with two differences: an endpoint comes back when its time is over, not at the next turn of a
//! clock, and what one ejection adds to the next is forgotten in the same way.
//!
//! Pure: times are given, since the cluster was first known.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use palisade_model::Outliers;

/// What an endpoint's answers say of it.
#[derive(Debug, Default)]
pub(super) struct Record {
    errors: AtomicU32,
    gateway_errors: AtomicU32,
    /// In milliseconds; 0: it never was.
    ejected_until: AtomicU64,
    /// How many ejections are remembered.
    ejections: AtomicU32,
}

impl Record {
    /// Whether the endpoint is left alone.
    pub(super) fn is_ejected(&self, now: Duration) -> bool {
        self.ejected_until.load(Relaxed) > millis(now)
    }

    /// Takes note of an answer. Whether the endpoint is to be left alone.
    pub(super) fn answered(&self, status: u16, rules: &Outliers, now: Duration) -> bool {
        if status < 500 {
            for count in [&self.errors, &self.gateway_errors] {
                // Nearly always it is 0, and then nobody's cache line is written to.
                if count.load(Relaxed) != 0 {
                    count.store(0, Relaxed);
                }
            }
            return false;
        }
        if self.is_ejected(now) {
            return false;
        }
        let gateway = match status {
            502..=504 => self.gateway_errors.fetch_add(1, Relaxed) + 1,
            _ => {
                self.gateway_errors.store(0, Relaxed);
                0
            }
        };
        let errors = self.errors.fetch_add(1, Relaxed) + 1;
        let enough = |count: u32, limit: u32| limit > 0 && count >= limit;
        let out = enough(gateway, rules.gateway_errors) || enough(errors, rules.errors);
        if out {
            self.errors.store(0, Relaxed);
            self.gateway_errors.store(0, Relaxed);
        }
        out
    }

    /// Leaves the endpoint alone from now on. Until when.
    pub(super) fn eject(&self, rules: &Outliers, now: Duration) -> Duration {
        let healthy = millis(now).saturating_sub(self.ejected_until.load(Relaxed));
        let forgotten = healthy / millis(rules.interval).max(1);
        let forgotten = u32::try_from(forgotten).unwrap_or(u32::MAX);
        let ejections = self.ejections.load(Relaxed).saturating_sub(forgotten).saturating_add(1);
        self.ejections.store(ejections, Relaxed);
        let longest = LONGEST.max(rules.base_ejection);
        let until = now + rules.base_ejection.saturating_mul(ejections).min(longest);
        self.ejected_until.store(millis(until), Relaxed);
        until
    }
}

/// Whether one more of `all` endpoints may be left alone, of which `ejected` are.
pub(super) fn may_eject(ejected: usize, all: usize, rules: &Outliers) -> bool {
    let percent = usize::try_from(rules.max_ejected_percent).unwrap_or(100);
    (ejected + 1) * 100 <= all * percent
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The longest ejection, if the first one is not longer: Envoy's `max_ejection_time`.
const LONGEST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(errors: u32, gateway_errors: u32) -> Outliers {
        Outliers {
            errors,
            gateway_errors,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_ejected_percent: 100,
            min_healthy_percent: 0,
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn errors_in_a_row_eject() {
        for (rules, answers, out) in [
            (rules(3, 0), &[500, 503, 502][..], true),
            (rules(3, 0), &[500, 503, 200, 502], false),
            (rules(3, 0), &[500, 404, 500, 500], false),
            (rules(0, 2), &[500, 500, 500, 500], false),
            (rules(0, 2), &[503, 504], true),
            (rules(0, 2), &[503, 500, 504], false),
            (rules(5, 2), &[502, 502], true),
            (rules(0, 0), &[503; 100], false),
        ] {
            let record = Record::default();
            let told: Vec<bool> =
                answers.iter().map(|status| record.answered(*status, &rules, at(0))).collect();
            assert_eq!(told.last(), Some(&out), "{answers:?}");
            assert!(told.iter().rev().skip(1).all(|out| !out), "{answers:?}");
        }
    }

    #[test]
    fn each_ejection_lasts_longer_until_they_are_forgotten() {
        let (record, rules) = (Record::default(), rules(1, 0));
        assert_eq!(record.eject(&rules, at(0)), at(30));
        assert!(record.is_ejected(at(29)) && !record.is_ejected(at(30)));
        assert_eq!(record.eject(&rules, at(31)), at(31 + 60));
        assert_eq!(record.eject(&rules, at(92)), at(92 + 90));
        // Two intervals in health make two ejections forgotten.
        assert_eq!(record.eject(&rules, at(182 + 20)), at(202 + 60));
        for _ in 0..20 {
            let now = Duration::from_millis(record.ejected_until.load(Relaxed));
            assert!(record.eject(&rules, now) <= now + LONGEST);
        }
    }

    #[test]
    fn errors_while_ejected_do_not_count() {
        let (record, rules) = (Record::default(), rules(2, 0));
        record.eject(&rules, at(0));
        assert!(!record.answered(500, &rules, at(1)) && !record.answered(500, &rules, at(2)));
        assert!(!record.answered(500, &rules, at(30)), "it begins anew");
        assert!(record.answered(500, &rules, at(31)));
    }

    #[test]
    fn no_more_than_the_percentage_is_ejected() {
        for (percent, all, most) in [(10, 3, 0), (10, 10, 1), (50, 3, 1), (100, 3, 3), (0, 9, 0)] {
            let rules = Outliers { max_ejected_percent: percent, ..rules(1, 0) };
            let ejected = (0..all).take_while(|ejected| may_eject(*ejected, all, &rules)).count();
            assert_eq!(ejected, most, "{percent}% of {all}");
        }
    }
}
