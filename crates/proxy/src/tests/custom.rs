//! Requests and connections that an external authorizer has a say over.

mod body;
pub(super) mod envoy;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use palisade_jwt::Signer;
use palisade_wire::ext_authz::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse, DeniedHttpResponse,
    HeaderValue, HeaderValueOption, HttpResponse, HttpStatus, OkHttpResponse, Status,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response};

use super::support::{Answer, Pair, Server, application, ask, echo, field, get, policy, read_head};

/// Asks about everything below `/asked`.
fn asked() -> Value {
    policy(
        "asked",
        &json!({
            "action": "CUSTOM", "provider": {"name": "authz"},
            "rules": [{"to": [{"operation": {"paths": ["/asked*"]}}]}],
        }),
    )
}

fn provider(protocol: &Value, on_error: &Value) -> Value {
    json!({
        "name": "authz", "service": "authz.poc.svc.cluster.local", "port": 9000,
        "timeout": {"secs": 20, "nanos": 0}, "onError": on_error, "protocol": protocol,
    })
}

fn http(settings: &Value) -> Value {
    provider(&json!({"http": settings}), &json!({"refuse": 403}))
}

fn grpc() -> Value {
    provider(&json!("grpc"), &json!({"refuse": 403}))
}

/// The provider, as one that sees bodies.
fn showing(mut provider: Value, most: u32, longer: &str, form: &str) -> Value {
    provider["body"] = json!({"most": most, "longer": longer, "form": form});
    provider
}

async fn pair(provider: Value, at: SocketAddr, policies: Vec<Value>) -> Pair {
    let server = Server { policies, provider: Some((provider, at)), ..Server::default() };
    Pair::new(&server, "HTTP", application(echo).await)
}

type Heads = Arc<Mutex<Vec<String>>>;

