//! Points in time as telemetry prints them. The clock itself is the caller's.

use std::fmt::Write as _;

use jiff::Timestamp;

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Appends the time as Envoy prints it: `2020-11-25T21:26:18.409Z`.
    pub(crate) fn write(self, out: &mut String) {
        let time = i64::try_from(self.0)
            .ok()
            .and_then(|millis| Timestamp::from_millisecond(millis).ok())
            .unwrap_or(Timestamp::MAX);
        // Writing to a String does not fail.
        let _ = write!(out, "{time:.3}");
    }
}
