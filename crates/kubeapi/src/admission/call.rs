//! Asking one webhook: an AdmissionReview over HTTPS, and what its answer means.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use palisade_tls::HttpsConnector;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{Operation, matching::Webhook};
use crate::{
    api::{Api, Call},
    endpoints::{self, PortName},
    http_io::MAX_BODY,
    ids, object,
    status::ApiError,
    write::Draft,
};

const DEFAULT_TIMEOUT: u64 = 10;
const MAX_TIMEOUT: u64 = 30;

/// Warnings that one webhook may add, and how long each may be.
const MAX_WARNINGS: usize = 8;
const MAX_WARNING: usize = 1024;

/// What a webhook that allows a request wants besides.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// Changes of the object.
    pub(super) patch: Option<json_patch::Patch>,
}

/// Where a webhook is.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Place {
    address: SocketAddr,
    server_name: String,
    port: u16,
    path: String,
}

/// Asks a webhook. An error is its refusal, or that it could not be asked and must be; none if
/// it could not be asked and need not be, or is not to be asked.
pub(super) async fn ask(
    api: &Api,
    webhook: &Webhook,
    call: &Call,
    operation: Operation,
    old: Option<&Value>,
    draft: &mut Draft,
) -> Result<Option<Answer>, ApiError> {
    let dry_run = call.query.dry_run()?;
    let side_effects = object::text(&webhook.value, "/sideEffects");
    if dry_run && !matches!(side_effects, "None" | "NoneOnDryRun") {
        return Err(ApiError::bad_request(format!(
            "admission webhook \"{}\" does not support dry run",
            webhook.name
        )));
    }
    let uid = ids::uid()?;
    let review = review(call, operation, old, draft, &uid, dry_run);
    let seconds = webhook.value.get("timeoutSeconds").and_then(Value::as_u64);
    let timeout = Duration::from_secs(seconds.unwrap_or(DEFAULT_TIMEOUT).clamp(1, MAX_TIMEOUT));
    let asked = tokio::time::timeout(timeout, post(api, webhook, &review, timeout)).await;
    let failure = match asked.unwrap_or_else(|_| Err("context deadline exceeded".to_owned())) {
        Ok(answer) => match read(webhook, &answer, &uid, draft) {
            Ok(result) => return result.map(Some),
            Err(why) => why,
        },
        Err(why) => why,
    };
    tracing::warn!(webhook = webhook.name, failure, "a webhook can't be asked");
    if object::text(&webhook.value, "/failurePolicy") == "Ignore" {
        return Ok(None);
    }
    Err(ApiError::internal(format!("failed calling webhook \"{}\": {failure}", webhook.name)))
}

