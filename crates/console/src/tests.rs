//! The server as a browser sees it, over a mesh made of manifests.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode, header},
};
use http_body_util::BodyExt;
use palisade_manifest::study;
use palisade_model::World;
use palisade_policy::explain::Explanation;
use palisade_telemetry::{FeedLine, RejectedHandshake, Report, ReportingWorkload, WorkloadReport};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    ConfigObject, MeshObjects, MeshView, Question, ViewError,
    auth::Links,
    server::{App, routes},
    view::Answer,
};

/// A namespace with a password in a pod's environment and in a Secret.
const MANIFESTS: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Secret
metadata: {name: login, namespace: shop}
stringData: {password: hunter2-of-a-secret}
---
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec:
  serviceAccountName: api
  containers:
  - {name: api, image: api, env: [{name: PASSWORD, value: hunter2-of-a-pod}], ports: [{containerPort: 8080}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: shop}
spec: {}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
";

struct Manifests;

impl MeshView for Manifests {
    fn objects(&self) -> Answer<'_, MeshObjects> {
        let world = World::of_manifests([&study("shop.yaml", MANIFESTS)]);
        let config = vec![ConfigObject {
            kind: "AuthorizationPolicy".to_owned(),
            namespace: "shop".to_owned(),
            name: "closed".to_owned(),
            created: String::new(),
            yaml: "spec: {}\n".to_owned(),
            problems: Vec::new(),
        }];
        Box::pin(async { Ok(MeshObjects { world, config }) })
    }

    fn sidecars(&self) -> Answer<'_, Vec<Value>> {
        let sidecar =
            json!({"proxy": "api.shop", "connected": true, "synced": true, "generation_acked": 4});
        Box::pin(async { Ok(vec![sidecar]) })
    }

    fn explain(&self, _: &World, question: &Question) -> Result<Explanation, ViewError> {
        Err(ViewError::Question(format!("there is no `{}`", question.to)))
    }
}

struct Browser {
    app: App,
    router: Router,
    cookie: String,
}

impl Browser {
    /// Somebody who has not logged in.
    fn new() -> Self {
        let app = App::new(Links::new(([127, 0, 0, 1], 20001).into()), Arc::new(Manifests));
        let router = app.clone().router(CancellationToken::new());
        Self { app, router, cookie: String::new() }
    }

    async fn logged_in() -> Self {
        let mut browser = Self::new();
        let link = browser.app.links().mint().unwrap().to_string();
        let path = link.strip_prefix("http://127.0.0.1:20001").unwrap();
        let answer = browser.get(path).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
        browser.cookie = cookie.split(';').next().unwrap().to_owned();
        assert_eq!(Self { cookie: String::new(), ..browser.copy() }.get(path).await.status(), 401);
        browser
    }

    fn copy(&self) -> Self {
        let Self { app, router, cookie } = self;
        Self { app: app.clone(), router: router.clone(), cookie: cookie.clone() }
    }

    async fn get(&self, path: &str) -> Response<Body> {
        self.send(Request::get(path).header("host", "127.0.0.1:20001"), "").await
    }

    async fn post(&self, path: &str, origin: &str, body: &str) -> Response<Body> {
        let request = Request::post(path)
            .header("host", "localhost:20001")
            .header("origin", origin)
            .header("content-type", "application/json");
        self.send(request, body).await
    }

    async fn send(&self, request: axum::http::request::Builder, body: &str) -> Response<Body> {
        let request = request.header("cookie", &self.cookie).body(Body::from(body.to_owned()));
        self.router.clone().oneshot(request.unwrap()).await.unwrap()
    }
}

