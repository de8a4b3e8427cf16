//! The console in a cluster. Pure.

use serde_json::{Value, json};

use super::{
    control::READER,
    parts::{account, container, deployment, scratch},
    rules::{MESH_GROUPS, READ, in_cluster, in_namespace, named, rule},
};

/// How the console is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings<'a> {
    pub(super) image: &'a str,
    pub(super) read_only: bool,
    pub(super) prometheus: Option<&'a str>,
}

/// Account, permissions and Deployment.
pub(super) fn objects(settings: Settings<'_>) -> Vec<Value> {
    let mut all = vec![account(NAME, NAME)];
    all.extend(in_cluster(NAME, cluster_rules(settings.read_only)));
    all.extend(in_namespace(NAME, own_rules()));
    all.push(console(settings));
    all
}

fn cluster_rules(read_only: bool) -> Vec<Value> {
    let core = ["configmaps", "events", "namespaces", "pods", "serviceaccounts", "services"];
    let mut rules = vec![
        rule("", &core, &READ),
        rule("", &["pods/log"], &["get"]),
        rule("apps", &["deployments", "replicasets"], &READ),
        rule("discovery.k8s.io", &["endpointslices"], &READ),
    ];
    let write: &[&str] =
        if read_only { &READ } else { &["get", "list", "watch", "create", "update", "patch"] };
    rules.extend(MESH_GROUPS.map(|group| rule(group, &["*"], write)));
    rules
}

/// What it asks of the control plane, through the API.
fn own_rules() -> Vec<Value> {
    let control = ["istiod:15014"];
    vec![
        named("", "services/proxy", &control, &["get", "create"]),
        named("", "serviceaccounts/token", &[READER], &["create"]),
    ]
}

fn console(settings: Settings<'_>) -> Value {
    let (volume, mount) = scratch("state", STATE, "1Mi");
    let mut args = vec![json!("console"), json!("--serve"), json!("--state-dir"), json!(STATE)];
    if settings.read_only {
        args.push(json!("--read-only"));
    }
    if let Some(url) = settings.prometheus {
        args.extend([json!("--prometheus"), json!(url)]);
    }
    let mut container = container("console", settings.image, args);
    container["volumeMounts"] = json!([mount]);
    // It listens to its own pod only, so nobody else can ask whether it is ready.
    let ask = json!(["palisade", "console", "--state-dir", STATE, "--ready"]);
    container["readinessProbe"] = json!({"exec": {"command": ask}, "periodSeconds": 10});
    container["resources"] = json!({"requests": {"cpu": "10m", "memory": "32Mi"}});
    deployment(NAME, &container, &json!([volume]))
}

const NAME: &str = "palisade-console";
/// Where it gives login links to whoever may run a program in its pod.
const STATE: &str = "/var/run/palisade";
