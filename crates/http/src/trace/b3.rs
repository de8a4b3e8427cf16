//! B3: one field `b3`, or several `x-b3-*` (openzipkin/b3-propagation).

use super::{Parent, id};

pub(super) const SINGLE: &str = "b3";
pub(super) const TRACE: &str = "x-b3-traceid";
pub(super) const SPAN: &str = "x-b3-spanid";
pub(super) const PARENT: &str = "x-b3-parentspanid";
pub(super) const SAMPLED: &str = "x-b3-sampled";
pub(super) const FLAGS: &str = "x-b3-flags";

/// In which forms B3 came.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct B3 {
    /// As one field.
    pub(super) single: bool,
    /// As several.
    pub(super) multi: bool,
    /// Recorded for whoever debugs.
    pub(super) debug: bool,
    /// With a trace number of 64 bits.
    pub(super) short: bool,
}

/// What was found. Of both forms the single one counts.
#[derive(Debug, Default)]
pub(super) struct Reader<'a> {
    single: Option<&'a str>,
    trace: Option<&'a str>,
    span: Option<&'a str>,
    sampled: Option<&'a str>,
    debug: bool,
    multi: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, name: &str, value: &'a [u8]) {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let place = if is(SINGLE) {
            self.single = Some(text);
            return;
        } else if is(TRACE) {
            &mut self.trace
        } else if is(SPAN) {
            &mut self.span
        } else if is(SAMPLED) {
            &mut self.sampled
        } else if is(FLAGS) {
            self.debug = text == "1";
            self.multi = true;
            return;
        } else if is(PARENT) {
            self.multi = true;
            return;
        } else {
            return;
        };
        *place = Some(text);
        self.multi = true;
    }

    /// The parent, whether its trace is recorded if that was decided, and the forms that came.
    pub(super) fn finish(&self) -> (Option<Parent>, Option<bool>, B3) {
        let (parent, state, short) = match self.single {
            Some(text) => single(text),
            None => {
                let state = if self.debug { Some("d") } else { self.sampled };
                (parent(self.trace, self.span), state, is_short(self.trace))
            }
        };
        let (sampled, debug) = match state {
            Some("d") => (Some(true), true),
            Some("1" | "true" | "True") => (Some(true), false),
            Some("0" | "false" | "False") => (Some(false), false),
            _ => (None, false),
        };
        (parent, sampled, B3 { single: self.single.is_some(), multi: self.multi, debug, short })
    }
}

/// Reads `STATE`, or `TRACE-SPAN` with or without `-STATE` and `-PARENT` behind it.
fn single(text: &str) -> (Option<Parent>, Option<&str>, bool) {
    let mut parts = text.split('-');
    match (parts.next(), parts.next()) {
        (state, None) => (None, state, false),
        (trace, span) => match parent(trace, span) {
            Some(parent) => (Some(parent), parts.next(), is_short(trace)),
            None => (None, None, false),
        },
    }
}

fn parent(trace: Option<&str>, span: Option<&str>) -> Option<Parent> {
    let trace = trace.filter(|text| matches!(text.len(), 16 | 32))?;
    let span = span.filter(|text| text.len() == 16)?;
    Some(Parent { trace: id(trace)?, span: u64::try_from(id(span)?).ok()? })
}

fn is_short(trace: Option<&str>) -> bool {
    trace.is_some_and(|text| text.len() == 16)
}
