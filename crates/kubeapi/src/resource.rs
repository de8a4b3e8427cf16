//! Which resources there are: the built-in ones, and one per stored CustomResourceDefinition.
//!
//! A [`Registry`] is an immutable value, replaced as a whole when a CRD changes. It answers which
//! resource a path means, and it is all that discovery reads.

mod builtin;
mod custom;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

pub(crate) use custom::CustomVersion;

/// One served resource, such as `deployments` of `apps`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resource {
    /// API group; empty for core.
    pub(crate) group: String,
    /// Served versions, preferred first. Storage holds the first one of these.
    pub(crate) versions: Vec<String>,
    /// Name in paths.
    pub(crate) plural: String,
    /// Singular name.
    pub(crate) singular: String,
    /// Kind of one object.
    pub(crate) kind: String,
    /// Kind of a list.
    pub(crate) list_kind: String,
    /// Short names that kubectl knows.
    pub(crate) short_names: Vec<String>,
    /// Categories such as `all`.
    pub(crate) categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub(crate) namespaced: bool,
    /// What may be done with it.
    pub(crate) verbs: Vec<String>,
    /// Subresources, by name, with the kind and verbs that discovery shows.
    pub(crate) subresources: Vec<Subresource>,
    /// Whether `metadata.generation` counts changes of the specification.
    pub(crate) has_generation: bool,
    /// Key in the store; differs from group and plural only for two names of one resource.
    pub(crate) storage: String,
    /// Per version: printer columns, for resources that a CRD defines.
    pub(crate) custom: Option<Arc<BTreeMap<String, CustomVersion>>>,
}

/// One subresource, such as `status`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subresource {
    /// Name in paths.
    pub(crate) name: String,
    /// Group and version of its kind, where they are not the resource's.
    pub(crate) group_version: Option<(String, String)>,
    /// Kind.
    pub(crate) kind: String,
    /// What may be done with it.
    pub(crate) verbs: Vec<String>,
}

impl Resource {
    /// `deployments.apps`, or `pods` for core.
    pub(crate) fn qualified(&self) -> String {
        match self.group.as_str() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// `apps/v1`, or `v1` for core.
    pub(crate) fn api_version(&self, version: &str) -> String {
        group_version(&self.group, version)
    }

    /// The version that objects are stored in.
    pub(crate) fn storage_version(&self) -> &str {
        self.versions.first().map_or("v1", String::as_str)
    }

    /// Whether it is built in, rather than defined by a CRD.
    pub(crate) fn is_builtin(&self) -> bool {
        self.custom.is_none()
    }

    /// Whether it has that subresource.
    pub(crate) fn has_subresource(&self, name: &str) -> bool {
        self.subresources.iter().any(|subresource| subresource.name == name)
    }

    /// Whether `status` is written apart from the rest.
    pub(crate) fn has_status(&self) -> bool {
        self.has_subresource("status")
    }

    /// Whether that verb is offered.
    pub(crate) fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|offered| offered == verb)
    }
}

/// `GROUP/VERSION`, or the version alone for core.
pub(crate) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Every resource that is served at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    resources: Vec<Arc<Resource>>,
    by_path: BTreeMap<(String, String), Arc<Resource>>,
}

impl Registry {
    /// The built-in resources and those that the given CRDs define.
    pub(crate) fn new<'a>(crds: impl Iterator<Item = &'a Value>) -> Self {
        let mut resources: Vec<Arc<Resource>> =
            builtin::resources().into_iter().map(Arc::new).collect();
        resources.extend(crds.filter_map(custom::resource).map(Arc::new));
        let by_path = resources
            .iter()
            .map(|resource| {
                ((resource.group.clone(), resource.plural.clone()), Arc::clone(resource))
            })
            .collect();
        Self { resources, by_path }
    }

    /// The resource that a path names, if the version is served.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path
            .get(&(group.to_owned(), plural.to_owned()))
            .filter(|resource| resource.versions.iter().any(|served| served == version))
    }

    /// The resource of a group and plural, whatever its version.
    pub(crate) fn by_name(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&(group.to_owned(), plural.to_owned()))
    }

    /// All resources, built-in ones first.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.iter()
    }

    /// Group names in the order of discovery, core excluded.
    pub(crate) fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for resource in &self.resources {
            if !resource.group.is_empty() && !groups.contains(&resource.group.as_str()) {
                groups.push(&resource.group);
            }
        }
        groups
    }

    /// Versions of a group, preferred first.
    pub(crate) fn versions(&self, group: &str) -> Vec<&str> {
        let mut versions: Vec<&str> = Vec::new();
        for resource in self.resources.iter().filter(|resource| resource.group == group) {
            for version in &resource.versions {
                if !versions.contains(&version.as_str()) {
                    versions.push(version);
                }
            }
        }
        versions.sort_by_key(|version| custom::version_rank(version));
        versions
    }

    /// Resources of one group and version, in the order of their names.
    pub(crate) fn of(&self, group: &str, version: &str) -> Vec<&Arc<Resource>> {
        let mut found: Vec<&Arc<Resource>> = self
            .resources
            .iter()
            .filter(|resource| {
                resource.group == group && resource.versions.iter().any(|v| v == version)
            })
            .collect();
        found.sort_by(|a, b| a.plural.cmp(&b.plural));
        found
    }
}
