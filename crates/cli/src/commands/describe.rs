//! `describe` (and `x describe`): what applies to a pod, in the layout that people know from istioctl, then
//! who decides about its callers.

use std::{collections::BTreeMap, io::Write};

use kube::{api::ListParams, core::TypeMeta};
use palisade_manifest::{AuthorizationPolicy, DestinationRule, PeerAuthentication, Pod, Service};
use palisade_types::Mesh as MeshSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;

mod layout;
mod meaning;

pub(crate) use meaning::{policy, workload};

use super::target::split_namespace;
use crate::{
    CliError, Mesh,
    args::{DescribeArgs, DescribeCommand},
    error::During,
};

pub(crate) async fn run(
    mesh: &Mesh,
    command: &DescribeCommand,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let text = match command {
        DescribeCommand::Pod(args) => {
            let (name, namespace) = name_of(args);
            let facts = Facts::gather(mesh, &namespace).await?;
            let pod = facts.pods.iter().find(|pod| pod.metadata.name == name).ok_or_else(|| {
                CliError::No(format!("pod `{name}` not found in namespace `{namespace}`"))
            })?;
            layout::pod(&facts, pod)
        }
        DescribeCommand::Service(args) => {
            let (name, namespace) = name_of(args);
            let facts = Facts::gather(mesh, &namespace).await?;
            let found = facts.services.iter().find(|service| service.metadata.name == name);
            let service = found.ok_or_else(|| {
                CliError::No(format!("service `{name}` not found in namespace `{namespace}`"))
            })?;
            layout::service(&facts, service)
        }
        DescribeCommand::Policy(_) | DescribeCommand::Workload(_) => {
            return Err(CliError::Trouble(
                "istioctl has no such command: use `palisade describe`".to_owned(),
            ));
        }
    };
    out.write_all(text.as_bytes()).during("print")
}

fn name_of(args: &DescribeArgs) -> (String, String) {
    split_namespace(&args.name, args.namespace.as_deref())
}

/// What can apply to the pods of one namespace.
#[derive(Debug, Default)]
struct Facts {
    mesh: MeshSettings,
    pods: Vec<Pod>,
    services: Vec<Service>,
    destination_rules: Vec<DestinationRule>,
    peer_authentications: Vec<PeerAuthentication>,
    authorization_policies: Vec<AuthorizationPolicy>,
}

impl Facts {
    async fn gather(mesh: &Mesh, namespace: &str) -> Result<Self, CliError> {
        let settings = settings(mesh).await?;
        let root = settings.root_namespace.clone();
        let mut facts = Self {
            pods: list(mesh, "v1", "Pod", namespace).await?,
            services: list(mesh, "v1", "Service", namespace).await?,
            destination_rules: list(mesh, NETWORKING, "DestinationRule", namespace).await?,
            mesh: settings,
            ..Self::default()
        };
        for namespace in [Some(root.as_str()), (namespace != root).then_some(namespace)] {
            let Some(namespace) = namespace else { continue };
            let peer = list(mesh, SECURITY, "PeerAuthentication", namespace).await?;
            facts.peer_authentications.extend::<Vec<_>>(peer);
            let policies = list(mesh, SECURITY, "AuthorizationPolicy", namespace).await?;
            facts.authorization_policies.extend::<Vec<_>>(policies);
        }
        Ok(facts)
    }
}

/// The mesh's settings: ConfigMap `istio` in the root namespace, or the defaults.
async fn settings(mesh: &Mesh) -> Result<MeshSettings, CliError> {
    let types = TypeMeta { api_version: "v1".to_owned(), kind: "ConfigMap".to_owned() };
    let api = mesh.dynamic(&types, "istio-system").await?;
    let found = api.get_opt("istio").await.during("read the mesh's settings")?;
    let text = found.and_then(|map| Some(map.data["data"]["mesh"].as_str()?.to_owned()));
    Ok(text.map(|text| palisade_manifest::mesh_config(&text).0).unwrap_or_default())
}

async fn list<T: DeserializeOwned>(
    mesh: &Mesh,
    api_version: &str,
    kind: &str,
    namespace: &str,
) -> Result<Vec<T>, CliError> {
    let what = format!("list {kind} objects in namespace `{namespace}`");
    let types = TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() };
    let api = mesh.dynamic(&types, namespace).await?;
    let found = api.list(&ListParams::default()).await.during(&what)?;
    let read = |object| serde_json::to_value(object).and_then(serde_json::from_value::<T>);
    found.items.into_iter().map(|object| read(object).during(&what)).collect()
}

/// Labels that a selector asks for are all there.
fn selected(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The revision that a pod was injected with.
fn revision(pod: &Pod) -> String {
    let status = pod.metadata.annotations.get("sidecar.istio.io/status");
    let status: Option<Value> = status.and_then(|text| serde_json::from_str(text).ok());
    let revision = status.as_ref().and_then(|status| status["revision"].as_str());
    revision.filter(|revision| !revision.is_empty()).unwrap_or("default").to_owned()
}

const SECURITY: &str = "security.istio.io/v1";
const NETWORKING: &str = "networking.istio.io/v1";
