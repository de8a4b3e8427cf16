//! `when`: attributes and their values.

use super::{
    istio::no_empty,
    source::{ip_block, one_star, port, principal, service_account, trust_domain},
};
use crate::{
    codes,
    place::{Place, Report},
    suggest,
};

const KEYS: &[&str] = &[
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "source.trustDomain",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
];
const MAPS: &[&str] = &["request.headers", "request.auth.claims", "experimental.envoy.filters."];
const OLD_KEYS: &[&str] =
    &["destination.namespace", "destination.labels", "destination.name", "destination.user"];

/// One condition.
pub(super) fn condition(when: &Place<'_>, action: &str, report: &mut Report) {
    let lists: Vec<Place<'_>> =
        ["values", "notValues"].iter().filter_map(|key| when.get(key)).collect();
    if !lists.iter().any(|list| list.items().next().is_some()) && !when.node.is_null() {
        report.push(
            palisade_types::Diagnostic::error(
                codes::REQUIRED.id,
                "a condition needs `values` or `notValues`",
            )
            .at(when.get("key").map_or(when.key_span, |key| key.key_span), "")
            .field(&when.path),
        );
    }
    let Some(key) = when.get("key") else { return };
    let Some(name) = key.node.text() else { return };
    self::key(name, &key, report);
    if action == "CUSTOM" {
        in_custom(name, &key, report);
    }
    for list in &lists {
        no_empty(list, report);
        for value in list.items() {
            self::value(name, &value, report);
        }
    }
}

fn key(name: &str, key: &Place<'_>, report: &mut Report) {
    if name.is_empty() {
        report.error(codes::EMPTY, key, "`key` is empty");
        return;
    }
    if KEYS.contains(&name) {
        return;
    }
    let map = MAPS.iter().find(|map| name.starts_with(**map));
    if let Some(map) = map {
        let rest = name.get(map.len()..).unwrap_or_default();
        let inner = rest.split_once('[').and_then(|(_, inner)| inner.strip_suffix(']'));
        let direct = rest.starts_with('[') || map.ends_with('.');
        if !direct || inner.is_none_or(str::is_empty) {
            let message = format!("`{name}` has no name in brackets");
            report.error_help(codes::CONDITION_KEY, key, message, format!("write `{map}[NAME]`"));
        } else if map.ends_with('.') {
            let message = format!("`{name}` is not supported");
            report.error_help(codes::UNSUPPORTED, key, message, "there is no Envoy to ask for it");
        }
        return;
    }
    let old = OLD_KEYS.iter().any(|old| name.starts_with(old));
    let message = format!("there is no attribute `{name}`");
    if old {
        let help = "Istio dropped it; use `selector` to choose workloads";
        report.error_help(codes::CONDITION_KEY, key, message, help);
        return;
    }
    let bare = name.split('[').next().unwrap_or(name);
    let names = KEYS.iter().chain(MAPS).copied();
    match suggest::did_you_mean(bare, names) {
        Some(help) => report.error_help(codes::CONDITION_KEY, key, message, help),
        None => report.error(codes::CONDITION_KEY, key, message),
    }
}

/// An external authorizer is asked before identities are known.
fn in_custom(name: &str, key: &Place<'_>, report: &mut Report) {
    let identity = matches!(
        name,
        "source.namespace" | "source.principal" | "source.serviceAccount" | "source.trustDomain"
    );
    if identity || name.starts_with("request.auth.") {
        let message = format!("`{name}` does not go with the action `CUSTOM`");
        report.error(codes::ACTION, key, message);
    }
}

fn value(name: &str, value: &Place<'_>, report: &mut Report) {
    match name {
        "source.ip" | "remote.ip" | "destination.ip" => ip_block(value, report),
        "destination.port" => port(value, report),
        "source.serviceAccount" => service_account(value, report),
        "source.trustDomain" => trust_domain(value, true, report),
        "source.principal" => principal(value, report),
        "source.namespace" => {}
        "connection.sni" => {
            let text = value.node.text().unwrap_or_default();
            if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                let message = format!("`{text}` never matches: server names are lower case");
                report.warn(codes::INERT, value, message, "write it in lower case");
            }
        }
        _ => one_star(value, report),
    }
}
