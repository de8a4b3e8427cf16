//! W3C Trace Context (level 1): `traceparent`.

use std::ops::Range;

use super::{Parent, digits, id};

/// Length of a `traceparent` of version 00.
pub(super) const LENGTH: usize = 55;
/// Where the number of the span stands in it.
pub(super) const SPAN: Range<usize> = 36..52;

pub(super) const PARENT: &str = "traceparent";
pub(super) const STATE: &str = "tracestate";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Reader {
    parent: Option<(Parent, bool)>,
    seen: bool,
    has_state: bool,
}

impl Reader {
    /// Takes a field. A second `traceparent` makes both of them void.
    pub(super) fn take(&mut self, name: &str, value: &[u8]) {
        if name.eq_ignore_ascii_case(STATE) {
            self.has_state = true;
        } else if name.eq_ignore_ascii_case(PARENT) {
            self.parent = std::str::from_utf8(value).ok().filter(|_| !self.seen).and_then(read);
            self.seen = true;
        }
    }

    /// The parent, and whether its trace is recorded.
    pub(super) fn parent(&self) -> Option<(Parent, bool)> {
        self.parent
    }

    pub(super) fn has_state(&self) -> bool {
        self.has_state
    }
}

/// Reads `VERSION-TRACE-SPAN-FLAGS` in lower case; a later version may say more behind it.
fn read(text: &str) -> Option<(Parent, bool)> {
    let (ours, more) = text.split_at_checked(LENGTH)?;
    let mut parts = ours.split('-');
    let mut part = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length)?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        part.bytes().all(is_hex).then_some(part)
    };
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_whole = match version {
        "ff" => false,
        "00" => more.is_empty(),
        _ => more.is_empty() || more.starts_with('-'),
    };
    let parent = Parent { trace: id(trace)?, span: u64::try_from(id(span)?).ok()? };
    let flags = u8::from_str_radix(flags, 16).ok()?;
    is_whole.then_some((parent, flags & 1 == 1))
}

/// The `traceparent` of a span.
pub(super) fn traceparent(trace: u128, span: u64, is_sampled: bool) -> [u8; LENGTH] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    let mut put = |at: Range<usize>, digits: &[u8]| {
        if let Some(place) = text.get_mut(at) {
            place.copy_from_slice(digits);
        }
    };
    put(3..35, &digits::<32>(trace));
    put(SPAN, &digits::<16>(span.into()));
    if is_sampled {
        put(54..55, b"1");
    }
    text
}
