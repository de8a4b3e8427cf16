//! An API with one Secret, whose connection breaks when it is told to.

use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use kube::client::Body;

use super::{
    super::{Held, Store},
    *,
};

/// What happens to a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    /// It never arrives.
    Lost,
    /// It is done, and the answer never arrives.
    Unanswered,
    /// The same, and nothing answers after it.
    Dead,
}

#[derive(Debug, Default)]
struct Cluster {
    secret: Option<Value>,
    version: u64,
    writes: usize,
    fault: Option<Fault>,
    dead: bool,
    /// How all requests are refused, if they are.
    refuses: Option<StatusCode>,
}

impl Cluster {
    fn answer(&mut self, method: &Method, body: &[u8]) -> Result<(StatusCode, Value), String> {
        if self.dead {
            return Err("connection refused".to_owned());
        }
        if let Some(status) = self.refuses {
            return Ok(failure(status, "Forbidden"));
        }
        if method == Method::GET {
            let missing = || failure(StatusCode::NOT_FOUND, "NotFound");
            return Ok(self.secret.clone().map_or_else(missing, |it| (StatusCode::OK, it)));
        }
        self.writes += 1;
        let fault = self.fault.take();
        if fault == Some(Fault::Lost) {
            return Err("connection reset".to_owned());
        }
        let answer = self.write(method, serde_json::from_slice(body).unwrap());
        self.dead = fault == Some(Fault::Dead);
        if fault.is_some() { Err("connection reset".to_owned()) } else { Ok(answer) }
    }

    fn write(&mut self, method: &Method, mut secret: Value) -> (StatusCode, Value) {
        let version = |secret: &Value| secret["metadata"]["resourceVersion"].clone();
        match &self.secret {
            Some(_) if method == Method::POST => {
                return failure(StatusCode::CONFLICT, "AlreadyExists");
            }
            Some(stored) if version(stored) != version(&secret) => {
                return failure(StatusCode::CONFLICT, "Conflict");
            }
            None if method == Method::PUT => return failure(StatusCode::NOT_FOUND, "NotFound"),
            _ => {}
        }
        self.version += 1;
        secret["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.secret = Some(secret.clone());
        (StatusCode::OK, secret)
    }
}

fn failure(status: StatusCode, reason: &str) -> (StatusCode, Value) {
    let code = status.as_u16();
    (
        status,
        json!({"kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": code}),
    )
}

type Shared = Arc<Mutex<Cluster>>;

fn secret(cluster: &Shared) -> Secret {
    let cluster = Arc::clone(cluster);
    let service = tower::service_fn(move |request: Request<Body>| {
        let cluster = Arc::clone(&cluster);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let (status, answer) = cluster.lock().answer(&head.method, &body)?;
            let response = Response::builder().status(status);
            Ok::<_, tower::BoxError>(response.body(Body::from(answer.to_string().into_bytes()))?)
        }
    });
    Secret::new(&Client::new(service, "default"), "istio-system", "istio-ca-secret")
}

fn store(cluster: &Shared) -> Store {
    Store::Secret(secret(cluster))
}

async fn open(store: &Store) -> Result<(Held, Rotation), AuthorityFilesError> {
    store.open(None, Timestamp::now()).await
}

/// What a control plane that starts now finds: who signs, and the step.
async fn found(cluster: &Shared) -> (String, Option<&'static str>) {
    cluster.lock().dead = false;
    let (own, rotation) = open(&store(cluster)).await.unwrap();
    (own.authority.fingerprint(), rotation.step())
}

fn held() -> Held {
    Held::generate(Timestamp::now()).unwrap()
}

#[tokio::test]
async fn a_step_is_taken_or_not_whatever_happens_to_its_write() {
    for fault in [Fault::Lost, Fault::Unanswered, Fault::Dead] {
        let cluster = Shared::default();
        let (old, _) = open(&store(&cluster)).await.unwrap();
        let next = held();
        let steps = [
            Rotation::Trusting(next.clone()),
            Rotation::Signing(old.roots.clone()),
            Rotation::Leaving,
            Rotation::Settled,
        ];
        for step in steps {
            let before = found(&cluster).await;
            let store = store(&cluster);
            open(&store).await.unwrap();
            let writes = cluster.lock().writes;
            cluster.lock().fault = Some(fault);
            let turned = store.turn(&step).await;
            assert_eq!(cluster.lock().writes, writes + 1, "as a whole");
            assert_eq!(turned.is_ok(), fault == Fault::Unanswered, "{fault:?} {turned:?}");
            let after = found(&cluster).await;
            if fault == Fault::Lost {
                assert_eq!(after, before);
                store.turn(&step).await.unwrap();
            }
            let signs = if matches!(step, Rotation::Trusting(_)) { &old } else { &next };
            let wanted = (signs.authority.fingerprint(), step.step());
            assert_eq!(found(&cluster).await, wanted, "{fault:?}");
        }
        let (own, _) = open(&store(&cluster)).await.unwrap();
        assert_eq!(own.roots, next.roots);
        let secret = cluster.lock().secret.clone().unwrap();
        assert_eq!(secret["data"].as_object().unwrap().len(), 3, "nothing is left");
    }
}

