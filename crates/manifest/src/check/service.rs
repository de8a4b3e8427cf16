//! Services and EndpointSlices.

use std::{collections::BTreeMap, net::IpAddr};

use super::{labels, meta::named, names, pod, workload::within};
use crate::{
    Content, codes,
    place::{Place, Report},
};

/// `spec` of a Service.
pub(super) fn service(spec: &Place<'_>, report: &mut Report) {
    if let Some(selector) = spec.get("selector") {
        labels::labels(&selector, report);
    }
    let headless = spec.text("clusterIP") == "None";
    if let Some(address) = spec.get("clusterIP") {
        let text = address.node.text().unwrap_or_default();
        if !headless && !text.is_empty() && text.parse::<IpAddr>().is_err() {
            let message = format!("`{text}` is neither an IP address nor `None`");
            report.error(codes::FORM, &address, message);
        }
    }
    ports(spec, headless, report);
}

fn ports(spec: &Place<'_>, headless: bool, report: &mut Report) {
    let count = spec.list("ports").count();
    if count == 0 && !headless && spec.text("type") != "ExternalName" {
        report.missing(spec, "ports");
    }
    let mut names = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for port in spec.list("ports") {
        within(&port, "port", 1, 65535, report);
        within(&port, "nodePort", 0, 65535, report);
        match port.get("name") {
            Some(name) => {
                if let Some(text) = name.node.text().filter(|text| !text.is_empty()) {
                    named(names::LABEL, text, &name, report);
                    pod::unique("port", &name, &mut names, report);
                }
            }
            None if count > 1 => report.missing(&port, "name"),
            None => {}
        }
        if let Some(target) = port.get("targetPort") {
            target_port(&target, report);
        }
        let Some(number) = port.int("port") else { continue };
        let protocol = if port.text("protocol").is_empty() { "TCP" } else { port.text("protocol") };
        if let Some(first) = numbers.insert((number, protocol), port.node.span) {
            report.push(
                palisade_types::Diagnostic::error(
                    codes::DUPLICATE.id,
                    format!("there are two ports {number}/{protocol}"),
                )
                .at(port.node.span, "")
                .at(first, "first here")
                .field(&port.path),
            );
        }
    }
}

fn target_port(target: &Place<'_>, report: &mut Report) {
    match &target.node.value {
        Content::Number(number) if !number.as_u64().is_some_and(|n| (1..=65535).contains(&n)) => {
            report.error(
                codes::RANGE,
                target,
                format!("`{number}` is no port; ports are 1 to 65535"),
            );
        }
        Content::Text(name) => {
            named(names::PORT, name, target, report);
        }
        _ => {}
    }
}

/// An EndpointSlice.
pub(super) fn endpoint_slice(root: &Place<'_>, report: &mut Report) {
    let family = root.text("addressType");
    for endpoint in root.list("endpoints") {
        for address in endpoint.list("addresses") {
            let text = address.node.text().unwrap_or_default();
            let sound = match family {
                "IPv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
                "IPv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
                _ => true,
            };
            if !sound {
                report.error(codes::FORM, &address, format!("`{text}` is no {family} address"));
            }
        }
    }
    for port in root.list("ports") {
        within(&port, "port", 1, 65535, report);
    }
}
