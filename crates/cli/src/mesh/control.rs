//! What is asked of the control plane: its monitoring port, through the API. In a cluster that port answers
//! only who brings a token, which is got when it is asked for.

use std::pin::pin;

use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, TryStreamExt};
use http::header::CONTENT_TYPE;
use serde_json::Value;
use tokio::time::{Duration, timeout};

use super::{Mesh, token::Account};
use crate::{CliError, error::During};

impl Mesh {
    /// What each sidecar has in force, in Istio's form.
    ///
    /// # Errors
    /// When API or control plane can't be reached or answer with an error.
    pub async fn sync_status(&self) -> Result<Vec<Value>, CliError> {
        match self.control("debug/syncz").await? {
            Value::Array(proxies) => Ok(proxies),
            _ => Err(CliError::Trouble("the control plane's sync status is no list".to_owned())),
        }
    }

    /// Follows what sidecars report (`/debug/telemetry`), one JSON document a line, until the control plane
    /// ends or `take` has an error.
    ///
    /// # Errors
    /// When API or control plane can't be reached, or the stream breaks.
    pub async fn follow_telemetry(
        &self,
        mut take: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<(), CliError> {
        let what = "follow the sidecars' reports";
        let question = Question { account: Account::Reader, path: "debug/telemetry", body: None };
        let mut lines = pin!(self.asked(what, &question).await?.lines());
        while let Some(line) = lines.try_next().await.during(what)? {
            take(&line).during(what)?;
        }
        Ok(())
    }

    /// The configuration that the control plane has for the sidecar of a pod.
    ///
    /// # Errors
    /// When API or control plane can't be reached or answer with an error, such as for a pod without sidecar.
    pub async fn sidecar_config(&self, namespace: &str, pod: &str) -> Result<Value, CliError> {
        self.control(&format!("debug/config/{namespace}/{pod}")).await
    }

    /// A GET to the control plane's monitoring port.
    ///
    /// # Errors
    /// When API or control plane can't be reached or answer with an error.
    pub(crate) async fn control(&self, path: &str) -> Result<Value, CliError> {
        let question = Question { account: Account::Reader, path, body: None };
        self.answer("ask the control plane", &question).await
    }

    /// A POST of JSON, or of nothing, to the control plane's monitoring port.
    ///
    /// # Errors
    /// When API or control plane can't be reached or answer with an error.
    pub(crate) async fn tell_control(&self, path: &str, body: Vec<u8>) -> Result<Value, CliError> {
        let question = Question { account: Account::Reader, path, body: Some(body) };
        self.answer("tell the control plane", &question).await
    }

    /// Takes the next step of a rotation of the root, to an authority if one is named.
    ///
    /// # Errors
    /// When API or control plane can't be reached or answer with an error.
    pub(crate) async fn rotate_root(&self, to: Vec<u8>) -> Result<Value, CliError> {
        let (account, path) = (Account::Operator, "debug/ca/rotate");
        let question = Question { account, path, body: Some(to) };
        self.answer("rotate the root", &question).await
    }

    /// The control plane's version, which it tells everybody as plain text.
    ///
    /// # Errors
    /// When API or control plane can't be reached or answer with an error.
    pub(crate) async fn control_version(&self) -> Result<String, CliError> {
        let question = Question { account: Account::Reader, path: "version", body: None };
        self.text("ask the control plane", &question).await
    }

    async fn answer(&self, what: &str, question: &Question<'_>) -> Result<Value, CliError> {
        serde_json::from_str(&self.text(what, question).await?).during(what)
    }

    /// One that hangs is not waited for: it keeps its connections open, and says nothing.
    async fn text(&self, what: &str, question: &Question<'_>) -> Result<String, CliError> {
        let whole = async {
            let mut text = String::new();
            let mut answer = pin!(self.asked(what, question).await?);
            answer.read_to_string(&mut text).await.during(what)?;
            Ok(text)
        };
        timeout(PATIENCE, whole).await.map_err(|_| hangs(what))?
    }

    /// Asks, and once more with a new token if the first time was not enough.
    async fn asked(
        &self,
        what: &str,
        question: &Question<'_>,
    ) -> Result<impl AsyncBufRead + use<>, CliError> {
        let account = question.account;
        let held = self.tokens.held(account);
        let first = question.request(held.as_deref()).during(what)?;
        match self.client.request_stream(first).await {
            Err(kube::Error::Api(status)) if status.code == 401 => {
                let token = self.tokens.renew(&self.client, account).await.during(what)?;
                let second = question.request(Some(&token)).during(what)?;
                self.client.request_stream(second).await.during(what)
            }
            answer => answer.during(what),
        }
    }
}

/// What is asked, and as whom where that is asked for.
struct Question<'a> {
    account: Account,
    path: &'a str,
    /// None: a GET.
    body: Option<Vec<u8>>,
}

impl Question<'_> {
    fn request(&self, token: Option<&str>) -> http::Result<http::Request<Vec<u8>>> {
        let uri = format!("{CONTROL}/{}", self.path);
        let request = match self.body {
            None => http::Request::get(uri),
            Some(_) => http::Request::post(uri).header(CONTENT_TYPE, "application/json"),
        };
        let request = token.into_iter().fold(request, |it, token| it.header(TOKEN, token));
        request.body(self.body.clone().unwrap_or_default())
    }
}

fn hangs(what: &str) -> CliError {
    let seconds = PATIENCE.as_secs();
    CliError::Trouble(format!("{what}: nothing came in {seconds} s: it hangs"))
}

/// How long the control plane may take; where it is asked to wait, it is for less.
const PATIENCE: Duration = Duration::from_secs(10);
/// The control plane's monitoring port, through the API.
const CONTROL: &str = "/api/v1/namespaces/istio-system/services/istiod:15014/proxy";
/// `Authorization` is the API's own: its proxy passes it on to nobody.
const TOKEN: &str = "x-palisade-token";

#[cfg(test)]
mod tests;
