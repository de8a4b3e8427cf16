//! Where bodies end, and what of them is passed on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use palisade_http::{BodyError, BodyReader, Framing, LAST_CHUNK, Trailers, write_chunk};

/// Shows `input` to a reader as a connection would, growing by `step` bytes at a time, and returns what was
/// passed on and what was left.
fn pass<'a>(
    reader: &mut BodyReader,
    input: &'a [u8],
    step: usize,
) -> Result<(Vec<u8>, &'a [u8]), BodyError> {
    let mut passed = Vec::new();
    let (mut start, mut end) = (0, 0);
    while !reader.is_done() {
        let advance = reader.advance(&input[start..end])?;
        passed.extend_from_slice(&input[start..start + advance.forward]);
        start += advance.forward + advance.discard;
        if (advance.forward, advance.discard) == (0, 0) && !reader.is_done() {
            if end == input.len() {
                reader.end()?;
            }
            end = input.len().min(end + step);
        }
    }
    Ok((passed, &input[start..]))
}

fn chunked(input: &str, trailers: Trailers) -> Result<(String, String), BodyError> {
    let results: Vec<_> = [1, 2, 3, 7, input.len().max(1)]
        .into_iter()
        .map(|step| {
            let mut reader = BodyReader::new(Framing::Chunked, trailers);
            pass(&mut reader, input.as_bytes(), step).map(|(passed, rest)| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (text(&passed), text(rest))
            })
        })
        .collect();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{input:?}: {results:?}");
    results.into_iter().next().unwrap()
}

#[test]
fn chunks_are_passed_on_as_they_stand() {
    for input in [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        "A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n",
        "0000000000000001\r\nx\r\n0\r\n\r\n",
        "2\r\n\r\n\r\n0\r\n\r\n",
    ] {
        let next = "GET / HTTP/1.1\r\n";
        let (passed, rest) = chunked(&format!("{input}{next}"), Trailers::Drop).unwrap();
        assert_eq!((passed.as_str(), rest.as_str()), (input, next));
    }
}

