//! The console in a cluster. Pure.

use serde_json::{Value, json};

use super::{
    control::READER,
    parts::{account, container, deployment, scratch},
    rules::{MESH_GROUPS, in_cluster, in_namespace, named, rule},
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
    all.extend(in_cluster(NAME, &cluster_rules(settings.read_only)));
    all.extend(in_namespace(NAME, &own_rules(settings.read_only)));
    all.push(console(settings));
    all
}

fn cluster_rules(read_only: bool) -> Vec<Value> {
    let core = ["events", "namespaces", "pods", "serviceaccounts", "services"];
    let mut rules = vec![rule("", &core, &["list"]), rule("", &["pods/log"], &["get"])];
    let verbs: &[&str] = if read_only { &["list"] } else { &["list", "get", "create", "patch"] };
    rules.extend(MESH_GROUPS.map(|group| rule(group, &["*"], verbs)));
    rules
}

/// What it asks of the control plane, through the API, and the settings of the mesh.
fn own_rules(read_only: bool) -> Vec<Value> {
    let verbs: &[&str] = if read_only { &["get"] } else { &["get", "create"] };
    vec![
        named("", "configmaps", &["istio"], &["list"]),
        named("", "services/proxy", &["istiod:15014"], verbs),
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
    let mut container = container("console", settings.image, &args);
    container["volumeMounts"] = json!([mount]);
    // It listens to its own pod only, so nobody else can ask whether it is ready.
    let ask = json!(["palisade", "console", "--state-dir", STATE, "--ready"]);
    container["readinessProbe"] = json!({"exec": {"command": ask}, "periodSeconds": 10});
    container["resources"] = json!({"requests": {"cpu": "10m", "memory": "32Mi"}});
    deployment(NAME, &container, &json!([volume]))
}

const NAME: &str = "palisade-console";
/// Where it gives login links to whoever may run a program in its pod.
pub(in crate::commands) const STATE: &str = "/var/run/palisade";
