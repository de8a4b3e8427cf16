//! What must hold for any bytes that come as HTTP. Fuzz targets (`fuzz/fuzz_targets`) and property tests on the
//! stable toolchain (`crates/http/tests/properties.rs`) share these functions.

use palisade_http::{
    Advance, Asked, BodyError, BodyReader, Edits, Framing, Limits, Method, Name, Pseudo,
    RequestError, RequestHead, ResponseHead, Sniffed, Trailers, normalize::normalize, sniff,
};
use palisade_types::PathNormalization;

/// A request head means the same however it is split, and after it was passed on.
pub(crate) fn request_head(bytes: &[u8]) {
    let mut head = RequestHead::default();
    let result = head.parse(bytes, Limits::default());
    match (parse_in_pieces(bytes), result) {
        // What is wrong with an incomplete head may come to light later.
        (Ok(None) | Err(_), Err(_)) => {}
        (in_pieces, at_once) => assert_eq!(in_pieces, at_once),
    }
    let Ok(Some(len)) = result else { return };
    assert!(len <= bytes.len());
    agrees_with_httparse(&bytes[..len], &head);

    let mut first = Vec::new();
    head.encode(bytes, &Edits::new(), &mut first);
    let mut again = RequestHead::default();
    assert_eq!(again.parse(&first, Limits::new(u16::MAX, 200)), Ok(Some(first.len())));
    assert_eq!(again.method(), head.method());
    assert_eq!(again.framing(), head.framing());
    assert_eq!(again.is_upgrade(), head.is_upgrade());
    if head.method() != Method::CONNECT {
        assert_eq!(again.path(&first), head.path(bytes));
    }
    assert_eq!(again.authority(&first), head.authority(bytes));
    assert!(again.keep_alive() && !again.expects_continue());
    let mut second = Vec::new();
    again.encode(&first, &Edits::new(), &mut second);
    assert_eq!(first, second, "passing on twice changes nothing more");
}

/// A request in HTTP/2 that is accepted is one that a reader of HTTP/1.1 accepts, with the same meaning and no
/// field that HTTP/2 does not have. The bytes are lines: method, path, authority, `end` or not, then fields.
pub(crate) fn http2_fields(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut line = || std::str::from_utf8(lines.next().unwrap_or_default()).ok();
    let (Some(method), path, authority, end) = (line(), line(), line(), line()) else { return };
    let ends = end == Some("end");
    let pseudo = Pseudo {
        method,
        path: path.filter(|path| !path.is_empty()),
        authority: authority.filter(|authority| !authority.is_empty()),
        ends,
    };
    let fields: Vec<(&str, &[u8])> = lines.filter_map(field).collect();
    let (mut head, mut text) = (RequestHead::default(), Vec::new());
    let read = head.read_http2(pseudo, fields.iter().copied(), Limits::default(), &mut text);
    if read.is_err() {
        return;
    }
    assert_eq!(head.method().as_str(), method);
    let shown = authority.filter(|it| !it.is_empty()).map(str::as_bytes);
    let host = fields.iter().find(|(name, _)| *name == "host").map(|(_, value)| *value);
    assert_eq!(head.authority(&text).as_bytes(), shown.or(host).unwrap_or_default());
    assert_eq!(head.framing() == Framing::None, ends && !fields.iter().any(is_length));

    if head.method() == Method::CONNECT {
        // It is never passed on.
        return;
    }
    let mut out = Vec::new();
    head.encode(&text, &Edits::new(), &mut out);
    let mut again = RequestHead::default();
    assert_eq!(again.parse(&out, Limits::new(u16::MAX, 200)), Ok(Some(out.len())));
    assert_eq!(again.method(), head.method());
    assert_eq!(again.authority(&out), head.authority(&text));
    assert_eq!(again.path(&out), head.path(&text));
    assert!(!again.is_upgrade() && again.keep_alive());
    let passes = |head: &RequestHead, bytes: &[u8]| -> Vec<(String, Vec<u8>)> {
        let framing = [Name::TransferEncoding, Name::ContentLength, Name::Host, Name::Expect];
        head.fields(bytes)
            .filter(|(name, _)| !framing.contains(&Name::of(name.as_bytes())))
            .map(|(name, value)| (name.to_owned(), value.to_vec()))
            .collect()
    };
    assert_eq!(passes(&again, &out), passes(&head, &text));
}

/// A field as `h2` gives it: its name is a token in lower case.
fn field(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok()?;
    let token = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    (!name.is_empty() && name.bytes().all(token)).then_some((name, &line[colon + 1..]))
}

fn is_length((name, _): &(&str, &[u8])) -> bool {
    *name == "content-length"
}

