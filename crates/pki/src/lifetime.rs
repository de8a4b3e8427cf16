//! How long a workload's certificate is valid, from what its sidecar asks for.

use std::time::Duration;

use thiserror::Error;

/// Istio's default (`security/pkg/cmd/constants.go`).
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Istio's maximum: 90 days.
pub const MAX_LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// A longer lifetime was asked for than is given.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a lifetime of {asked:?} was asked for, the maximum is {max:?}")]
pub struct TooLong {
    /// What was asked for.
    pub asked: Duration,
    /// What is given at most.
    pub max: Duration,
}

/// The lifetimes that an authority gives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lifetimes {
    /// For a request that names none.
    pub default: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { default: DEFAULT_LIFETIME, max: MAX_LIFETIME }
    }
}

impl Lifetimes {
    /// The lifetime for a request of so many seconds; zero and less mean the default.
    ///
    /// # Errors
    /// When more than the maximum is asked for: an error, as in Istio, not a silent cut.
    pub fn choose(&self, requested_seconds: i64) -> Result<Duration, TooLong> {
        let asked = match u64::try_from(requested_seconds) {
            Ok(0) | Err(_) => self.default,
            Ok(seconds) => Duration::from_secs(seconds),
        };
        if asked > self.max { Err(TooLong { asked, max: self.max }) } else { Ok(asked) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wish_is_the_default_and_too_long_an_error() {
        let lifetimes = Lifetimes::default();
        let days = |n: u64| Duration::from_secs(n * 86_400);
        for (asked, expected) in [
            (0, Ok(days(1))),
            (-1, Ok(days(1))),
            (i64::MIN, Ok(days(1))),
            (1, Ok(Duration::from_secs(1))),
            (90 * 86_400, Ok(days(90))),
            (
                90 * 86_400 + 1,
                Err(TooLong { asked: days(90) + Duration::from_secs(1), max: days(90) }),
            ),
        ] {
            assert_eq!(lifetimes.choose(asked), expected, "{asked}");
        }
        assert!(lifetimes.choose(i64::MAX).is_err());
    }
}
