//! AuthorizationPolicies as the specification reads: on JSON, with nothing compiled and nothing that the
//! product matches with. Every value is tried on every request.

use std::{cell::RefCell, collections::HashMap, net::IpAddr, slice::from_ref, str::from_utf8};

use palisade_policy::{Attributes, Http, Scope};
use palisade_types::TrustDomain;
use regex::{Regex, escape};
use serde_json::Value;

/// Allowed or not, and by which rule.
type Decided = (bool, Option<String>);

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) decided: Decided,
    pub(crate) audited: bool,
    /// Of the dry-run DENY and the dry-run ALLOW policies.
    pub(crate) shadow: [Option<Decided>; 2],
}

pub(crate) fn decide(policies: &[Value], scope: Scope<'_>, a: &Attributes<'_>) -> Answer {
    let of = |action: &str, dry_run: bool| -> Vec<&Value> {
        let applies = |p: &&Value| {
            let mut labels = p["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
            [scope.namespace, &scope.mesh.root_namespace]
                .contains(&text(&p["metadata"]["namespace"]))
                && labels.all(|(name, value)| scope.labels.get(name).is_some_and(|l| value == l))
                && p["spec"]["action"].as_str().unwrap_or("ALLOW") == action
                && (p["metadata"]["annotations"]["istio.io/dry-run"] == "true") == dry_run
        };
        policies.iter().filter(applies).collect()
    };
    let first = |policies: &[&Value]| policies.iter().flat_map(|p| matching(p, scope, a)).min();
    let result = |action: &str, dry_run: bool| {
        let policies = of(action, dry_run);
        let rule = first(&policies);
        (!policies.is_empty()).then_some((rule.is_some() == (action == "ALLOW"), rule))
    };
    let asked = |rule| format!("istio-ext-authz-{rule}-deny-due-to-bad-CUSTOM-action");
    let custom = first(&of("CUSTOM", false)).map(|rule| (false, Some(asked(rule))));
    let audited = custom.is_none() && first(&of("AUDIT", false)).is_some();
    let denied = custom.or_else(|| result("DENY", false).filter(|(allowed, _)| !allowed));
    let decided = denied.or_else(|| result("ALLOW", false)).unwrap_or((true, None));
    Answer { decided, audited, shadow: ["DENY", "ALLOW"].map(|action| result(action, true)) }
}

/// Names of the rules that match.
fn matching(policy: &Value, scope: Scope<'_>, a: &Attributes<'_>) -> Vec<String> {
    let [namespace, name] = ["namespace", "name"].map(|field| text(&policy["metadata"][field]));
    let reading = Reading { scope, a, namespace, allow: policy["spec"]["action"] == "ALLOW" };
    let rules = items(&policy["spec"]["rules"]).iter().enumerate();
    let matching = rules.filter(|(_, rule)| !rule.is_null() && reading.rule(rule));
    matching.map(|(n, _)| format!("ns[{namespace}]-policy[{name}]-rule[{n}]")).collect()
}

#[derive(Clone, Copy)]
struct Reading<'a> {
    scope: Scope<'a>,
    a: &'a Attributes<'a>,
    /// Of the policy.
    namespace: &'a str,
    allow: bool,
}

/// Whether all values of a condition are usable, and whether those that are hold.
type Condition = (bool, bool);

