//! What the node asks the API server for on behalf of a pod.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{ConfigMap, Pod, Secret, ServiceAccount},
    },
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;

use crate::fields;

/// Contents of a ConfigMap or Secret.
pub(crate) type Contents = BTreeMap<String, Vec<u8>>;

/// Why something a pod refers to can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReferenceError {
    /// It is not there.
    #[error("{kind} \"{name}\" not found")]
    Missing {
        /// ConfigMap or Secret, as messages have it.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The API server refused or could not be reached.
    #[error("can't read {what}: {source}")]
    Api {
        /// What was asked for.
        what: String,
        /// What the client said.
        source: Box<kube::Error>,
    },
}

/// What a pod refers to: one or the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source<'a> {
    /// A ConfigMap by name.
    ConfigMap(&'a str),
    /// A Secret by name.
    Secret(&'a str),
}

/// The API server, as the node uses it.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
}

impl Cluster {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Contents of a ConfigMap or Secret.
    pub(crate) async fn contents(
        &self,
        namespace: &str,
        source: Source<'_>,
    ) -> Result<Contents, ReferenceError> {
        match source {
            Source::ConfigMap(name) => {
                let api = Api::<ConfigMap>::namespaced(self.client(), namespace);
                let map =
                    api.get(name).await.map_err(|error| unreadable("configmap", name, error))?;
                let text = map.data.unwrap_or_default().into_iter();
                let text = text.map(|(key, value)| (key, value.into_bytes()));
                Ok(text.chain(bytes(map.binary_data)).collect())
            }
            Source::Secret(name) => {
                let api = Api::<Secret>::namespaced(self.client(), namespace);
                let secret =
                    api.get(name).await.map_err(|error| unreadable("secret", name, error))?;
                Ok(bytes(secret.data).collect())
            }
        }
    }

    /// A token of the pod's service account, bound to the pod.
    pub(crate) async fn token(
        &self,
        pod: &Pod,
        audience: Option<&str>,
        seconds: i64,
    ) -> Result<String, ReferenceError> {
        let account = fields::service_account(pod);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audience.map(str::to_owned).into_iter().collect(),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
                expiration_seconds: Some(seconds),
            },
            ..TokenRequest::default()
        };
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let api = Api::<ServiceAccount>::namespaced(self.client(), namespace);
        let answer = api.create_token_request(account, &PostParams::default(), &request).await;
        let answer = answer.map_err(|source| ReferenceError::Api {
            what: format!("a token of serviceaccount \"{account}\""),
            source: Box::new(source),
        })?;
        Ok(answer.status.map(|status| status.token).unwrap_or_default())
    }

    /// Replaces the pod's status.
    pub(crate) async fn patch_status(
        &self,
        pod: &Pod,
        status: &serde_json::Value,
    ) -> Result<(), kube::Error> {
        let patch = json!({ "metadata": { "uid": pod.metadata.uid }, "status": status });
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let patch = Patch::Merge(&patch);
        self.pods(pod).patch_status(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Gives a pod to a node.
    pub(crate) async fn bind(&self, pod: &Pod, node: &str) -> Result<(), kube::Error> {
        let patch =
            json!({ "metadata": { "uid": pod.metadata.uid }, "spec": { "nodeName": node } });
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        self.pods(pod).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// Removes the object of a pod that has ended.
    pub(crate) async fn remove(&self, pod: &Pod) -> Result<(), kube::Error> {
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: pod.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        self.pods(pod).delete(name, &parameters).await?;
        Ok(())
    }

    /// A pod by its name.
    pub(crate) async fn pod(&self, namespace: &str, name: &str) -> Result<Pod, kube::Error> {
        Api::namespaced(self.client(), namespace).get(name).await
    }

    fn pods(&self, pod: &Pod) -> Api<Pod> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        Api::namespaced(self.client(), namespace)
    }
}

/// Whether an error means that there is no such object (any more).
pub(crate) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}

fn unreadable(kind: &'static str, name: &str, error: kube::Error) -> ReferenceError {
    match error {
        kube::Error::Api(status) if status.code == 404 => {
            ReferenceError::Missing { kind, name: name.to_owned() }
        }
        source => {
            ReferenceError::Api { what: format!("{kind} \"{name}\""), source: Box::new(source) }
        }
    }
}

fn bytes(data: Option<BTreeMap<String, ByteString>>) -> impl Iterator<Item = (String, Vec<u8>)> {
    data.unwrap_or_default().into_iter().map(|(key, ByteString(value))| (key, value))
}
