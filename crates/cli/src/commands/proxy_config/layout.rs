//! How `proxy-config` prints: istioctl's columns, and after them what only our sidecars know.

use jiff::Timestamp;
use serde_json::Value;

use crate::{Style, output::remaining, table};

/// `RESOURCE NAME`, `TYPE` and so on, as `istioctl proxy-config secret` has them.
pub(super) fn secret(dump: &Value) -> String {
    let certificate = &dump["certificate"];
    let now = Timestamp::now();
    let row = |name: &str, kind: &str, of: &Value, domain: &str| {
        let valid = is_valid(of, now);
        vec![
            name.to_owned(),
            kind.to_owned(),
            "ACTIVE".to_owned(),
            if valid { Style::Good.paint("true") } else { Style::Bad.paint("false") },
            text(of, "serial"),
            text(of, "notAfter"),
            text(of, "notBefore"),
            domain.to_owned(),
            remaining(&text(of, "notAfter"), now),
        ]
    };
    let mut rows = Vec::new();
    if !certificate.is_null() {
        let identity = text(certificate, "identity");
        let domain = identity.trim_start_matches("spiffe://").split('/').next().unwrap_or_default();
        rows.push(row("default", "Cert Chain", certificate, domain));
        rows.extend(list(certificate, "roots").map(|root| row("ROOTCA", "CA", root, domain)));
    }
    let header = [
        "RESOURCE NAME",
        "TYPE",
        "STATUS",
        "VALID CERT",
        "SERIAL NUMBER",
        "NOT AFTER",
        "NOT BEFORE",
        "TRUST DOMAIN",
        "LEFT",
    ];
    let mut printed = table(&header, &rows);
    if let Some(error) = dump["renewalError"].as_str() {
        printed.push_str(&format!("\n{} {error}\n", Style::Bad.paint("Not renewed:")));
    }
    printed
}

/// `NAMESPACE`, `POLICY NAME`, `ACTION`, `SCOPE`, as `istioctl ztunnel-config policy` has them.
pub(super) fn policy(dump: &Value) -> String {
    let config = &dump["config"];
    let inbound = &config["inbound"];
    let root = text(&config["mesh"], "rootNamespace");
    let scope = |policy: &Value| {
        let selects =
            !policy["spec"]["selector"].is_null() || !policy["spec"]["targetRefs"].is_null();
        match (selects, text(&policy["metadata"], "namespace") == root) {
            (true, _) => "WorkloadSelector",
            (false, true) => "Global",
            (false, false) => "Namespace",
        }
    };
    let row = |policy: &Value, action: String, rules: usize| {
        let metadata = &policy["metadata"];
        let (namespace, name) = (text(metadata, "namespace"), text(metadata, "name"));
        vec![namespace, name, action, scope(policy).to_owned(), rules.to_string()]
    };
    let mut rows: Vec<Vec<String>> = list(inbound, "policies")
        .map(|policy| {
            let action = match text(&policy["spec"], "action") {
                unset if unset.is_empty() => "ALLOW".to_owned(),
                action => action,
            };
            row(policy, action, list(&policy["spec"], "rules").count())
        })
        .collect();
    rows.extend(list(inbound, "requestAuthentications").map(|authentication| {
        row(authentication, "JWT".to_owned(), list(&authentication["spec"], "jwtRules").count())
    }));
    let mut printed = table(&["NAMESPACE", "POLICY NAME", "ACTION", "SCOPE", "RULES"], &rows);
    for unusable in list(inbound, "unusable").filter_map(Value::as_str) {
        let label = Style::Bad.paint("Everything is denied:");
        printed
            .push_str(&format!("\n{label} {unusable} can't be used and has no earlier version\n"));
    }
    printed
}

