//! What projected volumes show: contents of ConfigMaps and Secrets, fields and tokens.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::{
    KeyToPath, Pod, ProjectedVolumeSource, ServiceAccountTokenProjection, VolumeProjection,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Files, REFRESH, VolumeError, is_inside};
use crate::{
    cluster::{Cluster, Contents, ReferenceError, Source},
    fields,
    resources::{self, Allocatable},
};

/// Files, and how long they are good for.
pub(super) struct Content {
    pub files: Files,
    pub fresh: Duration,
}

/// Tokens by volume and path, with the time to ask for the next.
pub(super) type Tokens = Mutex<BTreeMap<(String, String), (String, Instant)>>;

pub(super) async fn read(
    cluster: &Cluster,
    (pod, ip): (&Pod, Ipv4Addr),
    (volume, projected): (&str, &ProjectedVolumeSource),
    tokens: &Tokens,
) -> Result<Content, VolumeError> {
    let mut projection = Projection {
        cluster,
        pod,
        ip,
        volume,
        tokens,
        mode: projected.default_mode.unwrap_or(0o644),
        content: Content { files: Files::new(), fresh: REFRESH },
    };
    for source in projected.sources.iter().flatten() {
        projection.add(source).await?;
    }
    Ok(projection.content)
}

struct Projection<'a> {
    cluster: &'a Cluster,
    pod: &'a Pod,
    ip: Ipv4Addr,
    volume: &'a str,
    tokens: &'a Tokens,
    mode: i32,
    content: Content,
}

impl Projection<'_> {
    async fn add(&mut self, source: &VolumeProjection) -> Result<(), VolumeError> {
        if let Some(map) = &source.config_map {
            let contents = self.contents(Source::ConfigMap(&map.name), map.optional).await?;
            self.add_items(contents, map.items.as_deref(), map.optional)?;
        }
        if let Some(secret) = &source.secret {
            let contents = self.contents(Source::Secret(&secret.name), secret.optional).await?;
            self.add_items(contents, secret.items.as_deref(), secret.optional)?;
        }
        for item in source.downward_api.iter().flat_map(|api| api.items.iter().flatten()) {
            let value = match (&item.field_ref, &item.resource_field_ref) {
                (Some(field), _) => fields::field(self.pod, self.ip, &field.field_path),
                (None, Some(wanted)) => {
                    resources::field(self.pod, None, wanted, Allocatable::here())
                }
                (None, None) => None,
            };
            let value = value.ok_or_else(|| {
                self.invalid(format!("field of `{}` is not supported", item.path))
            })?;
            self.add_file(&item.path, value.into_bytes(), item.mode)?;
        }
        if let Some(token) = &source.service_account_token {
            let text = self.token(token).await?;
            self.add_file(&token.path, text.into_bytes(), None)?;
        }
        if source.cluster_trust_bundle.is_some() {
            return Err(self.invalid("clusterTrustBundle is not supported".to_owned()));
        }
        Ok(())
    }

    /// A token, the last one again as long as it is good.
    async fn token(
        &mut self,
        wanted: &ServiceAccountTokenProjection,
    ) -> Result<String, VolumeError> {
        let key = (self.volume.to_owned(), wanted.path.clone());
        let now = Instant::now();
        let known = self.tokens.lock().get(&key).filter(|(_, renew)| *renew > now).cloned();
        let (text, renew) = match known {
            Some(known) => known,
            None => {
                let seconds = wanted.expiration_seconds.unwrap_or(3600).max(600);
                let audience = wanted.audience.as_deref();
                let text = self.cluster.token(self.pod, audience, seconds).await;
                let text = text.map_err(|source| self.unreadable(source))?;
                // As kubelet: a new one after 80 % of the old one's life.
                let life = Duration::from_secs(u64::try_from(seconds).unwrap_or(3600));
                let fresh = (text, now + life / 5 * 4);
                self.tokens.lock().insert(key, fresh.clone());
                fresh
            }
        };
        self.content.fresh = self.content.fresh.min(renew.saturating_duration_since(now));
        Ok(text)
    }

    async fn contents(
        &self,
        source: Source<'_>,
        optional: Option<bool>,
    ) -> Result<Contents, VolumeError> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or("default");
        match self.cluster.contents(namespace, source).await {
            Ok(contents) => Ok(contents),
            Err(ReferenceError::Missing { .. }) if optional == Some(true) => Ok(Contents::new()),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    fn add_items(
        &mut self,
        mut contents: Contents,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> Result<(), VolumeError> {
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            for (key, value) in contents {
                self.add_file(&key, value, None)?;
            }
            return Ok(());
        };
        for item in items {
            match contents.remove(&item.key) {
                Some(value) => self.add_file(&item.path, value, item.mode)?,
                None if optional == Some(true) => {}
                None => {
                    let reason = format!("references non-existent config key: {}", item.key);
                    return Err(self.invalid(reason));
                }
            }
        }
        Ok(())
    }

    fn add_file(
        &mut self,
        path: &str,
        content: Vec<u8>,
        mode: Option<i32>,
    ) -> Result<(), VolumeError> {
        let path = PathBuf::from(path);
        if !is_inside(&path) {
            return Err(self.invalid(format!("path `{}` leaves the volume", path.display())));
        }
        let mode = u32::try_from(mode.unwrap_or(self.mode)).unwrap_or(0o644) & 0o777;
        self.content.files.insert(path, (content, mode));
        Ok(())
    }

    fn unreadable(&self, source: ReferenceError) -> VolumeError {
        VolumeError::Reference { volume: self.volume.to_owned(), source }
    }

    fn invalid(&self, reason: String) -> VolumeError {
        VolumeError::Invalid { volume: self.volume.to_owned(), reason }
    }
}
