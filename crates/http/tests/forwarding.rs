//! How heads look when they are passed on, and how own answers look.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use palisade_http::{
    Asked, DateLine, Edits, Limits, LocalReply, Method, Name, NameSet, Persistence, ReplyTo,
    RequestHead, ResponseHead, SERVER_INBOUND, SERVER_OUTBOUND, normalize::TargetError, refusal,
};

fn request(text: &str, edits: &Edits<'_>) -> String {
    let mut head = RequestHead::default();
    head.parse(text.as_bytes(), Limits::default()).unwrap().unwrap();
    let mut out = Vec::new();
    head.encode(text.as_bytes(), edits, &mut out);
    String::from_utf8(out).unwrap()
}

fn response(text: &str, asked: Asked, edits: &Edits<'_>) -> String {
    let mut head = ResponseHead::default();
    head.parse(text.as_bytes(), asked, Limits::default()).unwrap().unwrap();
    let mut out = Vec::new();
    head.encode(text.as_bytes(), edits, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_head_without_hop_by_hop_fields_stays_as_it_is() {
    for text in [
        "GET /a?b HTTP/1.1\r\nHost: a\r\nX-b:  c \r\nx-B:\r\nCOOKIE: d; e\r\n\r\n",
        "POST / HTTP/1.1\r\nhOsT: a\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nhost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\n\
         Host: a:443\r\n\r\n",
    ] {
        assert_eq!(request(text, &Edits::new()), text);
    }
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n",
        "HTTP/1.1 404 Nicht da\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 \r\n\r\n",
    ] {
        assert_eq!(response(text, Asked::default(), &Edits::new()), text);
    }
}

#[test]
fn hop_by_hop_fields_are_left_out() {
    let text = "GET / HTTP/1.1\r\n\
        Host: a\r\n\
        Connection: keep-alive, X-Mine\r\n\
        Keep-Alive: timeout=5\r\n\
        X-Mine: 1\r\n\
        a: 1\r\n\
        Proxy-Connection: keep-alive\r\n\
        Proxy-Authorization: Basic eA==\r\n\
        proxy-other: 1\r\n\
        TE: gzip\r\n\
        Upgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\
        b: 2\r\n\r\n";
    let expected = "GET / HTTP/1.1\r\nHost: a\r\na: 1\r\nb: 2\r\n\r\n";
    assert_eq!(request(text, &Edits::new()), expected);
}

#[test]
fn continue_is_the_sidecars_business() {
    let text = "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    let expected = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(request(text, &Edits::new()), expected);
}

#[test]
fn an_absolute_target_replaces_the_host() {
    let text = "GET http://real/a HTTP/1.1\r\nx: y\r\nHost: fake\r\n\r\n";
    let expected = "GET /a HTTP/1.1\r\nHost: real\r\nx: y\r\n\r\n";
    assert_eq!(request(text, &Edits::new()), expected);
    let mut edits = Edits::new();
    edits.set(Name::Host, b"other");
    let expected = "GET /a HTTP/1.1\r\nx: y\r\nhost: other\r\n\r\n";
    assert_eq!(request(text, &edits), expected);
}

#[test]
fn edits_replace_remove_and_add() {
    let text = "GET /a/../b HTTP/1.1\r\n\
        Host: a\r\n\
        X-Forwarded-Client-Cert: spoofed\r\n\
        X-Envoy-Peer-Metadata: m\r\n\
        x-forwarded-client-cert: again\r\n\
        X-Envoy-Whatever: w\r\n\
        X-Claim: spoofed\r\n\
        x-kept: 1\r\n\
        X-Request-Id: old\r\n\r\n";
    let mut edits = Edits::new();
    edits.path("/b");
    edits.set(Name::XForwardedClientCert, b"By=spiffe://x");
    edits.remove_all(NameSet::of(&[Name::XEnvoyPeerMetadata, Name::XEnvoyPeerMetadataId]));
    edits.remove(Name::XEnvoy);
    edits.set(Name::XRequestId, b"new");
    edits.set_named("x-claim", b"c");
    edits.append("x-kept", b"2");
    insta::assert_snapshot!(request(text, &edits).replace("\r\n", "\n"));
}

#[test]
fn a_set_value_cannot_end_its_line() {
    let mut edits = Edits::new();
    edits.set(Name::XForwardedClientCert, b"a\r\nX-Role: admin\0");
    let text = request("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &edits);
    assert!(text.ends_with("\r\nx-forwarded-client-cert: a__X-Role: admin_\r\n\r\n"), "{text:?}");
}

#[test]
fn a_websocket_handshake_goes_through() {
    let text = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: k\r\n\r\n";
    let expected = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\
        connection: Upgrade\r\n\r\n";
    assert_eq!(request(text, &Edits::new()), expected);
    let text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: k\r\n\r\n";
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: k\r\nconnection: Upgrade\r\n\r\n";
    let asked = Asked { method: Method::GET, upgrade: true };
    assert_eq!(response(text, asked, &Edits::new()), expected);
}

#[test]
fn responses_say_how_they_end() {
    let until_close = "HTTP/1.0 200 OK\r\nServer: SimpleHTTP\r\n\r\n";
    let mut chunked = Edits::new();
    chunked.chunked();
    let mut close = Edits::new();
    close.close();
    close.set(Name::Server, b"envoy");
    for (edits, expected) in [
        (&Edits::new(), "HTTP/1.1 200 OK\r\nServer: SimpleHTTP\r\nconnection: close\r\n\r\n"),
        (&chunked, "HTTP/1.1 200 OK\r\nServer: SimpleHTTP\r\ntransfer-encoding: chunked\r\n\r\n"),
        (&close, "HTTP/1.1 200 OK\r\nserver: envoy\r\nconnection: close\r\n\r\n"),
    ] {
        assert_eq!(response(until_close, Asked::default(), edits), expected);
    }
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(response(length, Asked::default(), &chunked), expected);
    let empty = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
    let expected = "HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(response(empty, Asked::default(), &Edits::new()), expected);
}

#[test]
fn own_answers_look_as_envoys() {
    let mut date = DateLine::default();
    let date = date.at(1_700_000_000);
    let mut table = String::new();
    for (method, grpc, server, persistence) in [
        (Method::GET, false, SERVER_INBOUND, Persistence::KeepAlive),
        (Method::HEAD, false, SERVER_OUTBOUND, Persistence::Close),
        (Method::POST, true, SERVER_OUTBOUND, Persistence::KeepAlive),
    ] {
        let to = ReplyTo { method, grpc, server, date, persistence };
        let mut out = Vec::new();
        LocalReply::text(503, "no healthy upstream").encode(&to, &mut out);
        table.push_str(&String::from_utf8(out).unwrap().replace("\r\n", "\n"));
        table.push_str("\n----\n");
    }
    insta::assert_snapshot!(table);
}

#[test]
fn refusals_look_as_envoys() {
    let denied = refusal::Refusal::Denied { rule: None };
    let token = refusal::Refusal::Token {
        fault: refusal::TokenFault { reason: "Jwt is expired", is_forbidden: false },
        realm: "http://a/b".to_owned(),
    };
    let body = refusal::Body::Unread;
    let grpc = Some(&b"application/grpc"[..]);
    let mut table = String::new();
    for (refusal, asked) in [
        (&denied, refusal::Asked::default()),
        (&denied, refusal::Asked { method: "HEAD", ..Default::default() }),
        (&denied, refusal::Asked { body, ..Default::default() }),
        (&denied, refusal::Asked { content_type: grpc, ..Default::default() }),
        (&token, refusal::Asked::default()),
        (&token, refusal::Asked { content_type: grpc, ..Default::default() }),
        (&refusal::Refusal::Path(TargetError::Malformed), refusal::Asked::default()),
        (&refusal::Refusal::Path(TargetError::NotAPath), refusal::Asked::default()),
    ] {
        let mut out = Vec::new();
        refusal.reply(asked).encode("Tue, 14 Nov 2023 22:13:20 GMT", &mut out);
        table.push_str(&String::from_utf8(out).unwrap().replace("\r\n", "\n"));
        table.push_str("\n----\n");
    }
    insta::assert_snapshot!(table);
}

#[test]
fn dates_are_formatted_once_per_second() {
    let mut date = DateLine::default();
    assert_eq!(date.at(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(date.at(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(date.at(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
}
