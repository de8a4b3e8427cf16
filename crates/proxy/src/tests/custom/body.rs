//! What external authorizers see of bodies, and that workloads get all of them.

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::time::timeout;

use super::{
    super::{
        http2::{self, Got, application2, connect},
        support::DEADLINE,
    },
    envoy::dechunked,
    *,
};

fn seen(most: u32, longer: &str) -> Value {
    showing(http(&json!({})), most, longer, "text")
}

fn post(framing: &str, body: &str) -> String {
    format!("POST /asked HTTP/1.1\r\nhost: backend\r\n{framing}\r\n\r\n{body}")
}

/// An HTTP authorizer that says yes to `good`, and keeps the bodies that it gets.
async fn reader() -> (SocketAddr, Heads) {
    let bodies = Heads::default();
    let kept = Arc::clone(&bodies);
    let at = application(move |mut stream: TcpStream| {
        let kept = Arc::clone(&kept);
        async move {
            let mut read = Vec::new();
            while let Some(head) = read_head(&mut stream, &mut read).await {
                let length = field(&head, "content-length").unwrap().parse().unwrap();
                while read.len() < length {
                    assert!(stream.read_buf(&mut read).await.unwrap() > 0);
                }
                let body = String::from_utf8(read.drain(..length).collect()).unwrap();
                let partial = field(&head, "x-envoy-auth-partial-body").unwrap_or("-");
                kept.lock().unwrap().push(format!("{partial} {body}"));
                let status = if body.starts_with("good") { "200 OK" } else { "403 Forbidden" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (at, bodies)
}

#[tokio::test]
async fn an_authorizer_decides_by_the_body_and_the_workload_gets_all_of_it() {
    let (at, bodies) = reader().await;
    let chunks = "3\r\ngoo\r\n4;x=y\r\nd da\r\n1\r\ny\r\n0\r\n\r\n";
    for (provider, request, status, shown) in [
        (seen(100, "refused"), post("content-length: 8", "good day"), 200, Some("false good day")),
        (seen(100, "refused"), post("content-length: 8", "evil day"), 403, Some("false evil day")),
        (seen(8, "refused"), post("content-length: 8", "good day"), 200, Some("false good day")),
        (seen(7, "refused"), post("content-length: 8", "good day"), 413, None),
        (seen(7, "cut"), post("content-length: 8", "good day"), 200, Some("true good da")),
        (seen(8, "cut"), post("content-length: 8", "good day"), 200, Some("false good day")),
        (
            seen(8, "refused"),
            post("transfer-encoding: chunked", chunks),
            200,
            Some("false good day"),
        ),
        (seen(4, "cut"), post("transfer-encoding: chunked", chunks), 200, Some("true good")),
        (seen(4, "refused"), post("transfer-encoding: chunked", chunks), 413, None),
        (seen(8, "refused"), post("transfer-encoding: chunked", "nonsense"), 400, None),
        (seen(8, "refused"), post("content-length: 0", ""), 403, Some("- ")),
    ] {
        let pair = pair(provider, at, vec![asked()]).await;
        let mut stream = pair.connect().await;
        let got = ask(&mut stream, &request).await;
        assert_eq!(got.status(), status, "{request}\n{got:?}");
        let told: Vec<String> = std::mem::take(&mut bodies.lock().unwrap());
        assert_eq!(told.first().map(String::as_str), shown, "{request}");
        if status == 200 {
            let whole = if request.contains("chunked") { "d da" } else { "good day" };
            assert!(got.body.contains(whole), "{got:?}");
            assert_eq!(ask(&mut stream, &get("/free")).await.status(), 200, "the next request");
        }
    }
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_waited_for_and_asked_for() {
    let (at, bodies) = reader().await;
    let pair = pair(seen(100_000, "refused"), at, vec![asked()]).await;
    let mut stream = pair.connect().await;
    let body = format!("good{}", "y".repeat(60_000));
    let head = post(&format!("expect: 100-continue\r\ncontent-length: {}", body.len()), "");
    stream.write_all(head.as_bytes()).await.unwrap();
    let invited = read_head(&mut stream, &mut Vec::new()).await.unwrap();
    assert!(invited.starts_with("HTTP/1.1 100 "), "{invited}");
    for piece in body.as_bytes().chunks(7_000) {
        assert!(bodies.lock().unwrap().is_empty(), "it is asked too early");
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let got = super::super::support::answer(&mut stream).await.unwrap();
    assert_eq!(got.status(), 200);
    assert!(got.body.ends_with(&body[4..]), "the workload gets all of it");
    let told = bodies.lock().unwrap().clone();
    assert_eq!(told, [format!("false {body}")]);
}

#[tokio::test]
async fn a_client_that_leaves_in_its_body_asks_nobody() {
    let (at, bodies) = reader().await;
    let pair = pair(seen(100, "refused"), at, vec![asked()]).await;
    let mut stream = pair.connect().await;
    stream.write_all(post("content-length: 8", "good").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(super::super::support::answer(&mut stream).await.is_none());
    assert!(bodies.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_grpc_authorizer_gets_the_body_as_text_or_as_bytes() {
    let (at, checker) = checker().await;
    for (form, body, raw) in [("text", "good day", &b""[..]), ("bytes", "", b"good day")] {
        let provider = showing(grpc(), 100, "refused", form);
        let pair = pair(provider, at, vec![asked()]).await;
        ask(&mut pair.connect().await, &post("content-length: 8", "good day")).await;
        let asked = checker.0.lock().unwrap().pop().unwrap();
        let http = asked.attributes.unwrap().request.unwrap().http.unwrap();
        assert_eq!((http.body.as_str(), http.raw_body.as_slice()), (body, raw), "{form}");
    }
}

/// Sends a body in pieces over HTTP/2 and reads the response.
async fn post2(client: &mut SendRequest<Bytes>, pieces: &[&str]) -> Got {
    let head = http2::request("POST", "/asked").body(()).unwrap();
    let (response, mut up) = client.send_request(head, false).unwrap();
    let sending = async {
        for piece in pieces {
            http2::send(&mut up, Bytes::copy_from_slice(piece.as_bytes())).await;
        }
        // What is refused is not wanted to its end.
        let _ = up.send_data(Bytes::new(), true);
    };
    let reading = async { http2::read(response.await.unwrap()).await.unwrap() };
    timeout(DEADLINE, async { tokio::join!(sending, reading).1 }).await.unwrap()
}

#[tokio::test]
async fn bodies_in_http2_are_seen_and_passed_on_to_either_version() {
    let (at, bodies) = reader().await;
    let large = "x".repeat(300_000);
    for protocol in ["HTTP", "HTTP2"] {
        let workload = match protocol {
            "HTTP" => application(echo).await,
            _ => application2(http2::echo).await,
        };
        for (provider, pieces, status, shown) in [
            (seen(100, "refused"), &["good", " day"][..], 200, Some("false good day".to_owned())),
            (seen(100, "refused"), &["evil", " day"], 403, Some("false evil day".to_owned())),
            (seen(7, "refused"), &["good", " day"], 413, None),
            (seen(4, "cut"), &["goo", "d day"], 200, Some("true good".to_owned())),
            (seen(8, "refused"), &[], 403, Some("false ".to_owned())),
            // More than a peer may send ahead.
            (
                seen(1_000_000, "refused"),
                &["good", &large],
                200,
                Some(format!("false good{large}")),
            ),
            (seen(4, "cut"), &["good", &large], 200, Some("true good".to_owned())),
        ] {
            let server = Server {
                protocol,
                policies: vec![asked()],
                provider: Some((provider, at)),
                ..Server::default()
            };
            let pair = Pair::new(&server, protocol, workload);
            let mut client = connect(&pair).await;
            let got = post2(&mut client, pieces).await;
            assert_eq!(got.status, status, "{protocol} {got:?}");
            let told = std::mem::take(&mut *bodies.lock().unwrap());
            assert_eq!(told.first(), shown.as_ref(), "{protocol}");
            if status == 200 {
                let carried = match got.body.split_once("\r\n\r\n") {
                    Some((_, chunks)) => dechunked(chunks.as_bytes()),
                    None => got.body.into_bytes(),
                };
                let all = pieces.concat();
                assert!(carried.ends_with(all.as_bytes()), "{protocol}: it gets all of it");
                let next = http2::call(&mut client, http2::request("GET", "/free")).await;
                assert_eq!(next.unwrap().status, 200, "the next request");
            }
        }
    }
}

#[tokio::test]
async fn a_client_of_http2_is_asked_for_its_body_once_and_may_leave_in_it() {
    let (at, bodies) = reader().await;
    let pair = pair(seen(100, "refused"), at, vec![asked()]).await;
    let mut client = connect(&pair).await;
    let head =
        || http2::request("POST", "/asked").header("expect", "100-continue").body(()).unwrap();
    let (mut response, mut up) = client.send_request(head(), false).unwrap();
    let invited = std::future::poll_fn(|cx| response.poll_informational(cx));
    let invited = timeout(DEADLINE, invited).await.unwrap().unwrap().unwrap();
    assert_eq!(invited.status(), 100);
    assert!(bodies.lock().unwrap().is_empty(), "it is asked too early");
    up.send_data(Bytes::from_static(b"good"), true).unwrap();
    let again = std::future::poll_fn(|cx| response.poll_informational(cx));
    assert!(timeout(DEADLINE, again).await.unwrap().is_none(), "it was told already");
    assert_eq!(timeout(DEADLINE, response).await.unwrap().unwrap().status(), 200);
    assert_eq!(std::mem::take(&mut *bodies.lock().unwrap()), ["false good"]);

    let (response, mut up) = client.send_request(head(), false).unwrap();
    up.send_data(Bytes::from_static(b"good"), false).unwrap();
    up.send_reset(h2::Reason::CANCEL);
    drop(response);
    let free = http2::call(&mut client, http2::request("GET", "/free")).await.unwrap();
    assert_eq!(free.status, 200, "the connection goes on");
    assert!(bodies.lock().unwrap().is_empty(), "nobody is asked");
}
