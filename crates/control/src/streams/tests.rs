use palisade_model::{Kind, ProxyConfig};
use palisade_types::MtlsMode;
use palisade_wire::config::ConfigServiceClient;
use serde_json::json;
use tonic::Code;

use super::*;
use crate::{
    index::Source,
    kubernetes::Change,
    testing::{Control, DEADLINE, from},
};

/// A sidecar's end of a stream.
struct Sidecar {
    say: mpsc::Sender<ClientMessage>,
    hear: Streaming<Config>,
}

impl Sidecar {
    async fn open(control: &Control, account: &str, pod: &str, first: Subscribe) -> Self {
        let (say, messages) = mpsc::channel(8);
        let first = ClientMessage { message: Some(Message::Subscribe(first)) };
        say.send(first).await.unwrap();
        let mut client = ConfigServiceClient::new(control.grpc.clone());
        let request = from(account, pod, ReceiverStream::new(messages));
        let hear = client.stream(request).await.unwrap().into_inner();
        Self { say, hear }
    }

    async fn config(&mut self) -> ProxyConfig {
        let config = timeout(DEADLINE, self.hear.message()).await.expect("no config came");
        let config = config.unwrap().unwrap();
        let parsed: ProxyConfig = serde_json::from_slice(&config.proxy_config).unwrap();
        assert_eq!(parsed.generation, config.generation);
        parsed
    }

    async fn end(&mut self) -> Status {
        loop {
            match timeout(DEADLINE, self.hear.message()).await.expect("the stream goes on") {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("ended"),
                Err(status) => return status,
            }
        }
    }

    async fn answer(&self, generation: u64, error: &str) {
        let error = error.to_owned();
        let message = Message::Acknowledge(Acknowledge { generation, error });
        self.say.send(ClientMessage { message: Some(message) }).await.unwrap();
    }
}

fn subscribe(pod: &str, generation: u64) -> Subscribe {
    Subscribe {
        namespace: "shop".to_owned(),
        pod: pod.to_owned(),
        version: "0.1.0".to_owned(),
        generation,
    }
}

fn strict() -> serde_json::Value {
    json!({"mtls": {"mode": "STRICT"}})
}

fn deny(app: &str) -> serde_json::Value {
    json!({"selector": {"matchLabels": {"app": app}}, "action": "DENY", "rules": [{}]})
}

#[tokio::test]
async fn a_sidecar_gets_its_config_and_every_change_of_it_and_of_nobody_elses() {
    let control = Control::start(&[("web", "web"), ("db", "db")]).await;
    let mut web = Sidecar::open(&control, "web", "web", subscribe("web", 0)).await;
    let mut db = Sidecar::open(&control, "db", "db", subscribe("db", 0)).await;
    let first = web.config().await;
    assert_eq!(first.workload.name, "web");
    assert_eq!(db.config().await.workload.name, "db");
    web.answer(first.generation, "").await;

    control.apply(Kind::AuthorizationPolicy, "one", 10, deny("web")).await;
    let second = web.config().await;
    assert_eq!(second.inbound.policies.len(), 1);
    control.apply(Kind::PeerAuthentication, "default", 11, strict()).await;
    // What `db` hears next is the second change, not the first one, which was not about it.
    let next = db.config().await;
    assert_eq!(
        (next.inbound.mtls.default, next.generation),
        (MtlsMode::Strict, first.generation + 2)
    );
    assert!(next.inbound.policies.is_empty());
}