impl Reading<'_> {
    fn rule(self, rule: &Value) -> bool {
        let entry = |of: &Value| -> Vec<_> {
            let field = |(name, values): (&String, _)| {
                let plain = name.strip_prefix("not").map(|n| n[..1].to_lowercase() + &n[1..]);
                self.condition(plain.as_ref().unwrap_or(name), values, plain.is_some())
            };
            of.as_object().into_iter().flatten().map(field).collect()
        };
        let both = |c: &Value| {
            let list = |(name, not)| self.condition(text(&c["key"]), &c[name], not);
            [("values", false), ("notValues", true)].map(list).to_vec()
        };
        let from: Vec<_> = items(&rule["from"]).iter().map(|from| entry(&from["source"])).collect();
        let to: Vec<_> = items(&rule["to"]).iter().map(|to| entry(&to["operation"])).collect();
        let when: Vec<_> = items(&rule["when"]).iter().map(both).collect();
        let usable = [&from, &to, &when].into_iter().flatten().flatten().all(|c| c.0);
        let holds = |entry: &Vec<Condition>| entry.iter().all(|c| c.1);
        let one = |of: &[Vec<_>]| of.is_empty() || of.iter().any(holds);
        items(&rule["when"]).iter().all(|c| is_known(text(&c["key"])))
            && (usable || !self.allow)
            && (one(&from) && one(&to) && when.iter().all(holds))
    }

    fn condition(self, key: &str, values: &Value, not: bool) -> Condition {
        let value = |value| self.value(key, text(value));
        let values: Vec<Option<bool>> = items(values).iter().map(value).collect();
        let any = values.contains(&Some(true));
        (!values.contains(&None), any != not || values.iter().all(Option::is_none))
    }

    /// Nothing for a value that cannot be used, be it for its form or on a connection without requests.
    fn value(self, key: &str, value: &str) -> Option<bool> {
        let identity = |form: &str| Some(self.a.identities.iter().any(|id| is(form, id)));
        let domains: Vec<&str> = self.scope.mesh.trust_domains().map(TrustDomain::as_str).collect();
        match key {
            "principals" | "source.principal" if value == "*" => identity(".+"),
            "principals" | "source.principal" => identity(&principal(value, &domains)),
            "namespaces" | "source.namespace" => {
                identity(&format!(".*/ns/{}/.*", escape(value).replace(r"\*", ".*")))
            }
            "serviceAccounts" | "source.serviceAccount" => {
                let (ns, sa) = value.split_once('/').unwrap_or((self.namespace, value));
                let (ns, sa) = (escape(ns), escape(sa));
                identity(&format!("spiffe://.+/ns/{ns}/(.+/|)sa/{sa}(/.+)?"))
            }
            "trustDomains" | "source.trustDomain" if value == "*" => identity("spiffe://.*"),
            "trustDomains" | "source.trustDomain" => {
                let meant = if domains.contains(&value) { domains } else { vec![value] };
                let meant = meant.iter().map(|v| escape(v).replacen(r"\*", "[^/]*", 1));
                identity(&format!("spiffe://({})/.*", meant.collect::<Vec<_>>().join("|")))
            }
            "ipBlocks" | "source.ip" => inside(self.a.source_ip, value),
            "remoteIpBlocks" | "remote.ip" => inside(self.a.remote_ip, value),
            "destination.ip" => inside(self.a.destination_ip, value),
            "ports" | "destination.port" => {
                value.parse().ok().map(|port: u16| port == self.a.destination_port)
            }
            "connection.sni" => Some(is(&wild(value), self.a.sni)),
            _ => of_request(&self.a.http?, key, value),
        }
    }
}

/// What an operator of a path template takes of one segment, without its closing bracket.
const SEGMENT: &str = r"[A-Za-z0-9\-._~%!$&'()*+,;:@=";

