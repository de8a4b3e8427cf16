//! What must hold for any bytes, tried on random messages and on the fuzzers' corpora.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../../fuzz/checks/http.rs"]
mod checks;
#[path = "../../../fuzz/smoke.rs"]
mod smoke;

use proptest::{collection::vec, prelude::*, sample::select};

/// Start lines.
const STARTS: &str = "GET / HTTP/1.1|POST /a/../b?c#d HTTP/1.1|PUT http://h/a HTTP/1.1|HEAD http://h HTTP/1.1\
    |CONNECT a:1 HTTP/1.1|OPTIONS * HTTP/1.1|GET / HTTP/1.0|get / HTTP/1.1|GET http://u@h/ HTTP/1.1\
    |HTTP/1.1 200 OK|HTTP/1.0 200 OK|HTTP/1.1 204 |HTTP/1.1 101 X|HTTP/1.1 304 X";

/// Field lines, the dangerous ones among them.
const FIELDS: &str = "x-a: b|X_y: \u{e9}|Empty:|Content-Length: 5|content-length: 0|Content-Length: +5\
    |Transfer-Encoding: chunked|transfer-encoding : chunked|Transfer-Encoding: gzip, chunked\
    |Connection: close|Connection: Upgrade|Connection: x-a, te|Connection: host|Upgrade: websocket\
    |Expect: 100-continue|TE: trailers|TE: gzip|Keep-Alive: 5|Host: b| folded|no colon";

/// Parts of chunked bodies.
const CHUNKS: &str = "5\r\nhello\r\n|0005 ;ext=1\r\nhello\r\n|5\nhello\r\n|0\r\n|ffffffffffffffff\r\n\
    |a: b\r\n|grpc-status: 0\r\n|Host: a\r\n|\r\n|A\r\n0123456789\r\n";

/// What stands between them.
const BYTES: &str = "\r\n|\r\n\r\n|\n|\r|\0| |\t|:|;|,|/|%2e|GET |HTTP/1.1|a";

fn pieces(lists: &[&'static str]) -> Vec<&'static str> {
    lists.iter().flat_map(|list| list.split('|')).collect()
}

/// Anything in any order.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    vec(select(pieces(&[STARTS, FIELDS, CHUNKS, BYTES])), 0..24)
        .prop_map(|pieces| pieces.concat().into_bytes())
}

/// A head that is well formed but for what its lines make of it.
fn head() -> impl Strategy<Value = Vec<u8>> {
    (select(pieces(&[STARTS])), vec(select(pieces(&[FIELDS])), 0..6)).prop_map(|(start, fields)| {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        format!("{start}\r\nHost: a\r\n{fields}\r\n").into_bytes()
    })
}

/// A chunked body that is well formed but for some of its parts.
fn chunks() -> impl Strategy<Value = Vec<u8>> {
    vec(select(pieces(&[CHUNKS])), 0..6)
        .prop_map(|pieces| format!("{}0\r\n\r\nGET", pieces.concat()).into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_the_same_way(bytes in prop_oneof![soup(), head(), vec(any::<u8>(), 0..300)]) {
        checks::request_head(&bytes);
        checks::response_head(&bytes);
        checks::sniffed(&bytes);
        checks::normalized(&bytes);
    }

    #[test]
    fn any_body_is_read_the_same_way(bytes in prop_oneof![soup(), chunks(), vec(any::<u8>(), 0..300)]) {
        checks::chunked(&bytes);
    }
}

#[test]
fn the_corpora_hold() {
    smoke::smoke("request_head", 1000, checks::request_head);
    smoke::smoke("response_head", 1000, checks::response_head);
    smoke::smoke("chunked", 1000, checks::chunked);
    smoke::smoke("normalize", 1000, checks::normalized);
    smoke::smoke("sniff", 1000, checks::sniffed);
    smoke::smoke("http2_fields", 2000, checks::http2_fields);
}
