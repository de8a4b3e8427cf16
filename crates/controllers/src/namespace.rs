//! Namespaces: each has a service account `default`, and takes its contents with it.

use k8s_openapi::{api::core::v1::ServiceAccount, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use crate::{
    action::{Action, Plan},
    objects::{Id, Kind, is_terminating},
    world::World,
};

/// Gives a namespace its account, or empties it.
pub(crate) fn reconcile(world: &World, id: &Id) -> Plan {
    let Some(namespace) = world.namespace(&id.name) else { return Plan::default() };
    if is_terminating(&namespace.metadata) {
        let is_held = namespace
            .spec
            .iter()
            .flat_map(|spec| spec.finalizers.iter().flatten())
            .any(|finalizer| finalizer == FINALIZER);
        let empty = Action::Empty { namespace: id.name.clone() };
        return if is_held { vec![empty].into() } else { Plan::default() };
    }
    let account = Id::new(Kind::ServiceAccount, &id.name, DEFAULT);
    if world.get(&account).is_some() {
        return Plan::default();
    }
    let object = ServiceAccount {
        metadata: ObjectMeta {
            name: Some(DEFAULT.to_owned()),
            namespace: Some(id.name.clone()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    vec![Action::create(account, &object)].into()
}

const DEFAULT: &str = "default";

const FINALIZER: &str = "kubernetes";
