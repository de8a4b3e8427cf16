//! Events: what controllers tell of their objects, for `kubectl describe` and `get events`.
//!
//! The same event again raises the count of the first: its name is made of what it says, so that
//! this holds across restarts. Nothing depends on events, so one that can't be written is let go.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::objects::{Kind, controlled_by, namespace};

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Happening {
    namespace: String,
    about: OwnerReference,
    /// `Normal` or `Warning`.
    kind: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Happening {
    /// As it should be.
    pub(crate) fn normal(
        (kind, about): (Kind, &ObjectMeta),
        reason: &'static str,
        message: String,
    ) -> Self {
        Self::of(namespace(about), controlled_by(kind, about), "Normal", (reason, message))
    }

    /// Somebody may want to look.
    pub(crate) fn warning(
        (kind, about): (Kind, &ObjectMeta),
        reason: &'static str,
        message: String,
    ) -> Self {
        Self::of(namespace(about), controlled_by(kind, about), "Warning", (reason, message))
    }

    /// The managing owner of an object has made it, or could not.
    pub(crate) fn creation(
        namespace: &str,
        owner: OwnerReference,
        outcome: Result<String, String>,
    ) -> Self {
        match outcome {
            Ok(made) => Self::of(namespace, owner, "Normal", ("SuccessfulCreate", made)),
            Err(why) => {
                let message = format!("Error creating: {why}");
                Self::of(namespace, owner, "Warning", ("FailedCreate", message))
            }
        }
    }

    fn of(
        namespace: &str,
        about: OwnerReference,
        kind: &'static str,
        (reason, message): (&'static str, String),
    ) -> Self {
        Self { namespace: namespace.to_owned(), about, kind, reason, message }
    }

    fn name(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.about.uid, self.reason, &self.message).hash(&mut hasher);
        format!("{}.{:016x}", self.about.name, hasher.finish())
    }

    fn event(&self, now: Timestamp) -> Event {
        let component = format!("{}-controller", self.about.kind.to_lowercase());
        Event {
            metadata: ObjectMeta {
                name: Some(self.name()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(self.about.api_version.clone()),
                kind: Some(self.about.kind.clone()),
                name: Some(self.about.name.clone()),
                namespace: Some(self.namespace.clone()),
                uid: Some(self.about.uid.clone()),
                ..ObjectReference::default()
            },
            reason: Some(self.reason.to_owned()),
            message: Some(self.message.clone()),
            source: Some(EventSource { component: Some(component.clone()), host: None }),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            type_: Some(self.kind.to_owned()),
            reporting_component: Some(component),
            reporting_instance: Some(String::new()),
            ..Event::default()
        }
    }
}

/// Writes an event, or counts it.
pub(crate) async fn tell(client: &Client, happening: &Happening) {
    let api = Api::<Event>::namespaced(client.clone(), &happening.namespace);
    let event = happening.event(Timestamp::now());
    let outcome = match api.create(&PostParams::default(), &event).await {
        Err(kube::Error::Api(status)) if status.code == 409 => again(&api, &event).await,
        other => other.map(drop),
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, ?happening, "an event could not be written");
    }
}

async fn again(api: &Api<Event>, event: &Event) -> Result<(), kube::Error> {
    let name = event.metadata.name.as_deref().unwrap_or_default();
    let known = api.get(name).await?;
    let patch = json!({
        "metadata": { "resourceVersion": known.metadata.resource_version },
        "count": known.count.unwrap_or(1).saturating_add(1),
        "lastTimestamp": event.last_timestamp,
    });
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}
