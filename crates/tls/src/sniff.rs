//! What a client's first bytes are: TLS or not, and if so, which protocols and server name it offers.
//!
//! Reads only what is needed to choose how a connection is handled; rustls reads the same bytes again
//! and is the one to judge them. Never keeps or verifies anything.

/// After so many bytes the answer is never [`Sniffed::NeedMore`]: a ClientHello with a
/// post-quantum key share and a session ticket has below 4 KiB.
pub const SNIFF_LIMIT: usize = 16 * 1024;

/// What a client's first bytes are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sniffed {
    /// Cannot be told yet.
    NeedMore,
    /// Not TLS, or a ClientHello so broken that no TLS server would go on with it.
    Plaintext,
    /// A ClientHello.
    Tls(ClientHello),
}

/// What a client offers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientHello {
    /// The list as on the wire: each name behind its length.
    alpn: Box<[u8]>,
    sni: Option<Box<str>>,
}

impl ClientHello {
    /// The offered application protocols, the client's favourite first.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        let mut reader = Reader(&self.alpn);
        std::iter::from_fn(move || reader.vector::<1>())
    }

    /// The server name, in lower case.
    #[must_use]
    pub fn sni(&self) -> Option<&str> {
        self.sni.as_deref()
    }

    /// Whether a sidecar sent it: Istio's sidecars say so in their protocol list (`listener.go:95`).
    #[must_use]
    pub fn is_mesh(&self) -> bool {
        self.alpn().any(|name| MESH.contains(&name))
    }
}

/// Tells what a client's first bytes are.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Sniffed {
    match client_hello(bytes) {
        Ok(hello) => Sniffed::Tls(hello),
        Err(Stop::Incomplete) if bytes.len() < SNIFF_LIMIT => Sniffed::NeedMore,
        Err(_) => Sniffed::Plaintext,
    }
}

enum Stop {
    Incomplete,
    Malformed,
}

fn client_hello(bytes: &[u8]) -> Result<ClientHello, Stop> {
    let first = record(&mut Reader(bytes))?;
    // Most hellos are one record and need no copy.
    match message(first) {
        Err(Stop::Incomplete) => message(&joined(bytes)?),
        done => done,
    }
}

/// The payload of the next record, as far as it has arrived.
fn record<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Stop> {
    for (at, expected) in [HANDSHAKE, TLS_MAJOR].into_iter().enumerate() {
        match reader.0.get(at) {
            None => return Err(Stop::Incomplete),
            Some(byte) if *byte != expected => return Err(Stop::Malformed),
            Some(_) => {}
        }
    }
    let header = reader.take(5).ok_or(Stop::Incomplete)?;
    let length = match header {
        // The minor version says nothing here (RFC 8446, 5.1), and no TLS server looks at it.
        [_, _, _, high, low] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => return Err(Stop::Malformed),
    };
    if length == 0 || length > RECORD_MAX {
        return Err(Stop::Malformed);
    }
    Ok(reader.take_up_to(length))
}

/// The payloads of all records that have arrived.
fn joined(bytes: &[u8]) -> Result<Vec<u8>, Stop> {
    let mut reader = Reader(bytes);
    let mut payload = Vec::with_capacity(bytes.len().min(SNIFF_LIMIT));
    while !reader.0.is_empty() && payload.len() < SNIFF_LIMIT {
        match record(&mut reader) {
            Ok(part) => payload.extend_from_slice(part),
            Err(Stop::Incomplete) => break,
            Err(Stop::Malformed) => return Err(Stop::Malformed),
        }
    }
    Ok(payload)
}

/// RFC 8446 4.1.2.
fn message(payload: &[u8]) -> Result<ClientHello, Stop> {
    match payload.first() {
        None => return Err(Stop::Incomplete),
        Some(kind) if *kind != CLIENT_HELLO => return Err(Stop::Malformed),
        Some(_) => {}
    }
    let mut reader = Reader(payload);
    reader.take(1).ok_or(Stop::Incomplete)?;
    let length = reader.number::<3>().ok_or(Stop::Incomplete)?;
    if length > SNIFF_LIMIT {
        return Err(Stop::Malformed);
    }
    let body = reader.take(length).ok_or(Stop::Incomplete)?;
    hello_body(&mut Reader(body)).ok_or(Stop::Malformed)
}

fn hello_body(reader: &mut Reader<'_>) -> Option<ClientHello> {
    reader.take(VERSION_AND_RANDOM)?;
    reader.vector::<1>().filter(|session| session.len() <= 32)?;
    reader.vector::<2>().filter(|suites| !suites.is_empty())?;
    reader.vector::<1>().filter(|compressions| !compressions.is_empty())?;
    let mut hello = ClientHello::default();
    if reader.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(reader.vector::<2>()?);
    if !reader.0.is_empty() {
        return None;
    }
    while !extensions.0.is_empty() {
        let kind = extensions.number::<2>()?;
        let value = extensions.vector::<2>()?;
        match kind {
            EXTENSION_SNI => hello.sni = server_name(value)?,
            EXTENSION_ALPN => hello.alpn = protocol_names(value)?.into(),
            _ => {}
        }
    }
    Some(hello)
}

/// RFC 6066 3: the first host name; `Some(None)` if there is none that could be a name.
fn server_name(value: &[u8]) -> Option<Option<Box<str>>> {
    let mut names = Reader(Reader(value).vector::<2>()?);
    while !names.0.is_empty() {
        let kind = names.number::<1>()?;
        let name = names.vector::<2>()?;
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || b"-._".contains(b);
        if kind == 0 && !name.is_empty() && name.len() <= 255 && name.iter().all(is_name) {
            let text = std::str::from_utf8(name).ok()?;
            return Some(Some(text.to_ascii_lowercase().into()));
        }
    }
    Some(None)
}

/// RFC 7301 3.1: no empty names.
fn protocol_names(value: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(value);
    let list = reader.vector::<2>()?;
    let mut names = Reader(list);
    while !names.0.is_empty() {
        names.vector::<1>().filter(|name| !name.is_empty())?;
    }
    reader.0.is_empty().then_some(list)
}

/// Reads from the front of a slice; `None` when it is too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn take_up_to(&mut self, count: usize) -> &'a [u8] {
        self.take(count.min(self.0.len())).unwrap_or_default()
    }

    /// A big-endian number of so many bytes.
    fn number<const BYTES: usize>(&mut self) -> Option<usize> {
        let bytes = self.take(BYTES)?;
        Some(bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
    }

    /// A vector behind its length of so many bytes.
    fn vector<const BYTES: usize>(&mut self) -> Option<&'a [u8]> {
        let length = self.number::<BYTES>()?;
        self.take(length)
    }
}

const MESH: [&[u8]; 5] =
    [b"istio", b"istio-peer-exchange", b"istio-http/1.0", b"istio-http/1.1", b"istio-h2"];

const HANDSHAKE: u8 = 22;
const TLS_MAJOR: u8 = 3;
const RECORD_MAX: usize = 16 * 1024;
const CLIENT_HELLO: u8 = 1;
const VERSION_AND_RANDOM: usize = 2 + 32;
const EXTENSION_SNI: usize = 0;
const EXTENSION_ALPN: usize = 16;
