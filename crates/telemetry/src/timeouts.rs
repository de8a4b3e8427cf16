//! What clients took too long for.

use crate::{
    cells::Counter,
    exposition::{Exposition, Kind, Labels},
};

/// What a client took too long for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Timeout {
    /// To send a head of HTTP/1.1, or to begin with HTTP/2.
    Head,
    /// To send another request.
    Idle,
    /// To read its answer.
    Reader,
}

/// How often.
#[derive(Debug, Default)]
pub(crate) struct Timeouts([Counter; 3]);

impl Timeouts {
    pub(crate) fn count(&self, timeout: Timeout) {
        let [head, idle, reader] = &self.0;
        let counter = match timeout {
            Timeout::Head => head,
            Timeout::Idle => idle,
            Timeout::Reader => reader,
        };
        counter.add(1);
    }

    pub(crate) fn write(&self, out: &mut Exposition) {
        let name = "palisade_downstream_timeouts_total";
        out.family(name, Kind::Counter, "Clients cut off because they took too long.");
        for (reason, counter) in ["head", "idle", "reader"].into_iter().zip(&self.0) {
            let mut labels = Labels::default();
            labels.push("reason", reason);
            out.sample(name, &labels, counter.value());
        }
    }
}
