//! A machine with a real API server and a node, inside the sandbox.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{
    Api, Client,
    api::{AttachParams, LogParams, PostParams},
};
use palisade_kubeapi::{ApiOptions, ApiServer, ApiUser};
use palisade_net::Fabric;
use palisade_sys::testing::in_sandbox;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use super::{block_on, program};
use crate::{NodeOptions, client, run};

/// A machine with an API server and a node, and a person's client.
pub(super) struct Machine {
    pub(super) client: Client,
    shutdown: CancellationToken,
    node: tokio::task::JoinHandle<Result<(), crate::NodeError>>,
}

pub(super) fn on_machine<F>(module: &str, test: &str, work: impl FnOnce(Machine) -> F)
where
    F: Future<Output = ()>,
{
    in_sandbox(&format!("tests::{module}::{test}"), || {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let fabric = Fabric::create(palisade_net::egress::Egress::Refused).unwrap();
        fabric.enter_current_thread().unwrap();
        block_on(async {
            let machine = Machine::start(directory.path(), fabric).await;
            work(machine).await;
        });
    });
}

impl Machine {
    async fn start(state: &std::path::Path, fabric: Fabric) -> Self {
        let shutdown = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let kubelet_socket = state.join("run/kubelet.sock");
        let server = ApiServer::open(ApiOptions::new(state.join("api"), &kubelet_socket)).unwrap();
        let kubeconfig = state.join("node.kubeconfig");
        std::fs::write(&kubeconfig, server.kubeconfig(ApiUser::Node, &url).unwrap()).unwrap();
        let stop = shutdown.clone();
        tokio::spawn(async move { server.serve(vec![listener], stop).await.unwrap() });
        let options = NodeOptions {
            resolver: None,
            kubeconfig,
            state_dir: state.to_owned(),
            kubelet_socket,
            self_exe: program(),
            name: "palisade".to_owned(),
            fabric,
            cgroups: None,
        };
        let client = client(&options.kubeconfig).await.unwrap();
        let node = tokio::spawn(run(options, shutdown.clone()));
        let machine = Self { client, shutdown, node };
        let account = json!({ "metadata": { "name": "default" } });
        let accounts = Api::<ServiceAccount>::namespaced(machine.client.clone(), "default");
        // Where the API server makes it by itself, that is fine too.
        let _ = accounts.create(&PostParams::default(), &object(account)).await;
        machine
    }

    pub(super) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(super) async fn create(&self, name: &str, spec: Value) {
        let pod = json!({ "metadata": { "name": name, "labels": { "app": name } }, "spec": spec });
        self.pods().create(&PostParams::default(), &object(pod)).await.unwrap();
    }

    pub(super) async fn wait(
        &self,
        name: &str,
        what: &str,
        until: impl Fn(&Value) -> bool,
    ) -> Value {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            let pod = serde_json::to_value(self.pods().get(name).await.unwrap()).unwrap();
            if until(&pod) {
                return pod;
            }
            assert!(Instant::now() < give_up, "{name} never was {what}: {:#}", pod["status"]);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn wait_ready(&self, name: &str) -> Value {
        self.wait(name, "ready", |pod| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
        })
        .await
    }

    pub(super) async fn wait_phase(&self, name: &str, phase: &str) -> Value {
        self.wait(name, phase, |pod| pod["status"]["phase"] == phase).await
    }

    pub(super) async fn wait_gone(&self, name: &str) {
        let give_up = Instant::now() + Duration::from_secs(60);
        while self.pods().get_opt(name).await.unwrap().is_some() {
            assert!(Instant::now() < give_up, "{name} never went");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Exit code and standard output.
    pub(super) async fn exec(&self, name: &str, command: &[&str]) -> (String, String) {
        let parameters = AttachParams::default().stdout(true).stderr(false);
        let mut process = self.pods().exec(name, command.to_vec(), &parameters).await.unwrap();
        let status = process.take_status().unwrap();
        let mut output = String::new();
        process.stdout().unwrap().read_to_string(&mut output).await.unwrap();
        let status = status.await.unwrap();
        let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
        let code = causes.into_iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
        let code = code.and_then(|cause| cause.message).unwrap_or_else(|| "0".to_owned());
        (code, output.trim().to_owned())
    }

    pub(super) async fn logs(&self, name: &str, parameters: &LogParams) -> String {
        self.pods().logs(name, parameters).await.unwrap()
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.node.await.unwrap().unwrap();
    }
}

pub(super) fn object<T: Serialize + DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(super) fn shell(name: &str, script: &str) -> Value {
    json!({ "name": name, "image": "busybox", "command": ["sh", "-c", script] })
}
