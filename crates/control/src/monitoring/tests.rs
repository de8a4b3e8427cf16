use palisade_model::Kind;
use palisade_wire::config::{Acknowledge, ClientMessage, ConfigServiceClient, Message, Subscribe};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::testing::{Control, DEADLINE, from};

async fn get_json(control: &Control, path: &str) -> Value {
    let text = get_text(control, path).await;
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"))
}

async fn get_text(control: &Control, path: &str) -> String {
    let request = async {
        let mut stream = TcpStream::connect(control.monitoring).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    timeout(DEADLINE, request).await.unwrap()
}

#[tokio::test]
async fn an_edit_is_in_force_when_every_sidecar_has_acknowledged_it() {
    let control = Control::start(&[("web", "web"), ("db", "db")]).await;
    let mut web = sidecar(&control, "web").await;
    let mut db = sidecar(&control, "db").await;
    for sidecar in [&mut web, &mut db] {
        let generation = sidecar.next().await;
        sidecar.acknowledge(generation, "").await;
    }
    let policy = "kind=AuthorizationPolicy&namespace=shop&name=p";
    let ask = |version: &str, wait: u64| {
        let path = format!("/debug/in-force?{policy}&resourceVersion={version}&waitMs={wait}");
        let control = &control;
        async move { get_json(control, &path).await }
    };
    assert_eq!(ask("absent", 20_000).await["inForce"], true);
    assert_eq!(ask("10", 0).await["seen"], false);

    let spec =
        json!({"selector": {"matchLabels": {"app": "web"}}, "action": "DENY", "rules": [{}]});
    control.apply(Kind::AuthorizationPolicy, "p", 10, spec).await;
    let generation = web.next().await;
    let waiting = ask("10", 0).await;
    assert_eq!((&waiting["inForce"], &waiting["seen"]), (&json!(false), &json!(true)));
    assert_eq!((&waiting["synced"], &waiting["total"]), (&json!(1), &json!(2)));
    assert_eq!(waiting["pending"][0]["proxy"], "web.shop");
    let syncz = get_json(&control, "/debug/syncz").await;
    assert_eq!(syncz[0]["proxy"], "db.shop");
    assert_eq!(syncz[0]["cluster_sent"], syncz[0]["cluster_acked"], "nothing changed for it");
    assert_ne!(syncz[1]["cluster_sent"], syncz[1]["cluster_acked"]);

    let mut answers = control.fleet.changes();
    web.acknowledge(generation, "unknown field `x`").await;
    let mut refused = ask("9", 0).await;
    while refused["pending"][0]["error"].is_null() {
        timeout(DEADLINE, answers.changed()).await.expect("no answer came").unwrap();
        refused = ask("9", 0).await;
    }
    assert_eq!(refused["pending"][0]["error"], "unknown field `x`");
    let (answer, ()) = tokio::join!(ask("10", 20_000), web.acknowledge(generation, ""));
    assert_eq!(answer["inForce"], true, "a later or equal version, everywhere: {answer}");
    assert_eq!(ask("11", 0).await["seen"], false);
    assert_eq!(ask("absent", 0).await["seen"], false);
}

#[tokio::test]
async fn an_object_that_cannot_be_used_is_never_in_force() {
    let mut control = Control::start(&[]).await;
    control.apply(Kind::AuthorizationPolicy, "p", 10, json!({"rulez": []})).await;
    control.wait(|it| !it.seen.is_empty()).await;
    let path = "/debug/in-force?kind=AuthorizationPolicy&namespace=shop&name=p&resourceVersion=10";
    let answer = get_json(&control, path).await;
    assert_eq!((&answer["seen"], &answer["inForce"]), (&json!(true), &json!(false)));
    assert!(answer["refused"].as_str().unwrap().contains("rulez"), "{answer}");
}

#[tokio::test]
async fn status_pages_answer() {
    let control = Control::start(&[("web", "web")]).await;
    assert_eq!(get_text(&control, "/ready").await, "ready\n");
    assert_eq!(get_text(&control, "/version").await, env!("CARGO_PKG_VERSION"));
    assert!(get_text(&control, "/metrics").await.contains("palisade_sidecars 1\n"));
    let config = get_json(&control, "/debug/config/shop/web").await;
    assert_eq!(config["workload"]["name"], "web");
    let generation = get_json(&control, "/debug/generation").await;
    assert_eq!(generation["objects"]["Pod/shop/web"], "1");
    let syncz = get_json(&control, "/debug/syncz").await;
    assert_eq!((&syncz[0]["connected"], &syncz[0]["cluster_sent"]), (&json!(false), &json!("1")));
}

#[test]
fn a_version_is_reached_by_itself_and_by_later_ones() {
    for (known, awaited, reached) in [
        ("10", "10", true),
        ("11", "10", true),
        ("9", "10", false),
        ("a", "a", true),
        ("b", "a", false),
    ] {
        assert_eq!(is_reached(known, awaited), reached, "{known} {awaited}");
    }
}

/// A sidecar that does as it is told.
struct Sidecar {
    say: mpsc::Sender<ClientMessage>,
    hear: tonic::Streaming<palisade_wire::config::Config>,
}

async fn sidecar(control: &Control, name: &str) -> Sidecar {
    let (say, messages) = mpsc::channel(8);
    let subscribe = Subscribe {
        namespace: "shop".to_owned(),
        pod: name.to_owned(),
        version: "0.1.0".to_owned(),
        generation: 0,
    };
    say.send(ClientMessage { message: Some(Message::Subscribe(subscribe)) }).await.unwrap();
    let mut client = ConfigServiceClient::new(control.grpc.clone());
    let request = from(name, name, ReceiverStream::new(messages));
    Sidecar { say, hear: client.stream(request).await.unwrap().into_inner() }
}

impl Sidecar {
    async fn next(&mut self) -> u64 {
        timeout(DEADLINE, self.hear.message()).await.unwrap().unwrap().unwrap().generation
    }

    async fn acknowledge(&self, generation: u64, error: &str) {
        let error = error.to_owned();
        let message = Some(Message::Acknowledge(Acknowledge { generation, error }));
        self.say.send(ClientMessage { message }).await.unwrap();
    }
}
