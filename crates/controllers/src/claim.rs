//! Which objects a controller owns: those that refer to it, those without controller that its
//! selector selects (adopted), but not those whose labels no longer fit (released).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use serde_json::json;

use crate::{
    action::Action,
    objects::{Id, Kind, Object, controlled_by, controller, is_terminating, owners, selects, uid},
};

/// What a controller owns, and what is to be done so that it says so on the objects.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) owned: Vec<&'a Object>,
    pub(crate) actions: Vec<Action>,
}

/// Claims among candidates of the owner's namespace.
pub(crate) fn claim<'a>(
    owner: (Kind, &ObjectMeta),
    selector: &LabelSelector,
    kind: Kind,
    candidates: impl Iterator<Item = &'a Object>,
) -> Claim<'a> {
    let reference = controlled_by(owner.0, owner.1);
    let mut claim = Claim { owned: Vec::new(), actions: Vec::new() };
    for object in candidates {
        let metadata = object.metadata();
        let fits = selects(selector, metadata);
        match controller(metadata) {
            Some(found) if found.uid == reference.uid && fits => claim.owned.push(object),
            Some(found) if found.uid == reference.uid => {
                let rest = owners(metadata).iter().filter(|owner| owner.uid != reference.uid);
                claim.actions.push(refer(kind, object, &rest.cloned().collect::<Vec<_>>()));
            }
            None if fits && !is_terminating(metadata) && !uid(owner.1).is_empty() => {
                let mut all = owners(metadata).to_vec();
                all.push(reference.clone());
                claim.actions.push(refer(kind, object, &all));
                claim.owned.push(object);
            }
            Some(_) | None => {}
        }
    }
    claim
}

fn refer(kind: Kind, object: &Object, owners: &[OwnerReference]) -> Action {
    let patch = json!({ "metadata": { "ownerReferences": owners } });
    Action::merge(Id::of(kind, object.metadata()), object, patch)
}
