//! From a deployment's pod template to a ReplicaSet and back: hash, name, labels, annotations.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use super::rollout::Rollout;
use crate::objects::{Kind, annotation, controlled_by, name};

/// Annotation: number of the revision.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";

/// The revision that an object is annotated with.
pub(super) fn revision(metadata: &ObjectMeta) -> Option<i64> {
    annotation(metadata, REVISION)?.parse().ok()
}

/// Whether a ReplicaSet was made from the deployment's present template.
pub(super) fn is_of(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = deployment.spec.as_ref().map(|spec| &spec.template);
    let found = set.spec.as_ref().and_then(|spec| spec.template.as_ref()).map(without_hash);
    wanted.map(without_hash) == found
}

/// The name of the ReplicaSet of the present template.
pub(super) fn set_name(deployment: &Deployment) -> String {
    format!("{}-{}", name(&deployment.metadata), hash(deployment))
}

/// The ReplicaSet of the present template.
pub(super) fn replica_set(rollout: &Rollout<'_>, revision: i64, replicas: i32) -> ReplicaSet {
    let deployment = rollout.deployment;
    let spec = deployment.spec.clone().unwrap_or_default();
    let hash = hash(deployment);
    let labels = |present: Option<BTreeMap<String, String>>| {
        let mut labels = present.unwrap_or_default();
        labels.insert(HASH.to_owned(), hash.clone());
        Some(labels)
    };
    let mut template = spec.template;
    let mut metadata = template.metadata.unwrap_or_default();
    metadata.labels = labels(metadata.labels);
    let template_labels = metadata.labels.clone();
    template.metadata = Some(metadata);
    let selector = LabelSelector {
        match_labels: labels(spec.selector.match_labels),
        match_expressions: spec.selector.match_expressions,
    };
    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(set_name(deployment)),
            namespace: deployment.metadata.namespace.clone(),
            labels: template_labels,
            owner_references: Some(vec![controlled_by(Kind::Deployment, &deployment.metadata)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    };
    set.metadata.annotations = Some(annotations(rollout, &set, Some(revision)));
    set
}

/// The annotations of a ReplicaSet that are to be set or changed.
pub(super) fn annotations(
    rollout: &Rollout<'_>,
    set: &ReplicaSet,
    revision: Option<i64>,
) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    if let Some(revision) = revision {
        let copied = rollout.deployment.metadata.annotations.iter().flatten();
        wanted.extend(
            copied
                .filter(|(key, _)| !OWN.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        wanted.insert(REVISION.to_owned(), revision.to_string());
    }
    let is_used = set.spec.as_ref().and_then(|spec| spec.replicas) != Some(0);
    if revision.is_some() || is_used {
        wanted.insert(DESIRED.to_owned(), rollout.wanted().to_string());
        wanted.insert(MAX.to_owned(), rollout.max_total().to_string());
    }
    wanted.retain(|key, value| annotation(&set.metadata, key) != Some(value));
    wanted
}

/// A hash of the template in Kubernetes' alphabet: stable, and fit for a name and a label. The
/// deployment's count of collisions goes in, so that a taken name can be got around.
fn hash(deployment: &Deployment) -> String {
    let template = deployment.spec.as_ref().map(|spec| without_hash(&spec.template));
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let mut bytes = serde_json::to_vec(&template).unwrap_or_default();
    if let Some(count) = collisions {
        bytes.extend(count.to_le_bytes());
    }
    let number = fnv1a(&bytes).to_string();
    number
        .bytes()
        .map(|digit| {
            let index = usize::from(digit.wrapping_sub(b'0'));
            char::from(ALPHABET.get(index).copied().unwrap_or(b'x'))
        })
        .collect()
}

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let metadata = template.metadata.get_or_insert_default();
    // The API server may fill in an empty timestamp or map; neither is part of a template.
    metadata.creation_timestamp = None;
    let labels = metadata.labels.get_or_insert_default();
    labels.remove(HASH);
    metadata.annotations.get_or_insert_default();
    template
}

/// Annotations that a deployment and its ReplicaSets each have for themselves.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Label: the template's hash.
const HASH: &str = "pod-template-hash";

/// As `rand.SafeEncodeString`: no vowels, so no words.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