/// `ADDRESSES`, `PORT`, `MATCH`, `DESTINATION`, as `istioctl proxy-config listener` has them.
pub(super) fn listener(dump: &Value) -> String {
    let config = &dump["config"];
    let mtls = &config["inbound"]["mtls"];
    let mut rows = Vec::new();
    for port in list(&config["inbound"], "ports") {
        let number = port["port"].to_string();
        let mode = mtls["ports"][&number].as_str().or(mtls["default"].as_str()).unwrap_or_default();
        let protocol = text(port, "protocol");
        rows.push(vec![
            "0.0.0.0".to_owned(),
            "15006".to_owned(),
            format!("Addr: *:{number}; mTLS: {mode}; App: {protocol}"),
            format!("Cluster: inbound|{number}||"),
        ]);
    }
    let mode = mtls["default"].as_str().unwrap_or_default();
    rows.push(vec![
        "0.0.0.0".to_owned(),
        "15006".to_owned(),
        format!("Addr: *:*; mTLS: {mode}"),
        "InboundPassthroughCluster".to_owned(),
    ]);
    for port in list(&config["outbound"], "ports") {
        let addresses = list(port, "addresses").filter_map(Value::as_str).collect::<Vec<_>>();
        let protocol = text(port, "protocol");
        rows.push(vec![
            if addresses.is_empty() { "0.0.0.0".to_owned() } else { addresses.join(",") },
            port["port"].to_string(),
            if protocol == "TCP" { "ALL".to_owned() } else { format!("App: {protocol}") },
            format!("Cluster: {}", cluster(port)),
        ]);
    }
    let rest = match text(&config["mesh"], "outboundTrafficPolicy").as_str() {
        "REGISTRY_ONLY" => "BlackHoleCluster",
        _ => "PassthroughCluster",
    };
    rows.push(["0.0.0.0", "15001", "ALL", rest].map(str::to_owned).to_vec());
    table(&["ADDRESSES", "PORT", "MATCH", "DESTINATION"], &rows)
}

/// `ENDPOINT`, `STATUS`, `OUTLIER CHECK`, `CLUSTER`, as `istioctl proxy-config endpoint` has them.
pub(super) fn endpoint(dump: &Value) -> String {
    let mut rows = Vec::new();
    for port in list(&dump["config"]["outbound"], "ports") {
        for endpoint in list(port, "endpoints") {
            rows.push(vec![
                format!("{}:{}", text(endpoint, "address"), endpoint["port"]),
                "HEALTHY".to_owned(),
                "OK".to_owned(),
                cluster(port),
                if endpoint["mtls"] == true { "mTLS" } else { "plaintext" }.to_owned(),
            ]);
        }
    }
    table(&["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER", "TLS"], &rows)
}

/// Envoy's name of the endpoints of a service's port.
pub(super) fn cluster(port: &Value) -> String {
    format!("outbound|{}||{}", port["port"], text(&port["service"], "host"))
}

fn is_valid(certificate: &Value, now: Timestamp) -> bool {
    let at = |key: &str| text(certificate, key).parse::<Timestamp>().ok();
    matches!((at("notBefore"), at("notAfter")), (Some(from), Some(to)) if from <= now && now < to)
}

fn list<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    of[key].as_array().into_iter().flatten()
}

fn text(of: &Value, key: &str) -> String {
    of[key].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dump() -> Value {
        let service = json!({"host": "backend.shop.svc.cluster.local", "name": "backend", "namespace": "shop"});
        let dated = |serial: &str| {
            json!({
                "serial": serial, "fingerprint": serial, "identity": "spiffe://cluster.local/ns/shop/sa/web",
                "notBefore": "2020-01-01T00:00:00Z", "notAfter": "2021-01-01T00:00:00Z",
            })
        };
        let mut certificate = dated("a1");
        certificate["roots"] = json!([dated("b2")]);
        json!({
            "certificate": certificate,
            "renewalError": "the control plane does not answer",
            "config": {
                "mesh": {"rootNamespace": "istio-system", "outboundTrafficPolicy": "REGISTRY_ONLY"},
                "inbound": {
                    "mtls": {"default": "STRICT", "ports": {"8080": "PERMISSIVE"}},
                    "ports": [{"port": 8080, "protocol": "HTTP", "service": service}],
                    "policies": [
                        {"metadata": {"name": "all", "namespace": "istio-system"}, "spec": {}},
                        {"metadata": {"name": "no", "namespace": "shop"}, "spec": {"action": "DENY",
                         "selector": {"matchLabels": {"app": "web"}}, "rules": [{}, {}]}},
                    ],
                    "requestAuthentications": [
                        {"metadata": {"name": "jwt", "namespace": "shop"}, "spec": {"jwtRules": [{}]}},
                    ],
                    "unusable": ["AuthorizationPolicy/shop/broken"],
                },
                "outbound": {"ports": [{
                    "service": service, "addresses": ["10.96.0.7"], "port": 80, "protocol": "HTTP",
                    "endpoints": [{"address": "10.244.0.5", "port": 8080, "mtls": true}],
                }]},
            },
        })
    }

    #[test]
    fn columns_are_istioctls() {
        let dump = dump();
        let printed = [secret(&dump), policy(&dump), listener(&dump), endpoint(&dump)].join("\n");
        insta::assert_snapshot!(anstream::adapter::strip_str(&printed));
    }
}
