//! The text of `describe`. The blocks up to the PeerAuthentications are istioctl's, line by line
//! (istio `istioctl/pkg/describe/describe.go`), since people compare and search them; ours follow.

use std::fmt::Write;

use palisade_manifest::{
    Action, ContainerPort, DestinationRule, Pod, Service, ServicePort, TargetPort, TlsMode,
};
use palisade_model::{applications, has_sidecar, port_protocol};
use palisade_policy::{CompiledPolicies, Enforcement, Scope, mtls};
use palisade_types::Protocol;

use super::{Facts, revision, selected};

const RULE: &str = "--------------------\n";

/// All that applies to a pod.
pub(super) fn pod(facts: &Facts, pod: &Pod) -> String {
    let mut text = String::new();
    let name = &pod.metadata.name;
    text.line(format_args!("Pod: {name}"));
    if has_sidecar(pod) {
        text.line(format_args!("   Pod Revision: {}", revision(pod)));
    }
    let ports = container_ports(pod);
    if ports.is_empty() {
        text.line(format_args!("   Pod does not expose ports"));
    } else {
        let ports: Vec<String> = ports
            .iter()
            .map(|(container, port)| match port.protocol.as_str() {
                "" | "TCP" => format!("{} ({container})", port.container_port),
                protocol => format!("{}/{protocol} ({container})", port.container_port),
            })
            .collect();
        text.line(format_args!("   Pod Ports: {}", ports.join(", ")));
    }
    if !has_sidecar(pod) {
        text.line(format_args!("WARNING: {name} is not part of mesh; no Istio sidecar"));
    }
    let services: Vec<&Service> = facts
        .services
        .iter()
        .filter(|service| selected(&service.spec.selector, &pod.metadata.labels))
        .collect();
    if services.is_empty() {
        text.line(format_args!(
            "Warning: No Kubernetes Services select pod {name} (see https://istio.io/docs/setup/kubernetes/additional-setup/requirements/ )"
        ));
    }
    for service in services {
        text.push_str(&service_block(facts, service, pod));
    }
    if has_sidecar(pod) {
        text.push_str(&security(facts, pod));
    }
    text
}

/// All that applies to a service, by its first pod.
pub(super) fn service(facts: &Facts, service: &Service) -> String {
    let behind = |pod: &&Pod| selected(&service.spec.selector, &pod.metadata.labels);
    let pods: Vec<&Pod> = facts.pods.iter().filter(behind).collect();
    let name = &service.metadata.name;
    match pods.iter().copied().find(|pod| has_sidecar(pod)) {
        Some(first) => {
            let block = service_block(facts, service, first);
            let block = block.strip_prefix(RULE).unwrap_or(&block);
            format!("{block}{}", security(facts, first))
        }
        None if pods.is_empty() => format!("Service \"{name}\" has no pods.\n"),
        None => {
            let others: Vec<&str> = pods.iter().map(|pod| pod.metadata.name.as_str()).collect();
            let others = others.join(", ");
            format!("Service \"{name}\" has no Istio pods.  (Non-Istio pods: {others})\n")
        }
    }
}

fn service_block(facts: &Facts, service: &Service, pod: &Pod) -> String {
    let mut text = RULE.to_owned();
    text.line(format_args!("Service: {}", service.metadata.name));
    for port in &service.spec.ports {
        let protocol = match port_protocol(port) {
            Some(Protocol::Auto) => "auto-detect",
            Some(Protocol::Http) => "HTTP",
            Some(Protocol::Http2) => "HTTP2",
            Some(Protocol::Grpc) => "GRPC",
            Some(Protocol::Tcp) => "TCP",
            None => "UnsupportedProtocol",
        };
        let target = target_port(port, pod);
        text.line(format_args!(
            "   Port: {} {}/{protocol} targets pod port {target}",
            port.name, port.port
        ));
    }
    for rule in facts.destination_rules.iter().filter(|rule| is_for(rule, service)) {
        destination_rule(&mut text, rule, pod);
    }
    if has_sidecar(pod) {
        let compiled = CompiledPolicies::compile(&facts.authorization_policies, scope(facts, pod));
        let names = rule_names(facts, &compiled);
        if !names.is_empty() {
            text.line(format_args!("RBAC policies: {}", names.join(", ")));
        }
    }
    text
}

