//! Random policies and requests, out of so few words that they meet often: for tests, and for comparing
//! decisions with another implementation's.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use crate::{Attributes, HeaderFields, Http};
use palisade_manifest::AuthorizationPolicy;
use palisade_types::Mesh;
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Map, Value, json};

/// The mesh that policies and requests are about.
pub fn mesh() -> Mesh {
    let aliases = "td2".parse().into_iter().collect();
    Mesh { trust_domain_aliases: aliases, ..Mesh::default() }
}

/// Labels of the workload, which lives in `foo`.
pub fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), "a".to_owned())])
}

/// Policies of all kinds, some of another workload, some that validation would refuse.
pub fn policies() -> impl Strategy<Value = Vec<AuthorizationPolicy>> {
    named(0..5)
}

/// So many that most rules have company behind each key of an index.
pub fn many_policies() -> impl Strategy<Value = Vec<AuthorizationPolicy>> {
    named(20..40)
}

fn named(number: std::ops::Range<usize>) -> impl Strategy<Value = Vec<AuthorizationPolicy>> {
    prop::collection::vec(policy(), number).prop_map(|mut policies| {
        for (index, policy) in policies.iter_mut().enumerate() {
            policy.metadata.name = format!("p{index}");
        }
        policies
    })
}

fn policy() -> impl Strategy<Value = AuthorizationPolicy> {
    let namespace = select(vec!["foo", "foo", "istio-system", "bar"]);
    let action = select(vec!["ALLOW", "ALLOW", "DENY", "DENY", "AUDIT", "CUSTOM"]);
    let labels = select(vec![json!({}), json!({}), json!({"app": "a"}), json!({"app": "b"})]);
    let dry_run = prop::bool::weighted(0.2);
    let rules = prop::collection::vec(prop_oneof![8 => rule(), 1 => Just(Value::Null)], 0..4);
    (namespace, action, labels, dry_run, rules).prop_map(|(ns, action, labels, dry, rules)| {
        let dry = dry && matches!(action, "ALLOW" | "DENY");
        let annotations = if dry { json!({"istio.io/dry-run": "true"}) } else { json!({}) };
        let metadata = json!({"name": "p", "namespace": ns, "annotations": annotations});
        let selector = json!({"matchLabels": labels});
        let spec = json!({"action": action, "selector": selector, "rules": rules});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap_or_default()
    })
}

fn rule() -> impl Strategy<Value = Value> {
    let from = prop::collection::vec(fields(SOURCE).prop_map(|s| json!({"source": s})), 0..3);
    let to = prop::collection::vec(fields(OPERATION).prop_map(|o| json!({"operation": o})), 0..3);
    let when = prop::collection::vec(condition(), 0..3);
    (from, to, when).prop_map(|(from, to, when)| json!({"from": from, "to": to, "when": when}))
}

/// Up to two of the fields, each with values, or negated.
fn fields(table: Table) -> impl Strategy<Value = Value> {
    let field = select(table).prop_flat_map(|((name, negated), values)| {
        (prop::bool::weighted(0.3), some(values))
            .prop_map(move |(not, values)| (if not { negated } else { name }, values))
    });
    prop::collection::vec(field, 0..3)
        .prop_map(|fields| {
            fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect::<Map<_, _>>()
        })
        .prop_map(Value::Object)
}

fn condition() -> impl Strategy<Value = Value> {
    select(WHEN).prop_flat_map(|(key, values)| {
        let list = || prop_oneof![2 => some(values), 1 => Just(json!([]))];
        (list(), list()).prop_map(move |(values, not_values)| {
            json!({"key": key, "values": values, "notValues": not_values})
        })
    })
}

fn some(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::vec(select(values), 1..3).prop_map(|values| json!(values))
}

