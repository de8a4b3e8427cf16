//! Keys from real servers on loopback, and from names that lie.

use std::{
    future::ready,
    io,
    net::{IpAddr, SocketAddr},
    sync::Mutex,
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::*;
use crate::{network::OwnNetwork, testing::DEADLINE};

/// A server that answers each path with what is laid down for it, as it is.
#[derive(Debug)]
struct Issuer {
    at: SocketAddr,
    answers: Arc<Mutex<BTreeMap<String, String>>>,
    asked: watch::Receiver<u64>,
    _serving: JoinSet<()>,
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let answers: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let known = Arc::clone(&answers);
        let (count, asked) = watch::channel(0);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                let answer = known.lock().unwrap().get(path).cloned();
                let none = || "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned();
                drop(stream.write_all(answer.unwrap_or_else(none).as_bytes()).await);
                count.send_modify(|count| *count += 1);
            }
        });
        Self { at, answers, asked, _serving: serving }
    }

    fn says(&self, path: &str, body: &str) {
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    fn redirects(&self, path: &str, to: &str) {
        let answer = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }
}

fn fetcher(loopback: Loopback) -> Fetcher {
    Fetcher { network: Arc::new(OwnNetwork), loopback }
}

async fn keys(fetcher: &Fetcher, source: &KeySource) -> Result<String, String> {
    let fetched = fetcher.keys(source, DEADLINE).await;
    fetched.map_err(|error| error.to_string())
}

fn uri(text: &str) -> KeySource {
    KeySource::Uri(text.to_owned())
}

const KEYS: &str = r#"{"keys":[{"kid":"a","kty":"RSA"}]}"#;