fn destination_rule(text: &mut String, rule: &DestinationRule, pod: &Pod) {
    text.line(format_args!("DestinationRule: {} for {:?}", rule.metadata.name, rule.spec.host));
    let (matching, others): (Vec<_>, Vec<_>) =
        rule.spec.subsets.iter().partition(|subset| selected(&subset.labels, &pod.metadata.labels));
    let names = |subsets: &[&palisade_manifest::Subset]| {
        subsets.iter().map(|subset| subset.name.as_str()).collect::<Vec<_>>().join(",")
    };
    if !rule.spec.subsets.is_empty() {
        if matching.is_empty() {
            text.line(format_args!(
                "   WARNING POD DOES NOT MATCH ANY SUBSETS.  (Non matching subsets {})",
                names(&others)
            ));
        }
        text.line(format_args!("   Matching subsets: {}", names(&matching)));
        if !others.is_empty() {
            text.line(format_args!("      (Non-matching subsets {})", names(&others)));
        }
    }
    match &rule.spec.traffic_policy {
        None => text.line(format_args!("   No Traffic Policy")),
        Some(policy) => {
            if let Some(tls) = &policy.tls {
                let mode = match tls.mode {
                    TlsMode::Disable => "DISABLE",
                    TlsMode::IstioMutual => "ISTIO_MUTUAL",
                };
                text.line(format_args!("   Traffic Policy TLS Mode: {mode}"));
            }
        }
    }
}

/// mTLS as it is in effect, and then, where a policy applies, who decides about callers.
fn security(facts: &Facts, pod: &Pod) -> String {
    let mut text = RULE.to_owned();
    let effective = mtls::effective(&facts.peer_authentications, scope(facts, pod));
    text.line(format_args!("Effective PeerAuthentication:"));
    text.line(format_args!("   Workload mTLS mode: {}", effective.default));
    if !effective.ports.is_empty() {
        text.line(format_args!("   Port Level mTLS mode:"));
        for (port, mode) in &effective.ports {
            text.line(format_args!("      {port}: {mode}"));
        }
    }
    if !effective.applied.is_empty() {
        let names: Vec<String> = effective.applied.iter().map(ToString::to_string).collect();
        text.line(format_args!("Applied PeerAuthentication:"));
        text.line(format_args!("   {}", names.join(", ")));
    }
    text.push_str(&authorization(facts, pod));
    text
}

/// The policies that apply, in the order in which they decide.
fn authorization(facts: &Facts, pod: &Pod) -> String {
    let compiled = CompiledPolicies::compile(&facts.authorization_policies, scope(facts, pod));
    if compiled.is_empty() {
        return String::new();
    }
    let mut text = RULE.to_owned();
    text.line(format_args!("Authorization:"));
    let mut allows = false;
    for action in [Action::Custom, Action::Audit, Action::Deny, Action::Allow] {
        for applied in compiled.applied().filter(|applied| applied.action == action) {
            let rules = rules_of(facts, &applied.policy.namespace, &applied.policy.name);
            let dry_run = applied.enforcement == Enforcement::DryRun;
            allows |= action == Action::Allow && !dry_run;
            let what = match (action, rules) {
                (Action::Allow, 0) => "matches nothing".to_owned(),
                (_, 1) => "1 rule".to_owned(),
                (_, count) => format!("{count} rules"),
            };
            let note = if dry_run { ", dry run: not enforced" } else { "" };
            let action = format!("{action:?}").to_uppercase();
            text.line(format_args!("   {action:<6} {}: {what}{note}", applied.policy));
        }
    }
    text.line(format_args!(
        "   {}",
        if allows {
            "A request that no DENY matches needs a matching ALLOW."
        } else {
            "No ALLOW policy applies: a request that no DENY matches is allowed."
        }
    ));
    text
}

fn rule_names(facts: &Facts, compiled: &CompiledPolicies) -> Vec<String> {
    let mut names = Vec::new();
    for applied in compiled.applied() {
        let palisade_policy::PolicyRef { namespace, name } = &applied.policy;
        for index in 0..rules_of(facts, namespace, name) {
            names.push(format!("ns[{namespace}]-policy[{name}]-rule[{index}]"));
        }
    }
    names.sort();
    names
}

fn rules_of(facts: &Facts, namespace: &str, name: &str) -> usize {
    facts
        .authorization_policies
        .iter()
        .find(|policy| policy.metadata.name == name && policy.metadata.namespace == namespace)
        .map_or(0, |policy| policy.spec.rules.len())
}