#[tokio::test]
async fn a_first_authority_is_one_whatever_happens_to_its_write() {
    for fault in [Fault::Lost, Fault::Unanswered, Fault::Dead] {
        let cluster = Shared::default();
        cluster.lock().fault = Some(fault);
        let opened = open(&store(&cluster)).await.map(|(own, _)| own.authority.fingerprint());
        let (now, _) = found(&cluster).await;
        match opened {
            Ok(opened) => assert_eq!(opened, now),
            Err(error) => assert_ne!(fault, Fault::Unanswered, "{error}"),
        }
        assert_eq!(found(&cluster).await.0, now, "the same again");
    }
}

#[tokio::test]
async fn two_that_start_at_once_have_one_authority() {
    let cluster = Shared::default();
    let (slow, quick) = (secret(&cluster), store(&cluster));
    assert!(slow.read().await.unwrap().is_empty());
    let (made, _) = open(&quick).await.unwrap();
    let late = slow.write(&super::super::install(&held())).await;
    assert!(matches!(late, Err(AuthorityFilesError::Changed(_))), "{late:?}");
    let (own, _) = open(&Store::Secret(slow)).await.unwrap();
    assert_eq!(own.authority.fingerprint(), made.authority.fingerprint());

    let cluster = Shared::default();
    let (one, other) = (store(&cluster), store(&cluster));
    let (one, other) = tokio::join!(open(&one), open(&other));
    let signer = |opened: Result<(Held, Rotation), _>| opened.unwrap().0.authority.fingerprint();
    assert_eq!(signer(one), signer(other));
}

#[tokio::test]
async fn what_somebody_else_has_written_is_not_overwritten() {
    let cluster = Shared::default();
    let (one, other) = (store(&cluster), store(&cluster));
    open(&one).await.unwrap();
    open(&other).await.unwrap();
    one.turn(&Rotation::Trusting(held())).await.unwrap();
    let stored = cluster.lock().secret.clone();
    for _ in 0..2 {
        let turned = other.turn(&Rotation::Trusting(held())).await;
        assert!(matches!(turned, Err(AuthorityFilesError::Changed(_))), "{turned:?}");
        assert_eq!(cluster.lock().secret, stored);
    }
    cluster.lock().secret = None;
    assert!(one.turn(&Rotation::Leaving).await.is_err(), "nor made anew when it is gone");
    assert_eq!(cluster.lock().secret, None);
}

#[tokio::test]
async fn a_secret_that_is_broken_or_not_to_be_read_is_no_reason_for_a_new_authority() {
    let text = |text: &str| BASE64_STANDARD.encode(text);
    let own = held();
    let (key, certificate) = (text(&own.authority.key_pem()), text(&own.authority.chain_pem()));
    let other = text(&held().authority.key_pem());
    for (data, told) in [
        (Value::Null, "holds no authority"),
        (json!({}), "holds no authority"),
        (json!({"x": text("y")}), "holds no authority"),
        (json!({"ca-key.pem": key}), "ca-cert.pem is missing"),
        (json!({"ca-cert.pem": certificate}), "ca-key.pem is missing"),
        (json!({"ca-cert.pem": certificate, "ca-key.pem": ""}), "cannot use the authority"),
        (json!({"ca-cert.pem": certificate, "ca-key.pem": other}), "cannot use the authority"),
        (json!({"ca-cert.pem": certificate, "ca-key.pem": "?"}), "is not base64"),
        (json!({"ca-cert.pem": certificate, "ca-key.pem": key, "rotation": text("on")}), "`on`"),
        (
            json!({"ca-cert.pem": certificate, "ca-key.pem": key, "rotation": text("signing")}),
            "old-root-cert.pem",
        ),
        (
            json!({"ca-cert.pem": certificate, "ca-key.pem": key, "rotation": text("trusting")}),
            "next-ca-key.pem",
        ),
    ] {
        let cluster = Shared::default();
        cluster.lock().secret = Some(
            json!({"metadata": {"name": "istio-ca-secret", "resourceVersion": "1"}, "data": data}),
        );
        let error = open(&store(&cluster)).await.unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("istio-ca-secret"), "{error}");
        assert_eq!(cluster.lock().writes, 0);
    }
    for status in [StatusCode::FORBIDDEN, StatusCode::INTERNAL_SERVER_ERROR] {
        let cluster = Shared::default();
        cluster.lock().refuses = Some(status);
        let error = open(&store(&cluster)).await.unwrap_err().to_string();
        assert!(error.contains("cannot read Secret istio-system/istio-ca-secret"), "{error}");
        assert_eq!(cluster.lock().writes, 0);
    }
}

#[tokio::test]
async fn labels_and_entries_of_others_stay() {
    let cluster = Shared::default();
    let store = store(&cluster);
    open(&store).await.unwrap();
    if let Some(secret) = &mut cluster.lock().secret {
        secret["metadata"]["labels"] = json!({"team": "security"});
        secret["data"]["note.txt"] = json!(BASE64_STANDARD.encode("kept"));
    }
    open(&store).await.unwrap();
    store.turn(&Rotation::Trusting(held())).await.unwrap();
    let secret = cluster.lock().secret.clone().unwrap();
    assert_eq!(secret["metadata"]["labels"]["team"], "security");
    assert!(secret["data"]["note.txt"].is_string() && secret["data"]["rotation"].is_string());
    assert_eq!(secret["type"], "istio.io/ca-root");
}
