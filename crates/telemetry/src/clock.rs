//! Points in time as telemetry prints them. The clock itself is the caller's.

use std::fmt;

use crate::digits::push_time;

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Appends the time as Envoy prints it: `2020-11-25T21:26:18.409Z`.
    pub(crate) fn write(self, out: &mut String) {
        push_time(self.0, out);
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}
