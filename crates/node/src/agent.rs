//! The node itself: registers, takes pods that nobody has, and keeps a worker for each of its own.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use kube::{
    Api, Resource,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher::{self, Event},
};
use palisade_net::{GATEWAY, POD_CIDR};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::{sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    context::{Changed, Context},
    events::Kind,
    pod::{Order, PodWorker},
    resources::Allocatable,
};

/// Creates or updates the Node object; tries until the API server answers or `limit` is over.
pub(crate) async fn register(
    context: &Context,
    name: &str,
    limit: Duration,
) -> Result<(), kube::Error> {
    let give_up = tokio::time::Instant::now() + limit;
    loop {
        match try_register(context, name).await {
            Ok(()) => return Ok(()),
            Err(error) if tokio::time::Instant::now() >= give_up => return Err(error),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn try_register(context: &Context, name: &str) -> Result<(), kube::Error> {
    let api = Api::<Node>::all(context.cluster.client());
    let (network, bits) = POD_CIDR;
    let node: Node = serde_json::from_value(json!({
        "metadata": { "name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture(), "node-role.kubernetes.io/control-plane": "",
        } },
        "spec": { "podCIDR": format!("{network}/{bits}"), "podCIDRs": [format!("{network}/{bits}")] },
    }))
    .map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(error),
    }
    let status = Patch::Merge(node_status(name));
    api.patch_status(name, &PatchParams::default(), &status).await?;
    Ok(())
}

fn node_status(name: &str) -> serde_json::Value {
    let now = jiff::Timestamp::now();
    let now = format!("{now:.0}");
    let Allocatable { cpus, memory_kib } = Allocatable::here();
    let memory = format!("{memory_kib}Ki");
    let resources = json!({ "cpu": cpus.to_string(), "memory": memory, "pods": "1000" });
    let system = rustix::system::uname();
    json!({ "status": {
        "addresses": [
            { "type": "InternalIP", "address": GATEWAY.to_string() },
            { "type": "Hostname", "address": name },
        ],
        "capacity": resources.clone(),
        "allocatable": resources,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady",
            "message": "kubelet is posting ready status",
            "lastHeartbeatTime": now.clone(), "lastTransitionTime": now,
        }],
        "nodeInfo": {
            "machineID": "", "systemUUID": "", "bootID": "",
            "kernelVersion": system.release().to_string_lossy(),
            "osImage": "this machine", "operatingSystem": "linux", "architecture": architecture(),
            "containerRuntimeVersion": format!("palisade://{}", env!("CARGO_PKG_VERSION")),
            "kubeletVersion": format!("v1.33.0-palisade{}", env!("CARGO_PKG_VERSION")),
            "kubeProxyVersion": "",
        },
    } })
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Runs pods until `shutdown`, then ends them and returns.
pub(crate) async fn run_pods(context: Arc<Context>, node: &str, shutdown: &CancellationToken) {
    let api = Api::<Pod>::all(context.cluster.client());
    let mut pods = Pods {
        context,
        node: node.to_owned(),
        workers: HashMap::new(),
        tasks: JoinSet::new(),
        binding: JoinSet::new(),
    };
    let mut events = Box::pin(patiently(api));
    let mut listed = Vec::new();
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(event) = events.next() => event,
            Some(Ok(uid)) = pods.tasks.join_next() => {
                pods.workers.remove(&uid);
                continue;
            }
        };
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(pod) => {
                listed.extend(pod.metadata.uid.clone());
                pods.apply(pod);
            }
            Event::InitDone => pods.retain(&listed),
            Event::Apply(pod) => pods.apply(pod),
            Event::Delete(pod) => pods.vanish(&pod),
        }
    }
    pods.leave().await;
}

struct Pods {
    context: Arc<Context>,
    node: String,
    workers: HashMap<String, PodHandle>,
    tasks: JoinSet<String>,
    binding: JoinSet<()>,
}

struct PodHandle {
    pod: watch::Sender<Arc<Pod>>,
    order: watch::Sender<Order>,
}

impl Pods {
    fn apply(&mut self, pod: Pod) {
        while self.binding.try_join_next().is_some() {}
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if node.is_empty() {
            if pod.metadata.deletion_timestamp.is_none() {
                self.binding.spawn(bind(Arc::clone(&self.context), pod, self.node.clone()));
            }
            return;
        }
        if node != self.node {
            return;
        }
        if let Some(handle) = self.workers.get(&uid) {
            handle.pod.send_replace(Arc::new(pod));
            return;
        }
        let (sender, receiver) = watch::channel(Arc::new(pod));
        let (order, ordered) = watch::channel(Order::Run);
        let worker = PodWorker::new(Arc::clone(&self.context), receiver, ordered);
        let key = uid.clone();
        tracing::debug!(uid, "a pod is taken");
        self.tasks.spawn(async move {
            worker.run().await;
            key
        });
        self.workers.insert(uid, PodHandle { pod: sender, order });
    }

    fn vanish(&self, pod: &Pod) {
        let handle = pod.metadata.uid.as_ref().and_then(|uid| self.workers.get(uid));
        if let Some(handle) = handle {
            handle.order.send_replace(Order::Vanish);
        }
    }

    /// After a new list: what is not in it is gone.
    fn retain(&self, listed: &[String]) {
        for (_, handle) in self.workers.iter().filter(|(uid, _)| !listed.contains(uid)) {
            handle.order.send_replace(Order::Vanish);
        }
    }

    async fn leave(&mut self) {
        for handle in self.workers.values() {
            handle.order.send_replace(Order::Leave);
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LEAVE, all).await.is_err() {
            tracing::warn!("some pods did not end in time; the kernel ends them");
        }
    }
}

async fn bind(context: Arc<Context>, pod: Pod, node: String) {
    let (namespace, name, _) = crate::context::identity(&pod);
    match context.cluster.bind(&pod, &node).await {
        Ok(()) => {
            let message = format!("Successfully assigned {namespace}/{name} to {node}");
            context.events.pod(&pod, Kind::Normal, "Scheduled", message);
        }
        Err(error) => tracing::debug!(%error, namespace, name, "a pod could not be taken"),
    }
}

/// Tells of changes of ConfigMaps and Secrets.
pub(crate) async fn watch_changes(context: Arc<Context>) {
    let client = context.cluster.client();
    let maps = tell::<ConfigMap>(Api::all(client.clone()), &context);
    let secrets = tell::<Secret>(Api::all(client), &context);
    tokio::join!(maps, secrets);
}

async fn tell<K>(api: Api<K>, context: &Context)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let mut events = Box::pin(patiently(api));
    while let Some(event) = events.next().await {
        if let Event::Apply(object) | Event::Delete(object) = event {
            let metadata = object.meta();
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let changed =
                Changed { namespace: text(&metadata.namespace), name: text(&metadata.name) };
            // Nobody may be interested.
            let _ = context.changes.send(changed);
        }
    }
}

/// A watch that goes on after errors, not faster than it helps.
pub(crate) fn patiently<K>(api: Api<K>) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher::watcher(api, watcher::Config::default()).filter_map(async |event| match event {
        Ok(event) => Some(event),
        Err(error) => {
            tracing::debug!(%error, "a watch was interrupted");
            sleep(Duration::from_millis(20)).await;
            None
        }
    })
}

/// What pods have together to end.
const LEAVE: Duration = Duration::from_secs(6);
