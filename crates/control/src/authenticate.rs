//! Who calls: a ServiceAccount token of audience `istio-ca`, reviewed by the Kubernetes API. Nothing
//! else identifies a sidecar to the control plane.

use std::{net::IpAddr, sync::Arc, time::Duration};

use kube::Client;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::{sync::Semaphore, time::timeout};
use tonic::metadata::MetadataMap;

use crate::{kinds, kubernetes};

/// A caller whose token was accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Caller {
    pub(crate) namespace: String,
    pub(crate) service_account: String,
    /// Name of the pod that the token is bound to.
    pub(crate) pod: Option<String>,
}

/// Why a caller is turned away; goes to the log, and as much to him as he may know.
#[derive(Debug, Error)]
pub(crate) enum AuthenticationError {
    #[error("no bearer token")]
    NoToken,
    #[error("the token is not valid: {0}")]
    Invalid(String),
    #[error("the token is not for audience `{0}`")]
    Audience(&'static str),
    #[error("`{0}` is no ServiceAccount")]
    NoServiceAccount(String),
    #[error("the token is bound to pod `{pod}` at {address}, and came from elsewhere")]
    Elsewhere { pod: String, address: IpAddr },
    #[error("the token can't be reviewed: {0}")]
    Unavailable(String),
}

impl AuthenticationError {
    /// A stable name for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Invalid(_) => "invalid_token",
            Self::Audience(_) => "other_audience",
            Self::NoServiceAccount(_) => "no_service_account",
            Self::Elsewhere { .. } => "other_address",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl From<&AuthenticationError> for tonic::Status {
    fn from(error: &AuthenticationError) -> Self {
        match error {
            AuthenticationError::Unavailable(_) => Self::unavailable("token review failed"),
            AuthenticationError::NoToken
            | AuthenticationError::Invalid(_)
            | AuthenticationError::Audience(_)
            | AuthenticationError::Elsewhere { .. }
            | AuthenticationError::NoServiceAccount(_) => Self::unauthenticated("token refused"),
        }
    }
}

/// Where tokens are reviewed.
#[derive(Clone)]
pub(crate) enum Authenticator {
    /// At the Kubernetes API, a few at a time.
    Kubernetes(Client, Arc<Semaphore>),
    /// At a function: token to `status` of the review.
    #[cfg(test)]
    Function(Arc<dyn Fn(&str) -> Value + Send + Sync>),
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authenticator")
    }
}

impl Authenticator {
    pub(crate) fn kubernetes(client: Client) -> Self {
        Self::Kubernetes(client, Arc::new(Semaphore::new(CONCURRENT_REVIEWS)))
    }

    /// The caller behind the metadata of a request.
    pub(crate) async fn caller(
        &self,
        metadata: &MetadataMap,
    ) -> Result<Caller, AuthenticationError> {
        let token = bearer(metadata).ok_or(AuthenticationError::NoToken)?;
        self.caller_of(token, AUDIENCE).await
    }

    /// The caller whom a token of an audience proves.
    pub(crate) async fn caller_of(
        &self,
        token: &str,
        audience: &'static str,
    ) -> Result<Caller, AuthenticationError> {
        caller(&self.review(token, audience).await?, audience)
    }