fn scope<'a>(facts: &'a Facts, pod: &'a Pod) -> Scope<'a> {
    Scope { mesh: &facts.mesh, namespace: &pod.metadata.namespace, labels: &pod.metadata.labels }
}

/// Declared ports of the application's containers, with the container's name.
fn container_ports(pod: &Pod) -> Vec<(&str, &ContainerPort)> {
    let containers = applications(pod);
    containers.flat_map(|c| c.ports.iter().map(move |port| (c.name.as_str(), port))).collect()
}

fn target_port(port: &ServicePort, pod: &Pod) -> String {
    match &port.target_port {
        None => port.port.to_string(),
        Some(TargetPort::Number(number)) => number.to_string(),
        Some(TargetPort::Name(name)) => container_ports(pod)
            .into_iter()
            .find(|(_, port)| port.name == *name)
            .map_or_else(|| name.clone(), |(_, port)| port.container_port.to_string()),
    }
}

/// Whether a rule's host names a service, by its short or its full name.
fn is_for(rule: &DestinationRule, service: &Service) -> bool {
    let (name, namespace) = (&service.metadata.name, &service.metadata.namespace);
    let host = rule.spec.host.trim_end_matches(".svc.cluster.local").trim_end_matches(".svc");
    match host.split_once('.') {
        None => host == name && rule.metadata.namespace == *namespace,
        Some((host, of)) => host == name && of == namespace,
    }
}

/// Lines without trailing blanks.
trait Line {
    fn line(&mut self, line: std::fmt::Arguments<'_>);
}

impl Line for String {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.write_fmt(line);
        self.truncate(self.trim_end_matches(' ').len());
        self.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn facts(authorization: Vec<Value>) -> Facts {
        Facts {
            pods: vec![from_value(json!({
                "metadata": {"name": "backend-684d96759f-wntdp", "namespace": "default",
                    "labels": {"app": "backend", "security.istio.io/tlsMode": "istio"}},
                "spec": {"containers": [{"name": "backend", "ports": [{"containerPort": 5678}]}]}
            })).unwrap()],
            services: vec![from_value(json!({
                "metadata": {"name": "backend", "namespace": "default"},
                "spec": {"selector": {"app": "backend"}, "ports": [{"port": 80, "targetPort": 5678}]}
            })).unwrap()],
            destination_rules: vec![from_value(json!({
                "metadata": {"name": "backend", "namespace": "default"},
                "spec": {"host": "backend", "subsets": [
                    {"name": "v1", "labels": {"version": "v1"}},
                    {"name": "v2", "labels": {"version": "v2"}}]}
            })).unwrap()],
            peer_authentications: vec![from_value(json!({
                "metadata": {"name": "default", "namespace": "istio-system"},
                "spec": {"mtls": {"mode": "STRICT"}}
            })).unwrap()],
            authorization_policies: authorization
                .into_iter()
                .map(|policy| from_value(policy).unwrap())
                .collect(),
            ..Facts::default()
        }
    }

    #[test]
    fn the_lab_prints_as_in_its_second_step() {
        let facts = facts(vec![]);
        insta::assert_snapshot!(pod(&facts, &facts.pods[0]));
    }

    #[test]
    fn policies_print_in_the_order_in_which_they_decide() {
        let facts = facts(vec![
            json!({"metadata": {"name": "deny-all", "namespace": "default"}, "spec": {}}),
            json!({"metadata": {"name": "backend-allow", "namespace": "default"}, "spec": {
                "selector": {"matchLabels": {"app": "backend"}},
                "rules": [{"from": [{"source": {"principals": ["a"]}}]}]}}),
            json!({"metadata": {"name": "deny-b", "namespace": "istio-system"}, "spec": {
                "action": "DENY", "rules": [{}, {}]}}),
        ]);
        insta::assert_snapshot!(pod(&facts, &facts.pods[0]));
        insta::assert_snapshot!(service(&facts, &facts.services[0]));
    }

    #[test]
    fn a_pod_without_sidecar_says_so() {
        let mut facts = facts(vec![]);
        facts.pods[0].metadata.labels.remove("security.istio.io/tlsMode");
        insta::assert_snapshot!(pod(&facts, &facts.pods[0]));
    }
}
