//! The specification, read naively: no compilation, every value is tried on every request.

use crate::{Attributes, Scope};
use palisade_manifest::{Action, AuthorizationPolicy, Rule};
use palisade_types::{IpBlock, PathTemplate, TrustDomain};
use serde_json::Value;

use super::fields::{Condition, glob, is_known, operation, pattern, source};

/// Allowed or not, by which rule, and whether it was marked.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    pub(super) rule: Option<String>,
    pub(super) audited: bool,
    /// Of the dry-run DENY and the dry-run ALLOW policies.
    pub(super) shadow: [Option<(bool, Option<String>)>; 2],
}

struct Reading<'a> {
    scope: Scope<'a>,
    attributes: &'a Attributes<'a>,
    policy: &'a AuthorizationPolicy,
}

pub(super) fn decide(
    policies: &[AuthorizationPolicy],
    scope: Scope<'_>,
    a: &Attributes<'_>,
) -> Answer {
    let of = |action: Action, dry: bool| -> Vec<&AuthorizationPolicy> {
        let applies = |p: &&AuthorizationPolicy| {
            let namespace = &p.metadata.namespace;
            let labels = p.spec.selector.iter().flat_map(|s| &s.match_labels);
            (namespace == scope.namespace || *namespace == scope.mesh.root_namespace)
                && labels.into_iter().all(|(k, v)| scope.labels.get(k) == Some(v))
                && p.spec.target_refs.is_empty()
                && p.spec.action == action
                && p.metadata.annotations.contains_key("istio.io/dry-run") == dry
        };
        policies.iter().filter(applies).collect()
    };
    let first = |policies: &[&AuthorizationPolicy]| -> Option<String> {
        let matching = policies.iter().flat_map(|policy| {
            let reading = Reading { scope, attributes: a, policy };
            let rules = policy.spec.rules.iter().enumerate();
            rules.filter(move |(_, rule)| rule.as_ref().is_some_and(|r| reading.matches(r))).map(
                |(index, _)| {
                    let (ns, name) = (&policy.metadata.namespace, &policy.metadata.name);
                    format!("ns[{ns}]-policy[{name}]-rule[{index}]")
                },
            )
        });
        matching.min()
    };
    let deny = |policies: &[&AuthorizationPolicy]| match first(policies) {
        Some(rule) => (false, Some(rule)),
        None => (true, None),
    };
    let allow = |policies: &[&AuthorizationPolicy]| {
        let rule = first(policies);
        (policies.is_empty() || rule.is_some(), rule)
    };
    let custom = first(&of(Action::Custom, false));
    let denied = deny(&of(Action::Deny, false));
    let (allowed, rule) = match &custom {
        Some(rule) => {
            (false, Some(format!("istio-ext-authz-{rule}-deny-due-to-bad-CUSTOM-action")))
        }
        None if !denied.0 => denied,
        None => allow(&of(Action::Allow, false)),
    };
    let audited = custom.is_none() && first(&of(Action::Audit, false)).is_some();
    let (dry_deny, dry_allow) = (of(Action::Deny, true), of(Action::Allow, true));
    let shadow_deny = (!dry_deny.is_empty()).then(|| deny(&dry_deny));
    let shadow_allow = (!dry_allow.is_empty()).then(|| allow(&dry_allow));
    Answer { allowed, rule, audited, shadow: [shadow_deny, shadow_allow] }
}

