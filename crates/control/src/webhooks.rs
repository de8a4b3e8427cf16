//! The webhooks that an API server calls: `/inject` gives pods their sidecars, `/validate` refuses
//! what Istio's webhook would refuse, with every problem in one message.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use palisade_manifest::validate_object;
use palisade_types::Diagnostic;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    history::History,
    index::{Published, Stored},
    inject::{Injection, Template, inject},
    metrics::Metrics,
};

/// What the webhooks need.
#[derive(Clone, Debug)]
pub(crate) struct Webhooks {
    pub(crate) published: watch::Receiver<Arc<Published>>,
    /// The template, but for the trust domain, which is the mesh's, and for what the API server knows.
    pub(crate) template: Template,
    pub(crate) history: History,
    pub(crate) metrics: Arc<Metrics>,
}

impl Webhooks {
    /// Answers an API server that knows native sidecars, or one that does not.
    pub(crate) fn router(mut self, native_sidecars: bool) -> Router {
        self.template.native_sidecars = native_sidecars;
        Router::new()
            .route("/inject", post(on_inject))
            .route("/validate", post(on_validate))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self)
    }
}

/// `admission.k8s.io/v1` AdmissionReview, as it comes in.
#[derive(Debug, Deserialize)]
struct Review {
    request: Question,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    uid: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    kind: GroupVersionKind,
    #[serde(default)]
    user_info: UserInfo,
    #[serde(default)]
    dry_run: bool,
    /// Null for a deletion.
    #[serde(default)]
    object: Value,
}

#[derive(Debug, Default, Deserialize)]
struct GroupVersionKind {
    #[serde(default)]
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
struct UserInfo {
    #[serde(default)]
    username: String,
}

/// The answer to a question.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    /// Why it is refused, if it is.
    refusal: Option<String>,
    warnings: Vec<String>,
    patch: Option<Value>,
}

impl Answer {
    fn to_review(&self, uid: &str) -> Value {
        let mut response = json!({"uid": uid, "allowed": self.refusal.is_none()});
        if let Some(message) = &self.refusal {
            response["status"] =
                json!({"status": "Failure", "reason": "Invalid", "code": 422, "message": message});
        }
        if !self.warnings.is_empty() {
            response["warnings"] = json!(self.warnings);
        }
        if let Some(patch) = &self.patch {
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(BASE64_STANDARD.encode(patch.to_string()));
        }
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }
}

