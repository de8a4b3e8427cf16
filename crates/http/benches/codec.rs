//! What the codec costs per message: `cargo bench -p palisade-http`. Prints nanoseconds, the best of
//! several rounds, because noise only ever adds.

use std::{
    hint::black_box,
    io::{self, Write},
    time::Instant,
};

use palisade_http::{
    Asked, BodyReader, Edits, Framing, Limits, Name, RequestHead, ResponseHead, Trailers,
};

/// What a mesh client sends: 12 fields.
const REQUEST: &[u8] = b"GET /api/v1/products/42?fields=name,price HTTP/1.1\r\n\
    Host: productpage.bookinfo.svc.cluster.local:9080\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Authorization: Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2ln\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\n\
    Content-Type: application/json\r\n\
    X-Forwarded-Proto: http\r\n\
    X-Request-Id: 84961386-6d84-4929-98bd-c5aee93b5c88\r\n\
    X-B3-TraceId: 463ac35c9f6413ad48485a3953bb6124\r\n\
    Connection: keep-alive\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: application/json; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Server: gunicorn\r\n\
    Cache-Control: no-store\r\n\
    X-Powered-By: bench\r\n\r\n";

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut request = RequestHead::default();
    let mut response = ResponseHead::default();
    let mut encoded = Vec::with_capacity(4096);

    writeln!(
        out,
        "parse request, 12 fields           {:5.0} ns",
        time(|| {
            request.clear();
            request.parse(black_box(REQUEST), Limits::default()).is_ok()
        })
    )?;
    writeln!(
        out,
        "fields for a policy                {:5.0} ns",
        time(|| {
            request
                .fields(black_box(REQUEST))
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>()
        })
    )?;
    writeln!(
        out,
        "encode request, 3 edits            {:5.0} ns",
        time(|| {
            encoded.clear();
            let mut edits = Edits::new();
            edits.path("/api/v1/products/42?fields=name,price");
            edits.set(Name::XForwardedClientCert, b"By=spiffe://cluster.local/ns/bookinfo/sa/a");
            edits.set(Name::XForwardedProto, b"https");
            edits.remove(Name::XEnvoyPeerMetadata);
            request.encode(black_box(REQUEST), &edits, &mut encoded);
            encoded.len()
        })
    )?;
    writeln!(
        out,
        "parse response, 6 fields           {:5.0} ns",
        time(|| {
            response.clear();
            response.parse(black_box(RESPONSE), Asked::default(), Limits::default()).is_ok()
        })
    )?;
    writeln!(
        out,
        "encode response, 1 edit            {:5.0} ns",
        time(|| {
            encoded.clear();
            let mut edits = Edits::new();
            edits.set(Name::Server, b"istio-envoy");
            response.encode(black_box(RESPONSE), &edits, &mut encoded);
            encoded.len()
        })
    )?;

    let mut chunks = Vec::new();
    for _ in 0..16 {
        palisade_http::write_chunk(&[b'x'; 1024], &mut chunks);
    }
    writeln!(
        out,
        "16 chunks of 1 KiB                 {:5.0} ns",
        time(|| {
            let mut reader = BodyReader::new(Framing::Chunked, Trailers::Drop);
            reader.advance(black_box(&chunks)).map(|advance| advance.forward)
        })
    )
}

/// Nanoseconds per call.
fn time<T>(mut call: impl FnMut() -> T) -> f64 {
    const CALLS: u32 = 20_000;
    const ROUNDS: usize = 25;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(call());
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
    }
    best
}
