//! A resource from a CustomResourceDefinition.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{Resource, Subresource};
use crate::object;

/// What a CRD says about one version.
#[derive(Clone, Debug, Default)]
pub(crate) struct CustomVersion {
    /// `additionalPrinterColumns`, as written.
    pub(crate) columns: Vec<Value>,
}

/// The order of discovery writes `delete` first for these, as Kubernetes does.
const VERBS: &[&str] =
    &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// The resource that a CRD defines; none if it serves no version.
pub(super) fn resource(crd: &Value) -> Option<Resource> {
    let names = crd.pointer("/spec/names")?;
    let group = object::text(crd, "/spec/group");
    let served: Vec<&Value> = object::array(crd, "/spec/versions")
        .filter(|version| version.get("served").and_then(Value::as_bool).unwrap_or(false))
        .collect();
    let mut versions: Vec<String> =
        served.iter().map(|version| object::text(version, "/name").to_owned()).collect();
    versions.sort_by_key(|version| version_rank(version));
    versions.first()?;
    let kind = object::text(names, "/kind");
    let has_status = served.iter().any(|version| version.pointer("/subresources/status").is_some());
    let strings = |pointer| {
        object::array(names, pointer).filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let list_kind = match object::text(names, "/listKind") {
        "" => format!("{kind}List"),
        list_kind => list_kind.to_owned(),
    };
    let singular = match object::text(names, "/singular") {
        "" => kind.to_lowercase(),
        singular => singular.to_owned(),
    };
    let plural = object::text(names, "/plural");
    Some(Resource {
        group: group.to_owned(),
        versions,
        plural: plural.to_owned(),
        singular,
        kind: kind.to_owned(),
        list_kind,
        short_names: strings("/shortNames"),
        categories: strings("/categories"),
        namespaced: object::text(crd, "/spec/scope") != "Cluster",
        verbs: VERBS.iter().map(|verb| (*verb).to_owned()).collect(),
        subresources: has_status.then(|| status(kind)).into_iter().collect(),
        has_generation: true,
        storage: format!("{plural}.{group}"),
        custom: Some(Arc::new(served.into_iter().map(custom_version).collect::<BTreeMap<_, _>>())),
    })
}

/// Kubernetes' order of versions: stable before beta before alpha, each from high to low; then
/// other names by alphabet.
pub(crate) fn version_rank(version: &str) -> impl Ord + use<> {
    let (maturity, major, minor) = parse(version).unwrap_or((0, 0, 0));
    (Reverse(maturity), Reverse(major), Reverse(minor), version.to_owned())
}

fn parse(version: &str) -> Option<(u8, u32, u32)> {
    let rest = version.strip_prefix('v')?;
    for (word, maturity) in [("alpha", 1), ("beta", 2)] {
        if let Some((major, minor)) = rest.split_once(word) {
            return Some((maturity, major.parse().ok()?, minor.parse().ok()?));
        }
    }
    Some((3, rest.parse().ok()?, 0))
}

fn custom_version(version: &Value) -> (String, CustomVersion) {
    let custom = CustomVersion {
        columns: object::array(version, "/additionalPrinterColumns").cloned().collect(),
    };
    (object::text(version, "/name").to_owned(), custom)
}

fn status(kind: &str) -> Subresource {
    Subresource {
        name: "status".to_owned(),
        group_version: None,
        kind: kind.to_owned(),
        verbs: ["get", "patch", "update"].map(str::to_owned).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_does() {
        let mut versions = vec!["foo10", "v1alpha3", "v1", "v2", "v1beta1", "v11alpha2", "v3beta1"];
        versions.sort_by_key(|version| version_rank(version));
        assert_eq!(versions, ["v2", "v1", "v3beta1", "v1beta1", "v11alpha2", "v1alpha3", "foo10"]);
    }
}
