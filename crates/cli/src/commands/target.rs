//! Names of pods as people type them: `POD`, `POD.NAMESPACE`, `deploy/NAME`, `deploy/NAME.NAMESPACE`.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::api::ListParams;

use crate::{CliError, Mesh, error::During};

/// The pod and container that a name means.
pub(crate) struct PodTarget {
    /// Namespace.
    pub(crate) namespace: String,
    /// Pod.
    pub(crate) pod: Pod,
}

impl PodTarget {
    /// Resolves a name; of a deployment, a ready pod that is not being deleted.
    pub(crate) async fn resolve(
        mesh: &Mesh,
        text: &str,
        namespace: Option<&str>,
    ) -> Result<Self, CliError> {
        let (kind, name) = text.split_once('/').unwrap_or(("pod", text));
        let (name, namespace) = split_namespace(name, namespace);
        let pods = mesh.api::<Pod>(&namespace);
        let pod = match kind {
            "pod" | "pods" | "po" => {
                pods.get(&name).await.during(format!("find pod `{name}` in `{namespace}`"))?
            }
            "deploy" | "deployment" | "deployments" => {
                let deployment = mesh
                    .api::<Deployment>(&namespace)
                    .get(&name)
                    .await
                    .during(format!("find deployment `{name}` in `{namespace}`"))?;
                let selector = deployment.spec.unwrap_or_default().selector;
                let labels = selector.match_labels.unwrap_or_default();
                let labels: Vec<String> =
                    labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                let found = pods
                    .list(&ListParams::default().labels(&labels.join(",")))
                    .await
                    .during(format!("list the pods of deployment `{name}`"))?;
                found
                    .items
                    .into_iter()
                    .filter(|pod| pod.metadata.deletion_timestamp.is_none())
                    .max_by_key(is_ready)
                    .ok_or_else(|| {
                        CliError::Trouble(format!(
                            "deployment `{name}` in `{namespace}` has no pod: see `palisade status`"
                        ))
                    })?
            }
            other => {
                return Err(CliError::Trouble(format!(
                    "`{other}` is no kind to look for pods in: write POD or deploy/NAME"
                )));
            }
        };
        Ok(Self { namespace, pod })
    }

    /// Name of the pod.
    pub(crate) fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    /// The container asked for, or the first one but for the sidecar.
    pub(crate) fn container(&self, asked: Option<&str>) -> Option<String> {
        let first = || container_names(&self.pod).find(|name| *name != SIDECAR);
        asked.or_else(first).map(str::to_owned)
    }
}

/// Names of a pod's containers, init containers last.
fn container_names(pod: &Pod) -> impl Iterator<Item = &str> {
    let specs = pod.spec.iter();
    let all = specs.flat_map(|it| it.containers.iter().chain(it.init_containers.iter().flatten()));
    all.map(|container| container.name.as_str())
}

/// Whether a pod has a sidecar, native or an ordinary container.
pub(crate) fn has_sidecar(pod: &Pod) -> bool {
    container_names(pod).any(|name| name == SIDECAR)
}

/// Name of the sidecar's container.
pub(crate) const SIDECAR: &str = "istio-proxy";

/// Whether a pod is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// `NAME.NAMESPACE`, or `NAME` in the namespace given, or in `default`.
pub(crate) fn split_namespace(name: &str, namespace: Option<&str>) -> (String, String) {
    match (name.rsplit_once('.'), namespace) {
        (_, Some(namespace)) => (name.to_owned(), namespace.to_owned()),
        (Some((name, namespace)), None) => (name.to_owned(), namespace.to_owned()),
        (None, None) => (name.to_owned(), "default".to_owned()),
    }
}
