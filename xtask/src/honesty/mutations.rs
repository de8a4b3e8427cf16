//! Random policies with one mutation that flips an allow to a deny: does `explain` name what was mutated?

use std::collections::BTreeMap;

use anyhow::Result;
use palisade_model::{Call, Object, Objects, Request, World};
use palisade_policy::Verdict;
use serde_json::{Value, json};

use super::random::Random;

/// How many mutations were named first.
#[derive(Debug, Default)]
pub(super) struct Score {
    pub(super) named: usize,
    pub(super) all: usize,
    /// By operator: named and all.
    pub(super) operators: BTreeMap<&'static str, (usize, usize)>,
    pub(super) missed: Vec<Missed>,
}

/// A mutation that was not named first.
#[derive(Debug)]
pub(super) struct Missed {
    /// Why, in words.
    pub(super) cause: &'static str,
    /// What was changed, and what was said.
    pub(super) text: String,
}

pub(super) fn run(mut random: Random, count: usize) -> Result<Score> {
    let mut score = Score::default();
    while score.all < count {
        let policies: Vec<Value> =
            (0..3 + random.below(4)).map(|at| policy(&mut random, at)).collect();
        let target = random.below(policies.len());
        let Some(policy) = policies.get(target) else { continue };
        let call = call(&mut random, policy);
        if explain(&policies, &call)?.verdict == Verdict::Deny {
            continue;
        }
        let (operator, mutate) = *random.pick(OPERATORS);
        let mut mutated = policies.clone();
        let Some(field) = mutated.get_mut(target).and_then(|it| mutate(&mut random, it)) else {
            continue;
        };
        let explained = explain(&mutated, &call)?;
        if explained.verdict == Verdict::Allow {
            continue;
        }
        score.all += 1;
        let entry = score.operators.entry(operator).or_default();
        entry.1 += 1;
        let name = policy["metadata"]["name"].as_str().unwrap_or_default();
        let named = explained.nearest.as_ref().is_some_and(|nearest| {
            nearest.policy.name == name
                && nearest.failed.first().is_some_and(|first| first.field.starts_with(&field))
        });
        if named {
            score.named += 1;
            entry.0 += 1;
        } else {
            let cause = match &explained.nearest {
                None => "no rule is named",
                Some(nearest) if nearest.policy.name == name => {
                    "another condition of the right policy comes first"
                }
                Some(_) => "another policy fails in as few conditions",
            };
            let text = format!("{operator} at {field} of {name}: {}", explained.sentence);
            score.missed.push(Missed { cause, text });
        }
    }
    Ok(score)
}

fn explain(policies: &[Value], call: &Call) -> Result<palisade_policy::explain::Explanation> {
    let mut objects = Objects::default();
    let labels = json!({"app": "backend", "version": "v1", "security.istio.io/tlsMode": "istio"});
    let pod = json!({
        "metadata": {"name": "backend", "namespace": "shop", "labels": labels},
        "spec": {"serviceAccountName": "backend", "containers": [{"name": "a"}]},
    });
    objects.apply(Object::Pod(serde_json::from_value(pod)?));
    let service = json!({
        "metadata": {"name": "backend", "namespace": "shop"},
        "spec": {"selector": {"app": "backend"},
            "ports": [{"name": "http", "port": 8080}, {"name": "http-admin", "port": 9090}]},
    });
    objects.apply(Object::Service(serde_json::from_value(service)?));
    let strict = json!({
        "metadata": {"name": "default", "namespace": "shop"},
        "spec": {"mtls": {"mode": "STRICT"}},
    });
    objects.apply(Object::PeerAuthentication(serde_json::from_value(strict)?));
    for policy in policies {
        objects.apply(Object::AuthorizationPolicy(serde_json::from_value(policy.clone())?));
    }
    let world = World::new(objects);
    let pod = world.pod("backend", "shop").ok_or_else(|| anyhow::anyhow!("no pod"))?;
    Ok(world.arrival(pod).explain(call))
}

