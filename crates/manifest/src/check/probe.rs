//! Probes and hooks of containers.

use super::workload::within;
use crate::{
    Content, codes,
    place::{Place, Report},
};

/// One probe of a container.
pub(super) fn probe(probe: &Place<'_>, key: &str, container: &Place<'_>, report: &mut Report) {
    let handlers: Vec<Place<'_>> =
        ["exec", "grpc", "httpGet", "tcpSocket"].iter().filter_map(|key| probe.get(key)).collect();
    match handlers.as_slice() {
        [] => {
            let message = format!("`{key}` has no handler");
            let help = "add one of `exec`, `httpGet` and `tcpSocket`";
            report.push(
                palisade_types::Diagnostic::error(codes::REQUIRED.id, message)
                    .at(probe.key_span, "")
                    .field(&probe.path)
                    .help(help),
            );
        }
        [_] => {}
        [_, second, ..] => {
            report.error_key(
                codes::EXCLUSIVE,
                second,
                format!("`{key}` has more than one handler"),
            );
        }
    }
    for handler in &handlers {
        if let Some(port) = handler.get("port") {
            self::port(&port, container, report);
        }
    }
    if let Some(command) = probe.get("exec")
        && command.list("command").next().is_none()
    {
        report.missing(&command, "command");
    }
    let most = i64::from(i32::MAX);
    within(probe, "initialDelaySeconds", 0, most, report);
    for key in ["timeoutSeconds", "periodSeconds", "failureThreshold", "successThreshold"] {
        within(probe, key, 1, most, report);
    }
    within(probe, "terminationGracePeriodSeconds", 1, most, report);
    if key == "readinessProbe"
        && let Some(grace) = probe.get("terminationGracePeriodSeconds")
    {
        let message = "a readiness probe ends nothing, so it has no grace period";
        report.error_key(codes::EXCLUSIVE, &grace, message);
    }
    if key != "readinessProbe" && probe.int("successThreshold").is_some_and(|value| value > 1) {
        let place = probe.get("successThreshold").unwrap_or_else(|| probe.clone());
        report.error(codes::RANGE, &place, format!("`successThreshold` of `{key}` can only be 1"));
    }
}

/// The hooks of a container.
pub(super) fn hooks(container: &Place<'_>, report: &mut Report) {
    let Some(lifecycle) = container.get("lifecycle") else { return };
    for key in ["postStart", "preStop"] {
        let Some(hook) = lifecycle.get(key) else { continue };
        super::volume::exactly_one(&hook, &["exec", "httpGet", "sleep", "tcpSocket"], report);
        if let Some(port) = hook.walk(&["httpGet", "port"]) {
            self::port(&port, container, report);
        }
        if let Some(command) = hook.get("exec")
            && command.list("command").next().is_none()
        {
            report.missing(&command, "command");
        }
        if let Some(sleep) = hook.get("sleep") {
            within(&sleep, "seconds", 0, i64::from(i32::MAX), report);
        }
    }
}

/// A port by number, or by the name of a port of the container.
fn port(port: &Place<'_>, container: &Place<'_>, report: &mut Report) {
    match &port.node.value {
        Content::Number(number) if !number.as_u64().is_some_and(|n| (1..=65535).contains(&n)) => {
            report.error(
                codes::RANGE,
                port,
                format!("`{number}` is no port; ports are 1 to 65535"),
            );
        }
        Content::Text(name) if !container.list("ports").any(|port| port.text("name") == name) => {
            let message = format!("the container has no port named `{name}`");
            report.error(codes::REFERENCE, port, message);
        }
        _ => {}
    }
}
