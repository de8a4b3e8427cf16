//! Names of policies.

use std::fmt;

use palisade_manifest::ObjectMeta;
use serde::{Deserialize, Serialize};

/// A policy by namespace and name; its kind is clear from where it stands.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct PolicyRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl PolicyRef {
    /// The policy that has this metadata.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self { namespace: metadata.namespace.clone(), name: metadata.name.clone() }
    }
}

impl fmt::Display for PolicyRef {
    /// `NAME.NAMESPACE`, as Istio's `describe` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}