#[tokio::test]
async fn keys_come_from_their_address_or_by_discovery_and_through_redirections() {
    let issuer = Issuer::start().await;
    issuer.says("/keys", KEYS);
    issuer.redirects("/old", "/older");
    issuer.redirects("/older", &issuer.url("/keys"));
    let document = format!(r#"{{"jwks_uri": "{}"}}"#, issuer.url("/old"));
    issuer.says("/tenant/.well-known/openid-configuration", &document);
    let fetcher = fetcher(Loopback::Allowed);
    let expected = Ok(r#"{"keys":[{"kid":"a","kty":"RSA"}]}"#.to_owned());
    assert_eq!(keys(&fetcher, &uri(&issuer.url("/keys"))).await, expected);
    assert_eq!(keys(&fetcher, &uri(&issuer.url("/old"))).await, expected);
    for issuer in [issuer.url("/tenant"), issuer.url("/tenant/")] {
        assert_eq!(keys(&fetcher, &KeySource::Issuer(issuer)).await, expected);
    }
}

#[tokio::test]
async fn what_is_no_key_set_is_refused_with_the_reason() {
    let issuer = Issuer::start().await;
    issuer.says("/text", "root:x:0:0");
    issuer.says("/other", r#"{"a": 1}"#);
    issuer.says("/large", &" ".repeat(300 << 10));
    issuer.redirects("/round", "/round");
    let fetcher = fetcher(Loopback::Allowed);
    for (path, expected) in [
        ("/text", "the answer is no JSON"),
        ("/other", "the answer is no JSON Web Key Set"),
        ("/large", "the answer has more than 262144 bytes"),
        ("/none", "answered 404 Not Found"),
        ("/round", "is not followed"),
    ] {
        let why = keys(&fetcher, &uri(&issuer.url(path))).await.unwrap_err();
        assert!(why.contains(expected), "{path}: {why}");
    }
    let discovery = KeySource::Issuer(issuer.url(""));
    assert!(keys(&fetcher, &discovery).await.unwrap_err().contains("404"));
}

#[tokio::test]
async fn loopback_is_not_asked_unless_it_is_allowed() {
    let issuer = Issuer::start().await;
    issuer.says("/keys", KEYS);
    let port = issuer.at.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1"] {
        let why = keys(&fetcher(Loopback::Refused), &uri(&format!("http://{host}:{port}/keys")))
            .await
            .unwrap_err();
        assert!(why.contains("which is not asked: it is loopback"), "{host}: {why}");
    }
    assert_eq!(*issuer.asked.borrow(), 0, "nothing was sent");
}

/// Names that resolve as they please: `first` to the server, all others to a cloud's metadata.
#[derive(Debug)]
struct Lying {
    server: SocketAddr,
    connected: Mutex<Vec<SocketAddr>>,
}

impl Network for Lying {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let at = if name == "first" { "203.0.113.7" } else { "169.254.169.254" };
        Box::pin(ready(Ok(vec![at.parse().unwrap()])))
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        self.connected.lock().unwrap().push(to);
        OwnNetwork.connect(self.server)
    }
}

#[tokio::test]
async fn what_was_checked_is_connected_to_and_a_redirection_is_checked_again() {
    let issuer = Issuer::start().await;
    issuer.redirects("/keys", "http://second/keys");
    let lying = Arc::new(Lying { server: issuer.at, connected: Mutex::default() });
    let network: Arc<dyn Network> = lying.clone();
    let fetcher = Fetcher { network, loopback: Loopback::Refused };
    let why = keys(&fetcher, &uri("http://first:8080/keys")).await.unwrap_err();
    assert!(why.starts_with("`second` is at 169.254.169.254, which is not asked"), "{why}");
    let connected = lying.connected.lock().unwrap().clone();
    assert_eq!(connected, ["203.0.113.7:8080".parse().unwrap()]);
}

/// The next thing that the index is told.
async fn told(feed: &mut mpsc::Receiver<Feed>) -> Fetched {
    match timeout(DEADLINE, feed.recv()).await.expect("nothing was told") {
        Some(Feed::Keys(_, fetched)) => fetched,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keys_are_fetched_again_and_stay_in_use_when_they_cannot_be() {
    let issuer = Issuer::start().await;
    let source = uri(&issuer.url("/keys"));
    let sources = BTreeMap::from([(source, DEADLINE)]);
    let (want, wanted) = watch::channel(Wanted { sources });
    let (feed, mut told_to) = mpsc::channel(1);
    let settings = Settings {
        refresh: Duration::from_millis(10),
        loopback: Loopback::Allowed,
        network: Arc::new(OwnNetwork),
        register: Register::default(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(keep(settings, wanted, feed, Arc::default()));

    let failed = told(&mut told_to).await;
    assert!(matches!(failed, Fetched::Failed { stale: false, .. }), "{failed:?}");
    issuer.says("/keys", KEYS);
    while told(&mut told_to).await != Fetched::Keys(KEYS.to_owned()) {}
    let rotated = KEYS.replace("\"a\"", "\"b\"");
    issuer.says("/keys", &rotated);
    while told(&mut told_to).await != Fetched::Keys(rotated.clone()) {}
    issuer.answers.lock().unwrap().clear();
    loop {
        if let Fetched::Failed { stale, .. } = told(&mut told_to).await {
            assert!(stale, "the keys before are kept");
            break;
        }
    }
    want.send_replace(Wanted::default());
    // What was on its way may still come; then nothing does.
    let silent = async { while told_to.recv().await.is_some() {} };
    drop(want);
    timeout(DEADLINE, silent).await.expect("nobody wants keys any more");
}

#[test]
fn only_a_change_is_news() {
    let failed = |stale| Fetched::Failed { why: "late".to_owned(), stale };
    let keys = || Fetched::Keys(KEYS.to_owned());
    let mut told = Told::default();
    for (fetched, is_news) in [
        (keys(), false),
        (failed(true), true),
        (failed(true), false),
        (failed(false), true),
        (keys(), true),
        (keys(), false),
    ] {
        assert_eq!(told.is_news(&fetched), is_news, "{fetched:?}");
    }
}
