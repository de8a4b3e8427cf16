//! AuthorizationPolicies as the specification reads: on JSON, with nothing compiled, and no use of what
//! the product matches with. Every value is tried on every request.

use palisade_policy::{Attributes, Scope};
use palisade_types::TrustDomain;
use serde_json::Value;

use super::words::{block, glob, inside, items, list, pattern, template, text};

/// Allowed or not, by which rule, and whether it was marked.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) allowed: bool,
    pub(crate) rule: Option<String>,
    pub(crate) audited: bool,
    /// Of the dry-run DENY and the dry-run ALLOW policies.
    pub(crate) shadow: [Option<(bool, Option<String>)>; 2],
}

/// A key, its values, and its negated values.
type Condition = (String, Vec<String>, Vec<String>);

pub(crate) fn decide(policies: &[Value], scope: Scope<'_>, a: &Attributes<'_>) -> Answer {
    let of = |action: &str, dry: bool| -> Vec<&Value> {
        let applies = |p: &&Value| {
            let namespace = &p["metadata"]["namespace"];
            let labels = p["spec"]["selector"]["matchLabels"].as_object();
            let labelled = |(k, v): (&String, &Value)| scope.labels.get(k).is_some_and(|l| v == l);
            (namespace == scope.namespace || *namespace == *scope.mesh.root_namespace)
                && labels.into_iter().flatten().all(labelled)
                && p["spec"]["action"].as_str().unwrap_or("ALLOW") == action
                && (p["metadata"]["annotations"]["istio.io/dry-run"] == "true") == dry
        };
        policies.iter().filter(applies).collect()
    };
    let first = |policies: &[&Value]| {
        let matching = policies.iter().flat_map(|p| {
            let (namespace, name) =
                (text(&p["metadata"]["namespace"]), text(&p["metadata"]["name"]));
            let allow = text(&p["spec"]["action"]) == "ALLOW";
            let reading = Reading { scope, a, namespace: &namespace, allow };
            let rules = items(&p["spec"]["rules"]).iter().enumerate();
            let matching = rules.filter(|(_, rule)| !rule.is_null() && reading.rule(rule));
            let named = matching.map(|(n, _)| format!("ns[{namespace}]-policy[{name}]-rule[{n}]"));
            named.collect::<Vec<_>>()
        });
        matching.min()
    };
    let deny = |rule: Option<String>| (rule.is_none(), rule);
    let allow = |policies: &[&Value]| {
        let rule = first(policies);
        (policies.is_empty() || rule.is_some(), rule)
    };
    let custom = first(&of("CUSTOM", false));
    let denied = deny(first(&of("DENY", false)));
    let (allowed, rule) = match &custom {
        Some(rule) => {
            (false, Some(format!("istio-ext-authz-{rule}-deny-due-to-bad-CUSTOM-action")))
        }
        None if !denied.0 => denied,
        None => allow(&of("ALLOW", false)),
    };
    let audited = custom.is_none() && first(&of("AUDIT", false)).is_some();
    let (dry_deny, dry_allow) = (of("DENY", true), of("ALLOW", true));
    let shadow = [
        (!dry_deny.is_empty()).then(|| deny(first(&dry_deny))),
        (!dry_allow.is_empty()).then(|| allow(&dry_allow)),
    ];
    Answer { allowed, rule, audited, shadow }
}

#[derive(Clone, Copy)]
struct Reading<'a> {
    scope: Scope<'a>,
    a: &'a Attributes<'a>,
    /// Of the policy.
    namespace: &'a str,
    allow: bool,
}

