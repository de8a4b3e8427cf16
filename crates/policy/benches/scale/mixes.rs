//! Rules of three kinds, one in each policy, and requests that some of them match.

use std::net::{IpAddr, Ipv4Addr};

use palisade_manifest::AuthorizationPolicy;
use palisade_policy::{Attributes, HeaderFields, Http};
use serde_json::{Value, json};

/// Different requests that are asked.
pub(crate) const REQUESTS: usize = 64;

/// A kind of rules.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mix {
    /// Every rule names callers, paths or hosts.
    Indexable,
    /// Rules name ends of them, and templates.
    Suffixes,
    /// Stars inside of namespaces, and what must not be.
    Stars,
}

/// A rule, and what a request must be for it to match.
struct Example {
    rule: Value,
    principal: String,
    host: String,
    path: String,
}

/// Who asks for what.
#[derive(Debug)]
pub(crate) struct Caller {
    identities: [String; 1],
    host: String,
    path: String,
}

impl Mix {
    pub(crate) const ALL: [Self; 3] = [Self::Indexable, Self::Suffixes, Self::Stars];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Indexable => "All indexable",
            Self::Suffixes => "Suffixes and templates",
            Self::Stars => "Inner stars and negations",
        }
    }

    /// Of ten policies nine allow and one denies.
    pub(crate) fn policies(self, rules: usize) -> Vec<AuthorizationPolicy> {
        (0..rules).map(|number| policy(number, &self.example(number).rule)).collect()
    }

    /// One policy in the middle says something else.
    pub(crate) fn with_one_changed(
        self,
        policies: &[AuthorizationPolicy],
    ) -> Vec<AuthorizationPolicy> {
        let mut policies = policies.to_vec();
        let (middle, unused) = (policies.len() / 2, policies.len());
        if let Some(changed) = policies.get_mut(middle) {
            *changed = policy(middle, &self.example(unused).rule);
        }
        policies
    }

    /// Every second request is one that no rule matches.
    pub(crate) fn caller(self, number: usize, rules: usize) -> Caller {
        let Example { principal, host, mut path, .. } = self.example(number * 7919 % rules);
        let mut identity = format!("spiffe://{principal}");
        if number % 2 == 1 {
            path.push_str("/nowhere");
            identity.push_str("-nobody");
        }
        Caller { identities: [identity], host, path }
    }

    fn example(self, number: usize) -> Example {
        match self {
            Self::Indexable => indexable(number),
            Self::Suffixes => suffixes(number),
            Self::Stars => stars(number),
        }
    }
}

fn indexable(n: usize) -> Example {
    let (namespace, account) = (format!("team-{}", n % 100), format!("app-{n}"));
    let path = format!("/api/v1/items-{n}");
    let rule = match n % 5 {
        0 => json!({
            "from": [{"source": {"principals": [format!("cluster.local/ns/{namespace}/sa/{account}")]}}],
            "to": [{"operation": {"methods": ["GET"], "paths": [path, "/health"]}}],
        }),
        1 => json!({
            "from": [{"source": {"namespaces": [namespace]}}],
            "to": [{"operation": {"methods": ["GET", "HEAD"], "paths": [format!("{path}*")]}}],
        }),
        2 => json!({"from": [{"source": {"serviceAccounts": [format!("{namespace}/{account}")]}}]}),
        3 => json!({"to": [{"operation": {"hosts": [format!("shop-{n}.example.com")]}}]}),
        _ => json!({
            "from": [{"source": {"principals": [format!("cluster.local/ns/{namespace}/sa/{account}")]}}],
            "when": [{"key": "request.headers[x-env]", "values": ["prod"]}],
        }),
    };
    Example {
        rule,
        principal: format!("cluster.local/ns/{namespace}/sa/{account}"),
        host: format!("shop-{n}.example.com"),
        path,
    }
}

fn suffixes(n: usize) -> Example {
    let operation = match n % 4 {
        0 => json!({"paths": [format!("*/item-{n}.json")]}),
        1 => json!({"paths": [format!("/tenants/{{*}}/orders-{n}/{{**}}")]}),
        2 => json!({"paths": [format!("/{{*}}/{{*}}/orders-{n}/item-{n}.json")]}),
        _ => json!({"hosts": [format!("*.shop-{n}.example.com")]}),
    };
    let principals =
        if n.is_multiple_of(3) { json!([format!("*/sa/app-{n}")]) } else { json!(["*"]) };
    Example {
        rule: json!({
            "from": [{"source": {"principals": principals}}],
            "to": [{"operation": operation}],
        }),
        principal: format!("cluster.local/ns/team/sa/app-{n}"),
        host: format!("eu.shop-{n}.example.com"),
        path: format!("/tenants/a/orders-{n}/item-{n}.json"),
    }
}

fn stars(n: usize) -> Example {
    let rule = match n % 4 {
        0 => json!({"from": [{"source": {"namespaces": [format!("team-{n}-*-prod")]}}]}),
        1 => json!({"from": [{"source": {"namespaces": [format!("*-{n}-eu-prod")]}}]}),
        2 => json!({
            "from": [{"source": {"notNamespaces": ["team-*"]}}],
            "to": [{"operation": {"methods": ["DELETE"], "notPaths": [format!("/orders-{n}")]}}],
        }),
        _ => json!({
            "from": [{"source": {
                "namespaces": [format!("t*m-{n}-*")],
                "notPrincipals": ["*/sa/guest"],
            }}],
        }),
    };
    Example {
        rule,
        principal: format!("cluster.local/ns/team-{n}-eu-prod/sa/app"),
        host: "shop.example.com".to_owned(),
        path: format!("/orders-{n}"),
    }
}

fn policy(number: usize, rule: &Value) -> AuthorizationPolicy {
    let action = if number % 10 == 9 { "DENY" } else { "ALLOW" };
    let metadata = json!({"name": format!("policy-{number}"), "namespace": "shop"});
    let object = json!({"metadata": metadata, "spec": {"action": action, "rules": [rule]}});
    serde_json::from_value(object).unwrap_or_default()
}

impl Caller {
    pub(crate) fn attributes(&self) -> Attributes<'_> {
        let address = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 7));
        Attributes {
            identities: &self.identities,
            source_ip: address,
            remote_ip: address,
            destination_ip: Ipv4Addr::new(10, 244, 0, 9).into(),
            destination_port: 8080,
            sni: "",
            http: Some(Http {
                method: "GET",
                path: Some(&self.path),
                authority: &self.host,
                scheme: "http",
                headers: HeaderFields(&[("x-env", b"prod")]),
                claims: None,
            }),
        }
    }
}
