//! A pod's volumes on disk: made before its containers, kept up to date while they run.
//!
//! Projected contents are written as kubelet writes them: into a directory of their own, which a
//! symbolic link is then switched to, so that a reader sees all of an update or nothing.

mod content;
mod write;

use std::{
    collections::BTreeMap,
    fs, io,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, Pod, ProjectedVolumeSource, SecretProjection,
    Volume, VolumeMount, VolumeProjection,
};
use serde_json::json;

use crate::{
    cluster::{Cluster, ReferenceError, Source},
    spec::{Access, MountSpec},
};

/// Why a volume can't be made; Kubernetes calls it `FailedMount`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// What it shows can't be had.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
    Reference {
        /// Name of the volume.
        volume: String,
        /// What is missing.
        source: ReferenceError,
    },
    /// What it asks for makes no sense or is not offered here.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {reason}")]
    Invalid {
        /// Name of the volume.
        volume: String,
        /// Why.
        reason: String,
    },
    /// It can't be written.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
    Write {
        /// Name of the volume.
        volume: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The volumes of one pod.
#[derive(Debug)]
pub(crate) struct Volumes {
    directory: PathBuf,
    ip: Ipv4Addr,
    tokens: content::Tokens,
}

impl Volumes {
    /// Volumes below `directory`, which need not exist.
    pub(crate) fn new(directory: PathBuf, ip: Ipv4Addr) -> Self {
        Self { directory, ip, tokens: content::Tokens::default() }
    }

    /// Makes or updates all volumes; how long what they show is good for at most.
    pub(crate) async fn set_up(
        &self,
        cluster: &Cluster,
        pod: &Pod,
    ) -> Result<Duration, VolumeError> {
        let volumes = all(pod);
        let each = volumes.iter().map(|volume| self.set_up_one(cluster, pod, volume));
        let fresh = futures::future::try_join_all(each).await?;
        Ok(fresh.into_iter().min().unwrap_or(REFRESH))
    }

    async fn set_up_one(
        &self,
        cluster: &Cluster,
        pod: &Pod,
        volume: &Volume,
    ) -> Result<Duration, VolumeError> {
        let place = self.directory.join(&volume.name);
        let failed = |source| VolumeError::Write { volume: volume.name.clone(), source };
        if volume.empty_dir.is_some() {
            fs::create_dir_all(&place).map_err(failed)?;
            fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).map_err(failed)?;
            return Ok(REFRESH);
        }
        let projected = as_projected(volume).ok_or_else(|| VolumeError::Invalid {
            volume: volume.name.clone(),
            reason: "volumes of this type are not offered on one machine; there are configMap, \
                     secret, emptyDir, projected and downwardAPI"
                .to_owned(),
        })?;
        let shown = (volume.name.as_str(), &projected);
        let content = content::read(cluster, (pod, self.ip), shown, &self.tokens).await?;
        write::replace(&place, &content.files).map_err(failed)?;
        Ok(content.fresh)
    }

    /// The mounts of a container that declares `mounts`.
    pub(crate) fn mounts(
        &self,
        pod: &Pod,
        mounts: &[VolumeMount],
        env: &[(String, String)],
    ) -> Vec<MountSpec> {
        let declared = mounts.iter().map(|mount| {
            let expression = mount.sub_path_expr.as_deref();
            let sub_path = expression
                .map(|expression| crate::env::expand(expression, env))
                .or_else(|| mount.sub_path.clone())
                .filter(|path| !path.is_empty());
            let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
            let is_own = volumes
                .into_iter()
                .flatten()
                .any(|volume| volume.name == mount.name && volume.empty_dir.is_some());
            let may_write = is_own && mount.read_only != Some(true);
            MountSpec {
                source: self.directory.join(&mount.name),
                sub_path: sub_path.map(PathBuf::from),
                target: PathBuf::from(&mount.mount_path),
                access: if may_write { Access::ReadWrite } else { Access::ReadOnly },
            }
        });
        let taken = mounts.iter().any(|mount| mount.mount_path == TOKEN_DIRECTORY);
        let token = (!taken && has_implicit_token(pod)).then(|| MountSpec {
            source: self.directory.join(IMPLICIT_TOKEN),
            sub_path: None,
            target: PathBuf::from(TOKEN_DIRECTORY),
            access: Access::ReadOnly,
        });
        let mut all: Vec<_> = declared.chain(token).collect();
        // Outer ones first, or they would hide inner ones.
        all.sort_by_key(|mount| mount.target.components().count());
        all
    }

    /// Whether a volume of the pod shows a ConfigMap or Secret.
    pub(crate) fn show(pod: &Pod, source: Source<'_>) -> bool {
        let sources = all(pod).into_iter().filter_map(|volume| as_projected(&volume)?.sources);
        sources.flatten().any(|shown| match source {
            Source::ConfigMap(name) => shown.config_map.is_some_and(|map| map.name == name),
            Source::Secret(name) => shown.secret.is_some_and(|secret| secret.name == name),
        })
    }
}

/// Declared volumes, and the service account's token where no admission has added it.
fn all(pod: &Pod) -> Vec<Volume> {
    let declared = pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
    let implicit = has_implicit_token(pod).then(implicit_token).flatten();
    declared.into_iter().chain(implicit).collect()
}

fn has_implicit_token(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| {
        let mounted = spec.containers.iter().any(|container| {
            let mounts = container.volume_mounts.iter().flatten();
            mounts.into_iter().any(|mount| mount.mount_path == TOKEN_DIRECTORY)
        });
        !mounted && spec.automount_service_account_token != Some(false)
    })
}

/// As the API server's admission of service accounts has it.
fn implicit_token() -> Option<Volume> {
    serde_json::from_value(json!({
        "name": IMPLICIT_TOKEN,
        "projected": { "sources": [
            { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
            { "configMap": {
                "name": "kube-root-ca.crt", "optional": true,
                "items": [{ "key": "ca.crt", "path": "ca.crt" }],
            } },
            { "downwardAPI": { "items": [
                { "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } },
            ] } },
        ] },
    }))
    .ok()
}

/// Volumes of one source are projected volumes with one source.
fn as_projected(volume: &Volume) -> Option<ProjectedVolumeSource> {
    if let Some(projected) = &volume.projected {
        return Some(projected.clone());
    }
    let mut projection = VolumeProjection::default();
    let mode;
    if let Some(map) = &volume.config_map {
        mode = map.default_mode;
        projection.config_map = Some(ConfigMapProjection {
            name: map.name.clone(),
            items: map.items.clone(),
            optional: map.optional,
        });
    } else if let Some(secret) = &volume.secret {
        mode = secret.default_mode;
        projection.secret = Some(SecretProjection {
            name: secret.secret_name.clone().unwrap_or_default(),
            items: secret.items.clone(),
            optional: secret.optional,
        });
    } else if let Some(downward) = &volume.downward_api {
        mode = downward.default_mode;
        projection.downward_api = Some(DownwardAPIProjection { items: downward.items.clone() });
    } else {
        return None;
    }
    Some(ProjectedVolumeSource { default_mode: mode, sources: Some(vec![projection]) })
}

/// Files of a volume: content and mode by path.
type Files = BTreeMap<PathBuf, (Vec<u8>, u32)>;

/// Whether a path stays inside its volume.
fn is_inside(path: &Path) -> bool {
    let normal = |part| matches!(part, std::path::Component::Normal(_));
    path.components().all(normal) && path.components().next().is_some()
}

/// How long contents are good for at most, should a change have been missed.
const REFRESH: Duration = Duration::from_secs(3600);

const TOKEN_DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const IMPLICIT_TOKEN: &str = "kube-api-access";
