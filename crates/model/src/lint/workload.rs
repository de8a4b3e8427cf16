//! Workloads that policies name but can't know, and probes and scrapes that policies refuse.

use palisade_manifest::{Action, Workload, codes};
use palisade_policy::Verdict;
use serde_json::Value;

use super::{Lint, fields, is_spared, or_default};
use crate::{Call, Request};

pub(super) fn check(lint: &mut Lint<'_>) {
    let studies = lint.studies;
    for (study, it) in studies.iter().enumerate() {
        for workload in &it.workloads {
            caller(lint, study, workload);
            probes(lint, study, workload);
        }
    }
}

/// A workload without sidecar whose identity some ALLOW rule asks for.
fn caller(lint: &mut Lint<'_>, study: usize, workload: &Workload) {
    let Some(arrival) = index_of(lint, workload).and_then(|index| lint.arrivals.get(index)) else {
        return;
    };
    let Some(id) = lint.world.identity(arrival.pod()).filter(|_| !arrival.has_sidecar()) else {
        return;
    };
    let (principal, namespace) = (id.principal().to_string(), id.namespace());
    let account = format!("{namespace}/{}", id.service_account());
    let alone = !lint.arrivals.iter().any(|other| {
        other.has_sidecar() && other.pod().metadata.namespace == arrival.pod().metadata.namespace
    });
    let named = lint.world.policies().iter().find(|policy| {
        let rules = policy.spec.rules.iter().flatten();
        policy.spec.action == Action::Allow
            && rules.flat_map(fields::of).filter(|values| !values.negated).any(|values| {
                values.about.is_identity()
                    && values.values.iter().any(|value| {
                        *value == principal || *value == account || (alone && value == namespace)
                    })
            })
    });
    let Some(policy) = named else { return };
    let message = format!(
        "`{}` has no sidecar, so `{}` never knows it by `{principal}`",
        workload.pod.metadata.name, policy.metadata.name
    );
    let help =
        "label its namespace `istio-injection: enabled`, and remove what keeps a sidecar off";
    tell(lint, codes::NO_SIDECAR, study, workload, message, help);
}

/// Probes and scrapes that go past the sidecar's own answers.
fn probes(lint: &mut Lint<'_>, study: usize, workload: &Workload) {
    let annotations = &workload.pod.metadata.annotations;
    let is = |key: &str, value: &str| annotations.get(key).is_some_and(|it| it == value);
    let mut asked: Vec<(String, u16, String)> = Vec::new();
    if is("sidecar.istio.io/rewriteAppHTTPProbers", "false") {
        asked.extend(http_probes(&workload.value));
    }
    if is("prometheus.io/scrape", "true") && is("prometheus.istio.io/merge-metrics", "false") {
        let text = |key: &str, default: &str| {
            annotations.get(key).map_or(default, String::as_str).to_owned()
        };
        if let Ok(port) = text("prometheus.io/port", "80").parse() {
            asked.push(("scrapes".to_owned(), port, text("prometheus.io/path", "/metrics")));
        }
    }
    let Some(index) = index_of(lint, workload) else { return };
    for (what, port, path) in asked {
        let Some(arrival) = lint.arrivals.get(index) else { return };
        let call = Call {
            identities: Vec::new(),
            source_ip: std::net::Ipv4Addr::new(192, 0, 2, 1).into(),
            port,
            now: None,
            authorizer: None,
            request: Some(Request {
                method: "GET".to_owned(),
                path: path.clone(),
                host: "probe".to_owned(),
                ..Request::default()
            }),
        };
        let explained = arrival.explain(&call);
        if explained.verdict == Verdict::Deny {
            let message =
                format!("{what} of {path} at port {port} are refused: {}", explained.sentence);
            let help = "remove the annotation, so that the sidecar answers, or allow the path";
            tell(lint, codes::PROBE, study, workload, message, help);
        }
    }
}

/// The HTTP probes of a pod: what they are, port and path.
fn http_probes(pod: &Value) -> Vec<(String, u16, String)> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    containers
        .flat_map(|container| {
            ["livenessProbe", "readinessProbe", "startupProbe"].into_iter().filter_map(|key| {
                let get = container.get(key)?.get("httpGet")?;
                let port = match &get["port"] {
                    Value::String(name) => container["ports"]
                        .as_array()?
                        .iter()
                        .find(|port| port["name"] == name.as_str())?["containerPort"]
                        .as_u64()?,
                    number => number.as_u64()?,
                };
                let path = get["path"].as_str().unwrap_or("/").to_owned();
                Some((format!("requests of `{key}`"), u16::try_from(port).ok()?, path))
            })
        })
        .collect()
}

/// The arrival of a workload's pod.
fn index_of(lint: &Lint<'_>, workload: &Workload) -> Option<usize> {
    let (name, namespace) = (&workload.pod.metadata.name, &workload.pod.metadata.namespace);
    lint.arrivals.iter().position(|arrival| {
        let metadata = &arrival.pod().metadata;
        metadata.name == *name && metadata.namespace == or_default(namespace)
    })
}

fn tell(
    lint: &mut Lint<'_>,
    code: &codes::Code,
    study: usize,
    workload: &Workload,
    message: String,
    help: &str,
) {
    if !is_spared(&workload.pod.metadata.annotations, code) {
        lint.push(code, study, "metadata.name", workload.span, message, help.to_owned());
    }
}
