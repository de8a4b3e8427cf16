//! The console of a cluster: its pod, a login link, and the way there. The console listens on loopback of its pod, so
//! that nothing in the cluster reaches it; who comes in is who may run commands in that pod and forward ports to it.

use std::{io::Write, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use tokio::time::{sleep, timeout};

use super::{forward, show};
use crate::{
    CliError, Mesh,
    args::ConsoleArgs,
    commands::{
        exec,
        install::{CONSOLE_STATE as STATE, NAMESPACE},
        status::troubles_of,
        target::{PodTarget, is_ready},
    },
    error::During,
};

pub(super) async fn run(
    mesh: &Mesh,
    args: &ConsoleArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let listener = forward::listen(args.port).await?;
    let local = listener.local_addr().during("listen on 127.0.0.1")?.port();
    let mut console = find(mesh).await?;
    let mut open = args.open;
    let pods: Api<Pod> = mesh.api(NAMESPACE);
    let ends = tokio::signal::ctrl_c();
    let forwarding = async {
        loop {
            show(&console.link(local), open, out)?;
            forward::say(&format!("It leads to pod `{}`, until Ctrl-C.", console.pod));
            let at = (console.pod.as_str(), console.port);
            forward::serve(&listener, &pods, at, || console.is_there(&pods)).await;
            forward::say(
                "The console was started anew, and knows no session of before. A new link comes.",
            );
            console = replacement(mesh).await;
            open = false;
        }
    };
    tokio::select! {
        failed = forwarding => failed,
        ended = ends => ended.during("wait for Ctrl-C"),
    }
}

/// A console in a cluster, and a link to it.
#[derive(Debug, Eq, PartialEq)]
struct ClusterConsole {
    pod: String,
    /// Which life of the pod this is: sessions end with it.
    life: String,
    /// What it listens on, in its pod.
    port: u16,
    /// Path and query of the link.
    login: String,
}

impl ClusterConsole {
    /// Reads the link that the console in a pod printed.
    fn of(pod: &Pod, link: &str) -> Option<Self> {
        let (port, login) = link.trim().strip_prefix("http://127.0.0.1:")?.split_once('/')?;
        let token = login.strip_prefix("login?token=")?;
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        let port = port.parse().ok().filter(|_| is_token)?;
        Some(Self { pod: name(pod).to_owned(), life: life(pod), port, login: login.to_owned() })
    }

    /// Whether it still runs as it did; so it is taken to be while the API can't say.
    async fn is_there(&self, pods: &Api<Pod>) -> bool {
        match pods.get_opt(&self.pod).await {
            Ok(Some(pod)) => pod.metadata.deletion_timestamp.is_none() && life(&pod) == self.life,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// The link for a browser on this machine.
    fn link(&self, local: u16) -> String {
        format!("http://127.0.0.1:{local}/{}", self.login)
    }
}

/// The console that is to be shown now.
async fn find(mesh: &Mesh) -> Result<ClusterConsole, CliError> {
    let target = PodTarget { namespace: NAMESPACE.to_owned(), pod: ready_pod(mesh).await? };
    let line = ["palisade", "console", "--state-dir", STATE].map(str::to_owned);
    let run = timeout(LINK_PATIENCE, exec::capture(mesh, &target, None, &line)).await;
    let run = run.during("get a login link from the console")??;
    ClusterConsole::of(&target.pod, &run.stdout).ok_or_else(|| {
        let said = if run.stderr.is_empty() { run.stdout } else { run.stderr };
        let pod = target.name();
        CliError::Trouble(format!("the console in pod `{pod}` gave no link: {}", said.trim()))
    })
}

/// The console once there is one again, for as long as that takes; what is missing is said whenever it changes.
async fn replacement(mesh: &Mesh) -> ClusterConsole {
    let mut said = String::new();
    loop {
        match find(mesh).await {
            Ok(console) => return console,
            Err(error) if error.to_string() != said => {
                said = error.to_string();
                forward::say(&said);
            }
            Err(_) => {}
        }
        sleep(forward::PAUSE).await;
    }
}

async fn ready_pod(mesh: &Mesh) -> Result<Pod, CliError> {
    let pods: Api<Pod> = mesh.api(NAMESPACE);
    let labelled = ListParams::default().labels(LABEL);
    let found = pods.list(&labelled).await.during(format!("find the console in `{NAMESPACE}`"))?;
    let is_there = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    let found: Vec<Pod> = found.items.into_iter().filter(is_there).collect();
    if found.is_empty() {
        return Err(CliError::Trouble(format!(
            "no pod of a console (`{LABEL}`) in namespace `{NAMESPACE}` of this cluster: `palisade install` makes one"
        )));
    }
    if let Some(ready) = found.iter().find(|pod| is_ready(pod)) {
        return Ok(ready.clone());
    }
    let named = |line: &String| found.iter().any(|pod| line.contains(name(pod)));
    let mut why: Vec<String> =
        troubles_of(mesh, NAMESPACE).await.into_iter().filter(named).collect();
    if why.is_empty() {
        why = found.iter().map(unready).collect();
    }
    Err(CliError::Trouble(format!(
        "the console of this cluster is not ready: {}; see `kubectl -n {NAMESPACE} describe pod -l {LABEL}`",
        why.join("; ")
    )))
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The pod, and how often its containers were started.
fn life(pod: &Pod) -> String {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let restarts: i32 = statuses.map(|container| container.restart_count).sum();
    format!("{} {restarts}", pod.metadata.uid.as_deref().unwrap_or_default())
}

/// What the pod itself says, such as that no node takes it.
fn unready(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let false_ones = status.conditions.into_iter().flatten().filter(|it| it.status == "False");
    let said = false_ones.filter_map(|it| it.message).find(|message| !message.is_empty());
    let phase = status.phase.unwrap_or_else(|| "unknown".to_owned());
    format!("pod `{}`: {}", name(pod), said.unwrap_or_else(|| format!("its phase is {phase}")))
}

const LABEL: &str = "app=palisade-console";
const LINK_PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn a_link_of_the_pod_leads_through_the_local_port() {
        let pod: Pod = from_value(json!({"metadata": {"name": "a"}})).unwrap();
        let console =
            ClusterConsole::of(&pod, "http://127.0.0.1:20001/login?token=0aF9\n").unwrap();
        assert_eq!((console.port, console.pod.as_str()), (20001, "a"));
        assert_eq!(console.link(41234), "http://127.0.0.1:41234/login?token=0aF9");
        for other in [
            "",
            "http://evil.example:20001/login?token=0aF9",
            "http://127.0.0.1:20001.evil.example/login?token=0aF9",
            "http://127.0.0.1:99999/login?token=0aF9",
            "http://127.0.0.1:20001/login?token=",
            "http://127.0.0.1:20001/login?token=0aF9\u{1b}[2J",
            "http://127.0.0.1:20001/other",
        ] {
            assert_eq!(ClusterConsole::of(&pod, other), None, "{other}");
        }
    }

    #[test]
    fn a_pod_that_is_not_ready_says_why() {
        let pod = |status: Value| {
            let value = json!({"metadata": {"name": "a"}, "status": status});
            unready(&from_value(value).unwrap())
        };
        let unscheduled = json!({"phase": "Pending", "conditions": [
            {"type": "Initialized", "status": "True", "message": "fine"},
            {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"},
        ]});
        assert_eq!(pod(unscheduled), "pod `a`: 0/1 nodes are available");
        assert_eq!(pod(json!({"phase": "Pending"})), "pod `a`: its phase is Pending");
        assert_eq!(pod(json!({})), "pod `a`: its phase is unknown");
    }
}
