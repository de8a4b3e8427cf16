//! Which requests are accepted and how they are read (RFC 9112, and Envoy where it is stricter).

use palisade_http::{
    Framing, Limits, LocalReply, Malformed, Name, Persistence, ReplyTo, RequestError, RequestHead,
    SERVER_INBOUND,
};

fn parse(bytes: &[u8]) -> Result<RequestHead, RequestError> {
    let mut head = RequestHead::default();
    head.parse(bytes, Limits::default()).map(|end| {
        assert!(end.is_some(), "incomplete: {}", String::from_utf8_lossy(bytes));
        head
    })
}

/// The error for a request with these fields besides `Host`.
fn with_fields(fields: &str) -> Result<RequestHead, RequestError> {
    parse(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").as_bytes())
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    use RequestError as E;
    for (fields, error) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", E::LengthAndEncoding),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked", E::LengthAndEncoding),
        ("Content-Length: 5\r\nTransfer-Encoding: identity", E::LengthAndEncoding),
        ("Content-Length: 5\r\nContent-Length: 5", E::Length),
        ("Content-Length: 5\r\ncontent-length: 6", E::Length),
        ("Content-Length: 5, 5", E::Length),
        ("Content-Length: +5", E::Length),
        ("Content-Length: -5", E::Length),
        ("Content-Length: 0x5", E::Length),
        ("Content-Length: 5 5", E::Length),
        ("Content-Length:", E::Length),
        ("Content-Length: 99999999999999999999", E::Length),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", E::Encoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", E::Encoding),
        ("Transfer-Encoding: gzip, chunked", E::UnsupportedEncoding),
        ("Transfer-Encoding: chunked, gzip", E::UnsupportedEncoding),
        ("Transfer-Encoding: chunked, chunked", E::UnsupportedEncoding),
        ("Transfer-Encoding: chunked;q=1", E::UnsupportedEncoding),
        ("Transfer-Encoding: xchunked", E::UnsupportedEncoding),
        ("Transfer-Encoding: \"chunked\"", E::UnsupportedEncoding),
        ("Transfer-Encoding: identity", E::UnsupportedEncoding),
        ("Transfer-Encoding: ,chunked", E::UnsupportedEncoding),
        ("Transfer-Encoding:", E::UnsupportedEncoding),
        ("Transfer-Encoding: \u{b}chunked", E::Malformed(Malformed::FieldValue)),
        ("Transfer-Encoding : chunked", E::Malformed(Malformed::FieldName)),
        ("Transfer-Encoding\t: chunked", E::Malformed(Malformed::FieldName)),
        ("Content-Length: 5\r\n folded: 1", E::Malformed(Malformed::FieldName)),
        ("a: b\r\n c", E::Malformed(Malformed::FieldName)),
        ("a: b\r\n\tc", E::Malformed(Malformed::FieldName)),
        (" a: b", E::Malformed(Malformed::FieldName)),
        (": b", E::Malformed(Malformed::FieldName)),
        ("a", E::Malformed(Malformed::FieldName)),
        ("a b: c", E::Malformed(Malformed::FieldName)),
        ("a(: c", E::Malformed(Malformed::FieldName)),
        ("\u{e9}: c", E::Malformed(Malformed::FieldName)),
        ("a\0: c", E::Malformed(Malformed::FieldName)),
        ("a: b\0c", E::Malformed(Malformed::FieldValue)),
        ("a: b\rc", E::Malformed(Malformed::FieldValue)),
        ("a: b\r", E::Malformed(Malformed::FieldValue)),
        ("a: b\u{7f}", E::Malformed(Malformed::FieldValue)),
        ("a: b\u{1b}[0m", E::Malformed(Malformed::FieldValue)),
        ("a: b\nc: d", E::Malformed(Malformed::LineEnd)),
        ("a: b\n", E::Malformed(Malformed::LineEnd)),
        ("Host: a", E::Host),
        ("host: b", E::Host),
        ("Connection: close, Host", E::Nominated),
        ("Connection: content-length", E::Nominated),
        ("Connection: Transfer-Encoding", E::Nominated),
        ("Connection: authorization", E::Nominated),
        ("Connection: x-forwarded-client-cert", E::Nominated),
        ("Connection: a,b,c,d,e,f,g,h,i,j,k", E::Nominated),
    ] {
        assert_eq!(with_fields(fields).err(), Some(error), "{fields:?}");
    }
}

