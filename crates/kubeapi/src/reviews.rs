//! Questions about identity and rights: TokenRequest, TokenReview and the access reviews.
//!
//! None of these objects is stored. A token is as good as the account and the pod that it is
//! bound to: both must still be there, with the same uid.

use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::{
    api::{Api, Call},
    auth::{self, Action, Identity},
    body,
    http_io::{self, Answer},
    ids, object,
    status::{ApiError, Cause},
    tokens::{Bound, Claims, ISSUER, KubernetesClaims, TokenError},
};

/// Shortest and longest life of a token, and what is given if none is asked for.
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
const DEFAULT_SECONDS: i64 = 3600;

/// Answers `create` of a review.
pub(crate) fn create(api: &Api, call: &Call, bytes: &[u8]) -> Result<Answer, ApiError> {
    let mut review = body::value(&call.headers, bytes, &call.resource.kind)?;
    let api_version = call.resource.api_version(&call.path.version);
    body::expect_kind(&mut review, &api_version, &call.resource.kind)?;
    let status = match call.resource.plural.as_str() {
        "tokenreviews" => token_review(api, &review),
        "selfsubjectreviews" => json!({"userInfo": call.user.to_json()}),
        "selfsubjectaccessreviews" => access_review(&call.user, &review),
        "selfsubjectrulesreviews" => rules_review(&call.user),
        "subjectaccessreviews" | "localsubjectaccessreviews" => {
            access_review(&subject(&review), &review)
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    let fields = object::map(&mut review);
    fields.insert("status".to_owned(), status);
    object::canonical_order(&mut review);
    Ok(http_io::json_value(StatusCode::CREATED, &review))
}

/// Who a bearer token proves, if the API itself is meant.
pub(crate) fn authenticate(api: &Api, headers: &HeaderMap) -> Result<Option<Identity>, ApiError> {
    let Some(value) = headers.get(http::header::AUTHORIZATION) else { return Ok(None) };
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(ApiError::unauthorized)?;
    let claims = verify(api, token, &[ISSUER.to_owned()]).map_err(|error| {
        tracing::debug!(%error, "a bearer token was refused");
        ApiError::unauthorized()
    })?;
    Ok(Some(identity(&claims)))
}

/// Checks a token and that what it is bound to still exists.
fn verify(api: &Api, token: &str, audiences: &[String]) -> Result<Claims, TokenError> {
    let claims = api.tokens.verify(token, audiences, Timestamp::now().as_second())?;
    let bound = &claims.kubernetes;
    let is_there = |resource: &str, wanted: &Bound| {
        let found = api.find(resource, &bound.namespace, &wanted.name);
        found.is_some_and(|found| object::uid(&found.value) == wanted.uid)
    };
    let account = &bound.serviceaccount;
    if !is_there("serviceaccounts", account) {
        return Err(TokenError::Unbound("service account has been invalidated".to_owned()));
    }
    if let Some(pod) = &bound.pod
        && !is_there("pods", pod)
    {
        return Err(TokenError::Unbound("pod has been invalidated".to_owned()));
    }
    Ok(claims)
}

fn identity(claims: &Claims) -> Identity {
    let bound = &claims.kubernetes;
    let account = &bound.serviceaccount;
    let mut identity = Identity::service_account(&bound.namespace, &account.name, &account.uid);
    let mut tell = |key: &str, value: String| {
        identity.extra.push((format!("authentication.kubernetes.io/{key}"), value));
    };
    tell("credential-id", format!("JTI={}", claims.jti));
    if let Some(pod) = &bound.pod {
        tell("pod-name", pod.name.clone());
        tell("pod-uid", pod.uid.clone());
    }
    identity
}

fn token_review(api: &Api, review: &Value) -> Value {
    let asked = strings(review, "/spec/audiences");
    let audiences = if asked.is_empty() { vec![ISSUER.to_owned()] } else { asked };
    match verify(api, object::text(review, "/spec/token"), &audiences) {
        Ok(claims) => {
            let common: Vec<&String> =
                audiences.iter().filter(|audience| claims.aud.contains(audience)).collect();
            json!({"authenticated": true, "user": identity(&claims).to_json(), "audiences": common})
        }
        Err(error) => json!({"user": {}, "error": error.to_string()}),
    }
}

fn subject(review: &Value) -> Identity {
    Identity {
        name: object::text(review, "/spec/user").to_owned(),
        uid: object::text(review, "/spec/uid").to_owned(),
        groups: strings(review, "/spec/groups"),
        extra: Vec::new(),
    }
}

fn access_review(who: &Identity, review: &Value) -> Value {
    let allowed = match review.pointer("/spec/nonResourceAttributes") {
        Some(attributes) if !attributes.is_null() => {
            let path = object::text(attributes, "/path").split('/').filter(|part| !part.is_empty());
            let path: Vec<String> = path.map(str::to_owned).collect();
            let reads = matches!(object::text(attributes, "/verb"), "get" | "head");
            who.is_privileged() || (reads && auth::may_read_path(who, &path))
        }
        _ => {
            let attribute =
                |key: &str| object::text(review, &format!("/spec/resourceAttributes/{key}"));
            let action = Action {
                verb: attribute("verb"),
                group: attribute("group"),
                resource: attribute("resource"),
                subresource: attribute("subresource"),
            };
            auth::may(who, &action)
        }
    };
    if allowed { json!({"allowed": true}) } else { json!({"allowed": false}) }
}

fn rules_review(who: &Identity) -> Value {
    let rules = if who.is_privileged() {
        json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}])
    } else {
        json!([
            {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"],
             "resources": ["selfsubjectreviews"]},
            {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
             "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
        ])
    };
    let paths = if who.is_privileged() {
        json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}])
    } else {
        json!([{"verbs": ["get"], "nonResourceURLs":
                ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi",
                 "/openapi/*", "/readyz", "/version", "/version/"]}])
    };
    json!({"resourceRules": rules, "nonResourceRules": paths, "incomplete": false})
}

