//! Writes a head on, with edits: what is kept is copied in runs as it came, case, order and spacing
//! included; hop-by-hop fields are left out; what is set comes last. Written behind each other into one
//! buffer, a head and the first bytes of its body make one TLS record.

use smallvec::SmallVec;

use crate::{
    fields::{Entry, Fields},
    framing::Framing,
    name::{Name, NameSet},
    request::RequestHead,
    response::ResponseHead,
    version::Version,
};

/// What to change in a head that is passed on.
#[derive(Clone, Debug, Default)]
pub struct Edits<'a> {
    path: Option<&'a str>,
    removed: NameSet,
    removed_others: SmallVec<[&'a str; 2]>,
    added: SmallVec<[(&'a str, &'a [u8]); 8]>,
    close: bool,
    chunked: bool,
}

impl<'a> Edits<'a> {
    /// No change beyond those that every hop makes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces path and query of a request, normally by the normalised ones.
    pub fn path(&mut self, path: &'a str) {
        self.path = Some(path);
    }

    /// Leaves out all fields of a recognised name.
    pub fn remove(&mut self, name: Name) {
        self.removed.insert(name);
    }

    /// Leaves out all fields of these names.
    pub fn remove_all(&mut self, names: NameSet) {
        self.removed = self.removed.union(names);
    }

    /// Leaves out all fields of any name.
    pub fn remove_named(&mut self, name: &'a str) {
        match Name::of(name.as_bytes()) {
            Name::Other | Name::Proxy | Name::XEnvoy => self.removed_others.push(name),
            known => self.removed.insert(known),
        }
    }

    /// Replaces all fields of a recognised name by one.
    pub fn set(&mut self, name: Name, value: &'a [u8]) {
        self.removed.insert(name);
        self.added.push((name.as_str(), value));
    }

    /// Replaces all fields of any name by one.
    pub fn set_named(&mut self, name: &'a str, value: &'a [u8]) {
        self.remove_named(name);
        self.added.push((name, value));
    }

    /// Adds a field beside those of the same name.
    pub fn append(&mut self, name: &'a str, value: &'a [u8]) {
        self.added.push((name, value));
    }

    /// Says `connection: close`.
    pub fn close(&mut self) {
        self.close = true;
    }

    /// Announces chunks in place of a body that ends with the upstream connection
    /// ([`Framing::UntilClose`]); its bytes must then be written with [`write_chunk`] and
    /// [`LAST_CHUNK`].
    pub fn chunked(&mut self) {
        self.chunked = true;
    }

    /// The path and query that replace those of the request.
    #[must_use]
    pub fn new_path(&self) -> Option<&'a str> {
        self.path
    }

    /// Whether the fields of this name are left out.
    #[must_use]
    pub fn removes(&self, name: &str) -> bool {
        self.removes_as(Name::of(name.as_bytes()), name.as_bytes())
    }

    /// The fields that are added.
    pub fn added(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.added.iter().copied()
    }

    fn keeps(&self, buf: &[u8], entry: &Entry) -> bool {
        !self.removes_as(entry.known, entry.name.of(buf))
    }

    fn removes_as(&self, known: Name, name: &[u8]) -> bool {
        self.removed.contains(known)
            || (!self.removed_others.is_empty() && self.removes_by_name(name))
    }

    fn removes_by_name(&self, name: &[u8]) -> bool {
        self.removed_others.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
    }

    fn write_added(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.added {
            write_field(name, value, out);
        }
    }
}

impl RequestHead {
    /// Writes the head as it is passed on to `out`.
    ///
    /// The target becomes a path, and a `Host` that an absolute target overrides is replaced. `Expect:
    /// 100-continue` is left out, because the sidecar answers it. Framing fields stay, for the body
    /// is passed on as it stands; a body of HTTP/2 whose length is unknown goes out in chunks.
    pub fn encode(&self, buf: &[u8], edits: &Edits<'_>, out: &mut Vec<u8>) {
        let path = edits.path.or_else(|| self.path(buf));
        let target = path.unwrap_or_else(|| self.authority(buf));
        out.extend_from_slice(self.method().as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let replaces_host = self.target.authority.is_some();
        if replaces_host && !edits.removed.contains(Name::Host) {
            write_field("Host", self.authority(buf).as_bytes(), out);
        }
        copy_runs(&self.fields, buf, self.len, out, |entry| {
            let passes = match entry.known {
                Name::Host => !replaces_host,
                Name::Expect => !self.expects_continue(),
                Name::Te => entry.value.of(buf).eq_ignore_ascii_case(b"trailers"),
                Name::Upgrade => self.is_upgrade(),
                _ => !entry.hop_by_hop,
            };
            passes && edits.keeps(buf, entry)
        });
        edits.write_added(out);
        if self.version() == Version::Http2 && self.framing() == Framing::Chunked {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        if self.is_upgrade() {
            out.extend_from_slice(b"connection: Upgrade\r\n");
        } else if edits.close {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl ResponseHead {
    /// Writes the head as it is passed on to `out`.
    ///
    /// A body that ends with the connection is announced as such, unless it is passed on in chunks
    /// ([`Edits::chunked`]).
    pub fn encode(&self, buf: &[u8], edits: &Edits<'_>, out: &mut Vec<u8>) {
        let until_close = self.framing() == Framing::UntilClose;
        let switches = self.status() == 101;
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status_line.of(buf));
        out.extend_from_slice(b"\r\n");
        copy_runs(&self.fields, buf, self.len, out, |entry| {
            let passes = match entry.known {
                Name::Upgrade => switches,
                Name::ContentLength => !matches!(self.status(), 100..=199 | 204),
                _ => !entry.hop_by_hop,
            };
            passes && edits.keeps(buf, entry)
        });
        edits.write_added(out);
        if until_close && edits.chunked {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        if switches {
            out.extend_from_slice(b"connection: Upgrade\r\n");
        } else if edits.close || (until_close && !edits.chunked) {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes one chunk; nothing for no data, because an empty chunk would end the body.
pub fn write_chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    let digits = (usize::BITS - data.len().leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        let digit = (data.len() >> (4 * place)) & 0xf;
        out.extend(b"0123456789abcdef".get(digit));
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Ends a body of chunks.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Tells a client that waits with `Expect: 100-continue` to go on.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Writes one field line. Control characters, which could end the line early, become `_`.
pub(crate) fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    if value.iter().any(|byte| is_control(*byte)) {
        out.extend(value.iter().map(|byte| if is_control(*byte) { b'_' } else { *byte }));
    } else {
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"\r\n");
}

fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

/// Copies the lines of the kept fields, neighbours in one go. `len` is where the head ends.
fn copy_runs(
    fields: &Fields,
    buf: &[u8],
    len: usize,
    out: &mut Vec<u8>,
    keep: impl Fn(&Entry) -> bool,
) {
    let end = len.saturating_sub(2);
    let mut run = None;
    for entry in &fields.entries {
        let line = usize::from(entry.name.start);
        match (keep(entry), run) {
            (true, None) => run = Some(line),
            (false, Some(start)) => {
                out.extend_from_slice(buf.get(start..line).unwrap_or_default());
                run = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    if let Some(start) = run {
        out.extend_from_slice(buf.get(start..end).unwrap_or_default());
    }
}
