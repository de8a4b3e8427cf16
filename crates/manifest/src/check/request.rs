//! RequestAuthentications.

use std::time::Duration;

use serde_json::Value;

use super::istio::{attachment, no_empty};
use crate::{
    codes,
    place::{Place, Report},
    value::go_duration,
};

const MAX_URI: usize = 2048;

/// `spec` of a RequestAuthentication.
pub(super) fn policy(spec: &Place<'_>, report: &mut Report) {
    attachment(spec, report);
    for rule in spec.list("jwtRules") {
        keys(&rule, report);
        for key in ["audiences", "fromParams", "fromCookies", "spaceDelimitedClaims"] {
            if let Some(list) = rule.get(key) {
                no_empty(&list, report);
            }
        }
        for header in rule.list("fromHeaders") {
            if let Some(name) = header.get("name").filter(|name| name.node.text() == Some("")) {
                report.error(codes::EMPTY, &name, "the name of a header is empty");
            }
        }
        for output in rule.list("outputClaimToHeaders") {
            output_claim(&output, report);
        }
        if let Some(header) = rule.get("outputPayloadToHeader") {
            reserved(&header, report);
        }
        if let Some(timeout) = rule.get("timeout") {
            self::timeout(&timeout, report);
        }
    }
}

fn keys(rule: &Place<'_>, report: &mut Report) {
    if rule.node.is_null() {
        return;
    }
    let (issuer, uri, jwks) = (rule.get("issuer"), rule.get("jwksUri"), rule.get("jwks"));
    if rule.text("issuer").is_empty() && rule.text("jwksUri").is_empty() {
        report.missing(rule, "issuer");
    }
    let discovered = rule.text("jwksUri").is_empty() && rule.text("jwks").is_empty();
    let web = ["https://", "http://"].iter().any(|it| rule.text("issuer").starts_with(it));
    if discovered && !web {
        let message =
            "the rule names no keys, and its issuer is no address to ask: every token is refused";
        let help = "write the keys in `jwks`, or where they are in `jwksUri`";
        report.warn(codes::UNSUPPORTED, issuer.as_ref().unwrap_or(rule), message, help);
    }
    if let Some(issuer) = issuer.filter(|issuer| issuer.node.text() == Some("")) {
        report.error(codes::EMPTY, &issuer, "`issuer` is empty");
    }
    if let (Some(_), Some(jwks)) = (&uri, &jwks) {
        report.error_key(codes::EXCLUSIVE, jwks, "`jwks` does not go with `jwksUri`");
    }
    if let Some(uri) = uri {
        jwks_uri(&uri, report);
    }
    if let Some(jwks) = jwks {
        self::jwks(&jwks, report);
    }
}

fn jwks_uri(uri: &Place<'_>, report: &mut Report) {
    let Some(text) = uri.node.text().filter(|text| !text.is_empty()) else { return };
    if text.len() > MAX_URI {
        report.error(codes::TOO_MANY, uri, format!("`jwksUri` has more than {MAX_URI} characters"));
    }
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else {
        let message = format!("`{text}` does not start with `https://` or `http://`");
        report.error(codes::FORM, uri, message);
        return;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let after_address = authority.rsplit(']').next().unwrap_or_default();
    let port = after_address.rsplit_once(':').map(|(_, port)| port);
    let sound = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
        && !authority.is_empty()
        && !authority.starts_with(':')
        && !text.contains(char::is_whitespace);
    if !sound {
        report.error(codes::FORM, uri, format!("`{text}` has no usable host and port"));
    }
}

/// Inline keys; private ones have no place in a policy that many can read.
fn jwks(jwks: &Place<'_>, report: &mut Report) {
    let Some(text) = jwks.node.text().filter(|text| !text.is_empty()) else { return };
    let keys = serde_json::from_str::<Value>(text).ok();
    let keys = keys.as_ref().and_then(|set| set.get("keys")).and_then(Value::as_array);
    let Some(keys) = keys.filter(|keys| keys.iter().all(|key| key.get("kty").is_some())) else {
        let message = "`jwks` is no JSON Web Key Set";
        report.error_help(codes::FORM, jwks, message, "write `{\"keys\": [{\"kty\": …}]}`");
        return;
    };
    let private = |key: &Value| {
        ["d", "p", "q", "dp", "dq", "qi", "k"].iter().any(|part| key.get(part).is_some())
    };
    if keys.iter().any(private) {
        let message = "`jwks` has private keys; whoever reads this policy can sign tokens";
        report.warn(codes::KEYS, jwks, message, "keep the public parts only");
    }
}

fn output_claim(output: &Place<'_>, report: &mut Report) {
    for key in ["header", "claim"] {
        let Some(place) = output.get(key) else { continue };
        let Some(text) = place.node.text() else { continue };
        if text.is_empty() {
            report.error(codes::EMPTY, &place, format!("`{key}` is empty"));
        } else if key == "header"
            && !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        {
            report.error(codes::FORM, &place, format!("`{text}` is no name of a header"));
        } else if key == "header" {
            reserved(&place, report);
        }
    }
}

fn reserved(header: &Place<'_>, report: &mut Report) {
    let Some(name) = header.node.text().filter(|name| is_reserved_header(name)) else { return };
    let message = format!("`{name}` frames a message or vouches for a peer: no claim writes it");
    report.error(codes::FORM, header, message);
}

/// Whether a header field, by its name in any case, frames a message or vouches for a peer.
#[must_use]
pub fn is_reserved_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("x-envoy") || RESERVED.contains(&name.as_str())
}

const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-client-cert",
];

fn timeout(timeout: &Place<'_>, report: &mut Report) {
    let Some(value) = timeout.node.text().and_then(go_duration) else { return };
    let whole = value.as_nanos().is_multiple_of(1_000_000);
    if value < Duration::from_millis(1) || !whole {
        report.error(codes::RANGE, timeout, "`timeout` is at least 1ms, and whole milliseconds");
    }
}