/// Answers `create` of `serviceaccounts/token`.
pub(crate) fn token_request(api: &Api, call: &Call, bytes: &[u8]) -> Result<Answer, ApiError> {
    let account = api.get(call)?;
    let mut request = body::value(&call.headers, bytes, "TokenRequest")?;
    body::expect_kind(&mut request, "authentication.k8s.io/v1", "TokenRequest")?;
    let asked = strings(&request, "/spec/audiences");
    let audiences = if asked.is_empty() { vec![ISSUER.to_owned()] } else { asked };
    let seconds = lifetime(call, &request)?;
    let pod = bound_pod(api, call, &account.value, &request)?;
    let now = Timestamp::now().as_second();
    let name = object::name(&account.value);
    let namespace = &call.path.namespace;
    let claims = Claims {
        aud: audiences.clone(),
        exp: now + seconds,
        iat: now,
        iss: ISSUER.to_owned(),
        jti: ids::uid()?,
        kubernetes: KubernetesClaims {
            namespace: namespace.clone(),
            pod,
            serviceaccount: Bound {
                name: name.to_owned(),
                uid: object::uid(&account.value).to_owned(),
            },
        },
        nbf: now,
        sub: format!("{}{namespace}:{name}", auth::SERVICE_ACCOUNT),
    };
    let token = api.tokens.sign(&claims)?;
    let expires = Timestamp::from_second(now)
        .and_then(|time| time.checked_add(SignedDuration::from_secs(seconds)))
        .map_err(|_| ApiError::internal("a token's expiry is beyond all calendars"))?;
    let mut spec = Map::new();
    spec.insert("audiences".to_owned(), json!(audiences));
    spec.insert("expirationSeconds".to_owned(), json!(seconds));
    let reference = request.pointer("/spec/boundObjectRef").cloned().unwrap_or_default();
    spec.insert("boundObjectRef".to_owned(), reference);
    let answer = json!({
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": name, "namespace": namespace, "uid": object::uid(&account.value),
                     "creationTimestamp": object::now()},
        "spec": spec,
        "status": {"token": token, "expirationTimestamp": object::timestamp(expires)},
    });
    Ok(http_io::json_value(StatusCode::CREATED, &answer))
}

fn lifetime(call: &Call, request: &Value) -> Result<i64, ApiError> {
    let asked = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    let seconds = asked.unwrap_or(DEFAULT_SECONDS);
    let rule = if seconds < MIN_SECONDS {
        "may not specify a duration less than 10 minutes"
    } else if seconds > MAX_SECONDS {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(seconds);
    };
    let cause = Cause::invalid("spec.expirationSeconds", &json!(seconds), rule);
    let resource = crate::resource::Resource {
        group: "authentication.k8s.io".to_owned(),
        kind: "TokenRequest".to_owned(),
        ..crate::resource::Resource::default()
    };
    Err(ApiError::invalid(&resource, &call.path.name, &[cause]))
}

fn bound_pod(
    api: &Api,
    call: &Call,
    account: &Value,
    request: &Value,
) -> Result<Option<Bound>, ApiError> {
    let Some(reference) = request.pointer("/spec/boundObjectRef").filter(|r| !r.is_null()) else {
        return Ok(None);
    };
    if object::text(reference, "/kind") != "Pod" {
        return Err(ApiError::bad_request("cannot bind token to object: only pods are supported"));
    }
    let name = object::text(reference, "/name");
    let registry = api.registry();
    let pods = registry.by_name("", "pods").ok_or_else(ApiError::no_such_path)?;
    let pod = api
        .find("pods", &call.path.namespace, name)
        .ok_or_else(|| ApiError::not_found(pods, name))?;
    let (uid, asked) = (object::uid(&pod.value), object::text(reference, "/uid"));
    if !asked.is_empty() && asked != uid {
        let why = format!(
            "the UID in the bound object reference ({asked}) does not match the UID in record. \
             The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict_because(pods, name, &why));
    }
    if object::text(&pod.value, "/spec/serviceAccountName") != object::name(account) {
        return Err(ApiError::bad_request(format!(
            "cannot bind token for serviceaccount \"{}\" to pod running with different \
             serviceaccount name.",
            object::name(account)
        )));
    }
    Ok(Some(Bound { name: name.to_owned(), uid: uid.to_owned() }))
}

fn strings(value: &Value, pointer: &str) -> Vec<String> {
    object::array(value, pointer).filter_map(Value::as_str).map(str::to_owned).collect()
}