#[test]
fn chunk_extensions_are_left_out() {
    for (input, expected) in [
        ("5;a=b\r\nhello\r\n0;c\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("5 ; a=\"b;c\"\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("5;\r\nhello\r\n0\t;x\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        assert_eq!(chunked(input, Trailers::Drop).unwrap().0, expected, "{input:?}");
    }
}

#[test]
fn broken_chunks_are_refused() {
    use BodyError as E;
    for (input, error) in [
        ("\r\n", E::ChunkSize),
        (";a\r\n", E::ChunkSize),
        (" 5\r\nhello\r\n", E::ChunkSize),
        ("+5\r\nhello\r\n", E::ChunkSize),
        ("-1\r\n", E::ChunkSize),
        ("0x5\r\nhello\r\n", E::ChunkSize),
        ("5_0\r\n", E::ChunkSize),
        ("g\r\n", E::ChunkSize),
        ("5 \r\nhello\r\n", E::ChunkSize),
        ("5 a\r\nhello\r\n", E::ChunkSize),
        ("5\nhello\r\n", E::ChunkSize),
        ("5\rhello\r\n", E::ChunkSize),
        ("5\r\rhello\r\n", E::ChunkSize),
        ("5;a\nhello\r\n", E::ChunkSize),
        ("5;a\rb\r\nhello\r\n", E::Extension),
        ("5;a\0\r\nhello\r\n", E::Extension),
        ("8000000000000000\r\n", E::ChunkSize),
        ("ffffffffffffffff\r\n", E::ChunkSize),
        ("00000000000000001\r\nx\r\n", E::ChunkSize),
        ("5\r\nhello0\r\n\r\n", E::ChunkEnd),
        ("5\r\nhello\n0\r\n\r\n", E::ChunkEnd),
        ("5\r\nhello\r0\r\n\r\n", E::ChunkEnd),
        ("4\r\nhello\r\n0\r\n\r\n", E::ChunkEnd),
        ("0\r\n\n", E::Trailer),
        ("0\r\na\r\n\r\n", E::Trailer),
        ("0\r\na : b\r\n\r\n", E::Trailer),
        ("0\r\n: b\r\n\r\n", E::Trailer),
        ("0\r\n a: b\r\n\r\n", E::Trailer),
        ("0\r\na: b\0\r\n\r\n", E::Trailer),
        ("0\r\na: b\n\r\n", E::Trailer),
        ("5\r\nhel", E::Truncated),
        ("5\r\nhello\r\n", E::Truncated),
        ("5\r\nhello\r\n0\r\n", E::Truncated),
        ("", E::Truncated),
    ] {
        assert_eq!(chunked(input, Trailers::Drop), Err(error), "{input:?}");
        assert_eq!(chunked(input, Trailers::Forward), Err(error), "{input:?}");
    }
}

#[test]
fn a_request_cannot_smuggle_fields_in_trailers() {
    let input = "0\r\nX-Role: admin\r\nContent-Length: 5\r\ngrpc-status: 0\r\n\r\n";
    assert_eq!(chunked(input, Trailers::Drop).unwrap().0, "0\r\n\r\n");
    let forwarded = "0\r\nX-Role: admin\r\ngrpc-status: 0\r\n\r\n";
    assert_eq!(chunked(input, Trailers::Forward).unwrap().0, forwarded);
    let framing = "0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nset-x: 1\r\nTE: x\r\n\r\n";
    assert_eq!(chunked(framing, Trailers::Forward).unwrap().0, "0\r\nset-x: 1\r\n\r\n");
}

#[test]
fn lines_and_trailers_are_limited() {
    let long = "a".repeat(BodyReader::MAX_LINE);
    let result = |input: String| {
        let mut reader = BodyReader::new(Framing::Chunked, Trailers::Drop);
        pass(&mut reader, input.as_bytes(), usize::MAX / 2).map(|(passed, _)| passed)
    };
    assert_eq!(result(format!("5;{long}")), Err(BodyError::Extension));
    assert_eq!(result(format!("0\r\na: {long}")), Err(BodyError::TooLarge));
    let trailers = "name: value\r\n".repeat(BodyReader::MAX_TRAILERS / 13 + 1);
    assert_eq!(result(format!("0\r\n{trailers}\r\n")), Err(BodyError::TooLarge));
    assert_eq!(result(format!("0\r\n{}\r\n", &trailers[13..])), Ok(b"0\r\n\r\n".to_vec()));
}

#[test]
fn a_length_is_counted_off() {
    let mut reader = BodyReader::new(Framing::Length(5), Trailers::Drop);
    let (passed, rest) = pass(&mut reader, b"helloGET", 2).unwrap();
    assert_eq!((passed.as_slice(), rest, reader.payload()), (&b"hello"[..], &b"GET"[..], 5));
    let mut reader = BodyReader::new(Framing::Length(5), Trailers::Drop);
    let (passed, rest) = pass(&mut reader, b"helloGET", 8).unwrap();
    assert_eq!((passed.as_slice(), rest), (&b"hello"[..], &b"GET"[..]));
    let mut reader = BodyReader::new(Framing::Length(5), Trailers::Drop);
    assert_eq!(pass(&mut reader, b"hell", 9), Err(BodyError::Truncated));
}

#[test]
fn no_body_takes_no_bytes() {
    for framing in [Framing::None, Framing::Length(0)] {
        let mut reader = BodyReader::new(framing, Trailers::Drop);
        assert!(reader.is_done());
        assert_eq!(reader.advance(b"GET").map(|advance| advance.forward), Ok(0));
    }
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    for framing in [Framing::UntilClose, Framing::Tunnel] {
        let mut reader = BodyReader::new(framing, Trailers::Drop);
        assert_eq!(pass(&mut reader, b"all of it", 4).unwrap().0, b"all of it");
        assert_eq!(reader.payload(), 9);
    }
}

#[test]
fn written_chunks_are_read_back() {
    for length in [0, 1, 9, 10, 15, 16, 255, 256, 4095, 4096, 65_536] {
        let data = vec![b'x'; length];
        let mut out = Vec::new();
        write_chunk(&data, &mut out);
        out.extend_from_slice(LAST_CHUNK);
        let mut reader = BodyReader::new(Framing::Chunked, Trailers::Drop);
        let (passed, _) = pass(&mut reader, &out, out.len()).unwrap();
        assert_eq!((passed == out, reader.payload()), (true, length as u64));
    }
}
