//! What every answer that passes a sidecar says about it: Envoy puts its name in place of the server's, on Istio's
//! orders, and the date where the server says none (RFC 9110, 6.6.1).

use std::{
    cell::RefCell,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use palisade_http::DateLine;

/// A sidecar's name, and the date.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    /// How the sidecar calls itself.
    pub(crate) server: &'static str,
    date: Rc<RefCell<DateLine>>,
}

impl Signature {
    /// Of a worker that keeps this date.
    pub(crate) fn new(server: &'static str, date: &Rc<RefCell<DateLine>>) -> Self {
        Self { server, date: Rc::clone(date) }
    }

    /// The date now.
    pub(crate) fn date(&self) -> String {
        self.date.borrow_mut().at(now()).to_owned()
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
