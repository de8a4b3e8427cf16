//! Several objects that take force as one generation: the control plane publishes nothing from the first that is
//! stored until it has seen the last.

use serde_json::{Value, json};

use super::{Applied, is_mesh_config};
use crate::Mesh;

/// A batch that is open.
pub(super) struct Batch(Value);

impl Batch {
    /// Begins one. With a control plane that can't be asked nothing takes force anyway, and what it finds when
    /// it is back it takes as a whole.
    pub(super) async fn begin(mesh: &Mesh) -> Option<Self> {
        let begun = mesh.tell_control("debug/batch", Vec::new()).await.ok()?;
        begun["batch"].is_u64().then(|| Self(begun["batch"].clone()))
    }

    /// Ends it with what was stored. A batch that can't be ended ends by itself.
    pub(super) async fn end(self, mesh: &Mesh, applied: &[Applied]) {
        let stored: Vec<Value> = applied
            .iter()
            .filter(|object| is_mesh_config(&object.kind))
            .map(|object| {
                json!({
                    "kind": object.kind, "namespace": object.namespace, "name": object.name,
                    "resourceVersion": object.resource_version,
                })
            })
            .collect();
        let path = format!("debug/batch/{}/end", self.0);
        drop(mesh.tell_control(&path, Value::Array(stored).to_string().into_bytes()).await);
    }
}
