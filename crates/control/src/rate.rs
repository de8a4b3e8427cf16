//! How often somebody may ask: a bucket for each, of bounded number.

use std::collections::HashMap;

use tokio::time::Instant;

/// Requests that are let through at once.
const BURST: f64 = 20.0;
/// Requests a second after that.
const REFILL: f64 = 1.0;
/// Buckets kept; full ones are forgotten first.
const MAX_BUCKETS: usize = 50_000;

/// All buckets.
#[derive(Debug, Default)]
pub(crate) struct Rate(HashMap<String, Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn level(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens + passed * REFILL).min(BURST)
    }
}

impl Rate {
    /// Whether a request is let through now.
    pub(crate) fn admits(&mut self, who: &str, now: Instant) -> bool {
        if !self.0.contains_key(who) && self.0.len() >= MAX_BUCKETS {
            self.0.retain(|_, bucket| bucket.level(now) < BURST);
            if self.0.len() >= MAX_BUCKETS {
                return false;
            }
        }
        let bucket = self.0.entry(who.to_owned()).or_insert(Bucket { tokens: BURST, at: now });
        let level = bucket.level(now);
        let admitted = level >= 1.0;
        *bucket = Bucket { tokens: if admitted { level - 1.0 } else { level }, at: now };
        admitted
    }

    /// Whether a request would not be let through now.
    pub(crate) fn is_exhausted(&self, who: &str, now: Instant) -> bool {
        self.0.get(who).is_some_and(|bucket| bucket.level(now) < 1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_asks_too_often_waits_and_others_do_not() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        let mut admitted = |pod: &str, at: Instant| rate.admits(pod, at);
        assert!(!Rate::default().is_exhausted("a", now));
        let burst = (0..100).filter(|_| admitted("a", now)).count();
        assert_eq!(burst, 20);
        assert!(admitted("b", now));
        assert!(!admitted("a", now + Duration::from_millis(900)));
        assert!(admitted("a", now + Duration::from_millis(1100)));
        let later = now + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| admitted("a", later)).count(), 20);
    }
}
