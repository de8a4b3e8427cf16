//! Tokens that open the control plane's monitoring port: of ServiceAccounts that may do nothing else, made by the
//! API for whoever may `create` them (TokenRequest), kept in memory only.

use std::collections::BTreeMap;

use kube::Client;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;
use tokio::time::{Duration, Instant};

/// As whom the control plane is asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Account {
    /// May read, and hold a batch of changes together.
    Reader,
    /// May change the certificate authority, too.
    Operator,
}

impl Account {
    fn name(self) -> &'static str {
        match self {
            Self::Reader => "palisade-reader",
            Self::Operator => "palisade-operator",
        }
    }
}

/// Why there is no token.
#[derive(Debug, Error)]
pub(super) enum TokenError {
    #[error(
        "it answers who may `create` `serviceaccounts/token` of {NAMESPACE}/{name}, and you may not: {why}"
    )]
    Forbidden { name: &'static str, why: String },
    #[error("there is no ServiceAccount {NAMESPACE}/{name}: `palisade install` makes it")]
    NoAccount { name: &'static str },
    #[error("cannot get a token of {NAMESPACE}/{name}: {source}")]
    Failed { name: &'static str, source: kube::Error },
}

/// The tokens that are held.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<BTreeMap<Account, Held>>);

#[derive(Debug)]
struct Held {
    token: String,
    until: Instant,
}

#[derive(Deserialize)]
struct TokenRequest {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    token: String,
}

impl Tokens {
    /// A token that is good for a while yet.
    pub(super) fn held(&self, account: Account) -> Option<String> {
        let held = self.0.lock();
        held.get(&account).filter(|it| Instant::now() < it.until).map(|it| it.token.clone())
    }

    /// A new one.
    pub(super) async fn renew(
        &self,
        client: &Client,
        account: Account,
    ) -> Result<String, TokenError> {
        let name = account.name();
        let asked = Instant::now();
        let refused = |source: kube::Error| match source {
            kube::Error::Api(status) if status.code == 403 => {
                TokenError::Forbidden { name, why: status.message }
            }
            kube::Error::Api(status) if status.code == 404 => TokenError::NoAccount { name },
            source => TokenError::Failed { name, source },
        };
        let request = request(name).map_err(|error| refused(kube::Error::HttpError(error)))?;
        let answer: TokenRequest = client.request(request).await.map_err(refused)?;
        let token = answer.status.token;
        let held = Held { token: token.clone(), until: asked + LIFE - MARGIN };
        self.0.lock().insert(account, held);
        Ok(token)
    }
}

fn request(account: &str) -> http::Result<http::Request<Vec<u8>>> {
    let question = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {},
        "spec": {"audiences": [AUDIENCE], "expirationSeconds": LIFE.as_secs()},
    });
    let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token");
    http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(question.to_string().into_bytes())
}

const NAMESPACE: &str = "istio-system";
/// The control plane's monitoring port, and nothing else.
const AUDIENCE: &str = "palisade-control";
/// The shortest that the API makes.
const LIFE: Duration = Duration::from_secs(600);
/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(60);
