//! Performs actions against the API server, and says what came of them.

mod collect;
mod empty;

use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
};

use crate::{
    action::Action,
    event::{Happening, tell},
    objects::{Id, Kind, controller, name},
};

/// What an action led to, for the cache.
#[derive(Debug)]
pub(crate) enum Effect {
    /// An object is now like this.
    Applied(Kind, Box<DynamicObject>),
    /// An object is going.
    Deleted(Id, String),
}

/// What came of a list of actions.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) effects: Vec<Effect>,
    /// Why the rest was not done.
    pub(crate) error: Option<Failure>,
}

/// Why an action was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What it was based on is no longer so: the next look will be at something newer.
    Outdated,
    /// It is not finished: look again.
    Unfinished,
    /// The API server refuses to create an object.
    Create(Kind, kube::Error),
    /// Anything else.
    Other(kube::Error),
}

/// Performs actions in order, up to the first that fails.
pub(crate) async fn perform(client: Client, actions: Vec<Action>) -> Outcome {
    let mut effects = Vec::new();
    for action in actions {
        if let Err(error) = perform_one(&client, action, &mut effects).await {
            return Outcome { effects, error: Some(error) };
        }
    }
    Outcome { effects, error: None }
}

async fn perform_one(
    client: &Client,
    action: Action,
    effects: &mut Vec<Effect>,
) -> Result<(), Failure> {
    match action {
        Action::Create { id, document } => {
            let object: DynamicObject = serde_json::from_value(document)
                .map_err(|error| Failure::Other(kube::Error::SerdeError(error)))?;
            let created = api(client, &id).create(&PostParams::default(), &object).await;
            tell_owner(client, &id, &object, &created).await;
            let created = created.map_err(|error| create_failure(id.kind, error))?;
            effects.push(Effect::Applied(id.kind, Box::new(created)));
        }
        Action::Merge { id, status, patch } => {
            let (api, params) = (api(client, &id), PatchParams::default());
            let patch = Patch::Merge(patch);
            let merged = match status {
                true => api.patch_status(&id.name, &params, &patch).await,
                false => api.patch(&id.name, &params, &patch).await,
            };
            let merged = merged.map_err(failure)?;
            effects.push(Effect::Applied(id.kind, Box::new(merged)));
        }
        Action::Delete { id, uid } => delete(client, id, uid, effects).await?,
        Action::Collect { id, uid, owners } => {
            if collect::has_lost_all(client, &id.namespace, &owners).await? {
                delete(client, id, uid, effects).await?;
            }
        }
        Action::Tell(happening) => tell(client, &happening).await,
        Action::Empty { namespace } => empty::empty(client, &namespace).await?,
    }
    Ok(())
}

/// Whoever manages pods tells of each that it makes or can't make.
async fn tell_owner(
    client: &Client,
    id: &Id,
    draft: &DynamicObject,
    created: &Result<DynamicObject, kube::Error>,
) {
    let owner = controller(&draft.metadata).filter(|_| id.kind == Kind::Pod);
    let outcome = match created {
        Ok(pod) => Ok(format!("Created pod: {}", name(&pod.metadata))),
        Err(error) if code(error) == Some(CONFLICT) => return,
        Err(error) => Err(words(error)),
    };
    if let Some(owner) = owner {
        tell(client, &Happening::creation(&id.namespace, owner.clone(), outcome)).await;
    }
}

async fn delete(
    client: &Client,
    id: Id,
    uid: String,
    effects: &mut Vec<Effect>,
) -> Result<(), Failure> {
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
        ..DeleteParams::default()
    };
    match api(client, &id).delete(&id.name, &params).await {
        Ok(_) => effects.push(Effect::Deleted(id, uid)),
        Err(error) if code(&error) == Some(NOT_FOUND) => {}
        Err(error) => return Err(failure(error)),
    }
    Ok(())
}

fn api(client: &Client, id: &Id) -> Api<DynamicObject> {
    let resource = id.kind.resource();
    match id.kind {
        Kind::Namespace => Api::all_with(client.clone(), &resource),
        _ => Api::namespaced_with(client.clone(), &id.namespace, &resource),
    }
}

fn failure(error: kube::Error) -> Failure {
    match code(&error) {
        Some(NOT_FOUND | CONFLICT) => Failure::Outdated,
        _ => Failure::Other(error),
    }
}

fn create_failure(kind: Kind, error: kube::Error) -> Failure {
    match code(&error) {
        Some(CONFLICT) => Failure::Outdated,
        _ => Failure::Create(kind, error),
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// An error in the API server's own words.
pub(crate) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

const NOT_FOUND: u16 = 404;

const CONFLICT: u16 = 409;