#[test]
fn bodies_are_framed_by_one_field() {
    for (fields, framing) in [
        ("a: b", Framing::None),
        ("Content-Length: 0", Framing::Length(0)),
        ("Content-Length: 5", Framing::Length(5)),
        ("Content-Length:   5 \t", Framing::Length(5)),
        ("CONTENT-LENGTH: 007", Framing::Length(7)),
        ("Transfer-Encoding: chunked", Framing::Chunked),
        ("transfer-encoding: Chunked", Framing::Chunked),
        ("transfer_encoding: chunked", Framing::None),
        ("a: ", Framing::None),
        ("a: \u{e9}", Framing::None),
        ("x_y: underscores are allowed", Framing::None),
    ] {
        assert_eq!(with_fields(fields).unwrap().framing(), framing, "{fields:?}");
    }
}

#[test]
fn request_lines_are_taken_literally() {
    use RequestError as E;
    let start_line = E::Malformed(Malformed::StartLine);
    let version = E::Malformed(Malformed::Version);
    for (line, error) in [
        ("get / HTTP/1.1", E::Method),
        ("Get / HTTP/1.1", E::Method),
        ("FOO / HTTP/1.1", E::Method),
        ("PRI * HTTP/2.0", E::Method),
        ("GET  / HTTP/1.1", start_line),
        ("GET\t/ HTTP/1.1", start_line),
        (" GET / HTTP/1.1", start_line),
        ("GET /", start_line),
        ("GET", start_line),
        ("GET /a b HTTP/1.1", version),
        ("GET /  HTTP/1.1", version),
        ("GET / HTTP/1.1 ", E::Malformed(Malformed::LineEnd)),
        ("GET / http/1.1", version),
        ("GET / HTTP/1.2", version),
        ("GET / HTTP/2.0", version),
        ("GET / HTTP/01.1", version),
        ("GET / HTTP/1.0", E::LowVersion),
        ("GET a HTTP/1.1", E::Target),
        ("GET a.b/c HTTP/1.1", E::Target),
        ("GET * HTTP/1.1", E::Target),
        ("GET ?a HTTP/1.1", E::Target),
        ("GET #a HTTP/1.1", E::Target),
        ("GET ftp://a/ HTTP/1.1", E::Target),
        ("GET http:/a HTTP/1.1", E::Target),
        ("GET http:// HTTP/1.1", E::Target),
        ("GET http:///a HTTP/1.1", E::Target),
        ("GET http://u@a/ HTTP/1.1", E::Target),
        ("GET http://a?b HTTP/1.1", E::Target),
        ("GET a:80 HTTP/1.1", E::Target),
        ("GET /\u{e9} HTTP/1.1", E::Target),
        ("CONNECT / HTTP/1.1", E::Target),
        ("CONNECT a HTTP/1.1", E::Target),
        ("CONNECT :80 HTTP/1.1", E::Target),
        ("CONNECT a:+80 HTTP/1.1", E::Target),
        ("CONNECT a:99999 HTTP/1.1", E::Target),
        ("CONNECT http://a:80/ HTTP/1.1", E::Target),
        ("OPTIONS * HTTP/1.1", E::NotAPath),
        ("OPTIONS ** HTTP/1.1", E::Target),
    ] {
        let request = format!("{line}\r\nHost: h\r\n\r\n");
        assert_eq!(parse(request.as_bytes()).err(), Some(error), "{line}");
    }
}

#[test]
fn a_target_gives_path_and_host() {
    for (line, path, authority) in [
        ("GET / HTTP/1.1", Some("/"), "h"),
        ("GET /a?b#c HTTP/1.1", Some("/a?b#c"), "h"),
        ("GET //a/../b HTTP/1.1", Some("//a/../b"), "h"),
        ("GET http://a/b?c HTTP/1.1", Some("/b?c"), "a"),
        ("GET HTTP://a:80 HTTP/1.1", Some("/"), "a:80"),
        ("GET https://[::1]:80/ HTTP/1.1", Some("/"), "[::1]:80"),
        ("OPTIONS /a HTTP/1.1", Some("/a"), "h"),
        ("CONNECT a:443 HTTP/1.1", None, "a:443"),
        ("PROPFIND /a HTTP/1.1", Some("/a"), "h"),
    ] {
        let request = format!("{line}\r\nHost: h\r\n\r\n");
        let head = parse(request.as_bytes()).unwrap();
        assert_eq!(head.path(request.as_bytes()), path, "{line}");
        assert_eq!(head.authority(request.as_bytes()), authority, "{line}");
    }
}

