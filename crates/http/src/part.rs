//! A piece of a message head by position, so that a head can be kept beside the buffer that holds it.

/// Where a piece of a head lies in the buffer that the head was parsed from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Part {
    pub(crate) start: u16,
    pub(crate) end: u16,
}

impl Part {
    /// The position of `piece` in `buf`; empty if it does not lie in it.
    pub(crate) fn locate(buf: &[u8], piece: &[u8]) -> Self {
        (piece.as_ptr() as usize)
            .checked_sub(buf.as_ptr() as usize)
            .filter(|start| start + piece.len() <= buf.len())
            .and_then(|start| Self::between(start, start + piece.len()))
            .unwrap_or_default()
    }

    /// The piece from `start` to before `end`, if both are in reach of a head.
    pub(crate) fn between(start: usize, end: usize) -> Option<Self> {
        Some(Self { start: u16::try_from(start).ok()?, end: u16::try_from(end).ok()? })
    }

    /// The bytes; empty if `buf` is not the buffer that was parsed.
    pub(crate) fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }

    /// The text; empty if it is not UTF-8.
    pub(crate) fn text(self, buf: &[u8]) -> &str {
        std::str::from_utf8(self.of(buf)).unwrap_or_default()
    }
}