impl Reading<'_> {
    fn matches(&self, rule: &Rule) -> bool {
        let when: Vec<Condition<'_>> =
            rule.when.iter().flatten().map(|c| (&*c.key, &*c.values, &*c.not_values)).collect();
        let from: Vec<_> = rule.from.iter().flatten().map(|f| f.source.as_ref()).collect();
        let from: Vec<_> = from.into_iter().map(|s| s.map_or(vec![], source)).collect();
        let to: Vec<_> = rule.to.iter().flatten().map(|t| t.operation.as_ref()).collect();
        let to: Vec<_> = to.into_iter().map(|o| o.map_or(vec![], operation)).collect();
        let all = || from.iter().chain(&to).flatten().chain(&when);
        if when.iter().any(|(key, ..)| !is_known(key)) {
            return false;
        }
        let is_allow = self.policy.spec.action == Action::Allow;
        if is_allow && all().any(|(k, v, n)| v.iter().chain(*n).any(|v| !self.usable(k, v))) {
            return false;
        }
        let holds = |(key, values, not_values): &Condition<'_>| {
            let usable = |values: &[String]| -> Vec<String> {
                values.iter().filter(|value| self.usable(key, value)).cloned().collect()
            };
            let (values, not_values) = (usable(values), usable(not_values));
            (values.is_empty() || values.iter().any(|v| self.value(key, v)))
                && !not_values.iter().any(|v| self.value(key, v))
        };
        (from.is_empty() || from.iter().any(|s| s.iter().all(holds)))
            && (to.is_empty() || to.iter().any(|o| o.iter().all(holds)))
            && when.iter().all(holds)
    }

    fn usable(&self, key: &str, value: &str) -> bool {
        let http = ["hosts", "methods", "paths"].contains(&key) || key.starts_with("request.");
        let bracketed = |prefix: &str| {
            key.strip_prefix(prefix).is_none_or(|k| k.starts_with('[') && k.ends_with(']'))
        };
        (self.attributes.http.is_some() || !http)
            && (!key.ends_with(".ip") || value.parse::<IpBlock>().is_ok())
            && (key != "destination.port" || value.parse::<u16>().is_ok())
            && bracketed("request.headers")
            && bracketed("request.auth.claims")
    }

    fn value(&self, key: &str, value: &str) -> bool {
        let a = self.attributes;
        let in_block = |address| value.parse::<IpBlock>().is_ok_and(|b| b.contains(address));
        let identity = |matches: &dyn Fn(&str) -> bool| a.identities.iter().any(|id| matches(id));
        let domains: Vec<&str> = self.scope.mesh.trust_domains().map(TrustDomain::as_str).collect();
        match key {
            "source.principal" => {
                let parts: Vec<&str> = value.split('/').collect();
                let own = |d: &&str| pattern(d, parts[0]) || pattern(parts[0], d);
                let expand = parts.len() == 5
                    && parts[0] != "*"
                    && (parts[0] == "cluster.local" || domains.iter().any(own));
                let kept = |d: &&str| parts[0].starts_with('*') && pattern(parts[0], d);
                let values: Vec<String> = match expand {
                    false => vec![value.to_owned()],
                    true => domains
                        .iter()
                        .map(|d| if kept(d) { parts[0] } else { *d })
                        .map(|d| format!("{d}/{}", parts[1..].join("/")))
                        .collect(),
                };
                identity(&|id| {
                    let name = id.strip_prefix("spiffe://");
                    values.iter().any(|v| v == "*" || name.is_some_and(|name| pattern(v, name)))
                })
            }
            "source.namespace" => identity(&|id| glob(&format!("*/ns/{value}/*"), id)),
            "source.serviceAccount" => {
                let here = format!("{}/{value}", self.policy.metadata.namespace);
                let full = if value.contains('/') { value } else { &here };
                let (ns, sa) = full.split_once('/').unwrap();
                let ends = [String::new(), "/?*".to_owned()];
                let between = ["", "?*/"];
                identity(&|id| {
                    between.iter().any(|b| {
                        ends.iter().any(|e| glob(&format!("spiffe://?*/ns/{ns}/{b}sa/{sa}{e}"), id))
                    })
                })
            }
            "source.trustDomain" => {
                let value = [value];
                let own = if domains.contains(&value[0]) { &domains[..] } else { &value[..] };
                identity(&|id| {
                    let domain = id.strip_prefix("spiffe://").and_then(|id| id.split_once('/'));
                    domain.is_some_and(|(domain, _)| own.iter().any(|v| glob(v, domain)))
                })
            }
            "source.ip" => in_block(a.source_ip),
            "remote.ip" => in_block(a.remote_ip),
            "destination.ip" => in_block(a.destination_ip),
            "destination.port" => value.parse() == Ok(a.destination_port),
            "connection.sni" => pattern(value, a.sni),
            _ => self.of_request(key, value),
        }
    }

    fn of_request(&self, key: &str, value: &str) -> bool {
        let http = self.attributes.http.unwrap();
        let path = http.path.map(|path| path.split('?').next().unwrap());
        let claim = |names: &[&str]| {
            let found = names.iter().try_fold(http.claims?, |claims, name| claims.get(name))?;
            Some(match found {
                Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
                one => one.as_str().into_iter().collect::<Vec<_>>(),
            })
        };
        let any =
            |texts: Option<Vec<&str>>| texts.iter().flatten().any(|text| pattern(value, text));
        match key {
            "hosts" => {
                value == "*" || pattern(&value.to_lowercase(), &http.authority.to_lowercase())
            }
            "methods" => pattern(value, http.method),
            "paths" if value.contains("{*") => {
                path.is_some_and(|path| PathTemplate::new(value).unwrap().matches(path.as_bytes()))
            }
            "paths" => path.is_some_and(|path| pattern(value, path)),
            "request.auth.principal" => {
                let claims = |name| claim(&[name]).and_then(|texts| texts.first().copied());
                let (Some(iss), Some(sub)) = (claims("iss"), claims("sub")) else { return false };
                match value.rsplit_once('/') {
                    None if value == "*" => !iss.is_empty() && !sub.is_empty(),
                    None if value.starts_with('*') => !iss.is_empty() && pattern(value, sub),
                    None if value.ends_with('*') => pattern(value, iss) && !sub.is_empty(),
                    None => iss == value && sub.is_empty(),
                    Some((i, s)) if value.starts_with('*') => pattern(i, iss) && s == sub,
                    Some((i, s)) => i == iss && pattern(s, sub),
                }
            }
            "request.auth.audiences" => any(claim(&["aud"])),
            "request.auth.presenter" => any(claim(&["azp"])),
            "request.auth.claims[a][b]" => any(claim(&["a", "b"])),
            "request.auth.claims[g]" => any(claim(&["g"])),
            "request.headers[:path]" => {
                http.path.is_some_and(|path| value == "*" || pattern(value, path))
            }
            "request.headers[host]" => value == "*" || pattern(value, http.authority),
            "request.headers[x-a]" => http
                .headers
                .values("X-A")
                .any(|text| value == "*" || pattern(value, std::str::from_utf8(text).unwrap())),
            _ => false,
        }
    }
}