#[test]
fn there_is_exactly_one_host() {
    let request = |host: &str| format!("GET / HTTP/1.1\r\n{host}\r\n\r\n");
    for (host, error) in [
        ("a: b", RequestError::MissingHost),
        ("Host: a\r\nHost: a", RequestError::Host),
        ("Host: a b", RequestError::Host),
        ("Host: a/b", RequestError::Host),
        ("Host: u@a", RequestError::Host),
        ("Host: a#b", RequestError::Host),
        ("Host: a\\b", RequestError::Host),
        ("Host: \u{e9}", RequestError::Host),
    ] {
        assert_eq!(parse(request(host).as_bytes()).err(), Some(error), "{host:?}");
    }
    for host in ["", "a", "a.b:80", "[fe80::1]:80", "A_b~!", "10.0.0.1"] {
        let bytes = request(&format!("Host: {host}"));
        assert_eq!(parse(bytes.as_bytes()).unwrap().authority(bytes.as_bytes()), host);
    }
}

#[test]
fn low_versions_and_their_framing_are_refused() {
    let request = |fields: &str| format!("GET / HTTP/1.0\r\nHost: a\r\n{fields}\r\n");
    for (fields, error) in [
        ("", RequestError::LowVersion),
        ("Content-Length: 5\r\n", RequestError::LowVersion),
        ("Transfer-Encoding: chunked\r\n", RequestError::Encoding),
    ] {
        assert_eq!(parse(request(fields).as_bytes()).err(), Some(error), "{fields:?}");
    }
}

#[test]
fn connect_has_no_body() {
    let request = |fields: &str| format!("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    for (fields, error) in [
        ("Content-Length: 0", None),
        ("Content-Length: 5", Some(RequestError::ConnectBody)),
        ("Transfer-Encoding: chunked", Some(RequestError::UnsupportedEncoding)),
    ] {
        assert_eq!(parse(request(fields).as_bytes()).err(), error, "{fields:?}");
    }
}

#[test]
fn heads_are_limited_in_size_and_number_of_fields() {
    let limits = Limits::new(100, 3);
    let parse = |bytes: &str| RequestHead::default().parse(bytes.as_bytes(), limits);
    let fields = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "b: c\r\n".repeat(count));
    assert_eq!(parse(&fields(2)).map(|end| end.is_some()), Ok(true));
    assert_eq!(parse(&fields(3)), Err(RequestError::TooManyFields));
    let path = |length| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "p".repeat(length));
    assert_eq!(parse(&path(100 - path(0).len())).map(|end| end.is_some()), Ok(true));
    assert_eq!(parse(&path(101 - path(0).len())), Err(RequestError::TooLarge));
    assert_eq!(parse(&"G".repeat(100)), Err(RequestError::TooLarge));
    assert_eq!(parse(&"G".repeat(99)), Ok(None));
    assert_eq!((Limits::default().head_bytes(), Limits::default().fields()), (61_440, 100));
}

#[test]
fn the_connection_field_says_what_becomes_of_the_connection() {
    for (value, keep_alive) in [
        ("keep-alive", true),
        ("close", false),
        ("Close", false),
        ("keep-alive, close", false),
        ("x,, close ,", false),
        ("closed", true),
    ] {
        let head = with_fields(&format!("Connection: {value}")).unwrap();
        assert_eq!(head.keep_alive(), keep_alive, "{value}");
    }
    assert!(!with_fields("Connection: x\r\nConnection: close").unwrap().keep_alive());
}