const NAMESPACES: &[&str] = &["shop", "payments", "analytics", "data"];
const ACCOUNTS: &[&str] =
    &["frontend", "checkout", "orders", "inventory", "reporting", "gateway", "batch", "search"];
const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"];
const PATHS: &[&str] = &[
    "/orders",
    "/orders/*",
    "/health",
    "/api/v1/products",
    "/api/v1/products/*",
    "/cart",
    "/checkout",
    "/reports/daily",
    "/internal/*",
    "/search",
    "/users/me",
    "/metrics",
];
const TENANTS: &[&str] = &["blue", "green", "yellow"];

/// An ALLOW policy for the workload, as people write them.
fn policy(random: &mut Random, index: usize) -> Value {
    let mut rule = json!({});
    let (namespace, account) = (random.pick(NAMESPACES), random.pick(ACCOUNTS));
    let source = match random.below(4) {
        0 => json!({"namespaces": [namespace]}),
        1 => json!({"serviceAccounts": [format!("{namespace}/{account}")]}),
        _ => json!({"principals": [format!("cluster.local/ns/{namespace}/sa/{account}")]}),
    };
    rule["from"] = json!([{"source": source}]);
    let mut operation = json!({"methods": [random.pick(METHODS)]});
    if random.chance(30) {
        let other = random.pick(METHODS);
        if operation["methods"][0] != *other {
            operation["methods"] = json!([operation["methods"][0], other]);
        }
    }
    operation["paths"] = json!([random.pick(PATHS)]);
    if random.chance(25) {
        operation["ports"] = json!([random.pick(&["8080", "9090"])]);
    }
    if random.chance(25) {
        operation["hosts"] = json!(["backend.shop", "backend.shop:*"]);
    }
    rule["to"] = json!([{"operation": operation}]);
    if random.chance(30) {
        rule["when"] =
            json!([{"key": "request.headers[x-tenant]", "values": [random.pick(TENANTS)]}]);
    }
    json!({
        "metadata": {"name": format!("allow-{index}"), "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "backend"}}, "rules": [rule]},
    })
}

/// A request that the policy allows.
fn call(random: &mut Random, policy: &Value) -> Call {
    let rule = &policy["spec"]["rules"][0];
    let text = |pointer: &str| rule.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let source = "/from/0/source";
    let any = *random.pick(ACCOUNTS);
    let principal = if let Some(principal) = text(&format!("{source}/principals/0")) {
        principal
    } else if let Some(account) = text(&format!("{source}/serviceAccounts/0")) {
        format!("cluster.local/ns/{}", account.replace('/', "/sa/"))
    } else {
        let namespace = text(&format!("{source}/namespaces/0")).unwrap_or_default();
        format!("cluster.local/ns/{namespace}/sa/{any}")
    };
    let path = text("/to/0/operation/paths/0").unwrap_or_default().replace('*', "17");
    let tenant = text("/when/0/values/0").unwrap_or_else(|| "blue".to_owned());
    let port = text("/to/0/operation/ports/0").and_then(|port| port.parse().ok());
    Call {
        identities: vec![format!("spiffe://{principal}")],
        source_ip: std::net::Ipv4Addr::new(10, 244, 0, 7).into(),
        port: port.unwrap_or(8080),
        now: None,
        authorizer: None,
        request: Some(Request {
            method: text("/to/0/operation/methods/0").unwrap_or_default(),
            path,
            host: "backend.shop".to_owned(),
            headers: vec![("x-tenant".to_owned(), tenant)],
            claims: None,
        }),
    }
}

/// Changes a policy and says which field; none if it has no such field.
type Operator = fn(&mut Random, &mut Value) -> Option<String>;

/// The fixed list.
const OPERATORS: &[(&str, Operator)] = &[
    ("typing error in a caller", |random, policy| value(policy, CALLERS, |it| typo(random, it))),
    ("another service account", |random, policy| {
        value(policy, CALLERS, |it| {
            let (before, _) = it.rsplit_once('/')?;
            Some(format!("{before}/{}", random.pick(ACCOUNTS)))
        })
    }),
    ("another namespace of the caller", |random, policy| {
        value(policy, CALLERS, |it| {
            let old = NAMESPACES
                .iter()
                .find(|namespace| it == **namespace || it.contains(&format!("{namespace}/")))?;
            let new = *random.pick(NAMESPACES);
            Some(it.replacen(old, new, 1))
        })
    }),
    ("another trust domain", |_, policy| {
        value(policy, &["principals"], |it| {
            it.strip_prefix("cluster.local").map(|it| format!("prod.example{it}"))
        })
    }),
    ("spiffe:// before the principal", |_, policy| {
        value(policy, &["principals"], |it| Some(format!("spiffe://{it}")))
    }),
    ("another method", |random, policy| {
        value(policy, &["methods"], |_| Some((*random.pick(METHODS)).to_owned()))
    }),
    ("method in lower case", |_, policy| value(policy, &["methods"], |it| Some(it.to_lowercase()))),
    ("trailing slash", |_, policy| {
        value(policy, &["paths"], |it| (!it.ends_with('*')).then(|| format!("{it}/")))
    }),
    ("typing error in a path", |random, policy| value(policy, &["paths"], |it| typo(random, it))),
    ("star lost", |_, policy| {
        value(policy, &["paths"], |it| it.strip_suffix("/*").map(str::to_owned))
    }),
    ("another path", |random, policy| {
        value(policy, &["paths"], |_| Some((*random.pick(PATHS)).to_owned()))
    }),
    ("another port", |_, policy| {
        value(policy, &["ports"], |it| Some(format!("{it}1").split_off(1)))
    }),
    ("another host", |_, policy| value(policy, &["hosts"], |it| Some(format!("{it}.svc")))),
    ("another header value", |random, policy| {
        value(policy, &["values"], |_| Some((*random.pick(TENANTS)).to_owned()))
    }),
    ("typing error in a label", |random, policy| {
        let label = policy.pointer_mut("/spec/selector/matchLabels/app")?;
        *label = json!(typo(random, label.as_str()?)?);
        Some("spec.selector.matchLabels[app]".to_owned())
    }),
    ("policy in another namespace", |random, policy| {
        policy["metadata"]["namespace"] = json!(random.pick(&["default", "shop-dev", "payments"]));
        Some("metadata.namespace".to_owned())
    }),
];

const CALLERS: &[&str] = &["principals", "serviceAccounts", "namespaces"];

/// Changes the first value of the first of the fields that the rule has.
fn value(
    policy: &mut Value,
    fields: &[&str],
    mut change: impl FnMut(&str) -> Option<String>,
) -> Option<String> {
    for (pointer, path) in [
        ("/spec/rules/0/from/0/source", "spec.rules[0].from[0].source"),
        ("/spec/rules/0/to/0/operation", "spec.rules[0].to[0].operation"),
        ("/spec/rules/0/when/0", "spec.rules[0].when[0]"),
    ] {
        for field in fields {
            let Some(value) = policy.pointer_mut(&format!("{pointer}/{field}/0")) else { continue };
            let changed = change(value.as_str()?)?;
            *value = json!(changed);
            return Some(format!("{path}.{field}"));
        }
    }
    None
}

/// Two neighbours swapped, or one letter dropped.
fn typo(random: &mut Random, text: &str) -> Option<String> {
    let mut letters: Vec<char> = text.chars().collect();
    let at = random.below(letters.len().checked_sub(1)?);
    if random.chance(50) {
        letters.swap(at, at + 1);
    } else {
        letters.remove(at);
    }
    Some(letters.into_iter().collect())
}
