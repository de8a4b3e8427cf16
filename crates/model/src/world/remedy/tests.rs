//! What is proposed lets the call pass, and no other.

use palisade_manifest::study;
use serde_json::json;

use super::*;
use crate::Request;

/// Two versions of `api`, a workload without labels of its own, and `db`, which speaks TCP.
const MESH: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api, version: v1, pod-template-hash: x}}
spec: {serviceAccountName: api, containers: [{name: api, image: api, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: api-next, namespace: shop, labels: {app: api, version: v2}}
spec: {serviceAccountName: api, containers: [{name: api, image: api}]}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: shop, labels: {version: v1}}
spec: {serviceAccountName: bare, containers: [{name: bare, image: bare}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {serviceAccountName: db, containers: [{name: db, image: db, ports: [{containerPort: 5432}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{name: tcp-db, port: 5432, targetPort: 5432}]}
---
";

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const OTHER: &str = "spiffe://cluster.local/ns/shop/sa/other";

/// A mesh with policies: name, kind and spec of each.
fn world(policies: &[(&str, &str, &str)]) -> World {
    let objects = policies.iter().map(|(name, kind, spec)| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: \
             shop}}\nspec: {spec}\n"
        )
    });
    let manifests = format!("{MESH}{}", objects.collect::<Vec<_>>().join("---\n"));
    let study = study("shop.yaml", &manifests);
    assert!(study.diagnostics.iter().all(|it| !it.is_error()), "{:?}", study.diagnostics);
    World::of_manifests([&study])
}

fn call(caller: Option<&str>, request: Option<(&str, &str)>, port: u16) -> Call {
    let request = request.map(|(method, path)| Request {
        method: method.to_owned(),
        path: path.to_owned(),
        host: "api.shop".to_owned(),
        ..Request::default()
    });
    Call {
        identities: caller.map(str::to_owned).into_iter().collect(),
        source_ip: [10, 0, 0, 1].into(),
        port,
        request,
        now: None,
        authorizer: None,
    }
}

/// Calls that differ from one in one thing.
fn neighbours(call: &Call) -> Vec<(&'static str, Call)> {
    let mut all = vec![
        ("another caller", Call { identities: vec![OTHER.to_owned()], ..call.clone() }),
        ("no identity", Call { identities: Vec::new(), ..call.clone() }),
        ("another port", Call { port: 9999, ..call.clone() }),
    ];
    let request = |change: &dyn Fn(&mut Request)| {
        let mut changed = call.clone();
        changed.request.iter_mut().for_each(change);
        changed
    };
    // On a port that speaks TCP, policies see no HTTP.
    if call.request.is_some() && call.port != 5432 {
        all.push(("another method", request(&|it| it.method = "PATCH".to_owned())));
        all.push(("no token", request(&|it| it.claims = None)));
        // CONNECT has no path (RFC 9110, 9.3.6).
        if call.request.as_ref().is_some_and(|it| it.method != "CONNECT") {
            all.push(("a path below", request(&|it| it.path = "/pay/x".to_owned())));
            all.push(("what a template means", request(&|it| it.path = "/x/a".to_owned())));
            all.push(("a longer path", request(&|it| it.path = "/payx".to_owned())));
        }
    }
    all
}

/// `new NAME LABELS`, `NAME rules[I].from`, or why there is none. What is proposed changes no other answer.
fn remedy(world: &World, pod: &str, call: &Call) -> String {
    let pod = world.pod(pod, "shop").unwrap();
    let proposal = match world.remedy(pod, call) {
        Remedy::Passes(_) => return "passes".to_owned(),
        Remedy::Elsewhere(why) => return why,
        Remedy::Policy(proposal) => *proposal,
    };
    assert_eq!(proposal.proof.verdict, Verdict::Allow);
    let policy = &proposal.policy;
    let after = world.with(policy, Some(policy));
    for (what, other) in neighbours(call).iter().filter(|(_, other)| !same(other, call)) {
        for pod in world.pods() {
            let [before, then] = [world, &after].map(|it| it.arrival(pod).explain(other).verdict);
            assert_eq!(before, then, "{what} at {}: {policy:?}", pod.metadata.name);
        }
    }
    for other in world.pods().filter(|it| it.metadata.name != pod.metadata.name) {
        let [before, then] = [world, &after].map(|it| it.arrival(other).explain(call).verdict);
        assert_eq!(before, then, "the same call to {}", other.metadata.name);
    }
    let name = &policy.metadata.name;
    match proposal.change {
        Some(change) => format!("{name} rules[{}].{}", change.rule, change.entry.list()),
        None => {
            let labels = policy.spec.selector.as_ref().unwrap();
            format!("new {name} {}", json!(labels.match_labels))
        }
    }
}

fn same(one: &Call, other: &Call) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

#[test]
fn the_smallest_policy_allows_the_call_and_no_other() {
    let ap = "AuthorizationPolicy";
    let closed = ("closed", ap, "{}");
    let pay = Some(("GET", "/pay?of=me"));
    let own = "selector: {matchLabels: {version: v1, app: api}}";
    let rule = |rule: &str| format!("{{{own}, rules: [{rule}]}}");
    let operation = "to: [{operation: {methods: [GET], paths: [/pay], ports: ['80']}}]";
    let from = |account: &str| {
        format!("from: [{{source: {{principals: [cluster.local/ns/shop/sa/{account}]}}}}]")
    };
    let exact_to = rule(&format!("{{{}, {operation}}}", from("other")));
    let exact_from = rule(&format!("{{{}, to: [{{operation: {{paths: [/a]}}}}]}}", from("web")));
    let wide = rule(&format!("{{{}, to: [{{operation: {{paths: [/p*]}}}}]}}", from("other")));
    let shared = exact_to.replace("version: v1, ", "");
    let fails = rule(&format!(
        "{{{}, {operation}, when: [{{key: 'request.headers[x]', values: [z]}}]}}",
        from("other")
    ));
    let new = r#"new allow-web-to-api {"app":"api","version":"v1"}"#;
    for (policies, caller, request, pod, port, expected) in [
        (vec![closed], Some(WEB), pay, "api", 80, new),
        (vec![closed, ("p", ap, &exact_to)], Some(WEB), pay, "api", 80, "p rules[0].from"),
        (vec![closed, ("p", ap, &exact_from)], Some(WEB), pay, "api", 80, "p rules[0].to"),
        (vec![closed, ("p", ap, &wide)], Some(WEB), pay, "api", 80, new),
        (vec![closed, ("p", ap, &shared)], Some(WEB), pay, "api", 80, new),
        (vec![closed, ("p", ap, &fails)], Some(WEB), pay, "api", 80, new),
        (
            vec![closed, ("allow-web-to-api", ap, &wide)],
            Some(WEB),
            pay,
            "api",
            80,
            r#"new allow-web-to-api-2 {"app":"api","version":"v1"}"#,
        ),
        (vec![closed], Some(WEB), None, "db", 5432, r#"new allow-web-to-db {"app":"db"}"#),
        (vec![closed], Some(WEB), pay, "db", 5432, r#"new allow-web-to-db {"app":"db"}"#),
        (vec![closed], Some(WEB), Some(("CONNECT", "")), "api", 80, new),
        (vec![closed], Some(WEB), pay, "bare", 80, "`bare` has no label that no other"),
        (vec![closed], Some(WEB), Some(("GET", "/a*")), "api", 80, "a policy would read `/a*`"),
        (vec![closed], Some(WEB), Some(("*", "/a")), "api", 80, "a policy would read `*`"),
        // It is seen as `/%7B*%7D/a`, which is no template.
        (vec![closed], Some(WEB), Some(("GET", "/{*}/a")), "api", 80, new),
        (vec![closed], None, pay, "api", 80, "the caller speaks plaintext and has no identity"),
        (vec![], Some(WEB), pay, "api", 80, "passes"),
    ] {
        let told = remedy(&world(&policies), pod, &call(caller, request, port));
        assert!(told.starts_with(expected), "{policies:?} {request:?}: {told}");
    }
}

#[test]
fn what_no_allow_policy_outweighs_is_told_instead() {
    let (ap, pa) = ("AuthorizationPolicy", "PeerAuthentication");
    let closed = ("closed", ap, "{}");
    let deny = ("none", ap, "{action: DENY, rules: [{to: [{operation: {paths: [/pay]}}]}]}");
    let custom = ("ask", ap, "{action: CUSTOM, provider: {name: nobody}, rules: [{}]}");
    let strict = ("default", pa, "{mtls: {mode: STRICT}}");
    let disable = ("default", pa, "{mtls: {mode: DISABLE}}");
    for (policies, caller, path, expected) in [
        (vec![deny], Some(WEB), "/pay", "DENY policies go before ALLOW policies, and `none.shop`"),
        (
            vec![custom],
            Some(WEB),
            "/pay",
            "CUSTOM policies go before ALLOW policies, and `ask.shop`",
        ),
        (vec![strict], None, "/pay", "the connection is reset before any policy is asked"),
        (vec![closed, disable], Some(WEB), "/pay", "port 80 takes no mTLS (mode DISABLE)"),
        (vec![closed], Some(WEB), "pay", "it is refused before any ALLOW policy is asked"),
    ] {
        let told = remedy(&world(&policies), "api", &call(caller, Some(("GET", path)), 80));
        assert!(told.starts_with(expected), "{policies:?}: {told}");
        let even = told.contains("Even without that policy");
        assert!(!even, "{told}");
    }
    let both = world(&[closed, deny]);
    let told = remedy(&both, "api", &call(Some(WEB), Some(("GET", "/pay")), 80));
    assert!(told.contains("Even without that policy, GET /pay from"), "{told}");
}

#[test]
fn a_token_that_counts_is_asked_for() {
    let authentication = (
        "tokens",
        "RequestAuthentication",
        r#"{jwtRules: [{issuer: 'https://idp', jwks: '{"keys": []}'}]}"#,
    );
    let world = world(&[("closed", "AuthorizationPolicy", "{}"), authentication]);
    let mut with_token = call(Some(WEB), Some(("GET", "/pay")), 80);
    let pod = world.pod("api", "shop").unwrap();
    let note = |call: &Call| match world.remedy(pod, call) {
        Remedy::Policy(proposal) => (proposal.notes.join(" "), proposal.policy),
        other => panic!("{other:?}"),
    };
    assert!(note(&with_token).0.contains("without a token"));
    if let Some(request) = &mut with_token.request {
        request.claims = Some(json!({"iss": "https://idp", "sub": "me"}));
    }
    let (notes, policy) = note(&with_token);
    assert_eq!(notes, "");
    let rules = serde_json::to_value(&policy.spec.rules).unwrap();
    assert_eq!(rules[0]["from"][0]["source"]["requestPrincipals"], json!(["https://idp/me"]));
    let wanted = r#"new allow-web-to-api {"app":"api","version":"v1"}"#;
    assert_eq!(remedy(&world, "api", &with_token), wanted);
    if let Some(request) = &mut with_token.request {
        request.claims = Some(json!({"iss": "https://elsewhere", "sub": "me"}));
    }
    assert!(remedy(&world, "api", &with_token).starts_with("the token is refused"));
}