fn of_request(http: &Http<'_>, key: &str, value: &str) -> Option<bool> {
    let present = |text: &str| value == "*" || is(&wild(value), text);
    let token = |names: &[&str], form: &str| {
        let found = names.iter().try_fold(http.claims?, |claims, name| claims.get(name))?;
        let texts = found.as_array().map_or(from_ref(found), Vec::as_slice).iter();
        texts.filter_map(Value::as_str).find(|text| is(form, text))
    };
    let claim = |names: &[&str]| token(names, &wild(value)).is_some();
    let within = |prefix| key.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']');
    Some(match key {
        "hosts" => value == "*" || is(&wild(&value.to_lowercase()), &http.authority.to_lowercase()),
        "methods" => present(http.method),
        "paths" => {
            let [one, any] = [SEGMENT.to_owned() + "]+", SEGMENT.to_owned() + "/]*"];
            let template = escape(value).replace(r"\{\*\*\}", &any).replace(r"\{\*\}", &one);
            let form = if value.contains("{*") { template } else { wild(value) };
            http.path.is_some_and(|path| is(&form, path.split('?').next().unwrap_or(path)))
        }
        "requestPrincipals" | "request.auth.principal" => {
            let (iss, sub) = match value.rsplit_once('/') {
                None if value.starts_with('*') => (".+".to_owned(), wild(value)),
                None if value.ends_with('*') => (wild(value), ".+".to_owned()),
                Some((iss, sub)) if value.starts_with('*') => (wild(iss), escape(sub)),
                Some((iss, sub)) if value.ends_with('*') => (escape(iss), wild(sub)),
                split => {
                    split.map_or((escape(value), String::new()), |(i, s)| (escape(i), escape(s)))
                }
            };
            token(&["iss"], &iss).is_some() && token(&["sub"], &sub).is_some()
        }
        "request.auth.audiences" => claim(&["aud"]),
        "request.auth.presenter" => claim(&["azp"]),
        "request.auth.claims" => false,
        "request.headers[:path]" => http.path.is_some_and(present),
        "request.headers[host]" => present(http.authority),
        _ => match within("request.headers") {
            Some(name) => http.headers.values(name).any(|v| from_utf8(v).is_ok_and(present)),
            None => claim(&within("request.auth.claims")?.split("][").collect::<Vec<_>>()),
        },
    })
}

fn is_known(key: &str) -> bool {
    const KEYS: &str = "source.principal source.namespace source.serviceAccount source.trustDomain \
        source.ip remote.ip destination.ip destination.port connection.sni request.auth.principal \
        request.auth.audiences request.auth.presenter request.auth.claims* request.headers*";
    KEYS.split(' ').any(|known| is(&wild(known), key))
}

/// Identities that a principal means: in each trust domain of the mesh, if its own is one of them.
fn principal(value: &str, domains: &[&str]) -> String {
    let like = |pattern: &str, text: &str| is(&wild(pattern), text);
    let (domain, rest) = value.split_once('/').unwrap_or((value, ""));
    let own = |d: &&str| domain == "cluster.local" || like(d, domain) || like(domain, d);
    if value.split('/').count() != 5 || domain == "*" || !domains.iter().any(own) {
        return format!("spiffe://{}", wild(value));
    }
    let kept = |d: &str| domain.starts_with('*') && like(domain, d);
    let one = |d: &&str| wild(&format!("{}/{rest}", if kept(d) { domain } else { d }));
    format!("spiffe://({})", domains.iter().map(one).collect::<Vec<_>>().join("|"))
}

fn inside(address: IpAddr, block: &str) -> Option<bool> {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => format!("{:032b}", v4.to_bits()),
        IpAddr::V6(v6) => format!("{:0128b}", v6.to_bits()),
    };
    let (first, length) = block.split_once('/').unwrap_or((block, ""));
    let (address, first) = (bits(address), bits(first.parse().ok()?));
    let length = if length.is_empty() { first.len() } else { length.parse().ok()? };
    Some(first.len() == address.len() && address.starts_with(first.get(..length)?))
}

/// The usual pattern: one star, at the end or in front, and alone for what is not empty.
fn wild(value: &str) -> String {
    match (value.strip_prefix('*'), value.strip_suffix('*')) {
        (Some(""), _) => ".+".to_owned(),
        (Some(end), _) => format!(".*{}", escape(end)),
        (_, Some(start)) => format!("{}.*", escape(start)),
        _ => escape(value),
    }
}

/// The whole text is of this form.
fn is(form: &str, text: &str) -> bool {
    thread_local!(static FORMS: RefCell<HashMap<String, Regex>> = RefCell::default());
    let regex = || Regex::new(&format!(r"(?s)\A(?:{form})\z")).expect("a regular expression");
    FORMS.with_borrow_mut(|known| known.entry(form.to_owned()).or_insert_with(regex).is_match(text))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