/// As [`request_head`], for responses.
pub(crate) fn response_head(bytes: &[u8]) {
    for asked in [
        Asked::default(),
        Asked { method: Method::HEAD, upgrade: false },
        Asked { method: Method::GET, upgrade: true },
    ] {
        let mut head = ResponseHead::default();
        let Ok(Some(_)) = head.parse(bytes, asked, Limits::default()) else { continue };
        let mut out = Vec::new();
        head.encode(bytes, &Edits::new(), &mut out);
        let mut again = ResponseHead::default();
        assert_eq!(again.parse(&out, asked, Limits::new(u16::MAX, 200)), Ok(Some(out.len())));
        assert_eq!((again.status(), again.framing()), (head.status(), head.framing()));
    }
}

/// A chunked body ends at the same place however it is split, and what is passed on is the same body to a
/// strict reader.
pub(crate) fn chunked(bytes: &[u8]) {
    for trailers in [Trailers::Drop, Trailers::Forward] {
        let whole = pass(bytes, bytes.len().max(1), trailers);
        for step in [1, 2, 5] {
            assert_eq!(pass(bytes, step, trailers), whole);
        }
        if let Ok((passed, _)) = whole {
            assert_eq!(pass(&passed, passed.len(), trailers), Ok((passed.clone(), passed.len())));
            assert_eq!(decode(&passed), decode(bytes));
        }
    }
}

/// Normalised paths are stable and stay paths.
pub(crate) fn normalized(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    for mode in [
        PathNormalization::None,
        PathNormalization::Base,
        PathNormalization::MergeSlashes,
        PathNormalization::DecodeAndMergeSlashes,
    ] {
        if let Ok(normal) = normalize(path, mode) {
            assert!(normal.starts_with('/') && !normal.contains('#'), "{path:?} {normal:?}");
        }
    }
}

/// Nothing is waited for that is refused later, and what is HTTP stays HTTP with more bytes.
pub(crate) fn sniffed(bytes: &[u8]) {
    let mut last = Sniffed::NeedMore;
    for end in 0..=bytes.len().min(300) {
        let now = sniff(&bytes[..end]);
        assert!(last == Sniffed::NeedMore || now == last);
        last = now;
    }
    if last == Sniffed::Http1 {
        let error = RequestHead::default().parse(bytes, Limits::default()).err();
        assert!(!matches!(error, Some(RequestError::Method | RequestError::LowVersion)));
    }
}

fn parse_in_pieces(bytes: &[u8]) -> Result<Option<usize>, RequestError> {
    let mut head = RequestHead::default();
    for end in 0..bytes.len() {
        if let Some(len) = head.parse(&bytes[..end], Limits::default())? {
            return Ok(Some(len));
        }
    }
    head.parse(bytes, Limits::default())
}

/// A parser that knows nothing of what we refuse must still find the same head in what we accept.
fn agrees_with_httparse(bytes: &[u8], head: &RequestHead) {
    let mut slots = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut slots);
    assert_eq!(request.parse(bytes), Ok(httparse::Status::Complete(bytes.len())));
    assert_eq!(request.method, Some(head.method().as_str()));
    assert_eq!(request.version, Some(1));
    let values = |name: &str| {
        let is = move |header: &&&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
        request.headers.iter().collect::<Vec<_>>().iter().filter(is).count()
    };
    assert_eq!(values("host"), 1);
    assert!(values("content-length") + values("transfer-encoding") <= 1);
    assert_eq!(values("transfer-encoding") == 1, head.framing() == Framing::Chunked);
    assert_eq!(head.field(bytes, Name::ContentLength).is_some(), values("content-length") == 1);
}

/// What of `bytes` is passed on, and how many bytes of it belonged to the body.
fn pass(bytes: &[u8], step: usize, trailers: Trailers) -> Result<(Vec<u8>, usize), BodyError> {
    let mut reader = BodyReader::new(Framing::Chunked, trailers);
    let mut passed = Vec::new();
    let (mut start, mut end) = (0, 0);
    while !reader.is_done() {
        let Advance { forward, discard } = reader.advance(&bytes[start..end])?;
        passed.extend_from_slice(&bytes[start..start + forward]);
        start += forward + discard;
        if forward + discard == 0 && !reader.is_done() {
            if end == bytes.len() {
                reader.end()?;
            }
            end = bytes.len().min(end + step);
        }
    }
    Ok((passed, start))
}

/// The payload of a valid chunked body, by a reader of five lines.
fn decode(mut bytes: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    loop {
        let line = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&bytes[..digits]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return payload;
        }
        payload.extend_from_slice(&bytes[line + 1..line + 1 + size]);
        bytes = &bytes[line + 1 + size + 2..];
    }
}
