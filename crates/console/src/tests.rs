//! The server as a browser sees it, over a mesh made of manifests.

mod strangers;

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode, header},
};
use futures::{StreamExt, stream::BoxStream};
use http_body_util::BodyExt;
use palisade_manifest::study;
use palisade_model::World;
use palisade_policy::explain::Explanation;
use palisade_telemetry::{
    DecisionDestination, DecisionRecord, DecisionSource, Direction, FeedLine, RejectedHandshake,
    Report, ReportingWorkload, WorkloadReport,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    Applied, Changes, ConfigObject, ControlPlane, Draft, Line, LogsOf, MeshObjects, MeshView,
    Question, ViewError,
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

    fn control_plane(&self) -> Answer<'_, ControlPlane> {
        Box::pin(async { Err(ViewError::Unavailable("nobody listens".to_owned())) })
    }

    fn events(&self) -> Answer<'_, Vec<Value>> {
        Box::pin(async { Ok(vec![json!({"object": "Pod/api.shop", "reason": "Unhealthy"})]) })
    }

    fn issuers<'a>(&'a self, _: &'a MeshObjects) -> Answer<'a, Vec<Value>> {
        Box::pin(async { Ok(vec![json!({"issuer": "https://idp", "keys": {"state": "inline"}})]) })
    }

    fn explain(&self, _: &World, question: &Question) -> Result<Explanation, ViewError> {
        if question.to != "api.shop"
            || question.headers.iter().any(|it| it.contains("authorization"))
        {
            return Err(ViewError::Question(format!("there is no `{}`", question.to)));
        }
        let verdict = if question.from == "shop/web" { "allow" } else { "deny" };
        let answer = json!({"verdict": verdict, "sentence": "because", "layers": []});
        Ok(serde_json::from_value(answer).unwrap())
    }

    fn propose(&self, _: &MeshObjects, question: &Question) -> Result<Value, ViewError> {
        Ok(json!({"outcome": "elsewhere", "sentence": question.from, "notes": []}))
    }

    fn sidecar_config<'a>(&'a self, _: &'a str, pod: &'a str) -> Answer<'a, Value> {
        Box::pin(async move { Ok(json!({"workload": pod})) })
    }

    fn logs<'a>(&'a self, of: &'a LogsOf) -> Answer<'a, BoxStream<'static, Line>> {
        let lines = [Ok(format!("hello from {}", of.container)), Ok("a\rline".to_owned())];
        Box::pin(async move {
            match of.container.as_str() {
                "secret" => Err(ViewError::Unavailable("pods/log is forbidden".to_owned())),
                _ => Ok(futures::stream::iter(lines).boxed()),
            }
        })
    }

    fn draft<'a>(&'a self, yaml: &'a str) -> Answer<'a, Draft> {
        let world = |policy: &str| {
            let manifests = MANIFESTS.replace("spec: {}\n", policy);
            World::of_manifests([&study("shop.yaml", &manifests)])
        };
        let draft = Draft {
            before: world("spec: {}\n"),
            after: world(yaml),
            problems: Vec::new(),
            kinds: vec!["AuthorizationPolicy".to_owned()],
        };
        Box::pin(async { Ok(draft) })
    }

    fn apply<'a>(&'a self, _: &'a str) -> Answer<'a, Applied> {
        Box::pin(async { Ok(Applied { synced: 1, total: 1, generation: 9, ..Applied::default() }) })
    }
}

/// Somebody who looks at the console.
struct Browser {
    app: App,
    router: Router,
    cookie: String,
}

impl Browser {
    /// Somebody who has not logged in.
    fn new() -> Self {
        Self::at_console(Changes::Allowed)
    }

    fn at_console(changes: Changes) -> Self {
        let links = Links::new(([127, 0, 0, 1], 20001).into());
        let app = App::new(links, Arc::new(Manifests), changes);
        let router = app.clone().router(CancellationToken::new());
        Self { app, router, cookie: String::new() }
    }

    async fn logged_in() -> Self {
        Self::new().log_in().await
    }

    async fn log_in(self) -> Self {
        self.log_in_under("127.0.0.1:20001").await
    }

