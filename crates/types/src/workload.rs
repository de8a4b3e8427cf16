//! Names of workloads.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A pod by namespace and name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct WorkloadRef {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
}

impl WorkloadRef {
    /// A workload by namespace and name.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for WorkloadRef {
    /// `NAME.NAMESPACE`, as Istio's `proxy-status` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

impl FromStr for WorkloadRef {
    type Err = String;

    /// Splits `NAME.NAMESPACE` at the last dot, since a pod's name may have dots and a namespace not.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once('.') {
            Some((name, namespace)) if !name.is_empty() && !namespace.is_empty() => {
                Ok(Self::new(namespace, name))
            }
            _ => Err(format!("`{text}` is not of the form `NAME.NAMESPACE`")),
        }
    }
}
