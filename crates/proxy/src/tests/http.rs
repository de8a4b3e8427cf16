//! Requests through both sidecars.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::{
    FRONTEND, Pair, Server, allow_reading, answer, application, ask, echo, field, get, policy,
    read_head, until,
};

async fn pair(server: &Server) -> Pair {
    Pair::new(server, "HTTP", application(echo).await)
}

#[tokio::test]
async fn what_a_policy_allows_is_served_and_all_else_is_denied() {
    let server = Server { policies: vec![allow_reading()], ..Server::default() };
    let pair = pair(&server).await;
    let mut stream = pair.connect().await;
    for (request, status) in [
        (get("/api/orders"), 200),
        (get("/api/secret"), 403),
        ("DELETE /api/orders HTTP/1.1\r\nhost: backend\r\n\r\n".to_owned(), 403),
        (get("/api/orders?x=1"), 200),
        (get("/x/../api/orders"), 200),
        (get("/api/%6frders"), 200),
        (get("/api/orders/../secret"), 403),
    ] {
        let answer = ask(&mut stream, &request).await;
        assert_eq!(answer.status(), status, "{request}{answer:?}");
        if status == 403 {
            assert_eq!(answer.body, "RBAC: access denied");
            assert_eq!(field(&answer.head, "server"), Some("envoy"));
            assert_eq!(field(&answer.head, "connection"), None);
        }
    }
}

