//! ServiceEntries: whether hosts, addresses, ports and endpoints fit the resolution.

use std::{collections::BTreeMap, net::IpAddr};

use super::{meta::named, names, pod, workload::within};
use crate::{
    codes,
    place::{Place, Report},
};

/// `spec` of a ServiceEntry.
pub(super) fn entry(spec: &Place<'_>, report: &mut Report) {
    hosts(spec, report);
    for address in spec.list("addresses") {
        let text = address.node.text().unwrap_or_default();
        if text.parse::<IpAddr>().is_err() {
            let help = "ranges of addresses are not supported: list the addresses, or none";
            report.error_help(codes::FORM, &address, format!("`{text}` is no IP address"), help);
        }
    }
    ports(spec, report);
    endpoints(spec, report);
    for namespace in spec.list("exportTo") {
        let text = namespace.node.text().unwrap_or_default();
        if !matches!(text, "." | "*" | "~") {
            named(names::LABEL, text, &namespace, report);
        }
    }
}

fn hosts(spec: &Place<'_>, report: &mut Report) {
    if spec.get("hosts").is_some_and(|hosts| hosts.items().next().is_none()) {
        report.missing(spec, "hosts[0]");
    }
    let looked_up = spec.text("resolution") == "DNS" && spec.list("endpoints").next().is_none();
    for host in spec.list("hosts") {
        let text = host.node.text().unwrap_or_default();
        let name = text.strip_prefix("*.").unwrap_or(text);
        if !names::SUBDOMAIN.fits(&name.to_ascii_lowercase()) {
            let message = format!("`{text}` is no host");
            let help = "write `www.example.com` or `*.example.com`";
            report.error_help(codes::NAME, &host, message, help);
        } else if looked_up && text.starts_with('*') {
            let message = format!("`{text}` can't be looked up");
            let help = "name the host, give endpoints, or take the resolution `NONE`";
            report.error_help(codes::EXCLUSIVE, &host, message, help);
        }
    }
}

fn ports(spec: &Place<'_>, report: &mut Report) {
    let (mut names, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    for port in spec.list("ports") {
        within(&port, "number", 1, 65535, report);
        within(&port, "targetPort", 1, 65535, report);
        if let Some(name) = port.get("name") {
            let text = name.node.text().unwrap_or_default();
            named(names::LABEL, &text.to_ascii_lowercase(), &name, report);
            pod::unique("port", &name, &mut names, report);
        }
        let Some((number, place)) = port.int("number").zip(port.get("number")) else { continue };
        if numbers.insert(number, ()).is_some() {
            report.error(codes::DUPLICATE, &place, format!("there are two ports {number}"));
        }
    }
}

fn endpoints(spec: &Place<'_>, report: &mut Report) {
    let resolution = match spec.text("resolution") {
        "" => "NONE",
        other => other,
    };
    let given = spec.get("endpoints").filter(|list| list.items().next().is_some());
    match (resolution, &given) {
        ("STATIC", None) => report.missing(spec, "endpoints"),
        ("NONE", Some(endpoints)) => {
            let message = "endpoints have no use with the resolution `NONE`";
            report.error_key(codes::EXCLUSIVE, endpoints, message);
        }
        _ => {}
    }
    let ports: Vec<&str> = spec.list("ports").map(|port| port.text("name")).collect();
    for endpoint in given.iter().flat_map(|list| list.items().collect::<Vec<_>>()) {
        if let Some(address) = endpoint.get("address") {
            let text = address.node.text().unwrap_or_default();
            let is_address = text.parse::<IpAddr>().is_ok();
            let is_name = resolution == "DNS" && names::SUBDOMAIN.fits(&text.to_ascii_lowercase());
            if !is_address && !is_name {
                let help = "names are looked up with the resolution `DNS` only";
                let message = format!("`{text}` is no address of an endpoint");
                report.error_help(codes::FORM, &address, message, help);
            }
        }
        for (name, place) in endpoint.get("ports").iter().flat_map(Place::entries) {
            if !ports.contains(&name) {
                report.error_key(codes::REFERENCE, &place, format!("there is no port `{name}`"));
            }
            if !place.node.int().is_some_and(|number| (1..=65535).contains(&number)) {
                report.error(codes::RANGE, &place, "ports are 1 to 65535");
            }
        }
    }
}