/// A request or a connection, owned.
#[derive(Clone, Debug)]
pub struct Asked {
    identities: Vec<String>,
    addresses: (&'static str, &'static str),
    port: u16,
    sni: &'static str,
    http: Option<(&'static str, Option<&'static str>, &'static str)>,
    headers: Vec<(&'static str, &'static str)>,
    claims: Option<Value>,
}

/// A request that the policies nearly match.
pub fn asked() -> impl Strategy<Value = Asked> {
    let identities = prop::collection::vec(select(IDENTITIES), 0..3);
    let addresses = (select(ADDRESSES), select(ADDRESSES));
    let path = prop_oneof![9 => select(REQUEST_PATHS).prop_map(Some), 1 => Just(None)];
    let http = (select(vec!["GET", "POST", "PUT"]), path, select(REQUEST_HOSTS));
    let http = prop_oneof![4 => http.prop_map(Some), 1 => Just(None)];
    let header = (select(vec!["x-a", "X-A", "x-b"]), select(vec!["1", "12", "v", ""]));
    let headers = prop::collection::vec(header, 0..3);
    let port = select(vec![80_u16, 8080]);
    let claims = prop::option::of(claims());
    let rest = (http, headers, claims);
    (identities, addresses, port, select(vec!["", "svc.foo"]), rest).prop_map(
        |(identities, addresses, port, sni, (http, headers, claims))| Asked {
            identities: identities.into_iter().map(str::to_owned).collect(),
            addresses,
            port,
            sni,
            http,
            headers,
            claims,
        },
    )
}

fn claims() -> impl Strategy<Value = Value> {
    let iss = select(vec![json!("i"), json!("https://i/x"), json!("")]);
    let sub = select(vec![json!("u"), json!("x/u"), json!("*"), json!(""), json!(5), Value::Null]);
    let g = select(vec![json!("g1"), json!(["g1", "h"]), json!([1]), json!(true), json!("")]);
    let a = select(vec![json!({"b": "g1"}), json!("g1"), json!({"b": ["h"]})]);
    (iss, sub, g, a).prop_map(
        |(iss, sub, g, a)| json!({"iss": iss, "sub": sub, "g": g, "a": a, "aud": g, "azp": g}),
    )
}

impl Asked {
    /// Header fields.
    pub fn fields(&self) -> Vec<(&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
    }

    /// What a decision looks at; `fields` are [`Asked::fields`].
    pub fn attributes<'a>(&'a self, fields: &'a [(&'a str, &'a [u8])]) -> Attributes<'a> {
        Attributes {
            identities: &self.identities,
            source_ip: address(self.addresses.0),
            remote_ip: address(self.addresses.1),
            destination_ip: address(DESTINATION),
            destination_port: self.port,
            sni: self.sni,
            http: self.http.map(|(method, path, authority)| Http {
                method,
                path,
                authority,
                scheme: "http",
                headers: HeaderFields(fields),
                claims: self.claims.as_ref(),
            }),
        }
    }

