//! Clients of HTTP/2 that want to exhaust a sidecar.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, SendStream, client};
use http::{Request, Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::support::{DEADLINE, Pair, Server, application, echo, until};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn pair() -> Pair {
    Pair::new(&Server::default(), "HTTP", application(echo).await)
}

/// A frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET / http backend`, indexed where it can be.
fn get() -> Vec<u8> {
    [&[0x82, 0x86, 0x84, 0x41, 7][..], b"backend"].concat()
}

/// Writes until the sidecar has closed the connection; the reason that it gave.
async fn flood(pair: &Pair, mut next: impl FnMut(u32) -> Vec<u8>) -> Option<Reason> {
    let mut stream = pair.connect().await;
    stream.write_all(PREFACE).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        // A reset is an end, too.
        let _ = read.read_to_end(&mut all).await;
        all
    });
    let writing = async {
        for count in 0.. {
            if write.write_all(&next(count)).await.is_err() {
                return;
            }
        }
    };
    timeout(DEADLINE, writing).await.expect("the sidecar takes it for ever");
    reason(&timeout(DEADLINE, reading).await.unwrap().unwrap())
}

/// The kinds and payloads of these frames.
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut all = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        all.push((*kind, payload));
        bytes = rest;
    }
    all
}

/// The reason of the GOAWAY among these frames.
fn reason(bytes: &[u8]) -> Option<Reason> {
    let last = frames(bytes).into_iter().rfind(|(kind, _)| *kind == 7)?;
    let code: [u8; 4] = last.1[4..8].try_into().unwrap();
    Some(u32::from_be_bytes(code).into())
}

async fn still_serves(pair: &Pair) {
    let (mut sender, connection) = client::handshake(pair.connect().await).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let request = Request::builder().uri("http://backend/").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    assert_eq!(timeout(DEADLINE, response).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let pair = pair().await;
    let cancel = [0, 0, 0, 8];
    let told = flood(&pair, |count| {
        let stream = count * 2 + 1;
        [frame(1, 5, stream, &get()), frame(3, 0, stream, &cancel)].concat()
    })
    .await;
    // The reason is lost if the client wrote on after it.
    assert!(told.is_none_or(|reason| reason == Reason::ENHANCE_YOUR_CALM), "{told:?}");
    let counted = || pair.client.metrics().contains("palisade_http2_floods_total 1");
    until("the flood is counted", counted).await;
    still_serves(&pair).await;
}

#[tokio::test]
async fn one_stream_more_than_there_may_be_is_refused() {
    let silent = application(|stream| async move {
        let held = stream;
        std::future::pending::<()>().await;
        drop(held);
    });
    let pair = Pair::new(&Server::default(), "HTTP", silent.await);
    let mut stream = pair.connect().await;
    stream.write_all(PREFACE).await.unwrap();
    let heads: Vec<u8> = (0..=1024).flat_map(|it| frame(1, 5, it * 2 + 1, &get())).collect();
    stream.write_all(&heads).await.unwrap();
    let mut read = Vec::new();
    let refusal = async {
        loop {
            let reset = frames(&read).into_iter().find(|(kind, _)| *kind == 3);
            if let Some((_, code)) = reset {
                return code.to_vec();
            }
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "it goes on");
        }
    };
    assert_eq!(timeout(DEADLINE, refusal).await.unwrap(), [0, 0, 0, 7], "REFUSED_STREAM");
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let pair = pair().await;
    // A field that is not indexed: `x: xx…`.
    let field = [&[0, 1, b'x', 127, 0x81, 0x7d][..], &[b'x'; 16_000 - 1]].concat();
    let continued = flood(&pair, |count| match count {
        0 => frame(1, 0, 1, &get()),
        _ => frame(9, 0, 1, &field[..16_000]),
    })
    .await;
    assert!(continued.is_none_or(|reason| reason != Reason::NO_ERROR), "{continued:?}");
    let empty = flood(&pair, |count| match count {
        0 => frame(1, 0, 1, &get()),
        _ => frame(9, 0, 1, &[]),
    })
    .await;
    assert!(empty.is_none_or(|reason| reason != Reason::NO_ERROR), "{empty:?}");
    still_serves(&pair).await;
}

#[tokio::test]
async fn a_small_head_that_unpacks_to_a_large_one_is_refused() {
    let pair = pair().await;
    let mut stream = pair.connect().await;
    stream.write_all(PREFACE).await.unwrap();
    // One field of 3,000 bytes, put into the table, then named 4,000 times.
    let field = [&[0x40, 1, b'x', 127, 0xb9, 0x16][..], &[b'y'; 3000]].concat();
    let head = [get(), field, vec![0xbf; 4000]].concat();
    stream.write_all(&frame(1, 5, 1, &head)).await.unwrap();
    let mut read = Vec::new();
    let answer = async {
        loop {
            // HEADERS of an answer, RST_STREAM or GOAWAY.
            let told = frames(&read).into_iter().find(|(kind, _)| matches!(kind, 1 | 3 | 7));
            if let Some((kind, payload)) = told {
                return (kind, payload.first().copied());
            }
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "it is told before the end");
        }
    };
    let told = timeout(DEADLINE, answer).await.expect("an answer");
    assert_ne!(told, (1, Some(0x88)), "status 200");
    still_serves(&pair).await;
}

#[tokio::test]
async fn pings_and_settings_that_nobody_reads_do_not_pile_up() {
    let pair = pair().await;
    let mut stream: TcpStream = pair.connect().await;
    stream.write_all(PREFACE).await.unwrap();
    let burst: Vec<u8> =
        (0..2000).flat_map(|_| [frame(6, 0, 0, &[0; 8]), frame(4, 0, 0, &[])].concat()).collect();
    // It stops reading when its answers are not read: what it would have to remember is bounded by sockets.
    let mut written = 0;
    while timeout(Duration::from_millis(500), stream.write_all(&burst)).await.is_ok() {
        written += burst.len();
        if written > 100_000_000 {
            panic!("the sidecar reads on, though nobody reads its answers");
        }
    }
    still_serves(&pair).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_fills_nothing() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let address = application(move |stream| {
        let sent = Arc::clone(&counted);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let sent = Arc::clone(&sent);
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                if request.uri().path() == "/endless" {
                    tokio::spawn(pour(stream, sent));
                } else {
                    stream.send_data(Bytes::new(), true).unwrap();
                }
            }
        }
    })
    .await;
    let server = Server { protocol: "HTTP2", ..Server::default() };
    let pair = Pair::new(&server, "HTTP2", address);
    let (mut sender, connection) = client::handshake(pair.connect().await).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let get =
        |path: &str| Request::builder().uri(format!("http://backend{path}")).body(()).unwrap();
    let mut held = Vec::new();
    for _ in 0..20 {
        let (response, _) = sender.send_request(get("/endless"), true).unwrap();
        held.push(timeout(DEADLINE, response).await.unwrap().unwrap());
    }
    // Other clients of the same server's connection are served.
    for _ in 0..20 {
        still_serves(&pair).await;
    }
    let per_stream = sent.load(Relaxed) / held.len();
    assert!(per_stream < 1024 * 1024, "{per_stream} bytes per stream were taken from the server");
}

/// Sends without end, and counts what is taken.
async fn pour(mut stream: SendStream<Bytes>, sent: Arc<AtomicUsize>) {
    loop {
        stream.reserve_capacity(16_384);
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(room)) = room else { return };
        if stream.send_data(Bytes::from(vec![0; room]), false).is_err() {
            return;
        }
        sent.fetch_add(room, Relaxed);
    }
}