impl Reading<'_> {
    fn rule(self, rule: &Value) -> bool {
        let all = |many: &str, entry: &str, names: &'static [[&'static str; 3]]| -> Vec<_> {
            let fields = |of: &Value| -> Vec<Condition> {
                names
                    .iter()
                    .map(|[key, name, not]| ((*key).to_owned(), list(&of[*name]), list(&of[*not])))
                    .collect()
            };
            let of = |item: &Value| fields(&item[entry]);
            items(&rule[many]).iter().map(of).collect()
        };
        let (from, to) = (all("from", "source", SOURCE), all("to", "operation", OPERATION));
        let key = |c: &Value| (text(&c["key"]), list(&c["values"]), list(&c["notValues"]));
        let when: Vec<Condition> = items(&rule["when"]).iter().map(key).collect();
        if when.iter().any(|(key, ..)| !is_known(key)) {
            return false;
        }
        let every = from.iter().chain(&to).flatten().chain(&when);
        let unusable = |(k, v, n): &Condition| v.iter().chain(n).any(|v| !self.usable(k, v));
        if self.allow && { every }.any(unusable) {
            return false;
        }
        let any = |key: &str, values: &[String]| values.iter().any(|v| self.value(key, v));
        let holds = |(key, values, not_values): &Condition| {
            let usable = |values: &[String]| -> Vec<String> {
                values.iter().filter(|v| self.usable(key, v)).cloned().collect()
            };
            let (values, not_values) = (usable(values), usable(not_values));
            (values.is_empty() || any(key, &values)) && !any(key, &not_values)
        };
        (from.is_empty() || from.iter().any(|s| s.iter().all(holds)))
            && (to.is_empty() || to.iter().any(|o| o.iter().all(holds)))
            && when.iter().all(holds)
    }

    /// What is not leaves an ALLOW rule out, and is left out of others.
    fn usable(self, key: &str, value: &str) -> bool {
        let http = ["hosts", "methods", "paths"].contains(&key) || key.starts_with("request.");
        let bracketed = |rest: &str| rest.starts_with('[') && rest.ends_with(']');
        let claims = key.strip_prefix("request.auth.claims");
        (self.a.http.is_some() || !http)
            && (!key.ends_with(".ip") || block(value).is_some())
            && (key != "destination.port" || value.parse::<u16>().is_ok())
            && key.strip_prefix("request.headers").is_none_or(bracketed)
            && claims.is_none_or(|rest| rest.is_empty() || bracketed(rest))
    }

    fn value(self, key: &str, value: &str) -> bool {
        let identity = |test: &dyn Fn(&str) -> bool| self.a.identities.iter().any(|id| test(id));
        let domains: Vec<&str> = self.scope.mesh.trust_domains().map(TrustDomain::as_str).collect();
        let spiffe = |id: &str, glob_: &str| glob(&format!("spiffe://{glob_}"), id);
        match key {
            "source.principal" => identity(&|id| {
                let after = id.strip_prefix("spiffe://");
                expand(value, &domains).iter().any(|v| match v.as_str() {
                    "*" => !id.is_empty(),
                    v => after.is_some_and(|after| pattern(v, after)),
                })
            }),
            "source.namespace" => {
                let value = value.replace('*', "\u{1}");
                identity(&|id| glob(&format!("\u{1}/ns/{value}/\u{1}"), id))
            }
            "source.serviceAccount" => {
                let (ns, sa) = value.split_once('/').unwrap_or((self.namespace, value));
                let (between, after) = (["", "\u{2}\u{1}/"], ["", "/\u{2}\u{1}"]);
                let one = |id: &str, b, a| spiffe(id, &format!("\u{2}\u{1}/ns/{ns}/{b}sa/{sa}{a}"));
                identity(&|id| between.iter().any(|b| after.iter().any(|a| one(id, b, a))))
            }
            "source.trustDomain" => {
                let own = if domains.contains(&value) { &domains[..] } else { &[value] };
                identity(&|id| {
                    own.iter().any(|value| match value.split_once('*') {
                        Some(("", "")) => id.starts_with("spiffe://"),
                        Some((a, b)) => spiffe(id, &format!("{a}\u{3}{b}/\u{1}")),
                        None => id.starts_with(&format!("spiffe://{value}/")),
                    })
                })
            }
            "source.ip" => inside(self.a.source_ip, value),
            "remote.ip" => inside(self.a.remote_ip, value),
            "destination.ip" => inside(self.a.destination_ip, value),
            "destination.port" => value.parse() == Ok(self.a.destination_port),
            "connection.sni" => pattern(value, self.a.sni),
            _ => self.of_request(key, value),
        }
    }

    fn of_request(self, key: &str, value: &str) -> bool {
        let Some(http) = self.a.http else { return false };
        let without_query = http.path.and_then(|path| path.split('?').next());
        let present = |text: &str| value == "*" || pattern(value, text);
        let claim = |names: &[&str]| {
            let found = names.iter().try_fold(http.claims?, |claims, name| claims.get(name))?;
            let one = std::slice::from_ref(found);
            Some(
                found
                    .as_array()
                    .map_or(one, Vec::as_slice)
                    .iter()
                    .any(|text| text.as_str().is_some_and(|text| pattern(value, text))),
            )
        };
        let token = |name: &str| http.claims.and_then(|claims| claims[name].as_str());
        match key {
            "hosts" => {
                value == "*" || pattern(&value.to_lowercase(), &http.authority.to_lowercase())
            }
            "methods" => present(http.method),
            "paths" if value.contains("{*") => {
                without_query.is_some_and(|path| template(value, path))
            }
            "paths" => without_query.is_some_and(|path| pattern(value, path)),
            "request.auth.principal" => {
                let (Some(iss), Some(sub)) = (token("iss"), token("sub")) else { return false };
                match value.rsplit_once('/') {
                    None if value == "*" => !iss.is_empty() && !sub.is_empty(),
                    None if value.starts_with('*') => !iss.is_empty() && pattern(value, sub),
                    None if value.ends_with('*') => pattern(value, iss) && !sub.is_empty(),
                    None => iss == value && sub.is_empty(),
                    Some((i, s)) if value.starts_with('*') => pattern(i, iss) && s == sub,
                    Some((i, s)) if s.ends_with('*') => i == iss && pattern(s, sub),
                    Some((i, s)) => i == iss && s == sub,
                }
            }
            "request.auth.audiences" => claim(&["aud"]).unwrap_or(false),
            "request.auth.presenter" => claim(&["azp"]).unwrap_or(false),
            "request.headers[:path]" => http.path.is_some_and(present),
            "request.headers[host]" => present(http.authority),
            _ => match key.strip_prefix("request.headers[") {
                Some(name) => http
                    .headers
                    .values(name.trim_end_matches(']'))
                    .any(|text| std::str::from_utf8(text).is_ok_and(present)),
                None => {
                    let rest = key.strip_prefix("request.auth.claims").unwrap_or_default();
                    let names: Vec<&str> =
                        rest.split(['[', ']']).filter(|n| !n.is_empty()).collect();
                    claim(&names).unwrap_or(false)
                }
            },
        }
    }
}