    /// Logs in where the console is reached under some `Host`.
    async fn log_in_under(self, host: &str) -> Self {
        let mut browser = self;
        let link = browser.app.links().mint().unwrap().to_string();
        let path = link.strip_prefix("http://127.0.0.1:20001").unwrap();
        let answer = browser.send(Request::get(path).header("host", host), "").await;
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

    fn with_cookie(&self, cookie: &str) -> Self {
        Self { cookie: cookie.to_owned(), ..self.copy() }
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
async fn events_are_told_without_a_control_plane() {
    let browser = Browser::logged_in().await;
    let told = json_of(browser.get("/api/control-plane").await).await;
    assert_eq!((&told["controlPlane"], &told["trouble"]), (&json!(null), &json!("nobody listens")));
    assert_eq!(told["events"][0]["object"], "Pod/api.shop");
}

#[tokio::test]
async fn no_answer_holds_a_secret() {
    let browser = Browser::logged_in().await;
    let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2VjcmV0";
    let question = json!({"from": "none", "to": "api.shop", "headers": [format!("authorization: Bearer {token}")]});
    let mut all = text(browser.post("/api/explain", OWN, &question.to_string()).await).await;
    let of = "namespace=shop&name=api";
    for path in [
        "/",
        "/api/openapi.json",
        "/api/graph",
        "/api/config",
        "/api/mesh",
        "/api/control-plane",
        &format!("/api/workload?{of}"),
        &format!("/api/history?{of}&range=60"),
        "/api/sidecar-config?namespace=shop&pod=api",
    ] {
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

fn report(report: Report) -> FeedLine {
    let workload = ReportingWorkload { namespace: "shop".to_owned(), pod: "api".to_owned() };
    FeedLine::Report(Box::new(WorkloadReport { workload, report }))
}

fn get_of_web(path: &str) -> DecisionRecord {
    DecisionRecord {
        request_id: "a".to_owned(),
        time: "2027-01-15T08:00:00.000Z".to_owned(),
        direction: Direction::Inbound,
        source: DecisionSource {
            principal: Some("spiffe://cluster.local/ns/shop/sa/web".to_owned()),
            address: "10.244.0.7".to_owned(),
        },
        destination: DecisionDestination { address: "10.244.0.5".to_owned(), port: 8080 },
        method: "GET".to_owned(),
        host: Some("api.shop:8080".to_owned()),
        path: path.to_owned(),
        verdict: "deny".to_owned(),
        reason: "no_allow_matched".to_owned(),
        policy: None,
        generation: 4,
        response_code: 403,
    }
}

async fn json_of(answer: Response<Body>) -> Value {
    serde_json::from_str(&text(answer).await).unwrap()
}

/// The data of the next server-sent event.
async fn next_event(events: &mut Body) -> String {
    let frame = events.frame().await.unwrap().unwrap().into_data().unwrap();
    String::from_utf8(frame.to_vec()).unwrap()
}

#[tokio::test]
async fn calls_are_told_as_they_come_and_once() {
    let browser = Browser::logged_in().await;
    browser.app.record(report(Report { denials: vec![get_of_web("/a")], ..Report::default() }));
    let mut events = browser.get("/api/calls").await.into_body();
    let first = next_event(&mut events).await;
    assert!(
        first.starts_with("event: calls\ndata: [{") && first.contains("\"path\":\"/a\""),
        "{first}"
    );
    assert!(first.contains("\"target\":{\"namespace\":\"shop\",\"workload\":\"api\""), "{first}");
    browser.app.record(report(Report { denials: vec![get_of_web("/b")], ..Report::default() }));
    let second = next_event(&mut events).await;
    assert!(second.contains("\"/b\"") && !second.contains("\"/a\""), "{second}");
    let mut later = browser.get("/api/calls?after=1").await.into_body();
    assert!(!next_event(&mut later).await.contains("\"/a\""));
}

#[tokio::test]
async fn each_caller_is_asked_about_at_each_port() {
    let browser = Browser::logged_in().await;
    let access = json_of(browser.get("/api/workload?namespace=shop&name=api").await).await;
    let port = &access["ports"][0];
    assert_eq!((port["port"].as_u64(), &port["mtls"]), (Some(8080), &json!("STRICT")));
    assert_eq!(port["mtlsFrom"], json!({"namespace": "shop", "name": "default"}));
    let callers: Vec<&str> =
        port["callers"].as_array().unwrap().iter().filter_map(|it| it["from"].as_str()).collect();
    assert_eq!(callers, ["shop/api", "any-other-namespace/any-other-account", "none"]);
    assert_eq!(port["callers"][0]["answers"][0]["verdict"], "deny");
    assert!(access["policies"][0]["words"][0].as_str().unwrap().contains("allows nothing"));
    let none = browser.get("/api/workload?namespace=shop&name=nobody").await;
    assert_eq!(none.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_draft_is_tried_on_the_calls_that_were_seen() {
    let browser = Browser::logged_in().await;
    let denials = vec![get_of_web("/a"), get_of_web("/b")];
    browser.app.record(report(Report { denials, ..Report::default() }));
    let preview = async |spec: &str| {
        let body = json!({"yaml": spec}).to_string();
        json_of(browser.post("/api/preview", OWN, &body).await).await["replay"].take()
    };
    let opened = preview("spec: {rules: [{to: [{operation: {paths: [/a]}}]}]}\n").await;
    assert_eq!(opened["kinds"], 2);
    let flips = opened["flips"].as_array().unwrap();
    assert_eq!(flips.len(), 1, "{opened:#}");
    assert_eq!(
        (&flips[0]["path"], &flips[0]["before"], &flips[0]["after"]),
        (&json!("/a"), &json!("deny"), &json!("allow"))
    );
    let hosts =
        |host: &str| format!("spec: {{rules: [{{to: [{{operation: {{hosts: ['{host}']}}}}]}}]}}\n");
    for (host, changed) in [("api.shop:8080", 2), ("API.*", 2), ("*.other", 0)] {
        let asked = preview(&hosts(host)).await;
        assert_eq!(asked["flips"].as_array().unwrap().len(), changed, "{host}: {asked:#}");
        assert_eq!(asked["unknown"], json!([]), "{host}");
    }
    let same = preview("spec: {}\n").await;
    assert!(same["flips"].as_array().unwrap().is_empty(), "{same:#}");
    let asks = "spec: {rules: [{when: [{key: 'request.headers[x-a]', values: [b]}]}]}\n";
    let unsure = preview(asks).await;
    assert_eq!(unsure["unknown"].as_array().unwrap().len(), 2, "{unsure:#}");
    assert!(unsure["flips"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn objects_are_applied_unless_they_were_changed_meanwhile() {
    let browser = Browser::logged_in().await;
    let of = |yaml: &str| {
        let base = json!({"kind": "AuthorizationPolicy", "namespace": "shop", "name": "closed", "yaml": yaml});
        json!({"yaml": "spec: {}\n", "base": base}).to_string()
    };
    let applied = browser.post("/api/apply", OWN, &of("spec: {}\n")).await;
    assert_eq!(json_of(applied).await["synced"], 1);
    let stale = browser.post("/api/apply", OWN, &of("spec: {action: DENY}\n")).await;
    assert_eq!(stale.status(), StatusCode::CONFLICT);
    let foreign = browser.post("/api/apply", "http://evil.example", &of("spec: {}\n")).await;
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    let hidden = json!({"yaml": "jwks: (not shown)"}).to_string();
    let hidden = browser.post("/api/apply", OWN, &hidden).await;
    assert_eq!(hidden.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_read_only_console_changes_nothing() {
    let browser = Browser::at_console(Changes::Refused).log_in().await;
    let body = json!({"yaml": "spec: {}\n"}).to_string();
    let refused = browser.post("/api/apply", OWN, &body).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(text(refused).await.contains("read-only"));
    assert_eq!(browser.post("/api/preview", OWN, &body).await.status(), StatusCode::OK);
    assert_eq!(json_of(browser.get("/api/config").await).await["readOnly"], true);
}

#[tokio::test]
async fn logs_come_line_by_line_and_say_when_they_end() {
    let browser = Browser::logged_in().await;
    let logs = browser.get("/api/logs?namespace=shop&pod=api&container=app").await;
    let all = text(logs).await;
    assert_eq!(
        all,
        "event: line\ndata: hello from app\n\nevent: line\ndata: a line\n\n\
         event: end\ndata: the container has ended\n\n"
    );
    let refused = browser.get("/api/logs?namespace=shop&pod=api&container=secret").await;
    assert_eq!(text(refused).await, "event: end\ndata: pods/log is forbidden\n\n");
}
