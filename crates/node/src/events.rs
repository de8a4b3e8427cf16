//! Events of pods: what `kubectl describe` and `get events` show.
//!
//! Best effort: they are queued, a full queue drops them and counts it. The same event again
//! raises the count of the first, as long as that is remembered.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;

/// Whether something is as it should be.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// It is.
    Normal,
    /// Somebody may want to look.
    Warning,
}

/// Where events are handed in.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    queue: mpsc::Sender<Happening>,
}

#[derive(Debug)]
struct Happening {
    object: ObjectReference,
    component: &'static str,
    kind: Kind,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

impl Events {
    /// A queue, and the work of sending what is in it.
    pub(crate) fn new(client: Client, node: String) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let recorder = Recorder { client, node, seen: BTreeMap::new(), order: VecDeque::new() };
        (Self { queue }, recorder.run(waiting))
    }

    /// Something happened to a pod.
    pub(crate) fn pod(&self, pod: &Pod, kind: Kind, reason: &'static str, message: String) {
        self.send(pod, None, kind, reason, message);
    }

    /// Something happened to a container of a pod; `section` is where it is listed.
    pub(crate) fn container(
        &self,
        pod: &Pod,
        (section, name): (&str, &str),
        kind: Kind,
        reason: &'static str,
        message: String,
    ) {
        self.send(pod, Some(format!("spec.{section}{{{name}}}")), kind, reason, message);
    }

    fn send(
        &self,
        pod: &Pod,
        field_path: Option<String>,
        kind: Kind,
        reason: &'static str,
        message: String,
    ) {
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path,
        };
        let component = if reason == "Scheduled" { "default-scheduler" } else { "kubelet" };
        let at = Timestamp::now();
        if self.queue.try_send(Happening { object, component, kind, reason, message, at }).is_err()
        {
            tracing::debug!(reason, "an event was dropped: the queue is full");
        }
    }
}

/// What makes an event the same as one before: pod, part of it, reason and message.
type Signature = (String, String, &'static str, String);

struct Recorder {
    client: Client,
    node: String,
    seen: BTreeMap<Signature, (String, i32)>,
    order: VecDeque<Signature>,
}

impl Recorder {
    async fn run(mut self, mut waiting: mpsc::Receiver<Happening>) {
        while let Some(happening) = waiting.recv().await {
            if let Err(error) = self.record(happening).await {
                tracing::debug!(%error, "an event could not be sent");
            }
        }
    }

    async fn record(&mut self, happening: Happening) -> Result<(), kube::Error> {
        let Happening { object, component, kind, reason, message, at } = happening;
        let namespace = object.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let signature = (text(&object.uid), text(&object.field_path), reason, message.clone());
        let api = Api::<Event>::namespaced(self.client.clone(), &namespace);
        if let Some((name, count)) = self.seen.get_mut(&signature) {
            *count += 1;
            let patch = json!({ "count": count, "lastTimestamp": Time(at) });
            api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
            return Ok(());
        }
        let nanoseconds = u64::try_from(at.as_nanosecond()).unwrap_or_default();
        let name = format!("{}.{nanoseconds:x}", text(&object.name));
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            involved_object: object,
            reason: Some(reason.to_owned()),
            message: Some(message),
            source: Some(EventSource {
                component: Some(component.to_owned()),
                host: (component == "kubelet").then(|| self.node.clone()),
            }),
            first_timestamp: Some(Time(at)),
            last_timestamp: Some(Time(at)),
            count: Some(1),
            type_: Some(if kind == Kind::Normal { "Normal" } else { "Warning" }.to_owned()),
            reporting_component: Some(component.to_owned()),
            reporting_instance: Some(self.node.clone()),
            ..Event::default()
        };
        api.create(&PostParams::default(), &event).await?;
        self.remember(signature, name);
        Ok(())
    }

    fn remember(&mut self, signature: Signature, name: String) {
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.order.push_back(signature.clone());
        self.seen.insert(signature, (name, 1));
    }
}

const QUEUE: usize = 256;
const REMEMBERED: usize = 512;
