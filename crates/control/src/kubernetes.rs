//! The Kubernetes API as plain functions over JSON: create, repair, watch. Everything that is
//! generic over resource types ends here.

use std::{path::Path, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::{Stream, StreamExt};
use kube::{
    Api, Client, Config,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
    core::ApiResource,
    runtime::{
        utils::{Backoff, ResetTimerBackoff, StreamBackoff},
        watcher::{self, watcher},
    },
};
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;
use tower::{BoxError, util::MapFutureLayer};

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The kubeconfig can't be read or names no usable cluster.
    #[error("cannot use the kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// What is wrong.
        source: kube::config::KubeconfigError,
    },
    /// This process is no pod of a cluster.
    #[error(
        "cannot use a pod's own credentials: {0}; outside of a cluster name an API with --api FILE"
    )]
    InCluster(#[source] kube::config::InClusterError),
    /// The client can't be built from what names the API.
    #[error("cannot build a client from {from}: {source}")]
    Build {
        /// The kubeconfig, or the pod's credentials.
        from: String,
        /// What is wrong.
        source: kube::Error,
    },
}

/// Why an object is not as it should be.
#[derive(Debug, Error)]
pub(crate) enum EnsureError {
    #[error("the desired object is malformed: {0}")]
    Malformed(#[source] serde_json::Error),
    #[error("cannot create {what}: {}", said(source))]
    Create { what: String, source: kube::Error },
    #[error("cannot repair {what}: {}", said(source))]
    Repair { what: String, source: kube::Error },
}

/// What a watch reports.
#[derive(Debug)]
pub(crate) enum Change {
    /// An object is there, in this version.
    Apply(Value),
    /// An object is gone.
    Delete(Value),
    /// These objects are there and no others.
    Reset(Vec<Value>),
}

/// A client for the cluster of a kubeconfig, or for the one that this process is a pod of.
pub(crate) async fn client(kubeconfig: Option<&Path>) -> Result<Client, ClientError> {
    let Some(kubeconfig) = kubeconfig else {
        let config = Config::incluster().map_err(ClientError::InCluster)?;
        let from = "the pod's own credentials".to_owned();
        return build(config, from);
    };
    let path = kubeconfig.display().to_string();
    let refused = |source| ClientError::Kubeconfig { path: path.clone(), source };
    let file = Kubeconfig::read_from(kubeconfig).map_err(refused)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(file, &options).await.map_err(refused)?;
    build(config, format!("the kubeconfig {path}"))
}

fn build(config: Config, from: String) -> Result<Client, ClientError> {
    let builder = ClientBuilder::try_from(config);
    let builder = builder.map_err(|source| ClientError::Build { from, source })?;
    Ok(builder.with_layer(&MapFutureLayer::new(in_time)).build())
}

/// An answer, or its head if it goes on: an API server that hangs is asked again, not waited for.
async fn in_time<T>(answer: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    let late = |_| Err(format!("no answer in {} s", PATIENCE.as_secs()).into());
    timeout(PATIENCE, answer).await.unwrap_or_else(late)
}

/// Which objects to watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// Only those of this namespace.
    pub(crate) namespace: Option<String>,
    /// Only those with this label.
    pub(crate) label: Option<String>,
}

/// Changes of a resource, for ever: lost connections are retried and end in a reset.
pub(crate) fn watch(
    client: &Client,
    resource: &ApiResource,
    scope: &Scope,
) -> impl Stream<Item = Change> + Send + use<> {
    let api = api(client, resource, scope.namespace.as_deref());
    let config = scope.label.iter().fold(watcher::Config::default(), |c, label| c.labels(label));
    let plural = resource.plural.clone();
    let mut listed = Vec::new();
    let retry = ResetTimerBackoff::new(Retry(SHORTEST_RETRY), RETRY_RESET);
    StreamBackoff::new(watcher(api, config), retry)
        .filter_map(move |event| {
            let change = match event {
                Ok(event) => change(event, &mut listed),
                Err(error) => {
                    tracing::warn!(resource = plural, %error, "watch interrupted, retrying");
                    None
                }
            };
            futures::future::ready(change)
        })
        .boxed()
}