fn review(
    call: &Call,
    operation: Operation,
    old: Option<&Value>,
    draft: &Draft,
    uid: &str,
    dry_run: bool,
) -> Value {
    let resource = &call.resource;
    let version = resource.storage_version();
    let name = match object::name(&draft.value) {
        "" => call.path.name.as_str(),
        name => name,
    };
    let object = (operation != Operation::Delete).then_some(&draft.value);
    let kind = json!({"group": resource.group, "version": version, "kind": resource.kind});
    let plural = json!({"group": resource.group, "version": version, "resource": resource.plural});
    let mut request = json!({
        "uid": uid,
        "kind": kind,
        "resource": plural,
        "requestKind": kind,
        "requestResource": plural,
        "name": name,
        "operation": operation.as_str(),
        "userInfo": call.user.to_json(),
        "object": object,
        "oldObject": old,
        "dryRun": dry_run,
        "options": null,
    });
    let fields = object::map(&mut request);
    if resource.namespaced {
        fields.insert("namespace".to_owned(), json!(call.path.namespace));
    }
    if !call.path.subresource.is_empty() {
        fields.insert("subResource".to_owned(), json!(call.path.subresource));
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
}

fn place(api: &Api, webhook: &Webhook) -> Result<Place, String> {
    let config = webhook.value.get("clientConfig").cloned().unwrap_or_default();
    if let Some(service) = config.get("service") {
        let (namespace, name) =
            (object::text(service, "/namespace"), object::text(service, "/name"));
        let port = service.get("port").and_then(Value::as_u64).unwrap_or(443);
        let port = u16::try_from(port).map_err(|_| format!("{port} is no port"))?;
        let address = endpoints::of_service(api, namespace, name, PortName::Number(port))
            .map_err(|error| error.to_string())?;
        let path = match object::text(service, "/path") {
            "" => "/".to_owned(),
            path => path.to_owned(),
        };
        return Ok(Place { address, server_name: format!("{name}.{namespace}.svc"), port, path });
    }
    from_url(object::text(&config, "/url"))
        .ok_or_else(|| "the webhook has no service, and no https URL with an address".to_owned())
}

/// A URL whose host is an address: names other than services' are not looked up here.
fn from_url(url: &str) -> Option<Place> {
    let rest = url.strip_prefix("https://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let with_port = if authority.ends_with(']') || !authority.contains(':') {
        format!("{authority}:443")
    } else {
        authority.to_owned()
    };
    let address: SocketAddr = with_port.replace("localhost:", "127.0.0.1:").parse().ok()?;
    let server_name = if authority.starts_with("localhost") {
        "localhost".to_owned()
    } else {
        address.ip().to_string()
    };
    Some(Place { address, server_name, port: address.port(), path: format!("/{path}") })
}

async fn post(
    api: &Api,
    webhook: &Webhook,
    review: &Value,
    timeout: Duration,
) -> Result<Value, String> {
    let place = place(api, webhook)?;
    let url = format!(
        "https://{}:{}{}?timeout={}s",
        place.server_name,
        place.port,
        place.path,
        timeout.as_secs()
    );
    let failed = |why: String| format!("failed to call webhook: Post \"{url}\": {why}");
    let bundle = object::text(&webhook.value, "/clientConfig/caBundle");
    let bundle =
        STANDARD.decode(bundle).map_err(|_| failed("caBundle is not base64".to_owned()))?;
    let bundle = String::from_utf8(bundle).map_err(|_| failed("caBundle is not PEM".to_owned()))?;
    let connector = HttpsConnector::new(&bundle, None, &["http/1.1"])
        .map_err(|error| failed(error.to_string()))?;
    let io = TcpStream::connect(place.address).await.map_err(|error| failed(error.to_string()))?;
    io.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
    let io = connector
        .connect(io, &place.server_name)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::post(format!("{}?timeout={}s", place.path, timeout.as_secs()))
        .header(header::HOST, format!("{}:{}", place.server_name, place.port))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(Full::new(Bytes::from(review.to_string())))
        .map_err(|error| failed(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_BODY)
        .collect()
        .await
        .map_err(|error| failed(error.to_string()))?;
    drop(connection);
    if status != StatusCode::OK {
        return Err(format!(
            "an error on the server (\"{status}\") has prevented the request from succeeding"
        ));
    }
    serde_json::from_slice(&body.to_bytes())
        .map_err(|error| format!("the answer is not JSON: {error}"))
}

/// What an answer means: the outer error is an answer that is none.
fn read(
    webhook: &Webhook,
    answer: &Value,
    uid: &str,
    draft: &mut Draft,
) -> Result<Result<Answer, ApiError>, String> {
    let response = answer.get("response").filter(|response| response.is_object());
    let response = response.ok_or("webhook response was absent")?;
    if object::text(response, "/uid") != uid {
        return Err("expected response.uid to be that of the request".to_owned());
    }
    for warning in object::array(response, "/warnings").filter_map(Value::as_str).take(MAX_WARNINGS)
    {
        draft.warnings.push(warning.chars().take(MAX_WARNING).collect());
    }
    match response.get("allowed") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => {
            let status = response.get("status").unwrap_or(&Value::Null);
            return Ok(Err(ApiError::denied_by_webhook(&webhook.name, status)));
        }
        _ => return Err("response.allowed is neither true nor false".to_owned()),
    }
    let patch = match (object::text(response, "/patch"), object::text(response, "/patchType")) {
        ("", _) => None,
        (patch, "JSONPatch") => {
            let patch = STANDARD.decode(patch).map_err(|_| "response.patch is not base64")?;
            let patch = serde_json::from_slice(&patch)
                .map_err(|error| format!("response.patch is not a JSON patch: {error}"))?;
            Some(patch)
        }
        (_, other) => return Err(format!("invalid response.patchType \"{other}\"")),
    };
    Ok(Ok(Answer { patch }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook() -> Webhook {
        Webhook { name: "x.example.com".to_owned(), value: json!({}) }
    }

    fn understood(response: &Value) -> Result<Result<Answer, ApiError>, String> {
        read(&webhook(), &json!({ "response": response }), "u", &mut Draft::of(json!({})))
    }

    #[test]
    fn a_refusal_is_told_in_the_webhooks_words() {
        let error = understood(
            &json!({"uid": "u", "allowed": false, "status": {"message": "no", "code": 422}}),
        )
        .unwrap()
        .unwrap_err();
        assert_eq!(error.to_string(), "admission webhook \"x.example.com\" denied the request: no");
        assert_eq!(error.code, StatusCode::UNPROCESSABLE_ENTITY);
        let error = understood(&json!({"uid": "u", "allowed": false})).unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "admission webhook \"x.example.com\" denied the request without explanation"
        );
        assert_eq!(error.code, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn an_answer_that_is_none_is_a_failure() {
        for response in [
            Value::Null,
            json!({"uid": "other", "allowed": true}),
            json!({"uid": "u"}),
            json!({"uid": "u", "allowed": true, "patch": "e30="}),
            json!({"uid": "u", "allowed": true, "patch": "%", "patchType": "JSONPatch"}),
            json!({"uid": "u", "allowed": true, "patch": "e30=", "patchType": "JSONPatch"}),
        ] {
            assert!(understood(&response).is_err(), "{response}");
        }
    }

    #[test]
    fn urls_name_addresses() {
        let place = from_url("https://127.0.0.1:9443/validate?x=y").unwrap();
        assert_eq!((place.port, place.path.as_str()), (9443, "/validate?x=y"));
        assert_eq!(from_url("https://localhost/").unwrap().server_name, "localhost");
        assert_eq!(from_url("http://127.0.0.1/"), None);
        assert_eq!(from_url("https://example.com/"), None);
    }
}
