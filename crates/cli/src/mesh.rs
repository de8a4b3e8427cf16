//! The mesh that a command talks to: a Kubernetes API, and the names of things in it.

mod control;
mod token;

use std::{io, time::Duration};

use futures::{AsyncBufReadExt, Stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DynamicObject, LogParams},
    client::ClientBuilder,
    core::{GroupVersionKind, TypeMeta},
    discovery::{self, ApiCapabilities, ApiResource, Scope},
};
use parking_lot::Mutex;
use tokio::time::timeout;
use tower::{
    BoxError,
    util::{MapFutureLayer, MapResponseLayer},
};

use crate::{CliError, args::Target, credentials, error::During, warnings::Warnings};

/// A connection to the API of a mesh.
#[derive(Clone)]
pub struct Mesh {
    client: Client,
    warnings: Warnings,
    kinds: std::sync::Arc<Mutex<Vec<(ApiResource, ApiCapabilities)>>>,
    tokens: std::sync::Arc<token::Tokens>,
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").finish_non_exhaustive()
    }
}

impl Mesh {
    /// Connects to the cluster of `--kubeconfig`, or to the mesh of this machine, or to a cluster that the
    /// environment names; that it answers is not asked.
    ///
    /// # Errors
    /// When there is no mesh, or its credentials can't be read.
    pub async fn connect(target: &Target) -> Result<Self, CliError> {
        let mut config = credentials::config(target).await?;
        config.proxy_url = None;
        let warnings = Warnings::default();
        let noting = warnings.clone();
        let client = ClientBuilder::try_from(config)
            .during("set up the API client")?
            .with_layer(&MapFutureLayer::new(answered_in_time))
            .with_layer(&MapResponseLayer::new(move |response: http::Response<_>| {
                noting.note(response.headers());
                response
            }))
            .build();
        Ok(Self {
            client,
            warnings,
            kinds: std::sync::Arc::default(),
            tokens: std::sync::Arc::default(),
        })
    }

    /// What the API has warned of since this was asked last.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    /// The API client.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The API of typed objects in a namespace.
    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        <K as kube::Resource>::DynamicType: Default,
    {
        Api::namespaced(self.client(), namespace)
    }

    /// The API of any kind, asked for once.
    pub(crate) async fn dynamic(
        &self,
        types: &TypeMeta,
        namespace: &str,
    ) -> Result<Api<DynamicObject>, CliError> {
        let kind = GroupVersionKind::try_from(types).during("read `apiVersion`")?;
        let known = self
            .kinds
            .lock()
            .iter()
            .find(|(resource, _)| {
                (&resource.group, &resource.version, &resource.kind)
                    == (&kind.group, &kind.version, &kind.kind)
            })
            .cloned();
        let (resource, capabilities) =
            match known {
                Some(known) => known,
                None => {
                    let found = discovery::pinned_kind(&self.client, &kind)
                        .await
                        .during(format!("look up kind `{}` ({})", kind.kind, kind.api_version()))?;
                    self.kinds.lock().push(found.clone());
                    found
                }
            };
        Ok(match capabilities.scope {
            Scope::Cluster => Api::all_with(self.client(), &resource),
            Scope::Namespaced => Api::namespaced_with(self.client(), namespace, &resource),
        })
    }

    /// The API of any namespaced kind in all namespaces.
    pub(crate) async fn everywhere(
        &self,
        types: &TypeMeta,
    ) -> Result<Api<DynamicObject>, CliError> {
        let kind = GroupVersionKind::try_from(types).during("read `apiVersion`")?;
        let what = format!("look up kind `{}` ({})", kind.kind, kind.api_version());
        let (resource, _) = discovery::pinned_kind(&self.client, &kind).await.during(what)?;
        Ok(Api::all_with(self.client(), &resource))
    }

    /// The last lines that a container wrote, and those that it will write.
    ///
    /// # Errors
    /// When there is no such container, or the API can't be asked.
    pub async fn follow_logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        last: i64,
    ) -> Result<impl Stream<Item = io::Result<String>> + Send + use<>, CliError> {
        let params = LogParams {
            container: Some(container.to_owned()),
            follow: true,
            tail_lines: Some(last),
            ..LogParams::default()
        };
        let what = format!("read the logs of container `{container}` of pod `{pod}.{namespace}`");
        let pods = self.api::<Pod>(namespace);
        Ok(pods.log_stream(pod, &params).await.during(what)?.lines())
    }
}

/// An answer, or its head if it is a long one, unless it takes too long.
async fn answered_in_time<T>(
    answer: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    let seconds = API_PATIENCE.as_secs();
    let late = |_| Err(format!("the API does not answer: nothing came in {seconds} s").into());
    timeout(API_PATIENCE, answer).await.unwrap_or_else(late)
}

/// How long the API may take: longer than the webhooks that it asks itself, one after the other.
const API_PATIENCE: Duration = Duration::from_secs(30);
