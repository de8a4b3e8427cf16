//! Sources and operations of rules: the values in their lists.

use palisade_types::IpBlock;

use super::istio::no_empty;
use crate::{
    codes,
    place::{Place, Report},
};

/// The fields of a source.
pub(super) const FIELDS: &[&str] = &[
    "principals",
    "notPrincipals",
    "requestPrincipals",
    "notRequestPrincipals",
    "namespaces",
    "notNamespaces",
    "serviceAccounts",
    "notServiceAccounts",
    "trustDomains",
    "notTrustDomains",
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
];

const OPERATIONS: &[&str] =
    &["hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"];

/// `source` of a rule.
pub(super) fn source(source: &Place<'_>, report: &mut Report) {
    for field in FIELDS {
        let Some(list) = source.get(field) else { continue };
        no_empty(&list, report);
        for value in list.items() {
            match *field {
                "serviceAccounts" | "notServiceAccounts" => service_account(&value, report),
                "trustDomains" | "notTrustDomains" => trust_domain(&value, false, report),
                "ipBlocks" | "notIpBlocks" | "remoteIpBlocks" | "notRemoteIpBlocks" => {
                    ip_block(&value, report);
                }
                "principals" | "notPrincipals" => principal(&value, report),
                "requestPrincipals" | "notRequestPrincipals" => one_star(&value, report),
                _ => {}
            }
        }
    }
    let accounts = ["serviceAccounts", "notServiceAccounts"].iter().find_map(|key| source.get(key));
    let others = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
    let other = others.iter().find_map(|key| source.get(key));
    if let (Some(accounts), Some(_)) = (accounts, other) {
        let message = "service accounts can't be combined with principals or namespaces";
        let help = "a service account says both; remove the others, or use two sources";
        report.push(
            palisade_types::Diagnostic::error(codes::EXCLUSIVE.id, message)
                .at(accounts.key_span, "")
                .field(&accounts.path)
                .help(help),
        );
    }
}

/// An external authorizer is asked before identities are known.
pub(super) fn in_custom(source: &Place<'_>, report: &mut Report) {
    for field in FIELDS.iter().filter(|field| !field.to_lowercase().ends_with("ipblocks")) {
        if let Some(list) = source.get(field) {
            let message = format!("`{field}` does not go with the action `CUSTOM`");
            report.error_key(codes::ACTION, &list, message);
        }
    }
}

/// `operation` of a rule.
pub(super) fn operation(operation: &Place<'_>, report: &mut Report) {
    for field in OPERATIONS {
        let Some(list) = operation.get(field) else { continue };
        no_empty(&list, report);
        for value in list.items() {
            match *field {
                "ports" | "notPorts" => port(&value, report),
                "paths" | "notPaths" => path(&value, report),
                _ => one_star(&value, report),
            }
        }
    }
}

/// `NAMESPACE/NAME` or `NAME`.
pub(super) fn service_account(value: &Place<'_>, report: &mut Report) {
    let Some(text) = value.node.text().filter(|text| !text.is_empty()) else { return };
    let problem = if text.contains('*') {
        "has a `*`, but service accounts have no wildcards"
    } else if text.matches('/').count() > 1 {
        "has more than one `/`"
    } else if text.split('/').any(str::is_empty) {
        "has an empty namespace or name"
    } else if text.len() > 320 {
        "has more than 320 characters"
    } else {
        return;
    };
    let message = format!("the service account `{text}` {problem}");
    report.error_help(codes::PATTERN, value, message, "write `NAMESPACE/NAME` or `NAME`");
}

/// A trust domain with at most one `*`, at an end; a condition's may have slashes.
pub(super) fn trust_domain(value: &Place<'_>, slashes: bool, report: &mut Report) {
    let Some(text) = value.node.text() else { return };
    let inner = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text);
    let problem = if inner.contains('*') {
        "has a `*` that is not its first or last character"
    } else if text.contains('/') && !slashes {
        "has a `/`"
    } else {
        return;
    };
    report.error(codes::PATTERN, value, format!("the trust domain `{text}` {problem}"));
}

/// An address or a network.
pub(super) fn ip_block(value: &Place<'_>, report: &mut Report) {
    let Some(text) = value.node.text().filter(|text| !text.is_empty()) else { return };
    if text.parse::<IpBlock>().is_err() {
        let message = format!("`{text}` is neither an IP address nor a network");
        report.error_help(codes::FORM, value, message, "write `10.0.0.1` or `10.0.0.0/8`");
    }
}

/// A port as text.
pub(super) fn port(value: &Place<'_>, report: &mut Report) {
    let Some(text) = value.node.text().filter(|text| !text.is_empty()) else { return };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits
        || text.trim_start_matches('0').len() > 5
        || text.parse::<u64>().is_ok_and(|n| n > 65535)
    {
        report.error(codes::RANGE, value, format!("`{text}` is no port; ports are 0 to 65535"));
    }
}

/// Says that an identity never looks like this.
pub(super) fn principal(value: &Place<'_>, report: &mut Report) {
    let text = value.node.text().unwrap_or_default();
    if text.starts_with("spiffe://") {
        let message = format!("`{text}` never matches: principals have no `spiffe://`");
        report.warn(codes::INERT, value, message, "remove `spiffe://`");
    } else {
        one_star(value, report);
    }
}

/// Says that a star in the middle is no wildcard.
pub(super) fn one_star(value: &Place<'_>, report: &mut Report) {
    let text = value.node.text().unwrap_or_default();
    let inner = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text);
    if inner.contains('*') {
        let message = format!("only one `*` at the start or the end of `{text}` is a wildcard");
        report.warn(codes::INERT, value, message, "the others stand for themselves");
    }
}

fn path(value: &Place<'_>, report: &mut Report) {
    let Some(text) = value.node.text().filter(|text| !text.is_empty()) else { return };
    let template = text.contains("{*}") || text.contains("{**}");
    if !template && !text.contains(['{', '}']) {
        one_star(value, report);
        return;
    }
    let mut rest_taken = false;
    for segment in text.trim_matches('/').split('/') {
        let problem = match segment {
            "{*}" | "{**}" if rest_taken => "has an operator after `{**}`".to_owned(),
            "{*}" => continue,
            "{**}" => {
                rest_taken = true;
                continue;
            }
            _ if segment.contains(['{', '}']) => {
                format!("has the segment `{segment}`, which is neither `{{*}}` nor `{{**}}`")
            }
            _ if template && !segment.bytes().all(is_path_character) => {
                format!("has the segment `{segment}` with a character that templates don't take")
            }
            "" if template => "has an empty segment".to_owned(),
            _ => continue,
        };
        let message = format!("the path `{text}` {problem}");
        report.error(codes::PATTERN, value, message);
        return;
    }
}

fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte)
}
