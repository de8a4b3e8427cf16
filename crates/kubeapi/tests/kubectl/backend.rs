//! Servers that the API calls: webhooks over HTTPS, plain HTTP, and a kubelet on its socket.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use palisade_pki::{Authority, Subject};
use palisade_tls::HttpsAcceptor;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixListener},
};
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{Request as WsRequest, Response as WsResponse},
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// Runs a future on a thread of its own; it ends with the test's process.
fn background<F: Future<Output = ()> + 'static>(
    start: impl FnOnce(mpsc::Sender<u16>) -> F + Send + 'static,
) -> u16 {
    let (sender, port) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(start(sender));
    });
    port.recv_timeout(Duration::from_secs(60)).expect("the backend listens")
}

/// A webhook server.
#[derive(Debug)]
pub(crate) struct Webhook {
    pub(crate) port: u16,
    pub(crate) ca_bundle: String,
    /// Every review that it was sent.
    pub(crate) reviews: Arc<Mutex<Vec<Value>>>,
}

/// Starts a webhook that answers each request with a response.
pub(crate) fn webhook(answer: fn(&Value) -> Value) -> Webhook {
    let subject = Subject { common_name: Some("webhooks".to_owned()), organization: None };
    let now = jiff::Timestamp::now();
    let authority = Authority::generate(&subject, now).unwrap();
    let names = ["hook.default.svc"];
    let hour = Duration::from_secs(3600);
    let credential =
        authority.server_credential(&names, &[Ipv4Addr::LOCALHOST.into()], hour, now).unwrap();
    let acceptor =
        HttpsAcceptor::new(&credential.certificate_pem, &credential.key_pem, None, &["http/1.1"])
            .unwrap();
    let reviews = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&reviews);
    let port = background(move |sender| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        sender.send(listener.local_addr().unwrap().port()).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok((stream, _)) = acceptor.accept(stream).await else { continue };
            let seen = &seen;
            let service = service_fn(move |request: Request<Incoming>| async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let review: Value = serde_json::from_slice(&body).unwrap();
                let mut response = answer(&review["request"]);
                response["uid"] = review["request"]["uid"].clone();
                seen.lock().unwrap().push(review);
                let review = json!({"apiVersion": "admission.k8s.io/v1",
                                    "kind": "AdmissionReview", "response": response});
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(review.to_string()))))
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        }
    });
    Webhook { port, ca_bundle: STANDARD.encode(authority.root_pem()), reviews }
}

/// A plain HTTP server that answers with what it was asked; returns its port.
pub(crate) fn echo() -> u16 {
    background(|sender| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        sender.send(listener.local_addr().unwrap().port()).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve_echo(stream));
        }
    })
}

async fn serve_echo(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let has = |name: &str| request.headers().contains_key(name);
        let text = format!(
            "{} {} authorization={} impersonate={}",
            request.method(),
            request.uri(),
            has("authorization"),
            has("impersonate-user")
        );
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
    });
    let http = hyper::server::conn::http1::Builder::new();
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

/// A kubelet: logs say what was asked for, exec and attach echo over a WebSocket.
pub(crate) fn kubelet(socket: &Path) {
    let socket = socket.to_owned();
    background(|sender| async move {
        let listener = UnixListener::bind(socket).unwrap();
        sender.send(0).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                // The first byte tells a log request from a stream only with its path: peek it.
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap();
                head.truncate(read);
                let replayed = Replay { head: Bytes::from(head.clone()), stream };
                if String::from_utf8_lossy(&head).contains("containerLogs") {
                    serve_echo(replayed).await;
                } else {
                    run(replayed).await;
                }
            });
        }
    });
}

/// Plays a command that prints its own request line, then what it reads, and ends with 3.
async fn run(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut asked = String::new();
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let check = |request: &WsRequest, mut response: WsResponse| {
        asked = request.uri().to_string();
        let protocol = request.headers()["sec-websocket-protocol"].clone();
        response.headers_mut().insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, check).await.unwrap();
    let out = |channel: u8, text: &str| Message::binary([&[channel], text.as_bytes()].concat());
    socket.send(out(1, &format!("{asked}\n"))).await.unwrap();
    socket.send(out(2, "on stderr\n")).await.unwrap();
    if asked.contains("input=1") {
        while let Some(Ok(message)) = socket.next().await {
            match message.into_data().as_ref() {
                [0, input @ ..] => {
                    let text = String::from_utf8(input.to_vec()).unwrap();
                    socket.send(out(1, &format!("read {text}"))).await.unwrap();
                }
                [255, 0] => break,
                _ => {}
            }
        }
    }
    let status = json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": "command terminated with non-zero exit code",
        "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}});
    socket.send(out(3, &status.to_string())).await.unwrap();
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    socket.close(Some(normal)).await.unwrap();
}

/// A stream that first gives what was already read of it.
#[derive(Debug)]
struct Replay<S> {
    head: Bytes,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        if self.head.is_empty() {
            return std::pin::Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.head.len().min(buffer.remaining());
        buffer.put_slice(&self.head.split_to(length));
        std::task::Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<S> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Sends something to a server's port and drops the connection: what a bad client does.
pub(crate) fn nonsense(address: &str) {
    let address = address.to_owned();
    background(|sender| async move {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        sender.send(0).unwrap();
    });
}
