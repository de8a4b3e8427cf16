//! The controllers against the embedded API over TLS, with the kubelet played by the test.

use std::{net::TcpListener, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Pod, ServiceAccount},
        discovery::v1::EndpointSlice,
    },
    serde::de::DeserializeOwned,
};
use kube::{
    Api, Client, Config, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};
use palisade_kubeapi::{ApiOptions, ApiServer, ApiUser};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::run;

struct Live {
    client: Client,
    shutdown: CancellationToken,
    _state: tempfile::TempDir,
}

impl Live {
    async fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let options = ApiOptions::new(state.path().join("api"), state.path().join("kubelet.sock"));
        let server = ApiServer::open(options).unwrap();
        let kubeconfig = state.path().join("controllers");
        std::fs::write(&kubeconfig, server.kubeconfig(ApiUser::Controllers, &url).unwrap())
            .unwrap();
        let admin =
            Kubeconfig::from_yaml(&server.kubeconfig(ApiUser::Admin, &url).unwrap()).unwrap();
        let config = Config::from_custom_kubeconfig(admin, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.unwrap()).unwrap();
        let shutdown = CancellationToken::new();
        let (serving, running) = (shutdown.clone(), shutdown.clone());
        tokio::spawn(async move { server.serve(vec![listener], serving).await.unwrap() });
        tokio::spawn(async move { run(&kubeconfig, running).await.unwrap() });
        Self { client, shutdown, _state: state }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "shop")
    }

    async fn create_namespace(&self) {
        let namespace = json!({"metadata": {"name": "shop"}});
        let api: Api<Namespace> = Api::all(self.client.clone());
        let object = serde_json::from_value(namespace).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    async fn create<K>(&self, document: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + serde::Serialize,
    {
        let object: K = serde_json::from_value(document).unwrap();
        self.api().create(&PostParams::default(), &object).await.unwrap();
    }

    /// Waits until a list is as wanted.
    async fn wait<K>(&self, what: &str, is_so: impl Fn(&[K]) -> bool) -> Vec<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api = self.api();
        let waiting = async {
            loop {
                let found: Vec<K> = api.list(&ListParams::default()).await.unwrap().items;
                if is_so(&found) {
                    return found;
                }
                tokio::task::yield_now().await;
            }
        };
        match tokio::time::timeout(DEADLINE, waiting).await {
            Ok(found) => found,
            Err(_) => {
                let found: Vec<K> = api.list(&ListParams::default()).await.unwrap().items;
                panic!("{what}: {found:#?}")
            }
        }
    }

    /// Plays the kubelet: a node, an address, and ready.
    async fn run_pods(&self) {
        let api: Api<Pod> = self.api();
        for (number, pod) in api.list(&ListParams::default()).await.unwrap().into_iter().enumerate()
        {
            let name = pod.metadata.name.unwrap();
            let params = PatchParams::default();
            let node = json!({"spec": {"nodeName": "node"}});
            api.patch(&name, &params, &Patch::Merge(node)).await.unwrap();
            let status = json!({"status": {
                "phase": "Running", "podIP": format!("10.244.0.{}", number + 2),
                "conditions": [{"type": "Ready", "status": "True"}],
            }});
            api.patch_status(&name, &params, &Patch::Merge(status)).await.unwrap();
        }
    }

    /// Plays the kubelet: pods that are to end have ended.
    async fn end_pods(&self) {
        let api: Api<Pod> = self.api();
        for pod in api.list(&ListParams::default()).await.unwrap() {
            if pod.metadata.deletion_timestamp.is_some() {
                let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                api.delete(&pod.metadata.name.unwrap(), &now).await.unwrap();
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn deployment(replicas: i32, image: &str) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [
                    {"name": "main", "image": image, "ports": [{"name": "http", "containerPort": 8080}]},
                ]},
            },
        },
    })
}

fn is_rolled_out(deployment: &Deployment, replicas: i32) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    let is_true = |kind: &str, reason: &str| {
        status.conditions.iter().flatten().any(|found| {
            found.type_ == kind && found.status == "True" && found.reason.as_deref() == Some(reason)
        })
    };
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas == Some(replicas)
        && status.replicas == Some(replicas)
        && status.available_replicas == Some(replicas)
        && is_true("Available", "MinimumReplicasAvailable")
        && is_true("Progressing", "NewReplicaSetAvailable")
}

#[tokio::test]
async fn a_deployment_becomes_ready_endpoints_and_rolls_and_goes() {
    let live = Live::start().await;
    live.create_namespace().await;
    live.wait::<ServiceAccount>("the default account", |found| found.len() == 1).await;
    live.create::<k8s_openapi::api::core::v1::Service>(json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }))
    .await;
    live.create::<Deployment>(deployment(2, "one")).await;
    live.wait::<Pod>("two pods", |found| found.len() == 2).await;
    live.run_pods().await;
    live.wait::<Deployment>("rolled out", |found| is_rolled_out(&found[0], 2)).await;
    let is_served = |found: &[EndpointSlice], count: usize| {
        let ready = |slice: &EndpointSlice| {
            let endpoints = slice.endpoints.iter();
            endpoints.filter(|found| found.conditions.as_ref().unwrap().ready == Some(true)).count()
        };
        found.iter().map(ready).sum::<usize>() == count
    };
    let slices = live.wait("two ready endpoints", |found| is_served(found, 2)).await;
    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0].ports.as_ref().unwrap()[0].port, Some(8080));

    let patch = Patch::Merge(deployment(2, "two"));
    let api: Api<Deployment> = live.api();
    api.patch("web", &PatchParams::default(), &patch).await.unwrap();
    let rolling = async {
        while !is_rolled_out(&api.get("web").await.unwrap(), 2) {
            live.run_pods().await;
            live.end_pods().await;
        }
    };
    tokio::time::timeout(DEADLINE, rolling).await.unwrap();

    api.delete("web", &DeleteParams::background()).await.unwrap();
    live.wait::<Pod>("all pods going", |found| {
        found.iter().all(|pod| pod.metadata.deletion_timestamp.is_some())
    })
    .await;
    live.end_pods().await;
    live.wait::<k8s_openapi::api::apps::v1::ReplicaSet>("no sets", <[_]>::is_empty).await;
    live.wait("no endpoints", |found| is_served(found, 0)).await;
}

#[tokio::test]
async fn a_deployment_has_its_pods_without_waiting_for_a_timer() {
    let live = Live::start().await;
    live.create_namespace().await;
    live.wait::<ServiceAccount>("the default account", |found| found.len() == 1).await;
    let start = std::time::Instant::now();
    live.create::<Deployment>(deployment(3, "one")).await;
    live.wait::<Pod>("three pods", |found| found.len() == 3).await;
    // Milliseconds on an idle machine; the next timer is the resync after half a minute.
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_deleted_namespace_goes_with_everything_in_it() {
    let live = Live::start().await;
    live.create_namespace().await;
    live.wait::<ServiceAccount>("the default account", |found| found.len() == 1).await;
    live.create::<Deployment>(deployment(1, "one")).await;
    live.wait::<Pod>("a pod", |found| found.len() == 1).await;
    live.run_pods().await;
    let namespaces: Api<Namespace> = Api::all(live.client.clone());
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    let going = async {
        while namespaces.get_opt("shop").await.unwrap().is_some() {
            live.end_pods().await;
        }
    };
    tokio::time::timeout(DEADLINE, going).await.unwrap();
}

const DEADLINE: Duration = Duration::from_secs(20);