async fn on_inject(State(webhooks): State<Webhooks>, Json(review): Json<Review>) -> Response {
    let published = Arc::clone(&webhooks.published.borrow());
    if !published.missing.is_empty() {
        let message = "the control plane has not read the mesh's settings yet";
        return (StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    }
    let trust_domain = published.mesh().trust_domain.to_string();
    let template = Template { trust_domain, ..webhooks.template };
    let answer = injected(&review.request, &template);
    if answer.patch.is_some() {
        webhooks.metrics.injections.add(1);
    }
    Json(answer.to_review(&review.request.uid)).into_response()
}

async fn on_validate(State(webhooks): State<Webhooks>, Json(review): Json<Review>) -> Response {
    let answer = validated(&review.request.object);
    if answer.refusal.is_some() {
        webhooks.metrics.refused_objects.add(1);
    } else if !review.request.dry_run {
        let Question { kind, namespace, name, user_info, .. } = &review.request;
        let (namespace, name) = (namespace.clone(), name.clone());
        let at = Stored { kind: kind.kind.clone(), namespace, name };
        webhooks.history.authored(at, &user_info.username);
    }
    Json(answer.to_review(&review.request.uid)).into_response()
}

fn injected(question: &Question, template: &Template) -> Answer {
    match inject(&question.object, &question.namespace, template) {
        Injection::Inject(pod) => {
            let patch = json_patch::diff(&question.object, &pod);
            Answer { patch: serde_json::to_value(patch).ok(), ..Answer::default() }
        }
        Injection::Skip(reason) => {
            tracing::debug!(namespace = question.namespace, reason, "pod not injected");
            Answer::default()
        }
        Injection::Refuse(reason) => Answer { refusal: Some(reason), ..Answer::default() },
    }
}

/// Refuses an object with any error; one that is deleted may go as it is.
fn validated(object: &Value) -> Answer {
    if object.is_null()
        || object.pointer("/metadata/deletionTimestamp").is_some_and(|it| !it.is_null())
    {
        return Answer::default();
    }
    let (errors, warnings): (Vec<Diagnostic>, Vec<Diagnostic>) =
        validate_object(object).into_iter().partition(Diagnostic::is_error);
    let refusal = (!errors.is_empty()).then(|| {
        let text = |field: &str| object.pointer(field).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let problems: Vec<String> = errors.iter().map(described).collect();
        format!("invalid {kind} {name}: {}", problems.join("; "))
    });
    Answer { refusal, warnings: warnings.iter().map(described).collect(), patch: None }
}

fn described(problem: &Diagnostic) -> String {
    let field = problem.field.as_deref().map(|field| format!("{field}: ")).unwrap_or_default();
    let help = problem.help.as_deref().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{field}{}{help}", problem.message)
}

/// An API server takes objects of 3 MiB, and sends old and new.
const MAX_BODY: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use tower::ServiceExt;

    use super::*;
    use crate::inject::Redirect;
    use crate::{index::Source, kubernetes::Change, testing::Control};

    fn template() -> Template {
        Template {
            image: "palisade.dev/proxy:0.1.0".to_owned(),
            redirect: Redirect::Node,
            native_sidecars: true,
            control_address: "istiod.istio-system.svc:15012".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            certificate_seconds: 3600,
        }
    }

    fn question(object: Value) -> Question {
        let (uid, namespace) = ("u-1".to_owned(), "shop".to_owned());
        let (kind, user_info) = (GroupVersionKind::default(), UserInfo::default());
        Question { uid, namespace, name: String::new(), kind, user_info, dry_run: false, object }
    }

    #[test]
    fn the_patch_makes_the_injected_pod_of_the_pod() {
        let pod = json!({
            "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "web", "image": "i"}]},
        });
        let review = injected(&question(pod.clone()), &template()).to_review("u-1");
        let patch = review["response"]["patch"].as_str().unwrap();
        let patch: json_patch::Patch =
            serde_json::from_slice(&BASE64_STANDARD.decode(patch).unwrap()).unwrap();
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(Injection::Inject(patched.clone()), inject(&pod, "shop", &template()));
        assert_eq!(review["response"]["allowed"], true);
        let again = injected(&question(patched), &template());
        assert_eq!(again.patch, Some(json!([])), "the second time nothing is left to patch");
    }

    async fn posted(webhooks: &Webhooks, path: &str, review: &Value) -> (StatusCode, Value) {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(Body::from(review.to_string()))
            .unwrap();
        let answer = webhooks.clone().router(true).oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), MAX_BODY).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn no_pod_is_admitted_before_the_meshs_settings_are_known() {
        let mut control = Control::start(&[]).await;
        let (start, unknown) = watch::channel(Arc::new(Published::start()));
        let metrics = Arc::default();
        let history = History::open(None).0;
        let mut webhooks = Webhooks { published: unknown, template: template(), history, metrics };
        let pod = json!({"spec": {"containers": [{"name": "web"}]}});
        let review = json!({"request": {"uid": "u-1", "namespace": "shop", "object": pod}});
        let (status, _) = posted(&webhooks, "/inject", &review).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        drop(start);
        let config_map = json!({
            "metadata": {"name": "istio", "namespace": "istio-system", "resourceVersion": "9"},
            "data": {"mesh": "trustDomain: example.com"},
        });
        control.change(Source::MeshConfig, Change::Apply(config_map)).await;
        control.wait(|it| it.mesh().trust_domain.as_str() == "example.com").await;
        webhooks.published = control.published.clone();
        let (status, answer) = posted(&webhooks, "/inject?timeout=10s", &review).await;
        assert_eq!((status, &answer["response"]["uid"]), (StatusCode::OK, &json!("u-1")));
        let patch = BASE64_STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
        assert!(String::from_utf8(patch).unwrap().contains("example.com"));
    }

    #[test]
    fn a_broken_policy_is_refused_with_all_its_problems_and_a_good_one_is_not() {
        let policy = |spec: Value| {
            json!({
                "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": {"name": "p", "namespace": "shop"}, "spec": spec,
            })
        };
        assert_eq!(validated(&policy(json!({}))), Answer::default());
        let broken = policy(json!({"action": "PERMIT", "rulez": []}));
        insta::assert_json_snapshot!("refused_policy", validated(&broken).to_review("u-1"));
        let mut leaving = broken;
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(validated(&leaving), Answer::default());
    }
}
