//! Which responses are passed on and how they are read.

use palisade_http::{Asked, Framing, Limits, Malformed, Method, ResponseError, ResponseHead};

const PLAIN: Asked = Asked { method: Method::GET, upgrade: false };

fn parse(text: &str, asked: Asked) -> Result<ResponseHead, ResponseError> {
    let bytes = text.as_bytes();
    let mut head = ResponseHead::default();
    head.parse(bytes, asked, Limits::default()).map(|end| {
        assert_eq!(end, Some(bytes.len()), "{text}");
        head
    })
}

fn framing(status: u16, fields: &str, asked: Asked) -> Result<Framing, ResponseError> {
    parse(&format!("HTTP/1.1 {status} X\r\n{fields}\r\n"), asked).map(|head| head.framing())
}

#[test]
fn a_body_ends_where_status_method_and_fields_say() {
    let head = Asked { method: Method::HEAD, ..PLAIN };
    let connect = Asked { method: Method::CONNECT, ..PLAIN };
    let upgrade = Asked { upgrade: true, ..PLAIN };
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let both = &format!("{length}{chunked}");
    let twice = &format!("{length}{length}");
    let refused = Err(ResponseError::Framing);
    for (status, fields, asked, expected) in [
        (200, length, PLAIN, Ok(Framing::Length(5))),
        (200, chunked, PLAIN, Ok(Framing::Chunked)),
        (200, "", PLAIN, Ok(Framing::UntilClose)),
        (500, "", PLAIN, Ok(Framing::UntilClose)),
        (200, both, PLAIN, refused),
        (200, twice, PLAIN, refused),
        (200, "Content-Length: +5\r\n", PLAIN, refused),
        (200, "Transfer-Encoding: gzip, chunked\r\n", PLAIN, refused),
        (200, "Transfer-Encoding: identity\r\n", PLAIN, refused),
        (200, length, head, Ok(Framing::None)),
        (200, chunked, head, Ok(Framing::None)),
        (200, "", head, Ok(Framing::None)),
        (200, both, head, refused),
        (204, "", PLAIN, Ok(Framing::None)),
        (204, "Content-Length: 0\r\n", PLAIN, Ok(Framing::None)),
        (204, length, PLAIN, refused),
        (204, chunked, PLAIN, refused),
        (304, length, PLAIN, Ok(Framing::None)),
        (304, chunked, PLAIN, Ok(Framing::None)),
        (304, "", PLAIN, Ok(Framing::None)),
        (100, "", PLAIN, Ok(Framing::None)),
        (103, "", PLAIN, Ok(Framing::None)),
        (100, length, PLAIN, refused),
        (101, "", upgrade, Ok(Framing::Tunnel)),
        (101, chunked, upgrade, refused),
        (101, "", PLAIN, Err(ResponseError::Upgrade)),
        (200, "", upgrade, Ok(Framing::UntilClose)),
        (200, "", connect, Ok(Framing::Tunnel)),
        (404, length, connect, Ok(Framing::Length(5))),
    ] {
        assert_eq!(framing(status, fields, asked), expected, "{status} {fields:?} {asked:?}");
    }
}

#[test]
fn malformed_heads_are_refused() {
    use ResponseError::Malformed as M;
    for (text, error) in [
        ("HTTP/1.1 200 OK\r\na : b\r\n\r\n", M(Malformed::FieldName)),
        ("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", M(Malformed::FieldName)),
        ("HTTP/1.1 200 OK\r\na: b\0\r\n\r\n", M(Malformed::FieldValue)),
        ("HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n", M(Malformed::FieldValue)),
        ("HTTP/1.1 200 OK\na: b\r\n\r\n", M(Malformed::LineEnd)),
        ("HTTP/1.1 200 OK\r\na: b\n\r\n", M(Malformed::LineEnd)),
        ("HTTP/1.1 20 OK\r\n\r\n", M(Malformed::StartLine)),
        ("HTTP/1.1 2000 OK\r\n\r\n", M(Malformed::StartLine)),
        ("HTTP/1.1 099 OK\r\n\r\n", M(Malformed::StartLine)),
        ("HTTP/1.1  200 OK\r\n\r\n", M(Malformed::StartLine)),
        ("HTTP/2 200 OK\r\n\r\n", M(Malformed::Version)),
        ("HTTP/0.9 200 OK\r\n\r\n", M(Malformed::Version)),
        ("\0HTTP/1.1 200 OK\r\n\r\n", M(Malformed::StartLine)),
        ("HTTP/1.1 200 OK\r\nConnection: content-length\r\n\r\n", M(Malformed::FieldValue)),
    ] {
        assert_eq!(parse(text, PLAIN).err(), Some(error), "{text:?}");
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    assert_eq!(parse(&many, PLAIN).err(), Some(ResponseError::TooManyFields));
    let large = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(61_440));
    assert_eq!(parse(&large, PLAIN).err(), Some(ResponseError::TooLarge));
}

#[test]
fn an_upstream_connection_is_kept_only_where_both_may_go_on() {
    let length = "Content-Length: 5\r\n";
    for (version, fields, keep_alive) in [
        ("1.1", length.to_owned(), true),
        ("1.1", format!("{length}Connection: close\r\n"), false),
        ("1.1", String::new(), false),
        ("1.0", length.to_owned(), false),
        ("1.0", format!("{length}Connection: Keep-Alive\r\n"), true),
        ("1.0", format!("{length}Connection: keep-alive, close\r\n"), false),
        ("1.0", String::new(), false),
    ] {
        let head = parse(&format!("HTTP/{version} 200 OK\r\n{fields}\r\n"), PLAIN).unwrap();
        assert_eq!(head.keep_alive(), keep_alive, "{version} {fields:?}");
    }
}

#[test]
fn chunks_do_not_exist_in_http_1_0() {
    let text = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(parse(text, PLAIN).err(), Some(ResponseError::Framing));
}

#[test]
fn interim_responses_are_told_from_final_ones() {
    let upgrade = Asked { upgrade: true, ..PLAIN };
    for (status, interim) in [(100, true), (103, true), (101, false), (200, false), (999, false)] {
        let head = parse(&format!("HTTP/1.1 {status}\r\n\r\n"), upgrade).unwrap();
        assert_eq!((head.status(), head.is_interim()), (status, interim));
    }
}
