//! An API whose control plane wants tokens.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use kube::{Client, client::Body};
use parking_lot::Mutex;
use serde_json::json;

use super::*;

/// What was asked, and how tokens are made and taken.
#[derive(Debug, Default)]
struct Cluster {
    log: Vec<String>,
    /// How TokenRequests are answered, if not with a token.
    refuses: Option<StatusCode>,
    /// The token that is good; every TokenRequest makes the next one.
    good: u32,
    /// No token is good.
    shut: bool,
}

impl Cluster {
    fn answer(&mut self, head: &http::request::Parts, body: &[u8]) -> (StatusCode, Value) {
        let path = head.uri.path();
        if let Some((_, account)) = path.split_once("/serviceaccounts/") {
            let spec = &serde_json::from_slice::<Value>(body).unwrap()["spec"];
            assert_eq!(spec, &json!({"audiences": ["palisade-control"], "expirationSeconds": 600}));
            self.log.push(format!("token of {}", account.trim_end_matches("/token")));
            if let Some(refused) = self.refuses {
                return (refused, json!({"message": "no", "code": refused.as_u16()}));
            }
            self.good += 1;
            return (StatusCode::CREATED, json!({"status": {"token": self.good.to_string()}}));
        }
        let token = head.headers.get(TOKEN).map_or("none", |it| it.to_str().unwrap());
        let asked = path.rsplit("/proxy/").next().unwrap_or_default();
        let method = if head.method == Method::GET { "" } else { "POST " };
        self.log.push(format!("{method}{asked} with {token}"));
        if self.shut || token != self.good.to_string() {
            return (StatusCode::UNAUTHORIZED, json!("only with a token"));
        }
        (StatusCode::OK, json!([]))
    }
}

fn mesh(cluster: &Arc<Mutex<Cluster>>) -> Mesh {
    let cluster = Arc::clone(cluster);
    let service = tower::service_fn(move |request: Request<Body>| {
        let cluster = Arc::clone(&cluster);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let (status, answer) = cluster.lock().answer(&head, &body);
            let response = Response::builder().status(status);
            Ok::<_, tower::BoxError>(response.body(Body::from(answer.to_string().into_bytes()))?)
        }
    });
    Mesh {
        client: Client::new(service, "default"),
        warnings: crate::warnings::Warnings::default(),
        kinds: Arc::default(),
        tokens: Arc::default(),
    }
}

#[tokio::test]
async fn a_token_is_got_when_it_is_asked_for_and_kept_while_it_is_good() {
    let cluster = Arc::new(Mutex::new(Cluster::default()));
    let mesh = mesh(&cluster);
    let asked = || std::mem::take(&mut cluster.lock().log);
    mesh.sync_status().await.unwrap();
    let (token, none) = ("token of palisade-reader", "debug/syncz with none");
    assert_eq!(asked(), [none, token, "debug/syncz with 1"]);
    mesh.tell_control("debug/batch", Vec::new()).await.unwrap();
    assert_eq!(asked(), ["POST debug/batch with 1"]);
    cluster.lock().good = 7;
    mesh.sync_status().await.unwrap();
    assert_eq!(asked(), ["debug/syncz with 1", token, "debug/syncz with 8"]);
    mesh.rotate_root(Vec::new()).await.unwrap();
    let rotate = "POST debug/ca/rotate with";
    let wanted =
        [format!("{rotate} none"), "token of palisade-operator".to_owned(), format!("{rotate} 9")];
    assert_eq!(asked(), wanted);
}

#[tokio::test]
async fn who_gets_no_token_is_told_what_he_lacks() {
    let cluster = Arc::new(Mutex::new(Cluster { shut: true, ..Cluster::default() }));
    let mesh = mesh(&cluster);
    let error = mesh.sync_status().await.unwrap_err().to_string();
    assert!(error.contains("only with a token"), "{error}");
    assert_eq!(cluster.lock().log.len(), 3, "not again and again");
    for (refused, told) in [
        (StatusCode::FORBIDDEN, "you may not"),
        (StatusCode::NOT_FOUND, "`palisade install` makes it"),
        (StatusCode::INTERNAL_SERVER_ERROR, "cannot get a token"),
    ] {
        cluster.lock().refuses = Some(refused);
        let error = mesh.sync_status().await.unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("palisade-reader"), "{error}");
    }
}