async fn text(answer: Response<Body>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

const OWN: &str = "http://localhost:20001";

#[tokio::test]
async fn without_a_session_there_is_nothing_but_the_way_to_log_in() {
    let browser = Browser::new();
    for (path, method, _) in routes() {
        let answer = match method {
            "get" => browser.get(path).await,
            _ => browser.post(path, OWN, "{}").await,
        };
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let answer = browser.get("/").await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(text(answer).await.contains("palisade console"));
    assert_eq!(browser.get("/login?token=0123").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_session_ends_when_its_owner_says_so() {
    let browser = Browser::logged_in().await;
    assert_eq!(browser.get("/api/config").await.status(), StatusCode::OK);
    assert_eq!(browser.post("/api/logout", OWN, "").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(browser.get("/api/config").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn other_names_and_other_pages_are_refused() {
    let browser = Browser::logged_in().await;
    for host in ["evil.example:20001", "127.0.0.1:8080", "127.0.0.1", ""] {
        let answer = browser.send(Request::get("/api/mesh").header("host", host), "").await;
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    for origin in ["http://evil.example", "https://localhost:20001", "null", "http://localhost:1"] {
        let answer = browser.post("/api/explain", origin, "{}").await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin}");
    }
    let request = Request::post("/api/explain").header("host", "127.0.0.1:20001");
    assert_eq!(browser.send(request, "{}").await.status(), StatusCode::FORBIDDEN, "no origin");
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let browser = Browser::new();
    for path in ["/", "/api/graph", "/login", "/assets/none.js"] {
        let answer = browser.get(path).await;
        let field = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = field("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(field("x-content-type-options"), "nosniff");
        assert_eq!(field("x-frame-options"), "DENY");
        assert_eq!(field("referrer-policy"), "no-referrer");
    }
}

#[tokio::test]
async fn the_document_describes_exactly_the_routes() {
    let document: Value = serde_json::from_str(crate::api::OPENAPI).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        described.extend(methods.as_object().unwrap().keys().map(|it| (path.clone(), it.clone())));
    }
    let routes = routes().into_iter();
    let routes: BTreeSet<_> =
        routes.map(|(path, it, _)| (path.to_owned(), it.to_owned())).collect();
    assert_eq!(described, routes);
    let browser = Browser::logged_in().await;
    let parameters = document["paths"]["/api/graph"]["get"]["parameters"].as_array().unwrap();
    assert_eq!(parameters.len(), 4);
    let whole = "/api/graph?namespaces=shop&type=workload&range=300&at=1800000000000";
    assert_eq!(browser.get(whole).await.status(), StatusCode::OK);
    assert_eq!(browser.get("/api/graph?speed=1").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn no_answer_holds_a_secret() {
    let browser = Browser::logged_in().await;
    let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2VjcmV0";
    let question = json!({"from": "none", "to": "api.shop", "headers": [format!("authorization: Bearer {token}")]});
    let mut all = text(browser.post("/api/explain", OWN, &question.to_string()).await).await;
    for path in ["/", "/api/openapi.json", "/api/graph", "/api/config", "/api/mesh"] {
        all.push_str(&text(browser.get(path).await).await);
    }
    let session = browser.cookie.split_once('=').unwrap().1;
    for secret in ["hunter2", token, session, "PRIVATE KEY"] {
        assert!(!all.contains(secret), "`{secret}` is in an answer");
    }
    assert!(all.contains("there is no `api.shop`"), "{all}");
}

#[tokio::test]
async fn what_sidecars_report_is_on_the_graph_and_in_the_list() {
    let browser = Browser::logged_in().await;
    let workload = ReportingWorkload { namespace: "shop".to_owned(), pod: "api".to_owned() };
    let handshakes = vec![RejectedHandshake {
        time: "2027-01-15T08:00:00Z".to_owned(),
        source: [10, 244, 0, 9].into(),
        destination: ([10, 244, 0, 5], 8080).into(),
        reason: "plaintext".to_owned(),
        count: 3,
    }];
    let report = Report { generation: 4, handshakes, ..Report::default() };
    browser.app.record(FeedLine::Report(Box::new(WorkloadReport { workload, report })));
    let graph: Value = serde_json::from_str(&text(browser.get("/api/graph").await).await).unwrap();
    assert_eq!(graph["edges"][0]["verdict"], "refused", "{graph:#}");
    assert_eq!(graph["edges"][0]["refusal"]["address"], "10.244.0.9");
    let mut events = browser.get("/api/events?type=workload").await.into_body();
    let first = events.frame().await.unwrap().unwrap().into_data().unwrap();
    let first = String::from_utf8(first.to_vec()).unwrap();
    assert!(
        first.starts_with("event: graph\ndata: {") && first.contains("\"whole\":true"),
        "{first}"
    );
    let mesh: Value = serde_json::from_str(&text(browser.get("/api/mesh").await).await).unwrap();
    assert!(mesh["sidecars"][0]["seenMs"].as_u64().is_some(), "{mesh:#}");
    let api = &mesh["workloads"][0];
    assert_eq!(api["mtls"], "STRICT");
    assert_eq!(
        api["policies"][0],
        json!({
            "action": "ALLOW", "policy": {"namespace": "shop", "name": "closed"}, "dryRun": false,
        })
    );
}
