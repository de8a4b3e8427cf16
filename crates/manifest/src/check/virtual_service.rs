//! VirtualServices: hosts, matches, and that no request would have to go elsewhere.

use std::collections::BTreeMap;

use super::{meta::named, names, pod, retries, workload::within};
use crate::{
    codes,
    place::{Place, Report},
    value::{qualified, regex},
};

/// A VirtualService with its `spec`.
pub(super) fn service(root: &Place<'_>, spec: &Place<'_>, report: &mut Report) {
    let namespace = root.walk(&["metadata", "namespace"]);
    let namespace = namespace.as_ref().and_then(|it| it.node.text()).unwrap_or("default");
    let hosts = hosts(spec, namespace, report);
    for visible in spec.list("exportTo") {
        let text = visible.node.text().unwrap_or_default();
        if !matches!(text, "." | "*") {
            named(names::LABEL, text, &visible, report);
        }
    }
    if let Some(gateways) = spec.get("gateways")
        && gateways.items().next().is_some()
        && !gateways.items().any(|it| it.node.text() == Some("mesh"))
    {
        let message = "it has no effect without `mesh` among its gateways";
        report.warn(codes::IGNORED, &gateways, message, "there are no gateways, only sidecars");
    }
    if spec.list("http").next().is_none() {
        report.missing(spec, "http");
    }
    for route in spec.list("http") {
        route.list("match").for_each(|it| matching(&it, report));
        destination(&route, &hosts, namespace, report);
        retries::duration(&route, "timeout", report);
        if let Some(place) = route.get("retries") {
            retries::policy(&place, report);
        }
    }
}

/// The hosts, fully qualified.
fn hosts(spec: &Place<'_>, namespace: &str, report: &mut Report) -> Vec<String> {
    if spec.get("hosts").is_some_and(|hosts| hosts.items().next().is_none()) {
        report.missing(spec, "hosts[0]");
    }
    let mut seen = BTreeMap::new();
    let mut hosts = Vec::new();
    for host in spec.list("hosts") {
        let text = host.node.text().unwrap_or_default();
        if text.starts_with('*') {
            let help = "requests go to the host itself: name it";
            report.error_help(codes::UNSUPPORTED, &host, format!("`{text}` is many hosts"), help);
        } else if !names::SUBDOMAIN.fits(&text.to_ascii_lowercase()) {
            let message = format!("`{text}` is no host");
            let help = "write `backend` or `backend.default.svc.cluster.local`";
            report.error_help(codes::NAME, &host, message, help);
        }
        pod::unique("host", &host, &mut seen, report);
        hosts.push(qualified(text, namespace));
    }
    hosts
}

fn destination(route: &Place<'_>, hosts: &[String], namespace: &str, report: &mut Report) {
    let mut destinations = route.list("route");
    let Some(first) = destinations.next() else { return report.missing(route, "route") };
    for further in destinations {
        let help = "requests go to one destination, the host itself";
        report.error_help(
            codes::UNSUPPORTED,
            &further,
            "several destinations are not supported",
            help,
        );
    }
    let Some(destination) = first.get("destination") else { return };
    if let Some(port) = destination.get("port") {
        within(&port, "number", 1, 65535, report);
    }
    let Some(place) = destination.get("host") else { return };
    let text = place.node.text().unwrap_or_default();
    if hosts.iter().any(|host| *host != qualified(text, namespace)) {
        let message = format!("requests to another host, `{text}`, are not supported");
        let help = "a route goes to the host itself: write one VirtualService for each host";
        report.error_help(codes::UNSUPPORTED, &place, message, help);
    }
}

fn matching(place: &Place<'_>, report: &mut Report) {
    for field in ["uri", "method"] {
        if let Some(text) = place.get(field)
            && string(&text, report) == 0
        {
            report.error(codes::EMPTY, &text, format!("`{field}` says nothing to match"));
        }
    }
    for (name, text) in place.get("headers").iter().flat_map(Place::entries) {
        if !is_field_name(name) {
            report.error_key(codes::NAME, &text, format!("`{name}` is no name of a field"));
        }
        string(&text, report);
    }
}

/// How many ways a text is matched in: one at most makes sense.
fn string(place: &Place<'_>, report: &mut Report) -> usize {
    let ways: Vec<_> = place.entries().filter(|(_, it)| !it.node.is_null()).collect();
    for (way, said) in &ways {
        let text = said.node.text().unwrap_or_default();
        if *way == "regex" && text != "*" && regex(text).is_none() {
            report.error(codes::PATTERN, said, format!("`{text}` is no regular expression"));
        }
    }
    if let [_, (_, second), ..] = ways.as_slice() {
        report.error_key(codes::EXCLUSIVE, second, "say one of `exact`, `prefix` and `regex`");
    }
    ways.len()
}

/// RFC 9110, 5.6.2; names with `:` or `@` mean something else to Istio.
fn is_field_name(name: &str) -> bool {
    let marks = b"!#$%&'*+-.^_`|~";
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
}