#[tokio::test]
async fn a_denial_and_an_answer_of_403_are_told_apart() {
    let forbids = application(async |mut stream| {
        let mut read = Vec::new();
        while read_head(&mut stream, &mut read).await.is_some() {
            let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let server = Server { policies: vec![allow_reading()], ..Server::default() };
    let pair = Pair::new(&server, "HTTP", forbids);
    let mut stream = pair.connect().await;
    for (path, id) in [("/api/orders", "own"), ("/other", "policy")] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: backend\r\nx-request-id: {id}\r\n\r\n");
        assert_eq!(ask(&mut stream, &request).await.status(), 403);
    }
    let decisions = |id: &str| pair.server.shared.decisions(Some(id));
    until("both decisions are recorded", || decisions("policy")[0].is_object()).await;
    let (own, policy) = (&decisions("own")[0], &decisions("policy")[0]);
    assert_eq!(own["verdict"], "allow");
    assert_eq!(own["policy"], "ns[poc]-policy[read]-rule[0]");
    assert_eq!(own["responseCode"], 403);
    assert_eq!(own["source"]["principal"], FRONTEND);
    assert_eq!((&policy["verdict"], &policy["policy"]), (&json!("deny"), &json!(null)));
    assert_eq!(policy["reason"], "no_allow_matched");
    let metrics = pair.server.metrics();
    assert!(
        metrics.lines().any(|line| line.starts_with("palisade_authz_decisions_total")
            && line.contains("verdict=\"deny\"")
            && line.ends_with(" 1")),
        "{metrics}"
    );
}

#[tokio::test]
async fn what_a_client_says_about_itself_does_not_arrive() {
    let pair = pair(&Server::default()).await;
    let forged = "GET / HTTP/1.1\r\nhost: backend\r\n\
        X-Forwarded-Client-Cert: By=spiffe://x;URI=spiffe://cluster.local/ns/poc/sa/admin\r\n\
        x-envoy-peer-metadata: forged\r\nx-envoy-external-address: 1.2.3.4\r\n\
        x-custom: kept\r\nx-request-id: abc\r\n\r\n";
    let seen = ask(&mut pair.connect().await, forged).await.body;
    let certificate = field(&seen, "x-forwarded-client-cert").unwrap();
    assert!(
        certificate.starts_with("By=spiffe://cluster.local/ns/poc/sa/backend-sa;Hash=")
            && certificate.ends_with(&format!(";Subject=\"\";URI={FRONTEND}")),
        "{certificate}"
    );
    assert!(!seen.contains("forged") && !seen.contains("1.2.3.4"), "{seen}");
    assert!(!seen.contains("x-envoy"), "{seen}");
    assert_eq!(field(&seen, "x-custom"), Some("kept"));
    assert_eq!(field(&seen, "x-request-id"), Some("abc"));
    assert_eq!(field(&seen, "x-forwarded-proto"), Some("http"));
}

#[tokio::test]
async fn a_request_without_id_gets_one_that_both_sidecars_know() {
    let pair = pair(&Server::default()).await;
    let seen = ask(&mut pair.connect().await, &get("/")).await.body;
    let id = field(&seen, "x-request-id").unwrap().to_owned();
    assert_eq!(id.len(), 36);
    until("it is recorded", || pair.server.shared.decisions(Some(&id))[0].is_object()).await;
}

#[tokio::test]
async fn many_requests_share_one_connection_also_when_sent_at_once() {
    let pair = pair(&Server::default()).await;
    let mut stream = pair.connect().await;
    stream.write_all(format!("{}{}{}", get("/1"), get("/2"), get("/3")).as_bytes()).await.unwrap();
    let mut all = String::new();
    while all.matches("GET /").count() < 3 {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "{all}");
        all.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    let order: Vec<usize> = ["/1", "/2", "/3"].map(|path| all.find(path).unwrap()).into();
    assert!(order.is_sorted());
    let metrics = pair.client.metrics();
    assert!(metrics.contains("istio_requests_total"), "{metrics}");
}

#[tokio::test]
async fn bodies_pass_whole_in_both_framings() {
    let pair = pair(&Server::default()).await;
    let mut stream = pair.connect().await;
    let large = "x".repeat(300_000);
    let sized = format!(
        "POST / HTTP/1.1\r\nhost: backend\r\ncontent-length: {}\r\n\r\n{large}",
        large.len()
    );
    let got = ask(&mut stream, &sized).await;
    assert!(got.body.ends_with(&large) && got.status() == 200);

    let chunks = application(async |mut stream| {
        let mut read = Vec::new();
        let head = read_head(&mut stream, &mut read).await.unwrap();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        while !read.ends_with(b"0\r\n\r\n") {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0);
        }
        let trailer: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(trailer).await.unwrap();
        stream.write_all(&read).await.unwrap();
    })
    .await;
    let pair = Pair::new(&Server::default(), "HTTP", chunks);
    let mut stream = pair.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: backend\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in ["5;ext=1\r\nhello\r\n", "6\r\n worl", "d\r\n", "0\r\n", "x: y\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
    }
    let got = answer(&mut stream).await.unwrap();
    assert_eq!(got.body, "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
}

#[tokio::test]
async fn an_early_answer_arrives_while_the_request_is_still_going_up() {
    let impatient = application(async |mut stream| {
        let mut read = Vec::new();
        read_head(&mut stream, &mut read).await.unwrap();
        let answer = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\n\r\nbig";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let pair = Pair::new(&Server::default(), "HTTP", impatient);
    let mut stream = pair.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: backend\r\ncontent-length: 100000000\r\n\r\nstart";
    let got = ask(&mut stream, head).await;
    assert_eq!((got.status(), got.body.as_str()), (413, "big"));
    assert_eq!(field(&got.head, "connection"), Some("close"));
}

#[tokio::test]
async fn both_ways_flow_at_once() {
    let echoing = application(async |mut stream| {
        let mut read = Vec::new();
        read_head(&mut stream, &mut read).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head).await.unwrap();
        loop {
            let bytes = std::mem::take(&mut read);
            stream.write_all(&bytes).await.unwrap();
            if bytes.ends_with(b"0\r\n\r\n") || stream.read_buf(&mut read).await.unwrap() == 0 {
                return;
            }
        }
    })
    .await;
    let pair = Pair::new(&Server::default(), "HTTP", echoing);
    let mut stream = pair.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: backend\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    assert!(read_head(&mut stream, &mut read).await.unwrap().starts_with("HTTP/1.1 200"));
    for chunk in ["3\r\none\r\n", "3\r\ntwo\r\n", "0\r\n\r\n"] {
        stream.write_all(chunk.as_bytes()).await.unwrap();
        while !read.ends_with(chunk.as_bytes()) {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0);
        }
    }
}

#[tokio::test]
async fn a_client_that_has_finished_sending_still_gets_its_answer() {
    let pair = pair(&Server::default()).await;
    let mut stream = pair.connect().await;
    stream.write_all(get("/").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(answer(&mut stream).await.unwrap().status(), 200);
    assert!(answer(&mut stream).await.is_none());
}

#[tokio::test]
async fn a_broken_answer_is_not_taken_for_a_complete_one() {
    let breaking = application(async |mut stream| {
        let mut read = Vec::new();
        read_head(&mut stream, &mut read).await.unwrap();
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
        stream.write_all(half).await.unwrap();
    })
    .await;
    let pair = Pair::new(&Server::default(), "HTTP", breaking);
    let mut stream = pair.connect().await;
    stream.write_all(get("/").as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.is_none());
}

#[tokio::test]
async fn a_body_without_end_becomes_chunks() {
    let old = application(async |mut stream| {
        let mut read = Vec::new();
        read_head(&mut stream, &mut read).await.unwrap();
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nall of it").await.unwrap();
    })
    .await;
    let pair = Pair::new(&Server::default(), "HTTP", old);
    let mut stream = pair.connect().await;
    for _ in 0..2 {
        let got = ask(&mut stream, &get("/")).await;
        assert!(got.head.starts_with("HTTP/1.1 200 OK\r\n"), "{got:?}");
        assert_eq!(got.body, "9\r\nall of it\r\n0\r\n\r\n");
    }
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_go_on_and_a_denied_one_is_not() {
    let server = Server {
        policies: vec![policy(
            "post",
            &json!({"rules": [
                {"to": [{"operation": {"paths": ["/yes"]}}]}
            ]}),
        )],
        ..Server::default()
    };
    let pair = pair(&server).await;
    let request = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: backend\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n"
        )
    };
    let mut stream = pair.connect().await;
    let go_on = ask(&mut stream, &request("/yes")).await;
    assert_eq!(go_on.status(), 100);
    assert!(ask(&mut stream, "body").await.body.ends_with("body"));
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel_that_ends_with_its_permission() {
    let upgrading = application(async |mut stream| {
        let mut read = Vec::new();
        let head = read_head(&mut stream, &mut read).await.unwrap();
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
            connection: Upgrade\r\n\r\nhi";
        stream.write_all(answer).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await;
    let server = Server { policies: vec![allow_reading()], ..Server::default() };
    let pair = Pair::new(&server, "HTTP", upgrading);
    let mut stream = pair.connect().await;
    let request = "GET /api/orders HTTP/1.1\r\nhost: backend\r\nconnection: Upgrade\r\n\
        upgrade: websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    assert!(read_head(&mut stream, &mut read).await.unwrap().starts_with("HTTP/1.1 101"));
    stream.write_all(b"frames").await.unwrap();
    while read != b"hiframes" {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "{read:?}");
    }
    let denied = Server { generation: 2, ..server };
    let denied = Server { policies: vec![policy("none", &json!({}))], ..denied };
    pair.server.shared.apply(denied.config(pair.application)).unwrap();
    assert_eq!(stream.read_buf(&mut read).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn the_server_being_away_is_told_as_envoy_tells_it() {
    let away = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let pair = Pair::new(&Server::default(), "HTTP", away);
    let got = ask(&mut pair.connect().await, &get("/")).await;
    assert_eq!(got.status(), 503);
    assert_eq!(
        got.body,
        "upstream connect error or disconnect/reset before headers. reset reason: remote \
         connection failure, transport failure reason: delayed connect error: Connection refused"
    );
}

#[tokio::test]
async fn a_service_without_endpoints_or_of_another_identity_is_not_reached() {
    let pair = pair(&Server::default()).await;
    let mut stream = pair.connect().await;
    let apply = |generation, endpoints: &[_], identities: &[&str]| {
        let config = super::support::client_config(generation, "HTTP", endpoints, true, identities);
        pair.client.shared.apply(config).unwrap();
    };
    apply(2, &[], &[FRONTEND]);
    let empty = ask(&mut stream, &get("/")).await;
    assert_eq!((empty.status(), empty.body.as_str()), (503, "no healthy upstream"));
    for (generation, identities) in [(3, &[FRONTEND][..]), (4, &[])] {
        apply(generation, &[pair.server.inbound], identities);
        let other = ask(&mut stream, &get("/")).await;
        assert_eq!(other.status(), 503);
        assert!(other.body.ends_with("TLS error: secure_naming"), "{other:?}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let pair = pair(&Server::default()).await;
    for (request, status) in [
        ("GET / HTTP/1.0\r\n\r\n", 426),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("get / HTTP/1.1\r\nhost: backend\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nhost: backend\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            400,
        ),
        ("CONNECT backend:80 HTTP/1.1\r\nhost: backend:80\r\n\r\n", 404),
        ("OPTIONS * HTTP/1.1\r\nhost: backend\r\n\r\n", 404),
        ("GET /%00 HTTP/1.1\r\nhost: backend\r\n\r\n", 400),
    ] {
        let got = ask(&mut pair.connect().await, request).await;
        assert_eq!(got.status(), status, "{request}");
    }
}

#[tokio::test]
async fn a_policy_that_could_not_be_compiled_denies_everything() {
    let server = Server { unusable: vec!["AuthorizationPolicy/poc/x"], ..Server::default() };
    let pair = pair(&server).await;
    let got = ask(&mut pair.connect().await, &get("/")).await;
    assert_eq!(got.status(), 403);
}

#[tokio::test]
async fn an_idle_connection_that_died_is_replaced_without_the_client_noticing() {
    let once = application(async |mut stream| {
        let mut read = Vec::new();
        read_head(&mut stream, &mut read).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        // Closed without saying so, as a server does when it has waited long enough.
    })
    .await;
    let pair = Pair::new(&Server::default(), "HTTP", once);
    let mut stream = pair.connect().await;
    for _ in 0..20 {
        assert_eq!(ask(&mut stream, &get("/")).await.status(), 200);
    }
}

#[tokio::test]
async fn a_denied_request_is_told_in_the_words_of_its_protocol() {
    let server = Server { policies: vec![allow_reading()], ..Server::default() };
    let pair = pair(&server).await;
    let post = |fields: &str| format!("POST /x HTTP/1.1\r\nhost: backend\r\n{fields}\r\n");
    let mut stream = pair.connect().await;
    let rpc = ask(&mut stream, &post("content-type: application/grpc\r\n")).await;
    assert_eq!((rpc.status(), field(&rpc.head, "grpc-status")), (200, Some("7")));
    assert_eq!(field(&rpc.head, "grpc-message"), Some("RBAC: access denied"));
    let mut read = Vec::new();
    let unread = async {
        let mut stream = pair.connect().await;
        ask(&mut stream, &post("content-length: 4\r\n")).await
    };
    assert_eq!(field(&unread.await.head, "connection"), Some("close"));
    stream.write_all(b"HEAD /x HTTP/1.1\r\nhost: backend\r\n\r\n").await.unwrap();
    let head = read_head(&mut stream, &mut read).await.unwrap();
    assert_eq!(field(&head, "content-length"), Some("19"));
    assert_eq!(ask(&mut stream, &get("/api/orders")).await.status(), 200);
    let metrics = pair.server.metrics();
    assert!(metrics.contains("grpc_response_status=\"7\""), "{metrics}");
}

#[tokio::test]
async fn an_answer_without_body_does_not_hold_up_the_next() {
    let terse = application(async |mut stream| {
        let mut read = Vec::new();
        while let Some(head) = read_head(&mut stream, &mut read).await {
            let answer: &[u8] = match head.split(' ').next() {
                Some("HEAD") => b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
                Some("DELETE") => b"HTTP/1.1 204 No Content\r\n\r\n",
                Some("PUT") => b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            };
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let pair = Pair::new(&Server::default(), "HTTP", terse);
    let mut stream = pair.connect().await;
    let mut read = Vec::new();
    for (method, status) in [("HEAD", 200), ("DELETE", 204), ("PUT", 304), ("GET", 200)] {
        let request = format!("{method} / HTTP/1.1\r\nhost: backend\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut stream, &mut read).await.unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{method}: {head}");
        assert!(read.is_empty());
    }
}

#[tokio::test]
async fn the_access_log_says_who_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let server = Server { policies: vec![allow_reading()], ..Server::default() };
    let application = application(echo).await;
    let pair = Pair::new(&server, "HTTP", application);
    let mut config = Server { generation: 2, ..server }.config(application);
    config.mesh.access_log_file = file.path().to_str().unwrap().to_owned();
    pair.server.shared.apply(config).unwrap();
    let log = || std::fs::read_to_string(file.path()).unwrap();
    let mut stream = pair.connect().await;
    // The worker hears of the log a moment after the configuration is in force.
    while log().is_empty() {
        assert_eq!(ask(&mut stream, &get("/api/orders")).await.status(), 200);
    }
    assert_eq!(ask(&mut stream, &get("/api/secret")).await.status(), 403);
    until("the refusal is logged", || log().contains("/api/secret")).await;
    for part in [
        "\"GET /api/orders HTTP/1.1\" 200 - via_upstream - \"-\" 0 ",
        "\"GET /api/secret HTTP/1.1\" 403 - rbac_access_denied_matched_policy[none] - \"-\" 0 19 ",
        &format!("inbound|{}||", application.port()),
        "outbound_.80_._.backend.poc.svc.cluster.local",
    ] {
        assert!(log().contains(part), "{part} in {}", log());
    }
}