#[test]
fn only_a_websocket_handshake_is_an_upgrade() {
    let upgrade = |method: &str, fields: &str| {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        parse(request.as_bytes()).unwrap().is_upgrade()
    };
    assert!(upgrade("GET", "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket"));
    assert!(upgrade("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0"));
    for (method, fields) in [
        ("GET", "Upgrade: websocket"),
        ("GET", "Connection: Upgrade"),
        ("GET", "Connection: Upgrade\r\nUpgrade: h2c"),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket, h2c"),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket"),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5"),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked"),
        ("POST", "Connection: Upgrade\r\nUpgrade: websocket"),
    ] {
        assert!(!upgrade(method, fields), "{method} {fields}");
    }
}

#[test]
fn only_a_body_is_waited_for_with_continue() {
    for (fields, continues) in [
        ("Expect: 100-continue\r\nContent-Length: 5", true),
        ("Expect: 100-Continue\r\nTransfer-Encoding: chunked", true),
        ("Expect: 100-continue", false),
        ("Expect: 100-continue\r\nContent-Length: 0", false),
        ("Expect: other\r\nContent-Length: 5", false),
    ] {
        assert_eq!(with_fields(fields).unwrap().expects_continue(), continues, "{fields}");
    }
}

#[test]
fn policies_see_the_fields_that_the_application_gets() {
    let bytes =
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Role: admin\r\nx-role:  user \r\nConnection: x-gone, \
        keep-alive\r\nKeep-Alive: 5\r\nX-Gone: 1\r\nTE: trailers\r\nProxy-Authorization: p\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: s\r\nEmpty:\r\n\r\n";
    let head = parse(bytes).unwrap();
    let fields: Vec<(&str, &[u8])> = head.fields(bytes).collect();
    let expected: [(&str, &[u8]); 4] =
        [("Host", b"a"), ("X-Role", b"admin"), ("x-role", b"user"), ("Empty", b"")];
    assert_eq!(fields, expected);
    assert_eq!(head.text(bytes, Name::KeepAlive), Some("5"));
    assert_eq!(head.text(bytes, Name::Cookie), None);
}

#[test]
fn a_head_can_be_used_again() {
    let mut head = RequestHead::default();
    let first = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    assert_eq!(head.parse(first, Limits::default()), Ok(Some(first.len())));
    head.clear();
    assert!(head.is_empty());
    let second = b"GET /b HTTP/1.1\r\nHost: b\r\n\r\nnext";
    assert_eq!(head.parse(second, Limits::default()), Ok(Some(second.len() - 4)));
    assert_eq!((head.framing(), head.keep_alive()), (Framing::None, true));
    assert_eq!((head.path(second), head.authority(second)), (Some("/b"), "b"));
    assert_eq!(head.fields(second).count(), 1);
}

#[test]
fn a_refused_request_can_still_be_logged() {
    let bytes = b"GET /a?b HTTP/1.1\r\nUser-Agent: u\r\n\r\n";
    let mut head = RequestHead::default();
    assert_eq!(head.parse(bytes, Limits::default()), Err(RequestError::MissingHost));
    assert_eq!((head.method().as_str(), head.path(bytes)), ("GET", Some("/a?b")));
    assert_eq!(head.text(bytes, Name::UserAgent), Some("u"));
}

#[test]
fn every_error_has_its_answer() {
    use RequestError as E;
    let errors = [
        E::Malformed(Malformed::FieldName),
        E::Method,
        E::Target,
        E::NotAPath,
        E::LowVersion,
        E::MissingHost,
        E::Host,
        E::LengthAndEncoding,
        E::Length,
        E::Encoding,
        E::UnsupportedEncoding,
        E::ConnectBody,
        E::Nominated,
        E::TooLarge,
        E::TooManyFields,
    ];
    let to = ReplyTo {
        method: palisade_http::Method::default(),
        grpc: false,
        server: SERVER_INBOUND,
        date: "DATE",
        persistence: Persistence::Close,
    };
    let table: Vec<String> = errors
        .iter()
        .map(|error| {
            let mut out = Vec::new();
            LocalReply::to_error(*error).encode(&to, &mut out);
            let answer = String::from_utf8(out).unwrap().replace("\r\n", " | ");
            let flags = if error.is_protocol_error() { "DPE" } else { "-" };
            format!("{error}: {flags} {}\n    {answer}", error.details())
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"));
}
