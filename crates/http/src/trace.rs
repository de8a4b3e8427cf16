//! The trace that a request belongs to: read from what it carries, and carried on under a span of our own.
//!
//! W3C Trace Context (`traceparent`, `tracestate`) is read and always written. B3 (`b3`, or `x-b3-*`; openzipkin's
//! b3-propagation) is read where there is no `traceparent`, and written in the forms that came, so that all forms
//! agree. A context that is malformed counts as absent: a request is never refused for it.

mod b3;
mod hex;
mod w3c;

use self::{
    b3::B3,
    hex::{digits, id},
};
use crate::Edits;

/// What a request says about its trace.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Received {
    parent: Option<Parent>,
    /// Whether the trace is recorded, if that was decided before.
    sampled: Option<bool>,
    b3: B3,
    /// Whether `tracestate` came without a trace that it could belong to.
    is_state_stray: bool,
}

/// The span that a request comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Parent {
    trace: u128,
    span: u64,
}

impl Received {
    /// Reads the fields of a request.
    #[must_use]
    pub fn of<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let (mut w3c, mut b3) = (w3c::Reader::default(), b3::Reader::default());
        for (name, value) in fields {
            // Nearly all names are none of ours by their first letter and length.
            match (name.as_bytes().first(), name.len()) {
                (Some(b't' | b'T'), 10 | 11) => w3c.take(name, value),
                (Some(b'b' | b'B'), 2) | (Some(b'x' | b'X'), 10..=17) => b3.take(name, value),
                _ => {}
            }
        }
        let (b3_parent, b3_sampled, forms) = b3.finish();
        let (parent, sampled) = match w3c.parent() {
            Some((parent, sampled)) => (Some(parent), Some(sampled)),
            None => (b3_parent, b3_sampled),
        };
        let is_state_stray = w3c.has_state() && w3c.parent().is_none();
        Self { parent, sampled, b3: forms, is_state_stray }
    }
}

/// A span of ours in a trace: what it continues, and what is written on the request that goes on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trace {
    trace: u128,
    span: u64,
    parent: Option<u64>,
    is_sampled: bool,
    is_state_stray: bool,
    traceparent: [u8; w3c::LENGTH],
    b3: B3,
    b3_trace: [u8; 32],
    b3_parent: [u8; 16],
    single: Option<Box<str>>,
}

impl Trace {
    /// Continues the trace of a request, or begins one. `random` gives random numbers; `decide` says whether a
    /// trace is recorded about which nothing was decided before.
    pub fn continuing(
        received: Received,
        mut random: impl FnMut() -> u64,
        decide: impl FnOnce() -> bool,
    ) -> Self {
        let mut nonzero = || random().max(1);
        let span = nonzero();
        let trace = received.parent.map_or_else(
            || u128::from(nonzero()) << 64 | u128::from(nonzero()),
            |parent| parent.trace,
        );
        let is_sampled = received.sampled.unwrap_or_else(decide);
        let parent = received.parent.map(|parent| parent.span);
        let mut traced = Self {
            trace,
            span,
            parent,
            is_sampled,
            is_state_stray: received.is_state_stray,
            traceparent: w3c::traceparent(trace, span, is_sampled),
            b3: received.b3,
            b3_trace: digits(trace),
            b3_parent: parent.map_or([0; 16], |parent| digits(parent.into())),
            single: None,
        };
        if received.b3.single {
            traced.single = Some(traced.to_single().into());
        }
        traced
    }

    /// Number of the trace.
    #[must_use]
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace.to_be_bytes()
    }

    /// Number of our span.
    #[must_use]
    pub fn span_id(&self) -> [u8; 8] {
        self.span.to_be_bytes()
    }

    /// Number of the span that ours is a part of; none: ours is the first of the trace.
    #[must_use]
    pub fn parent_id(&self) -> Option<[u8; 8]> {
        self.parent.map(u64::to_be_bytes)
    }

    /// Whether the trace is recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// The field `traceparent` of what goes on.
    #[must_use]
    pub fn traceparent(&self) -> &[u8] {
        &self.traceparent
    }

    /// Has a request carry the trace on.
    pub fn edit<'a>(&'a self, edits: &mut Edits<'a>) {
        edits.set_named(w3c::PARENT, &self.traceparent);
        if self.is_state_stray {
            edits.remove_named(w3c::STATE);
        }
        if let Some(single) = &self.single {
            edits.set_named(b3::SINGLE, single.as_bytes());
        }
        if self.b3.multi {
            self.edit_multi(edits);
        }
    }

    fn edit_multi<'a>(&'a self, edits: &mut Edits<'a>) {
        edits.set_named(b3::TRACE, self.b3_trace());
        edits.set_named(b3::SPAN, self.traceparent.get(w3c::SPAN).unwrap_or_default());
        match self.parent {
            Some(_) => edits.set_named(b3::PARENT, &self.b3_parent),
            None => edits.remove_named(b3::PARENT),
        }
        let debug = self.b3.debug && self.is_sampled;
        edits.remove_named(b3::FLAGS);
        edits.remove_named(b3::SAMPLED);
        match (debug, self.is_sampled) {
            // Debug implies a decision, which is not said twice.
            (true, _) => edits.append(b3::FLAGS, b"1"),
            (false, true) => edits.append(b3::SAMPLED, b"1"),
            (false, false) => edits.append(b3::SAMPLED, b"0"),
        }
    }

    /// The trace's number as B3 has it: as short as it came.
    fn b3_trace(&self) -> &[u8] {
        let is_short = self.b3.short && self.trace >> 64 == 0;
        self.b3_trace.get(if is_short { 16.. } else { 0.. }).unwrap_or_default()
    }

    fn to_single(&self) -> String {
        let state = match (self.is_sampled, self.b3.debug) {
            (true, true) => "d",
            (true, false) => "1",
            (false, _) => "0",
        };
        let parent = if self.parent.is_some() { &self.b3_parent[..] } else { b"" };
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let span = self.traceparent.get(w3c::SPAN).unwrap_or_default();
        let dash = if parent.is_empty() { "" } else { "-" };
        let (trace, span, parent) = (text(self.b3_trace()), text(span), text(parent));
        format!("{trace}-{span}-{state}{dash}{parent}")
    }
}

#[cfg(test)]
mod tests;