/// A principal for each trust domain of the mesh, if its own is one of them.
fn expand(value: &str, domains: &[&str]) -> Vec<String> {
    let parts: Vec<&str> = value.split('/').collect();
    let own = |d: &&str| pattern(d, parts[0]) || pattern(parts[0], d);
    let is_own = parts[0] == "cluster.local" || domains.iter().any(own);
    if parts.len() != 5 || parts[0] == "*" || !is_own {
        return vec![value.to_owned()];
    }
    let kept = |d: &&str| parts[0].starts_with('*') && pattern(parts[0], d);
    let domain = |d: &&str| if kept(d) { parts[0].to_owned() } else { (*d).to_owned() };
    domains.iter().map(|d| format!("{}/{}", domain(d), parts[1..].join("/"))).collect()
}

fn is_known(key: &str) -> bool {
    ["request.headers", "request.auth.claims"].iter().any(|prefix| key.starts_with(prefix))
        || KEYS.contains(&key)
        || SOURCE.iter().any(|[known, ..]| *known == key)
        || key == "destination.port"
}

const KEYS: &[&str] =
    &["destination.ip", "connection.sni", "request.auth.audiences", "request.auth.presenter"];

const SOURCE: &[[&str; 3]] = &[
    ["source.principal", "principals", "notPrincipals"],
    ["request.auth.principal", "requestPrincipals", "notRequestPrincipals"],
    ["source.namespace", "namespaces", "notNamespaces"],
    ["source.serviceAccount", "serviceAccounts", "notServiceAccounts"],
    ["source.trustDomain", "trustDomains", "notTrustDomains"],
    ["source.ip", "ipBlocks", "notIpBlocks"],
    ["remote.ip", "remoteIpBlocks", "notRemoteIpBlocks"],
];

const OPERATION: &[[&str; 3]] = &[
    ["hosts", "hosts", "notHosts"],
    ["destination.port", "ports", "notPorts"],
    ["methods", "methods", "notMethods"],
    ["paths", "paths", "notPaths"],
];