/// An HTTP authorizer that answers `answer`, and keeps what it was asked.
async fn authorizer(answer: &'static str) -> (SocketAddr, Heads) {
    let heads = Heads::default();
    let kept = Arc::clone(&heads);
    let at = application(move |mut stream: TcpStream| {
        let kept = Arc::clone(&kept);
        async move {
            let mut read = Vec::new();
            while let Some(head) = read_head(&mut stream, &mut read).await {
                kept.lock().unwrap().push(head);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (at, heads)
}

const YES: &str = "HTTP/1.1 200 OK\r\nx-user: ann\r\nx-seen: yes\r\nx-other: no\r\n\
     x-envoy-auth-headers-to-remove: x-secret\r\ncontent-length: 0\r\n\r\n";
const NO: &str = "HTTP/1.1 302 Found\r\nlocation: /login\r\nx-why: nobody\r\ncontent-type: text/html\r\n\
     content-length: 5\r\n\r\nlogin";

fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: backend\r\nauthorization: Basic x\r\nx-secret: s\r\n\
         x-user: root\r\ncookie: c\r\n\r\n"
    )
}

#[tokio::test]
async fn a_yes_changes_what_comes_after_it_and_nothing_else_is_asked_about() {
    let (at, heads) = authorizer(YES).await;
    let settings = json!({
        "pathPrefix": "/check", "requestHeaders": ["x-sec*"],
        "additionalHeaders": {"x-from": "mesh"},
        "upstreamOnAllow": ["x-user"], "downstreamOnAllow": ["x-seen"],
    });
    let ann = policy(
        "ann",
        &json!({"rules": [
            {"when": [{"key": "request.headers[x-user]", "values": ["ann"]}]},
            {"to": [{"operation": {"paths": ["/free"]}}]},
        ]}),
    );
    let pair = pair(http(&settings), at, vec![asked(), ann]).await;
    let mut stream = pair.connect().await;
    for _ in 0..2 {
        let got = ask(&mut stream, &request("/asked/a?b=c")).await;
        assert_eq!(got.status(), 200, "{got:?}");
        assert_eq!(field(&got.head, "x-seen"), Some("yes"));
        assert_eq!(field(&got.head, "x-other"), None);
        assert_eq!(field(&got.body, "x-user"), Some("ann"), "the client's own is replaced");
        assert_eq!(field(&got.body, "x-secret"), None);
    }
    assert_eq!(ask(&mut stream, &request("/free")).await.status(), 200);
    let heads = heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert!(heads[0].starts_with("GET /check/asked/a?b=c HTTP/1.1\r\n"), "{}", heads[0]);
    for (name, value) in [
        ("host", Some("backend")),
        ("authorization", Some("Basic x")),
        ("x-secret", Some("s")),
        ("x-from", Some("mesh")),
        ("x-user", None),
        ("cookie", None),
    ] {
        assert_eq!(field(&heads[0], name), value, "{name}");
    }
}

#[tokio::test]
async fn a_no_is_the_authorizers_and_comes_before_tokens() {
    let (at, _) = authorizer(NO).await;
    for (shown, why, content) in
        [(json!([]), Some("nobody"), "text/html"), (json!(["x-none"]), None, "text/plain")]
    {
        let provider = http(&json!({"downstreamOnDeny": shown}));
        let signer = Signer::generate();
        let server = Server {
            policies: vec![asked()],
            provider: Some((provider, at)),
            tokens: Some(json!({"issuer": "i", "jwks": signer.jwks()})),
            ..Server::default()
        };
        let pair = Pair::new(&server, "HTTP", application(echo).await);
        let mut stream = pair.connect().await;
        let bad = "GET /asked HTTP/1.1\r\nhost: backend\r\nauthorization: Bearer a.b.c\r\n\r\n";
        let got = ask(&mut stream, bad).await;
        assert_eq!((got.status(), got.body.as_str()), (302, "login"));
        assert_eq!(field(&got.head, "location"), Some("/login"));
        assert_eq!(field(&got.head, "content-type"), Some(content));
        assert_eq!(field(&got.head, "x-why"), why);
        assert_eq!(ask(&mut stream, &bad.replace("/asked", "/")).await.status(), 401);
    }
}

#[tokio::test]
async fn without_an_answer_it_is_refused_unless_it_fails_open() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (broken, _) = authorizer("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").await;
    let silent = application(async |stream: TcpStream| {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    for at in [closed, broken, silent] {
        for (on_error, status) in
            [(json!({"refuse": 403}), 403), (json!({"refuse": 503}), 503), (json!("allow"), 200)]
        {
            let mut provider = provider(&json!({"http": {}}), &on_error);
            if at == silent {
                provider["timeout"] = json!({"secs": 0, "nanos": 50_000_000});
            }
            let pair = pair(provider, at, vec![asked()]).await;
            let got = ask(&mut pair.connect().await, &get("/asked")).await;
            assert_eq!(got.status(), status, "{on_error} {at}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_refuses_though_it_fails_open() {
    for answer in [
        "HTTP/1.1 200 OK\r\nx-envoy-auth-headers-to-remove: host\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-envoy-auth-headers-to-remove: a b\r\ncontent-length: 0\r\n\r\n",
    ] {
        let (at, _) = authorizer(answer).await;
        let provider = provider(&json!({"http": {}}), &json!("allow"));
        let pair = pair(provider, at, vec![asked()]).await;
        let got = ask(&mut pair.connect().await, &get("/asked")).await;
        assert_eq!(got.status(), 403, "{answer}");
    }
}

#[tokio::test]
async fn what_follows_a_refusal_without_body_is_the_next_answer() {
    let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let (at, _) = authorizer(answer).await;
    let pair = pair(http(&json!({})), at, vec![asked()]).await;
    let mut stream = pair.connect().await;
    assert_eq!(ask(&mut stream, &get("/asked")).await.status(), 204);
    let got = ask(&mut stream, &get("/free")).await;
    assert_eq!(got.status(), 200);
    assert!(!got.body.is_empty(), "it is the workload's");
}

#[tokio::test]
async fn a_provider_is_not_asked_about_what_it_is_asked() {
    let at = application(echo).await;
    let server = Server {
        policies: vec![asked()],
        provider: Some((http(&json!({})), at)),
        ..Server::default()
    };
    let pair = Pair::new(&server, "HTTP", at);
    let got = ask(&mut pair.connect().await, &get("/asked")).await;
    assert_eq!(got.status(), 403);
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_denies_what_it_would_be_asked_about() {
    let (at, heads) = authorizer(YES).await;
    let mut gone = http(&json!({}));
    gone["trouble"] = json!("its service is not in the mesh");
    let other = policy("other", &json!({"action": "CUSTOM", "provider": {"name": "other"}}));
    let mut foreign = http(&json!({}));
    foreign["name"] = json!("foreign");
    for (provider, policies) in
        [(gone, vec![asked()]), (foreign, vec![asked()]), (http(&json!({})), vec![asked(), other])]
    {
        let pair = pair(provider, at, policies).await;
        let mut stream = pair.connect().await;
        let got = ask(&mut stream, &get("/asked")).await;
        assert_eq!((got.status(), got.body.as_str()), (403, "RBAC: access denied"));
        assert_eq!(ask(&mut stream, &get("/")).await.status(), 200);
    }
    assert_eq!(heads.lock().unwrap().len(), 0);
}

/// A gRPC authorizer that says yes to `/asked/yes` and to connections from the frontend.
#[derive(Clone, Default)]
struct Checker(Arc<Mutex<Vec<CheckRequest>>>);

#[tonic::async_trait]
impl Authorization for Checker {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, tonic::Status> {
        let request = request.into_inner();
        self.0.lock().unwrap().push(request.clone());
        let attributes = request.attributes.unwrap();
        let path = attributes.request.and_then(|it| it.http).map(|it| it.path);
        let source = attributes.source.unwrap().principal;
        let yes = path.map_or(source.ends_with("/frontend-sa"), |path| path == "/asked/yes");
        let option = |key: &str, value: &str, append: bool| HeaderValueOption {
            header: Some(HeaderValue {
                key: key.to_owned(),
                value: value.to_owned(),
                raw_value: Vec::new(),
            }),
            append: Some(append),
        };
        let http_response = if yes {
            HttpResponse::OkResponse(OkHttpResponse {
                headers: vec![option("x-user", "ann", false), option("cookie", "d", true)],
                headers_to_remove: vec!["x-secret".to_owned()],
                response_headers_to_add: vec![option("x-seen", "yes", false)],
                ..OkHttpResponse::default()
            })
        } else {
            HttpResponse::DeniedResponse(DeniedHttpResponse {
                status: Some(HttpStatus { code: 401 }),
                headers: vec![option("www-authenticate", "Basic", false)],
                body: "who are you".to_owned(),
            })
        };
        let status = Status { code: if yes { 0 } else { 7 }, message: String::new() };
        Ok(Response::new(CheckResponse {
            status: Some(status),
            http_response: Some(http_response),
        }))
    }
}

async fn checker() -> (SocketAddr, Checker) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let checker = Checker::default();
    let server = tonic::transport::Server::builder()
        .add_service(AuthorizationServer::new(checker.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    (at, checker)
}

#[tokio::test]
async fn a_grpc_authorizer_sees_the_request_and_changes_it() {
    let (at, checker) = checker().await;
    let pair = pair(grpc(), at, vec![asked()]).await;
    let mut stream = pair.connect().await;
    let got: Answer = ask(&mut stream, &request("/asked/yes")).await;
    assert_eq!(got.status(), 200, "{got:?}");
    assert_eq!(field(&got.head, "x-seen"), Some("yes"));
    assert_eq!(field(&got.body, "x-user"), Some("ann"));
    assert_eq!(field(&got.body, "cookie"), Some("c; d"));
    assert_eq!(field(&got.body, "x-secret"), None);
    let got = ask(&mut stream, &request("/asked/no")).await;
    assert_eq!((got.status(), got.body.as_str()), (401, "who are you"));
    assert_eq!(field(&got.head, "www-authenticate"), Some("Basic"));
    assert_eq!(ask(&mut stream, &request("/free")).await.status(), 200);

    let asked = checker.0.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    let attributes = asked[0].attributes.clone().unwrap();
    let (source, destination) = (attributes.source.unwrap(), attributes.destination.unwrap());
    assert_eq!(source.principal, "spiffe://cluster.local/ns/poc/sa/frontend-sa");
    assert_eq!(destination.principal, "spiffe://cluster.local/ns/poc/sa/backend-sa");
    let address = destination.address.unwrap().socket_address.unwrap();
    assert_eq!(address.port_value, u32::from(pair.application.port()));
    let http = attributes.request.unwrap().http.unwrap();
    assert_eq!((http.method.as_str(), http.path.as_str()), ("GET", "/asked/yes"));
    assert_eq!((http.host.as_str(), http.protocol.as_str()), ("backend", "HTTP/1.1"));
    for (name, value) in [(":path", "/asked/yes"), (":authority", "backend"), ("cookie", "c")] {
        assert_eq!(http.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!http.id.is_empty() && http.headers.contains_key("x-forwarded-client-cert"));
}

#[tokio::test]
async fn connections_are_asked_about_where_the_authorizer_can_be() {
    let mirror = async |mut stream: TcpStream| {
        let (mut reader, mut writer) = stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    };
    let all =
        policy("all", &json!({"action": "CUSTOM", "provider": {"name": "authz"}, "rules": [{}]}));
    let (at, checker) = checker().await;
    for (provider, asked) in [(grpc(), 1), (http(&json!({})), 1)] {
        let server = Server {
            protocol: "TCP",
            policies: vec![all.clone()],
            provider: Some((provider, at)),
            ..Server::default()
        };
        let pair = Pair::new(&server, "TCP", application(mirror).await);
        let mut stream = pair.connect().await;
        stream.write_all(b"hello").await.unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(checker.0.lock().unwrap().len(), asked, "an HTTP provider is not asked");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Server {
        protocol: "TCP",
        policies: vec![all],
        provider: Some((grpc(), closed)),
        ..Server::default()
    };
    let pair = Pair::new(&server, "TCP", application(mirror).await);
    let mut stream = pair.connect().await;
    stream.write_all(b"hello").await.unwrap();
    let mut back = Vec::new();
    let _ = stream.read_to_end(&mut back).await;
    assert!(back.is_empty(), "nobody has said yes");
}
