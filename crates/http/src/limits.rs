//! How much of a message head is accepted. Bodies have no limit of their own: they stream.

/// Limits on one message head and on the parts of a chunked body that must be held whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    head_bytes: u16,
    fields: usize,
}

impl Limits {
    /// Most fields that any configuration may accept.
    pub const MAX_FIELDS: usize = 256;

    /// Limits of `head_bytes` for start line and fields together, and of `fields` in number (at most
    /// [`Limits::MAX_FIELDS`]).
    #[must_use]
    pub fn new(head_bytes: u16, fields: usize) -> Self {
        Self { head_bytes, fields: fields.min(Self::MAX_FIELDS) }
    }

    /// Most bytes of start line and fields together.
    #[must_use]
    pub fn head_bytes(self) -> usize {
        usize::from(self.head_bytes)
    }

    /// Most fields in one head.
    #[must_use]
    pub fn fields(self) -> usize {
        self.fields
    }
}

/// Envoy's defaults: 60 KiB and 100 fields.
impl Default for Limits {
    fn default() -> Self {
        Self::new(60 * 1024, 100)
    }
}
