//! Who may ask on the monitoring port, which every pod of a cluster reaches: for most pages somebody in the
//! control plane's own network stack, or who brings a token of one of two ServiceAccounts. These accounts may
//! do nothing at the API; its roles say who may make tokens of them.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header::WWW_AUTHENTICATE},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use palisade_pki::sha256_text;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;
use tonic::transport::server::TcpConnectInfo;

use crate::{
    authenticate::{AuthenticationError, Authenticator, Caller, MAX_TOKEN},
    gate::Wanted,
    metrics::Metrics,
};

/// What somebody may ask; each includes the ones before.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Access {
    /// What Istio's control plane tells everybody.
    Anybody,
    /// What is known of the mesh, and to hold a batch of changes together.
    Reader,
    /// To change the certificate authority.
    Operator,
}

/// Decides who may ask; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    authenticator: Authenticator,
    namespace: String,
    metrics: Arc<Metrics>,
    reviewed: Arc<Mutex<Reviewed>>,
}

impl Guard {
    /// Tokens are reviewed by `authenticator`; their accounts are of `namespace`.
    pub(crate) fn new(
        authenticator: Authenticator,
        namespace: &str,
        metrics: Arc<Metrics>,
    ) -> Self {
        let namespace = namespace.to_owned();
        Self { authenticator, namespace, metrics, reviewed: Arc::default() }
    }

    /// What the token in the headers gives access to; `Anybody` if it is of another account.
    async fn access(&self, headers: &HeaderMap) -> Result<Access, AuthenticationError> {
        let token = token(headers).ok_or(AuthenticationError::NoToken)?;
        let key = sha256_text(token.as_bytes());
        if let Some(known) = self.reviewed.lock().find(&key, Instant::now()) {
            return Ok(known);
        }
        let caller = self.authenticator.caller_of(token, AUDIENCE).await?;
        let access = self.access_of(&caller);
        if access > Access::Anybody {
            let (now, left) = (Instant::now(), left(token, Timestamp::now()));
            self.reviewed.lock().keep(key, access, now, left);
        }
        Ok(access)
    }

    fn access_of(&self, caller: &Caller) -> Access {
        match caller.service_account.as_str() {
            _ if caller.namespace != self.namespace => Access::Anybody,
            READER => Access::Reader,
            OPERATOR => Access::Operator,
            _ => Access::Anybody,
        }
    }
}

/// Lets callers through who may ask for what needs this access.
pub(crate) async fn admit(
    State((guard, needed)): State<(Guard, Access)>,
    Extension(info): Extension<TcpConnectInfo>,
    request: Request,
    next: Next,
) -> Response {
    if needed == Access::Anybody || is_own_stack(&info) {
        return next.run(request).await;
    }
    let (status, reason) = match guard.access(request.headers()).await {
        Ok(access) if access >= needed => return next.run(request).await,
        Ok(_) => (StatusCode::UNAUTHORIZED, "other_account"),
        Err(error @ AuthenticationError::Unavailable(_)) => {
            tracing::warn!(%error, "nobody can be let in to the monitoring port");
            (StatusCode::SERVICE_UNAVAILABLE, error.reason())
        }
        Err(error) => (StatusCode::UNAUTHORIZED, error.reason()),
    };
    guard.metrics.refused(Wanted::Monitoring, reason);
    tracing::debug!(from = ?info.remote_addr, path = request.uri().path(), reason, "not let in");
    if status != StatusCode::UNAUTHORIZED {
        return (status, "the API server does not review tokens now\n").into_response();
    }
    let account = if needed == Access::Operator { OPERATOR } else { READER };
    let namespace = &guard.namespace;
    let hint = format!(
        "only with a token of ServiceAccount {namespace}/{account}, audience {AUDIENCE}, in \
         {HEADER}: `palisade` gets one for who may `create` its `serviceaccounts/token`\n"
    );
    (status, [(WWW_AUTHENTICATE, CHALLENGE)], hint).into_response()
}

/// Whether a caller is in our own network stack: on loopback, or at the address that he called.
fn is_own_stack(info: &TcpConnectInfo) -> bool {
    let ip = |at: Option<SocketAddr>| at.map(|at| at.ip().to_canonical());
    let to = ip(info.local_addr);
    ip(info.remote_addr).is_some_and(|from| from.is_loopback() || Some(from) == to)
}

/// The token of the one header that has it; of several none counts.
fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(HEADER).iter();
    let token = values.next()?.to_str().ok()?;
    let sound = !token.is_empty() && token.len() <= MAX_TOKEN;
    (sound && values.next().is_none()).then_some(token)
}

/// How long a token that was reviewed is good for: what says so is in it (RFC 7519, section 4.1.4), and is
/// true, as the API has verified its signature. None where it does not say.
fn left(token: &str, now: Timestamp) -> Option<Duration> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let ends = Timestamp::from_second(claims.get("exp")?.as_i64()?).ok()?;
    Duration::try_from(ends.duration_since(now)).ok()
}

/// Good tokens, by their hash, for a short while. One that was refused is reviewed again whenever it comes.
#[derive(Debug, Default)]
struct Reviewed(BTreeMap<String, (Access, Instant)>);

impl Reviewed {
    fn find(&self, key: &str, now: Instant) -> Option<Access> {
        self.0.get(key).filter(|(_, until)| now < *until).map(|(access, _)| *access)
    }

    /// Keeps a token that is good for as long as is `left`, but not longer than [`KEPT`].
    fn keep(&mut self, key: String, access: Access, now: Instant, left: Option<Duration>) {
        let Some(left) = left else { return };
        self.0.retain(|_, (_, until)| now < *until);
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(key, (access, now + left.min(KEPT)));
    }
}

const READER: &str = "palisade-reader";
const OPERATOR: &str = "palisade-operator";
/// Audience of their tokens: neither the API nor anybody else takes them.
const AUDIENCE: &str = "palisade-control";
const HEADER: &str = "x-palisade-token";
const CHALLENGE: &str = "X-Palisade-Token realm=\"palisade-control\"";
/// How long a review holds.
const KEPT: Duration = Duration::from_secs(60);
/// How many are kept.
const MOST: usize = 64;

#[cfg(test)]
mod tests;
