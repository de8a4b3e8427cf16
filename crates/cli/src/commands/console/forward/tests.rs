//! Forwarding over the protocol of a kubelet (`v4.channel.k8s.io`), spoken by a server that stands for the API.
//! Source: Kubernetes `k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go`.

use futures::{SinkExt, StreamExt};
use http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use kube::{Client, Config};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{ErrorResponse, Request, Response},
};

use super::*;

/// What the API says to whoever wants a port forwarded.
#[derive(Clone, Copy)]
enum Answer {
    /// It connects to this port, and passes bytes.
    Connects(u16),
    /// The node can't connect.
    Fails,
    /// RBAC says no.
    Forbidden,
}

/// An API that forwards port 20001 of pod `console`; the paths that it was asked for.
async fn api(answer: Answer) -> (Api<Pod>, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(kubelet(stream, answer, tell.clone()));
        }
    });
    let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
    (Api::namespaced(client, "istio-system"), asked)
}

#[expect(clippy::result_large_err, reason = "the form of the handshake's callback")]
async fn kubelet(stream: TcpStream, answer: Answer, tell: mpsc::UnboundedSender<String>) {
    let choose = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        tell.send(request.uri().to_string()).unwrap();
        let offered = request.headers()[SEC_WEBSOCKET_PROTOCOL].to_str().unwrap();
        assert!(offered.split(", ").any(|it| it == PROTOCOL), "{offered}");
        if matches!(answer, Answer::Forbidden) {
            let status = serde_json::json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": FORBIDDEN, "reason": "Forbidden", "code": 403,
            });
            let mut refused = ErrorResponse::new(Some(status.to_string()));
            *refused.status_mut() = http::StatusCode::FORBIDDEN;
            return Err(refused);
        }
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, choose).await else { return };
    let (mut to_client, mut from_client) = socket.split();
    for channel in [DATA, ERROR] {
        let [low, high] = 20001_u16.to_le_bytes();
        to_client.send(Message::binary(vec![channel, low, high])).await.unwrap();
    }
    let Answer::Connects(port) = answer else {
        let why = [&[ERROR], b"dial tcp4 127.0.0.1:20001: connection refused".as_slice()].concat();
        to_client.send(Message::binary(why)).await.unwrap();
        drop(to_client.close().await);
        return;
    };
    let pod = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let (mut from_pod, mut to_pod) = pod.into_split();
    let inwards = async {
        while let Some(Ok(message)) = from_client.next().await {
            match message.into_data().split_first() {
                Some((&DATA, bytes)) => to_pod.write_all(bytes).await.unwrap(),
                _ => return,
            }
        }
    };
    let outwards = async {
        let mut buffer = vec![DATA; 4096];
        while let Ok(count @ 1..) = from_pod.read(&mut buffer[1..]).await {
            let message = Message::binary(buffer[..=count].to_vec());
            to_client.send(message).await.unwrap();
        }
    };
    tokio::select! { () = inwards => {} () = outwards => {} }
    drop(to_client.close().await);
}

/// A server in the pod that answers each line with itself, and ends after `bye`.
async fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..count]).await.unwrap();
                    if buffer[..count].ends_with(b"bye\n") {
                        return;
                    }
                }
            });
        }
    });
    port
}

async fn connected(listener: &TcpListener) -> TcpStream {
    TcpStream::connect(listener.local_addr().unwrap()).await.unwrap()
}

async fn said_back(stream: &mut TcpStream, line: &[u8]) {
    stream.write_all(line).await.unwrap();
    let mut answer = vec![0; line.len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, line);
}

#[tokio::test]
async fn each_connection_has_a_stream_of_its_own() {
    let (pods, mut asked) = api(Answer::Connects(echo().await)).await;
    let listener = listen(Some(0)).await.unwrap();
    let talk = async {
        let (mut one, mut other) = (connected(&listener).await, connected(&listener).await);
        said_back(&mut one, b"first\n").await;
        said_back(&mut other, b"second\n").await;
        // What one connection does is nothing to the other: here the pod ends one.
        said_back(&mut one, b"bye\n").await;
        assert_eq!(one.read(&mut [0]).await.unwrap(), 0);
        said_back(&mut other, &[b'x'; 100_000]).await;
        drop(other);
        said_back(&mut connected(&listener).await, b"third\n").await;
    };
    tokio::select! {
        () = serve(&listener, &pods, ("console", 20001), async || true) => panic!("it ended"),
        done = timeout(DEADLINE, talk) => done.unwrap(),
    }
    let path = "/api/v1/namespaces/istio-system/pods/console/portforward?&ports=20001";
    for _ in 0..3 {
        assert_eq!(asked.recv().await.unwrap(), path);
    }
}

#[tokio::test]
async fn a_connection_that_fails_asks_whether_the_pod_is_there() {
    for answer in [Answer::Fails, Answer::Forbidden] {
        let (pods, _asked) = api(answer).await;
        let listener = listen(Some(0)).await.unwrap();
        let mut client = connected(&listener).await;
        let gone = serve(&listener, &pods, ("console", 20001), async || false);
        timeout(DEADLINE, gone).await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let one = async |answer| {
        let (pods, _asked) = api(answer).await;
        let listener = listen(Some(0)).await.unwrap();
        let _client = connected(&listener).await;
        let (local, _) = listener.accept().await.unwrap();
        let forwarded = forward(local, pods, "console".to_owned(), 20001);
        timeout(DEADLINE, forwarded).await.unwrap().unwrap_err()
    };
    let refused = one(Answer::Fails).await;
    assert!(refused.starts_with("forward a port to pod `console`: dial tcp4"), "{refused}");
    let forbidden = one(Answer::Forbidden).await;
    assert_eq!(forbidden, format!("forward a port to pod `console`: {FORBIDDEN}"));
}

const FORBIDDEN: &str =
    "pods \"console\" is forbidden: User \"me\" cannot get resource \"pods/portforward\"";
const PROTOCOL: &str = "v4.channel.k8s.io";
const DATA: u8 = 0;
const ERROR: u8 = 1;
const DEADLINE: Duration = Duration::from_secs(60);