    async fn review(&self, token: &str, audience: &str) -> Result<Value, AuthenticationError> {
        match self {
            Self::Kubernetes(client, reviews) => {
                let unavailable = |why: String| AuthenticationError::Unavailable(why);
                let _permit = reviews.acquire().await.map_err(|e| unavailable(e.to_string()))?;
                let question = json!({
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenReview",
                    "metadata": {},
                    "spec": {"token": token, "audiences": [audience]},
                });
                let reviews = kinds::token_reviews();
                timeout(PATIENCE, kubernetes::create(client, &reviews, question))
                    .await
                    .map_err(|_| unavailable("the API server does not answer".to_owned()))?
                    .map(|mut answer| answer.get_mut("status").map(Value::take).unwrap_or_default())
                    .map_err(|error| unavailable(kubernetes::said(&error)))
            }
            #[cfg(test)]
            Self::Function(function) => Ok(function(token)),
        }
    }
}

/// The token of `authorization: Bearer TOKEN`; of several headers none counts.
fn bearer(metadata: &MetadataMap) -> Option<&str> {
    let mut values = metadata.get_all("authorization").iter();
    let value = values.next()?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    let sound =
        scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= MAX_TOKEN;
    (sound && values.next().is_none()).then_some(token)
}

/// The caller that a review's `status` names.
fn caller(status: &Value, audience: &'static str) -> Result<Caller, AuthenticationError> {
    if status.get("authenticated").and_then(Value::as_bool) != Some(true) {
        let why = status.get("error").and_then(Value::as_str).unwrap_or("not authenticated");
        return Err(AuthenticationError::Invalid(why.to_owned()));
    }
    // A server that knows no audiences would leave them out: then the token is for anybody.
    if !strings(status.get("audiences")).any(|it| it == audience) {
        return Err(AuthenticationError::Audience(audience));
    }
    let user = status.get("user").unwrap_or(&Value::Null);
    let name = user.get("username").and_then(Value::as_str).unwrap_or_default();
    let no_account = || AuthenticationError::NoServiceAccount(name.to_owned());
    if !strings(user.get("groups")).any(|group| group == "system:serviceaccounts") {
        return Err(no_account());
    }
    let (namespace, service_account) = name
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
        .filter(|(namespace, account)| !namespace.is_empty() && !account.is_empty())
        .ok_or_else(no_account)?;
    Ok(Caller {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        pod: strings(user.pointer(POD_NAME)).next().map(str::to_owned),
    })
}

fn strings(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Audience of the tokens that sidecars present (Istio's).
const AUDIENCE: &str = "istio-ca";
/// Where a review says which pod a token is bound to.
const POD_NAME: &str = "/extra/authentication.kubernetes.io~1pod-name";
/// Longest token that is passed on.
pub(crate) const MAX_TOKEN: usize = 16 << 10;
/// How long a review may take.
const PATIENCE: Duration = Duration::from_secs(10);
const CONCURRENT_REVIEWS: usize = 32;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What the API says of a good token.
    pub(crate) fn status(namespace: &str, account: &str, pod: Option<&str>) -> Value {
        let mut status = json!({
            "authenticated": true,
            "audiences": ["istio-ca"],
            "user": {
                "username": format!("system:serviceaccount:{namespace}:{account}"),
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1"]},
            },
        });
        if let Some(pod) = pod {
            status["user"]["extra"]["authentication.kubernetes.io/pod-name"] = json!([pod]);
        }
        status
    }

    #[test]
    fn a_caller_is_the_service_account_and_pod_of_its_token() {
        let caller = caller(&status("shop", "web", Some("web-1")), AUDIENCE).unwrap();
        assert_eq!((caller.namespace.as_str(), caller.service_account.as_str()), ("shop", "web"));
        assert_eq!(caller.pod.as_deref(), Some("web-1"));
    }

    #[test]
    fn anything_less_than_a_service_account_token_for_us_is_nobody() {
        let changed = |change: fn(&mut Value)| {
            let mut status = status("shop", "web", None);
            change(&mut status);
            status
        };
        for status in [
            Value::Null,
            changed(|it| it["authenticated"] = json!(false)),
            changed(|it| it["authenticated"] = json!("true")),
            changed(|it| it["audiences"] = json!(["https://kubernetes.default.svc"])),
            changed(|it| it["audiences"] = Value::Null),
            changed(|it| it["user"]["groups"] = json!(["system:masters"])),
            changed(|it| it["user"]["username"] = json!("system:node:node1")),
            changed(|it| it["user"]["username"] = json!("system:serviceaccount:shop")),
            changed(|it| it["user"]["username"] = json!("system:serviceaccount::web")),
            changed(|it| it["user"]["username"] = json!("kubernetes-admin")),
        ] {
            assert!(caller(&status, AUDIENCE).is_err(), "{status}");
        }
    }

    #[test]
    fn only_one_bearer_token_is_a_token() {
        for (values, expected) in [
            (&["Bearer abc"][..], Some("abc")),
            (&["bearer abc"], Some("abc")),
            (&["Basic abc"], None),
            (&["Bearer "], None),
            (&["abc"], None),
            (&["Bearer abc", "Bearer def"], None),
            (&[], None),
        ] {
            let mut metadata = MetadataMap::new();
            for value in values {
                metadata.append("authorization", value.parse().unwrap());
            }
            assert_eq!(bearer(&metadata), expected, "{values:?}");
        }
    }
}