#[tokio::test]
async fn a_stream_is_for_the_pod_of_its_token_only() {
    let control = Control::start(&[("web", "web"), ("db", "db")]).await;
    for (account, bound, asked, code) in [
        ("web", "web", "db", Code::PermissionDenied),
        ("web", "", "web", Code::PermissionDenied),
        ("other", "web", "web", Code::PermissionDenied),
    ] {
        let mut sidecar = Sidecar::open(&control, account, bound, subscribe(asked, 0)).await;
        let status = sidecar.end().await;
        assert_eq!(status.code(), code, "{account} {bound} {asked}: {status}");
    }
    let mut elsewhere = subscribe("web", 0);
    elsewhere.namespace = "istio-system".to_owned();
    let status = Sidecar::open(&control, "web", "web", elsewhere).await.end().await;
    assert_eq!(status.code(), Code::PermissionDenied);
    let mut client = ConfigServiceClient::new(control.grpc.clone());
    let request = Request::new(futures::stream::empty());
    assert_eq!(client.stream(request).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_sidecar_that_comes_back_is_sent_nothing_twice_and_a_restarted_one_everything() {
    let mut control = Control::start(&[("web", "web")]).await;
    let mut first = Sidecar::open(&control, "web", "web", subscribe("web", 0)).await;
    let generation = first.config().await.generation;
    first.answer(generation, "").await;
    control.apply(Kind::AuthorizationPolicy, "other", 10, deny("other")).await;
    control.wait(|it| it.seen.keys().any(|at| at.name == "other")).await;
    wait_acknowledged(&control, generation).await;

    let mut again = Sidecar::open(&control, "web", "web", subscribe("web", generation)).await;
    assert_eq!(first.end().await.code(), Code::Aborted, "the older stream makes place");
    control.apply(Kind::PeerAuthentication, "default", 11, strict()).await;
    let next = again.config().await;
    assert_eq!(next.inbound.mtls.default, MtlsMode::Strict, "the unchanged one was not sent again");

    let mut restarted = Sidecar::open(&control, "web", "web", subscribe("web", 0)).await;
    assert_eq!(restarted.config().await.inbound.mtls.default, MtlsMode::Strict);
}

#[tokio::test]
async fn generations_only_grow_in_the_eyes_of_a_sidecar_of_an_earlier_life() {
    let control = Control::start(&[("web", "web")]).await;
    let mut sidecar = Sidecar::open(&control, "web", "web", subscribe("web", 57)).await;
    assert!(sidecar.config().await.generation > 57);
}

#[tokio::test]
async fn a_config_comes_once_the_pod_is_seen_and_the_stream_ends_when_it_is_gone() {
    let control = Control::start(&[]).await;
    let pod = json!({
        "metadata": {
            "name": "web", "namespace": "shop", "resourceVersion": "5",
            "labels": {"security.istio.io/tlsMode": "istio"},
        },
        "spec": {"serviceAccountName": "web", "containers": []},
        "status": {"podIP": "127.0.0.1"},
    });
    let source = Source::Objects(Kind::Pod);
    let (mut sidecar, ()) = tokio::join!(
        Sidecar::open(&control, "web", "web", subscribe("web", 0)),
        control.change(source, Change::Apply(pod.clone())),
    );
    assert_eq!(sidecar.config().await.workload.name, "web");
    control.change(source, Change::Delete(pod)).await;
    assert_eq!(sidecar.end().await.code(), Code::NotFound);
}

#[tokio::test]
async fn what_a_client_may_not_say_ends_its_stream() {
    let control = Control::start(&[("web", "web")]).await;
    let mut liar = Sidecar::open(&control, "web", "web", subscribe("web", 0)).await;
    liar.answer(99, "").await;
    assert_eq!(liar.end().await.code(), Code::InvalidArgument);
    let mut twice = Sidecar::open(&control, "web", "web", subscribe("web", 0)).await;
    let message = Some(Message::Subscribe(subscribe("web", 0)));
    twice.say.send(ClientMessage { message }).await.unwrap();
    assert_eq!(twice.end().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_sidecar_is_told_when_the_control_plane_stops() {
    let control = Control::start(&[("web", "web")]).await;
    let mut sidecar = Sidecar::open(&control, "web", "web", subscribe("web", 0)).await;
    sidecar.config().await;
    control.shutdown.cancel();
    assert_eq!(sidecar.end().await.code(), Code::Unavailable);
}

async fn wait_acknowledged(control: &Control, generation: u64) {
    let mut changes = control.fleet.changes();
    let published = control.published.borrow().clone();
    let acknowledged =
        || control.fleet.status(&published).iter().any(|it| it.acknowledged == generation);
    while !acknowledged() {
        timeout(DEADLINE, changes.changed()).await.expect("never acknowledged").unwrap();
    }
}