    /// The request as cases in `conformance/` have it, of a client with one certificate at most.
    #[must_use]
    pub fn request(&self, http: bool) -> Value {
        let mut request = json!({"sourceIp": self.addresses.0, "port": self.port});
        let of_mesh = |id: &&String| id.starts_with("spiffe://c") || id.starts_with("spiffe://t");
        let identity = self.identities.iter().find(of_mesh).or_else(|| self.identities.first());
        if let Some(identity) = identity {
            request["principal"] = json!(identity);
            request["sni"] = json!(self.sni);
        }
        if !http {
            return request;
        }
        let (method, path, host) = self.http.unwrap_or(("GET", Some("/a"), "example.com"));
        let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in &self.headers {
            headers.entry(name).or_default().push(value);
        }
        if self.addresses.0 != self.addresses.1 {
            headers.insert("x-forwarded-for", vec![self.addresses.1]);
        }
        request["method"] = json!(if path.is_some() { method } else { "CONNECT" });
        request["path"] = json!(path.unwrap_or("example.com:443"));
        request["host"] = json!(if path.is_some() { host } else { "example.com:443" });
        request["headers"] = json!(headers);
        if let Some(claims) = &self.claims {
            request["claims"] = claims.clone();
        }
        request
    }
}

/// Policies with requests to the workload, over and over; a seed repeats them.
pub fn scenes(
    seed: u64,
    requests: usize,
) -> impl Iterator<Item = (Vec<AuthorizationPolicy>, Vec<Asked>)> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let scene = (policies(), prop::collection::vec(asked(), requests));
    std::iter::from_fn(move || Some(scene.new_tree(&mut runner).ok()?.current()))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

type Table = &'static [((&'static str, &'static str), &'static [&'static str])];

const SOURCE: Table = &[
    (("principals", "notPrincipals"), PRINCIPALS),
    (("namespaces", "notNamespaces"), NAMESPACES),
    (("serviceAccounts", "notServiceAccounts"), ACCOUNTS),
    (("trustDomains", "notTrustDomains"), DOMAINS),
    (("ipBlocks", "notIpBlocks"), BLOCKS),
    (("remoteIpBlocks", "notRemoteIpBlocks"), BLOCKS),
    (("requestPrincipals", "notRequestPrincipals"), REQUEST_PRINCIPALS),
];

const OPERATION: Table = &[
    (("hosts", "notHosts"), HOSTS),
    (("ports", "notPorts"), PORTS),
    (("methods", "notMethods"), &["GET", "*T", "P*", "*", "get"]),
    (("paths", "notPaths"), PATHS),
];

const WHEN: &[(&str, &[&str])] = &[
    ("source.principal", PRINCIPALS),
    ("source.namespace", NAMESPACES),
    ("source.serviceAccount", ACCOUNTS),
    ("source.trustDomain", DOMAINS),
    ("source.ip", BLOCKS),
    ("remote.ip", BLOCKS),
    ("destination.ip", BLOCKS),
    ("destination.port", PORTS),
    ("connection.sni", &["*", "svc.foo", "svc.*", "SVC.foo", "*.foo"]),
    ("request.auth.principal", REQUEST_PRINCIPALS),
    ("request.auth.audiences", CLAIMS),
    ("request.auth.presenter", CLAIMS),
    ("request.auth.claims[g]", CLAIMS),
    ("request.auth.claims[a][b]", CLAIMS),
    ("request.auth.claims", CLAIMS),
    ("request.headers[x-a]", &["1", "1*", "*", "v", "*2"]),
    ("request.headers[host]", HOSTS),
    ("request.headers[:path]", PATHS),
    ("request.headersx", &["1"]),
    ("request.foo", &["1"]),
];

const IDENTITIES: &[&str] = &[
    "spiffe://cluster.local/ns/foo/sa/a",
    "spiffe://cluster.local/ns/foo/sa/ab",
    "spiffe://td2/ns/foobar/sa/a",
    "spiffe://td2/ns/bar/sa/a/x",
    "spiffe://other/ns/foo/x/sa/a",
    "spiffe://other/ns/ns/foo/sa/x/y/sa/a/b",
    "https://other/ns/foo/sa/a",
];
const PRINCIPALS: &[&str] = &[
    "*",
    "cluster.local/ns/foo/sa/a",
    "td2/ns/foo/sa/*",
    "td2/ns/foo/*",
    "*/sa/a",
    "*/ns/foo/sa/a",
    "*.local/ns/foo/sa/a",
    "*2/ns/foobar/sa/a",
    "other/ns/foo/*",
    "spiffe://cluster.local/ns/foo/sa/a",
];
const NAMESPACES: &[&str] = &["*", "foo", "foo*", "f*o", "*bar", "o"];
const ACCOUNTS: &[&str] = &["a", "foo/a", "foo/ab", "bar/a", "foobar/a", "foo/x"];
const DOMAINS: &[&str] = &["*", "cluster.local", "td2", "td*", "*.local", "*er*"];
const BLOCKS: &[&str] = &["10.1.0.0/16", "10.1.2.3", "0.0.0.0/0", "::/0", "10.9.9.9", "nonsense"];
const ADDRESSES: &[&str] = &["10.1.2.3", "10.1.9.9", "192.168.0.1", "2001:db8::1"];
const DESTINATION: &str = "10.9.9.9";
const PORTS: &[&str] = &["80", "8080", "080", "99999", "x"];
const HOSTS: &[&str] = &["*", "Example.com", "example.*", "*.COM", "example.com:80"];
const REQUEST_HOSTS: &[&str] = &["example.com", "EXAMPLE.com:80", "", "other"];
const PATHS: &[&str] = &["*", "/a", "/a*", "*/b", "/a/{*}", "/a/{**}", "/{*}/b", "*a*"];
const REQUEST_PATHS: &[&str] = &[
    "/a",
    "/a?q=/b",
    "/a/b",
    "/a/b/c",
    "/b",
    "/a/[b]",
    "/",
    "/a/",
    "/A",
    "//a",
    "/a//b",
    "/a/../b",
    "/%61/%2e%2e/b",
    "/a%2fb",
    "/a\\b",
    "/a;x/b",
    "/a/..;/b",
    "/a#/b",
    "/a/./b?x=%2f",
];
const REQUEST_PRINCIPALS: &[&str] =
    &["*", "i/u", "i/*", "i*", "*u", "*/u", "*/*", "https://i/x/u*", "https://i*", "i"];
const CLAIMS: &[&str] = &["*", "g1", "g*", "*1", "h"];