/// Creates an object, or makes an existing one say the same.
pub(crate) async fn ensure(
    client: &Client,
    resource: &ApiResource,
    desired: Value,
) -> Result<(), EnsureError> {
    let object: DynamicObject =
        serde_json::from_value(desired.clone()).map_err(EnsureError::Malformed)?;
    let namespace = object.metadata.namespace.clone();
    let name = object.metadata.name.clone().unwrap_or_default();
    let what = format!("{}/{}/{name}", resource.plural, namespace.as_deref().unwrap_or_default());
    let api = api(client, resource, namespace.as_deref());
    match api.create(&manager(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => api
            .patch(&name, &patch_manager(), &Patch::Merge(desired))
            .await
            .map(|_| ())
            .map_err(|source| EnsureError::Repair { what, source }),
        Err(source) => Err(EnsureError::Create { what, source }),
    }
}

/// An object, if it is there.
pub(crate) async fn find(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    name: &str,
) -> Result<Option<Value>, kube::Error> {
    let found = api(client, resource, namespace).get_opt(name).await?;
    found.map(serde_json::to_value).transpose().map_err(kube::Error::SerdeError)
}

/// What an API server said, or why it said nothing.
pub(crate) fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        error => error.to_string(),
    }
}

/// An entry of a Secret's data, if it is there.
pub(crate) fn secret_entry(secret: &Value, name: &str) -> Result<Option<String>, String> {
    let Some(encoded) = secret.get("data").and_then(|data| data.get(name)) else { return Ok(None) };
    let bytes = encoded.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
    let bytes = bytes.ok_or_else(|| format!("`{name}` is not base64"))?;
    String::from_utf8(bytes).map(Some).map_err(|_| format!("`{name}` is no text"))
}

/// Creates an object, and returns it as it is stored; a review, which never is, as it is answered.
pub(crate) async fn create(
    client: &Client,
    resource: &ApiResource,
    object: Value,
) -> Result<Value, kube::Error> {
    let object: DynamicObject = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    let api = api(client, resource, object.metadata.namespace.as_deref());
    let stored = api.create(&manager(), &object).await?;
    serde_json::to_value(stored).map_err(kube::Error::SerdeError)
}

/// Replaces an object as a whole, in the version that it names, and returns it as it is stored.
pub(crate) async fn replace(
    client: &Client,
    resource: &ApiResource,
    object: Value,
) -> Result<Value, kube::Error> {
    let object: DynamicObject = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    let api = api(client, resource, object.metadata.namespace.as_deref());
    let name = object.metadata.name.clone().unwrap_or_default();
    let stored = api.replace(&name, &manager(), &object).await?;
    serde_json::to_value(stored).map_err(kube::Error::SerdeError)
}

/// Whose fields they are, in `managedFields`.
fn manager() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

fn patch_manager() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

fn api(client: &Client, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

fn change(event: watcher::Event<DynamicObject>, listed: &mut Vec<Value>) -> Option<Change> {
    match event {
        watcher::Event::Init => {
            listed.clear();
            None
        }
        watcher::Event::InitApply(object) => {
            listed.extend(json(object));
            None
        }
        watcher::Event::InitDone => Some(Change::Reset(std::mem::take(listed))),
        watcher::Event::Apply(object) => json(object).map(Change::Apply),
        watcher::Event::Delete(object) => json(object).map(Change::Delete),
    }
}

/// The object as JSON, without the bookkeeping that nobody here reads.
fn json(mut object: DynamicObject) -> Option<Value> {
    object.metadata.managed_fields = None;
    serde_json::to_value(object).ok()
}

/// The next pause; each is twice the one before.
struct Retry(Duration);

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_RETRY);
        Some(pause)
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.0 = SHORTEST_RETRY;
    }
}

/// How long an API server may take: longer than the webhooks that it asks itself.
const PATIENCE: Duration = Duration::from_secs(30);
const MANAGER: &str = "palisade-control";
/// Pauses before a lost watch is tried again: a restarted API server is found quickly, and one that
/// is away is not hammered.
const SHORTEST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// A watch that lasted this long starts over with the shortest pause.
const RETRY_RESET: Duration = Duration::from_secs(10);
