//! Asking the external authorizer that CUSTOM policies name, as Envoy's `ext_authz` filters do.
//!
//! It is asked before a token is looked at. What it adds to a request is there for all that comes after.
//! An authorizer that does not answer, or answers what makes no sense, refuses, unless it fails open.

mod answer;
pub(crate) mod body;
mod grpc;
mod http;

use std::sync::Arc;

use palisade_policy::RuleName;
use palisade_telemetry::RequestId;
use palisade_types::{ExtensionProvider, OnError, ProviderProtocol};
use thiserror::Error;
use tokio::time::timeout;
use tracing::warn;

pub(crate) use self::answer::{Changes, External, HOP_BY_HOP};
use self::body::Shown;
use super::peer::Connection;
use crate::{
    active::Route,
    calls::{self, CallError},
    worker::Worker,
};

/// A question to a provider.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Whom to ask.
    pub(crate) provider: Arc<ExtensionProvider>,
    /// The rule that wants it.
    pub(crate) rule: Arc<RuleName>,
    /// What is asked about; none: the connection.
    pub(crate) request: Option<Request>,
}

/// A request as a provider sees it.
#[derive(Debug)]
pub(crate) struct Request {
    /// The id that it was given, if it came without.
    pub(crate) id: Option<RequestId>,
    pub(crate) method: String,
    /// Normalised, with query; none for CONNECT.
    pub(crate) path: Option<String>,
    pub(crate) authority: String,
    pub(crate) scheme: &'static str,
    /// As Envoy names it.
    pub(crate) protocol: &'static str,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    /// The body, if it has one and the provider wants to see it.
    pub(crate) body: Option<Shown>,
}

/// The field that tells a provider whether it sees only the beginning of a body.
pub(crate) const PARTIAL: &str = "x-envoy-auth-partial-body";

/// A provider's yes.
#[derive(Debug)]
pub(crate) struct Granted {
    provider: Arc<ExtensionProvider>,
    /// What it changes in the request and in its response.
    pub(crate) changes: Changes,
    /// The id that the provider was told.
    pub(crate) id: Option<RequestId>,
}

impl Granted {
    /// Whether it was this provider, configured like this, who said yes.
    pub(crate) fn is_by(&self, provider: &ExtensionProvider) -> bool {
        *self.provider == *provider
    }
}

/// What a provider says.
#[derive(Debug)]
enum Said {
    Yes(Changes),
    No(External),
}

/// Why a provider has said nothing of use.
#[derive(Debug, Error)]
enum AskError {
    #[error("the mesh has no port {port} of `{host}`")]
    NoRoute { host: String, port: u16 },
    #[error("it has a CUSTOM policy that asks itself")]
    Loop,
    #[error("no answer in time")]
    Late,
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("it wants what is not done here: {0}")]
    Answer(&'static str),
}

/// Asks. An error is what the client gets instead.
pub(crate) async fn ask(
    worker: &Worker,
    connection: &Connection,
    ask: Ask,
) -> Result<Granted, Box<External>> {
    let Ask { provider, request, .. } = ask;
    let asking = put(worker, connection, &provider, request.as_ref());
    let said = timeout(provider.timeout, asking).await.unwrap_or(Err(AskError::Late));
    let changes = match said {
        Ok(Said::Yes(changes)) => changes,
        Ok(Said::No(external)) => return Err(Box::new(external)),
        Err(error) => {
            warn!(provider = provider.name, %error, "the external authorizer does not answer");
            match (provider.on_error, error) {
                (OnError::Refuse(status), _) => return Err(Box::new(External::error(status))),
                // It did answer, or a client made a request of which nobody can be asked.
                (OnError::Allow, AskError::Answer(_)) => {
                    return Err(Box::new(External::error(403)));
                }
                (OnError::Allow, _) => Changes::default(),
            }
        }
    };
    Ok(Granted { provider, changes, id: request.and_then(|request| request.id) })
}

async fn put(
    worker: &Worker,
    connection: &Connection,
    provider: &ExtensionProvider,
    request: Option<&Request>,
) -> Result<Said, AskError> {
    let route = route(worker, provider)?;
    // A provider that is asked about what it is asked would not end.
    if route.has_endpoint_at(connection.destination) {
        return Err(AskError::Loop);
    }
    let dial = calls::dial(worker, &route).await?;
    match (&provider.protocol, request) {
        (ProviderProtocol::Grpc, request) => {
            grpc::check(worker, connection, provider, dial, request).await
        }
        (ProviderProtocol::Http(http), Some(request)) => {
            http::check(worker, http, dial, request).await
        }
        (ProviderProtocol::Http(_), None) => {
            Err(AskError::Answer("an HTTP provider can't be asked about connections"))
        }
    }
}

fn route(worker: &Worker, provider: &ExtensionProvider) -> Result<Arc<Route>, AskError> {
    let active = worker.shared.active();
    let route = active.as_deref().and_then(|active| active.provider_route(provider));
    let (host, port) = (provider.service.clone(), provider.port);
    route.ok_or(AskError::NoRoute { host, port })
}
