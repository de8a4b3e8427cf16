//! The mesh that a command talks to: a Kubernetes API, and the names of things in it.

use std::{io, pin::pin, time::Duration};

use futures::{AsyncBufReadExt, Stream, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config,
    api::{DynamicObject, LogParams},
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
    core::{GroupVersionKind, TypeMeta},
    discovery::{self, ApiCapabilities, ApiResource, Scope},
};
use parking_lot::Mutex;
use tokio::time::timeout;
use tower::{
    BoxError,
    util::{MapFutureLayer, MapResponseLayer},
};

use crate::{CliError, StateDir, args::Target, error::During, warnings::Warnings};

/// A connection to the API of a mesh.
#[derive(Clone)]
pub struct Mesh {
    client: Client,
    warnings: Warnings,
    kinds: std::sync::Arc<Mutex<Vec<(ApiResource, ApiCapabilities)>>>,
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").finish_non_exhaustive()
    }
}

impl Mesh {
    /// Connects to the cluster of `--kubeconfig`, or to the mesh of this machine.
    ///
    /// # Errors
    /// When there is no mesh, or its credentials can't be read.
    pub async fn connect(target: &Target) -> Result<Self, CliError> {
        let state = StateDir::new(target.state_dir.as_deref());
        let path = target.kubeconfig.clone().unwrap_or_else(|| state.kubeconfig());
        if !path.exists() {
            return Err(CliError::Trouble(format!(
                "there is no mesh in `{}`: start one with `palisade up`, name another directory \
                 with --state-dir, or a cluster with --kubeconfig",
                state.path().display()
            )));
        }
        let what = format!("read `{}`", path.display());
        let kubeconfig = Kubeconfig::read_from(&path).during(&what)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .during(&what)?;
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
        Ok(Self { client, warnings, kinds: std::sync::Arc::default() })
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

    /// What each sidecar has in force, in Istio's form.
    ///
    /// # Errors
    /// When API or control plane can't be reached or answer with an error.
    pub async fn sync_status(&self) -> Result<Vec<serde_json::Value>, CliError> {
        match self.control("debug/syncz").await? {
            serde_json::Value::Array(proxies) => Ok(proxies),
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
        let uri = format!("{CONTROL}/debug/telemetry");
        let request = http::Request::get(uri).body(Vec::new()).during(what)?;
        let mut lines = pin!(self.client.request_stream(request).await.during(what)?.lines());
        while let Some(line) = lines.try_next().await.during(what)? {
            take(&line).during(what)?;
        }
        Ok(())
    }

    /// The configuration that the control plane has for the sidecar of a pod.
    ///
    /// # Errors
    /// When API or control plane can't be reached or answer with an error, such as for a pod without sidecar.
    pub async fn sidecar_config(
        &self,
        namespace: &str,
        pod: &str,
    ) -> Result<serde_json::Value, CliError> {
        self.control(&format!("debug/config/{namespace}/{pod}")).await
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

    /// A POST of JSON, or of nothing, to the control plane's monitoring port, through the API.
    ///
    /// # Errors
    /// When API or control plane can't be reached or answer with an error.
    pub(crate) async fn tell_control(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<serde_json::Value, CliError> {
        let request = http::Request::post(format!("{CONTROL}/{path}"))
            .header(http::header::CONTENT_TYPE, "application/json");
        self.of_control("tell the control plane", request.body(body)).await
    }

    /// A GET to the control plane's monitoring port, through the API.
    ///
    /// # Errors
    /// When API or control plane can't be reached or answer with an error.
    pub(crate) async fn control(&self, path: &str) -> Result<serde_json::Value, CliError> {
        let request = http::Request::get(format!("{CONTROL}/{path}")).body(Vec::new());
        self.of_control("ask the control plane", request).await
    }

    /// The control plane's version, which it tells as plain text.
    ///
    /// # Errors
    /// When API or control plane can't be reached or answer with an error.
    pub(crate) async fn control_version(&self) -> Result<String, CliError> {
        let what = "ask the control plane";
        let request = http::Request::get(format!("{CONTROL}/version")).body(Vec::new());
        let answer = timeout(CONTROL_PATIENCE, self.client.request_text(request.during(what)?));
        answer.await.map_err(|_| hangs(what))?.during(what)
    }

    /// One that hangs is not waited for: it keeps its connections open, and says nothing.
    async fn of_control(
        &self,
        what: &str,
        request: http::Result<http::Request<Vec<u8>>>,
    ) -> Result<serde_json::Value, CliError> {
        let answer = timeout(CONTROL_PATIENCE, self.client.request(request.during(what)?));
        answer.await.map_err(|_| hangs(what))?.during(what)
    }
}

fn hangs(what: &str) -> CliError {
    let seconds = CONTROL_PATIENCE.as_secs();
    CliError::Trouble(format!("{what}: nothing came in {seconds} s: it hangs"))
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
/// How long the control plane may take; where it is asked to wait, it is for less.
const CONTROL_PATIENCE: Duration = Duration::from_secs(10);

/// The control plane's monitoring port, through the API.
const CONTROL: &str = "/api/v1/namespaces/istio-system/services/istiod:15014/proxy";
