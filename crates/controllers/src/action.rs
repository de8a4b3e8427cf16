//! What a reconcile function wants done. Values only: crate-wide, they are performed in `execute`.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use crate::{
    event::Happening,
    objects::{Id, Object, uid, version},
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Create an object, as a whole document without a status.
    Create { id: Id, document: Value },
    /// Merge a patch into an object, or into its status, unless it has changed meanwhile.
    Merge { id: Id, status: bool, patch: Value },
    /// Delete an object with what it owns, unless it is another one by now.
    Delete { id: Id, uid: String },
    /// Delete an object if none of its owners exists; ask the API server, not the cache.
    Collect { id: Id, uid: String, owners: Vec<OwnerReference> },
    /// Write an event.
    Tell(Happening),
    /// Delete everything in a namespace, and release the namespace once nothing is left.
    Empty { namespace: String },
}

impl Action {
    pub(crate) fn create<K: serde::Serialize>(id: Id, object: &K) -> Self {
        // Objects of k8s-openapi are plain trees with text keys, which always serialise.
        let document = serde_json::to_value(object).unwrap_or_default();
        Self::Create { id, document }
    }

    /// A merge that fails if the object is not the one that was looked at.
    pub(crate) fn merge(id: Id, object: &Object, patch: Value) -> Self {
        Self::guarded(id, object, patch, false)
    }

    /// The same for the status.
    pub(crate) fn merge_status<S: serde::Serialize>(id: Id, object: &Object, status: &S) -> Self {
        let status = serde_json::to_value(status).unwrap_or_default();
        Self::guarded(id, object, json!({ "status": status }), true)
    }

    fn guarded(id: Id, object: &Object, mut patch: Value, status: bool) -> Self {
        let metadata = object.metadata();
        if patch.get("metadata").is_none() {
            patch["metadata"] = json!({});
        }
        patch["metadata"]["uid"] = json!(uid(metadata));
        patch["metadata"]["resourceVersion"] = json!(version(metadata).to_string());
        Self::Merge { id, status, patch }
    }

    pub(crate) fn delete(id: Id, object: &Object) -> Self {
        Self::Delete { id, uid: uid(object.metadata()).to_owned() }
    }
}

/// What a reconcile function decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Done in order; the first failure ends it, and the task is tried again later.
    pub(crate) actions: Vec<Action>,
    /// Look again after so long even if nothing changes.
    pub(crate) again: Option<Duration>,
}

impl Plan {
    /// Never at once: what is due now has just been looked at.
    pub(crate) fn again_in(&mut self, delay: Duration) {
        let delay = delay.max(SOONEST);
        self.again = Some(self.again.map_or(delay, |sooner| sooner.min(delay)));
    }
}

const SOONEST: Duration = Duration::from_millis(100);

impl From<Vec<Action>> for Plan {
    fn from(actions: Vec<Action>) -> Self {
        Self { actions, again: None }
    }
}
