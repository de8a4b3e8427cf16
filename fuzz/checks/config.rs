//! What must hold for any configuration that a sidecar is told.

use std::net::{IpAddr, Ipv4Addr};

use palisade_model::ProxyConfig;
use palisade_policy::{
    Attributes, CompiledPolicies, Decision, HeaderFields, Http, Scope, TokenRules,
};

/// A configuration decides the same after it was written and read.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(config) = serde_json::from_slice::<ProxyConfig>(bytes) else { return };
    let written = serde_json::to_vec(&config).expect("it can be written");
    let again: ProxyConfig = serde_json::from_slice(&written).expect("and read");
    assert_eq!(again, config);
    assert_eq!(decided(&again), decided(&config));
}

fn decided(config: &ProxyConfig) -> Vec<Decision> {
    let ProxyConfig { mesh, workload, inbound, .. } = config;
    let scope = Scope { mesh, namespace: &workload.namespace, labels: &workload.labels };
    let compiled = CompiledPolicies::compile(&inbound.policies, scope);
    let tokens = TokenRules::compile(&inbound.request_authentications);
    let caller = ["spiffe://cluster.local/ns/shop/sa/web".to_owned()];
    let address = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 7));
    let fields = [("x-tenant", &b"blue"[..])];
    let http = Http {
        method: "GET",
        path: Some("/api/orders?all=yes"),
        authority: "web.shop:8080",
        scheme: "http",
        headers: HeaderFields(&fields),
        claims: None,
    };
    // Whatever the rules for tokens are: there is none to be found.
    assert!(!tokens.finds_token(&http) || !tokens.is_empty());
    let decide = |identities, http| {
        compiled.decide(&Attributes {
            identities,
            source_ip: address,
            remote_ip: address,
            destination_ip: address,
            destination_port: 8080,
            sni: "",
            http,
        })
    };
    vec![decide(&caller, Some(http)), decide(&[], Some(http)), decide(&caller, None)]
}
