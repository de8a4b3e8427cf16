//! The same requests through a sidecar and through a real Envoy: client, authorizer and workload have to see
//! the same.

mod heard;
pub(in crate::tests) mod process;

use std::{collections::BTreeSet, fmt};

use palisade_types::ExtensionProvider;

pub(super) use self::heard::dechunked;
use self::{
    heard::{Heard, Speech},
    process::Envoy,
};
use super::{
    super::support::{BACKEND, Mesh, SERVICE, Sidecar},
    *,
};

/// An HTTP authorizer that always says the same, and keeps what it was asked.
async fn scripted(answer: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<Heard>>>) {
    let asked = Arc::<Mutex<Vec<Heard>>>::default();
    let kept = Arc::clone(&asked);
    let at = application(move |mut stream: TcpStream| {
        let kept = Arc::clone(&kept);
        async move {
            let mut read = Vec::new();
            while let Some(head) = read_head(&mut stream, &mut read).await {
                let length = field(&head, "content-length").map_or(0, |it| it.parse().unwrap());
                while read.len() < length {
                    assert!(stream.read_buf(&mut read).await.unwrap() > 0);
                }
                let body: Vec<u8> = read.drain(..length).collect();
                kept.lock().unwrap().push(Heard::new(&head, &body));
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    (at, asked)
}

fn sidecar(provider: &Value, authorizer: SocketAddr, workload: SocketAddr) -> Sidecar {
    let all =
        policy("all", &json!({"action": "CUSTOM", "provider": {"name": "authz"}, "rules": [{}]}));
    let server = Server {
        mode: "PERMISSIVE",
        policies: vec![all],
        provider: Some((provider.clone(), authorizer)),
        ..Server::default()
    };
    let config = server.config(workload);
    Sidecar::start(Mesh::new().generation(BACKEND), config, workload, SERVICE)
}

fn typed_provider(provider: &Value) -> ExtensionProvider {
    serde_json::from_value(provider.clone()).unwrap()
}

const GET: &str = "GET /a/../b?c=d HTTP/1.1\r\nhost: backend\r\nauthorization: Basic x\r\nx-secret: s\r\n\
     x-user: root\r\ncookie: c\r\nx-envoy-auth-partial-body: lie\r\nconnection: close\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nhost: backend\r\nconnection: close\r\n\r\n";
const GRPC: &str = "POST /s/m HTTP/1.1\r\nhost: backend\r\ncontent-type: application/grpc\r\n\
     content-length: 0\r\nconnection: close\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: backend\r\ncontent-length: 8\r\nconnection: close\r\n\r\n\
     good day";
const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: backend\r\ntransfer-encoding: chunked\r\n\
     connection: close\r\n\r\n4\r\ngood\r\n4\r\n day\r\n0\r\n\r\n";
const REQUESTS: [&str; 5] = [GET, HEAD, GRPC, POST, CHUNKED];

fn providers() -> Vec<Value> {
    let body = |most, longer, form| showing(http(&json!({})), most, longer, form);
    vec![
        http(&json!({})),
        http(&json!({
            "pathPrefix": "/check", "requestHeaders": ["x-sec*", "*OOKIE"],
            "additionalHeaders": {"x-from": "mesh", "cookie": "ours"},
            "upstreamOnAllow": ["x-user", "x-se*"], "downstreamOnAllow": ["x-seen"],
            "downstreamOnDeny": ["x-why"],
        })),
        provider(&json!({"http": {}}), &json!({"refuse": 503})),
        provider(&json!({"http": {}}), &json!("allow")),
        body(100, "refused", "text"),
        body(8, "refused", "text"),
        body(7, "refused", "text"),
        body(7, "cut", "text"),
        body(100, "refused", "bytes"),
    ]
}

const ANSWERS: [&[u8]; 9] = [
    b"HTTP/1.1 200 OK\r\nx-user: ann\r\nx-seen: yes\r\nx-other: no\r\n\
      x-envoy-auth-headers-to-remove: x-secret, cookie\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nlocation: /login\r\nx-why: nobody\r\ncontent-type: text/html\r\n\
      set-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 5\r\n\r\nlogin",
    b"HTTP/1.1 401 No\r\nwww-authenticate: Basic\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 403 No\r\nx-why: \xe9\r\ncontent-length: 5\r\n\r\n\xff\x00\xfe\r\n",
    b"HTTP/1.1 403 No\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{}\n",
    b"HTTP/1.1 429 No\r\ngrpc-status: 8\r\ngrpc-message: slow%20down\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 429 No\r\ngrpc-status: 8\r\ngrpc-message: slow%20down\r\ncontent-length: 4\r\n\r\nwait",
    b"HTTP/1.1 204 No\r\nx-why: nobody\r\n\r\n",
    b"HTTP/1.1 500 Oops\r\nx-why: nobody\r\ncontent-length: 4\r\n\r\noops",
];

/// What the two make of the requests of `REQUESTS` if the authorizer gives one answer.
struct Comparison {
    workload: SocketAddr,
    differences: Vec<String>,
}

impl Comparison {
    async fn new() -> Self {
        Self { workload: application(echo).await, differences: Vec::new() }
    }

    /// Compares them with an authorizer `at` some address, which keeps what it was `asked`.
    async fn add<T: fmt::Debug + PartialEq>(
        &mut self,
        providers: &[Value],
        (at, asked): (SocketAddr, &Mutex<Vec<T>>),
        answer: &str,
    ) {
        let of_envoy: Vec<_> = providers.iter().map(|it| (typed_provider(it), at)).collect();
        let envoy = Envoy::start(&of_envoy, self.workload).await;
        for (provider, port) in providers.iter().zip(&envoy.ports) {
            let ours = sidecar(provider, at, self.workload);
            for request in REQUESTS {
                // To a HEAD they answer without the body that they announce.
                if request == HEAD && !answer.ends_with("\r\n\r\n") && !answer.starts_with("gRPC") {
                    continue;
                }
                for speech in [Speech::Http1, Speech::Http2] {
                    let heard = async |to| {
                        let heard = speech.send(to, request.as_bytes()).await;
                        (heard, std::mem::take(&mut *asked.lock().unwrap()))
                    };
                    let wanted = heard(([127, 0, 0, 1], *port).into()).await;
                    let got = heard(ours.inbound).await;
                    if got != wanted {
                        self.differences.push(format!(
                            "{provider}\n{answer}\n{speech:?} {request}\nEnvoy: {wanted:?}\nours:  {got:?}\n"
                        ));
                    }
                }
            }
        }
    }

    fn end(self) {
        let Self { differences, .. } = self;
        assert!(
            differences.is_empty(),
            "{} differences\n{}",
            differences.len(),
            differences.join("\n")
        );
    }
}

#[tokio::test]
async fn http_authorizers_are_asked_and_obeyed_as_by_envoy() {
    let mut comparison = Comparison::new().await;
    for answer in ANSWERS {
        let (at, asked) = scripted(answer).await;
        comparison.add(&providers(), (at, &asked), &String::from_utf8_lossy(answer)).await;
    }
    comparison.end();
}

/// A gRPC authorizer that always says the same, and keeps what it was asked.
#[derive(Clone)]
struct Scripted {
    answer: Result<CheckResponse, tonic::Code>,
    asked: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl Authorization for Scripted {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, tonic::Status> {
        let attributes = request.into_inner().attributes.unwrap();
        let mut http = attributes.request.unwrap().http.unwrap();
        http.id = String::new();
        let headers: BTreeSet<(String, String)> = http
            .headers
            .drain()
            .filter(|(name, _)| {
                name == "x-envoy-auth-partial-body"
                    || !name.starts_with("x-envoy-")
                        && !["x-request-id", "x-forwarded-proto"].contains(&&**name)
            })
            .collect();
        self.asked.lock().unwrap().push(format!("{http:?} {headers:?}"));
        self.answer.clone().map(Response::new).map_err(|code| tonic::Status::new(code, "no"))
    }
}

async fn scripted_grpc(
    answer: Result<CheckResponse, tonic::Code>,
) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let scripted = Scripted { answer, asked: Arc::default() };
    let asked = Arc::clone(&scripted.asked);
    let server = tonic::transport::Server::builder()
        .add_service(AuthorizationServer::new(scripted))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    (at, asked)
}

fn said(code: i32, http_response: Option<HttpResponse>) -> Result<CheckResponse, tonic::Code> {
    let status = Some(Status { code, message: "because".to_owned() });
    Ok(CheckResponse { status, http_response })
}

fn option(key: &str, value: &str, append: Option<bool>) -> HeaderValueOption {
    let (key, value) = (key.to_owned(), value.to_owned());
    HeaderValueOption { header: Some(HeaderValue { key, value, raw_value: Vec::new() }), append }
}

fn grpc_answers() -> Vec<Result<CheckResponse, tonic::Code>> {
    let fields = |appended| {
        vec![
            option("x-user", "ann", None),
            option("cookie", "d", Some(true)),
            option("x-absent", "e", Some(true)),
            option("set-cookie", "a=1", Some(appended)),
            option("set-cookie", "b=2", Some(appended)),
        ]
    };
    let denied = |code, appended, body: &str| {
        HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code }),
            headers: fields(appended),
            body: body.to_owned(),
        })
    };
    vec![
        said(0, None),
        said(
            0,
            Some(HttpResponse::OkResponse(OkHttpResponse {
                headers: fields(false),
                headers_to_remove: vec!["x-secret".to_owned(), "authorization".to_owned()],
                response_headers_to_add: vec![
                    option("x-seen", "yes", None),
                    option("x-set", "1", Some(false)),
                    option("x-added", "1", Some(true)),
                    option("x-added", "2", Some(true)),
                ],
                ..OkHttpResponse::default()
            })),
        ),
        said(7, None),
        said(16, Some(denied(401, false, "who are you\n"))),
        said(7, Some(denied(0, true, ""))),
        said(7, Some(denied(503, false, "later"))),
        Err(tonic::Code::Unavailable),
    ]
}

#[tokio::test]
async fn grpc_authorizers_are_asked_and_obeyed_as_by_envoy() {
    let providers =
        [grpc(), showing(grpc(), 100, "refused", "text"), showing(grpc(), 5, "cut", "bytes")];
    let mut comparison = Comparison::new().await;
    for answer in grpc_answers() {
        let (at, asked) = scripted_grpc(answer.clone()).await;
        comparison.add(&providers, (at, &asked), &format!("gRPC: {answer:?}")).await;
    }
    comparison.end();
}
