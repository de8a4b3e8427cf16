//! Explanations agree with decisions, and read well.

use std::collections::BTreeMap;

use palisade_types::{Mesh, Protocol};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    HeaderFields, Http, Reason,
    generators::{self, policies},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_explanation_says_what_is_decided(policies in policies(), asked in generators::asked()) {
        let mesh = generators::mesh();
        let labels = generators::labels();
        let scope = Scope { mesh: &mesh, namespace: "foo", labels: &labels };
        let compiled = CompiledPolicies::compile(&policies, scope);
        let fields = asked.fields();
        let mut attributes = asked.attributes(&fields);
        // Claims count with a RequestAuthentication only, and that is tested elsewhere.
        if let Some(http) = &mut attributes.http {
            http.claims = None;
            attributes.remote_ip = attributes.source_ip;
        }
        let question = Question {
            scope,
            has_sidecar: true,
            policies: &policies,
            compiled: &compiled,
            authentications: &[],
            unusable: &[],
            mode: MtlsMode::Permissive,
            mode_from: &[],
            protocol: if attributes.http.is_some() { Protocol::Http } else { Protocol::Tcp },
            now: None,
            authorizer: None,
            attributes,
        };
        // Normalisation is not the subject: what differs by it is passed over.
        let path = attributes.http.and_then(|http| http.path);
        let normal = |path| palisade_http::normalize::normalize(path, mesh.path_normalization);
        prop_assume!(path.is_none_or(|path| normal(path).is_ok_and(|normal| normal == path)));
        let decision = compiled.decide(&attributes);
        let explained = question.explain();
        prop_assert_eq!(explained.verdict, decision.verdict);
        prop_assert_eq!(&explained.rule, &decision.rule().map(ToString::to_string));
        prop_assert!(explained.because.iter().all(|condition| condition.hint.is_none()));
        if let Some(nearest) = &explained.nearest {
            prop_assert_eq!(decision.reason, Reason::NoAllowMatched);
            prop_assert!(!nearest.failed.is_empty());
        }
        let audited = explained.layers.iter().any(|layer| layer.layer == LayerName::Audit);
        let custom = explained.refused_by == Some(LayerName::Custom);
        prop_assert!(custom || audited == decision.audited);
    }
}

struct Case<'a> {
    policies: Value,
    principal: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    mode: MtlsMode,
    protocol: Protocol,
}

impl Case<'_> {
    fn explain(&self) -> Explanation {
        let policies: Vec<AuthorizationPolicy> =
            serde_json::from_value(self.policies.clone()).unwrap();
        let mesh = Mesh::default();
        let labels = BTreeMap::from([("app".to_owned(), "backend".to_owned())]);
        let scope = Scope { mesh: &mesh, namespace: "shop", labels: &labels };
        let identities: Vec<String> =
            self.principal.iter().map(|name| format!("spiffe://{name}")).collect();
        let http = Http {
            method: self.method,
            path: Some(self.path),
            authority: "backend.shop",
            scheme: "http",
            headers: HeaderFields(&[]),
            claims: None,
        };
        let attributes = Attributes {
            identities: &identities,
            source_ip: "10.244.0.7".parse().unwrap(),
            remote_ip: "10.244.0.7".parse().unwrap(),
            destination_ip: "10.244.0.9".parse().unwrap(),
            destination_port: 8080,
            sni: "",
            http: Some(http),
        };
        let compiled = CompiledPolicies::compile(&policies, scope);
        let of_mesh = [PolicyRef { namespace: "istio-system".into(), name: "default".into() }];
        let (mode, protocol) = (self.mode, self.protocol);
        Question {
            scope,
            has_sidecar: true,
            policies: &policies,
            compiled: &compiled,
            authentications: &[],
            unusable: &[],
            mode,
            mode_from: &of_mesh,
            protocol,
            now: None,
            authorizer: None,
            attributes,
        }
        .explain()
    }
}

fn policy(name: &str, spec: &Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

fn reading() -> Value {
    let principal = "cluster.local/ns/shop/sa/frontend";
    json!([
        policy(
            "allow-read",
            &json!({
                "selector": {"matchLabels": {"app": "backend"}},
                "rules": [{
                    "from": [{"source": {"principals": [principal]}}],
                    "to": [{"operation": {"methods": ["GET"], "paths": ["/orders", "/health"]}}],
                }],
            })
        ),
        policy("allow-nothing", &json!({})),
        policy(
            "deny-admin",
            &json!({
                "action": "DENY",
                "rules": [{"to": [{"operation": {"paths": ["/admin*"]}}]}],
            })
        ),
    ])
}

#[test]
fn explanations_read_well() {
    let frontend = Some("cluster.local/ns/shop/sa/frontend");
    let case = |principal, method, path| Case {
        policies: reading(),
        principal,
        method,
        path,
        mode: MtlsMode::Strict,
        protocol: Protocol::Http,
    };
    let permissive = Case { mode: MtlsMode::Permissive, ..case(None, "GET", "/orders") };
    let tcp = Case { protocol: Protocol::Tcp, ..case(frontend, "GET", "/orders") };
    let none = Case { policies: json!([]), ..case(frontend, "GET", "/a/../b") };
    let sentences: Vec<String> = [
        case(frontend, "GET", "/orders"),
        case(frontend, "POST", "/orders"),
        case(frontend, "GET", "/orders/"),
        case(Some("cluster.local/ns/shop/sa/payments"), "POST", "/orders"),
        case(frontend, "GET", "/x/../admin"),
        case(frontend, "GET", "/%00"),
        case(None, "GET", "/orders"),
        permissive,
        tcp,
        none,
    ]
    .iter()
    .map(|case| {
        let explained = case.explain();
        let layers: Vec<String> = explained
            .layers
            .iter()
            .map(|layer| format!("  {} {:?}: {}", layer.layer.as_str(), layer.said, layer.text))
            .collect();
        format!("{}\n{}", explained.sentence, layers.join("\n"))
    })
    .collect();
    insta::assert_snapshot!(sentences.join("\n\n"));
}

#[test]
fn an_explanation_is_one_json_object() {
    let case = Case {
        policies: reading(),
        principal: Some("cluster.local/ns/shop/sa/payments"),
        method: "GET",
        path: "/orders/?a=b",
        mode: MtlsMode::Strict,
        protocol: Protocol::Http,
    };
    let explained = case.explain();
    insta::assert_json_snapshot!(explained);
    let text = serde_json::to_string(&explained).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&text).unwrap(), explained);
}

#[test]
fn a_policy_that_misses_the_workload_may_be_the_nearest() {
    let allow_all = json!([{"from": [{"source": {"namespaces": ["shop"]}}]}]);
    let selecting =
        |app: &str| json!({"selector": {"matchLabels": {"app": app}}, "rules": allow_all});
    let elsewhere = json!({"metadata": {"name": "elsewhere", "namespace": "shopp"},
        "spec": {"rules": allow_all}});
    for (policies, field) in [
        (json!([policy("p", &selecting("backned"))]), "spec.selector.matchLabels[app]"),
        (json!([elsewhere]), "metadata.namespace"),
    ] {
        let mut policies = policies;
        policies.as_array_mut().unwrap().push(policy("nothing", &json!({})));
        let case = Case {
            policies,
            principal: Some("cluster.local/ns/shop/sa/frontend"),
            method: "GET",
            path: "/",
            mode: MtlsMode::Strict,
            protocol: Protocol::Http,
        };
        let nearest = case.explain().nearest.unwrap();
        assert_eq!(nearest.failed[0].field, field);
    }
}

#[test]
fn what_may_be_logged_has_no_query_and_no_header_values() {
    let rules = json!([{
        "to": [{"operation": {"paths": ["/orders"]}}],
        "when": [{"key": "request.headers[x-api-key]", "values": ["expected-secret"]}],
    }]);
    let policies: Vec<AuthorizationPolicy> =
        serde_json::from_value(json!([policy("keyed", &json!({"rules": rules}))])).unwrap();
    let mesh = Mesh::default();
    let labels = BTreeMap::new();
    let scope = Scope { mesh: &mesh, namespace: "shop", labels: &labels };
    let attributes = Attributes {
        identities: &["spiffe://cluster.local/ns/shop/sa/frontend".to_owned()],
        source_ip: "10.244.0.7".parse().unwrap(),
        remote_ip: "10.244.0.7".parse().unwrap(),
        destination_ip: "10.244.0.9".parse().unwrap(),
        destination_port: 8080,
        sni: "",
        http: Some(Http {
            method: "GET",
            path: Some("/orders?token=query-secret"),
            authority: "backend.shop",
            scheme: "http",
            headers: HeaderFields(&[("x-api-key", b"expected-secrets")]),
            claims: None,
        }),
    };
    let compiled = CompiledPolicies::compile(&policies, scope);
    let question = Question {
        scope,
        has_sidecar: true,
        policies: &policies,
        compiled: &compiled,
        authentications: &[],
        unusable: &[],
        mode: MtlsMode::Strict,
        mode_from: &[],
        protocol: Protocol::Http,
        now: None,
        authorizer: None,
        attributes,
    };
    let shown = serde_json::to_string(&question.explain()).unwrap();
    assert!(shown.contains("expected-secrets") && shown.contains("query-secret"), "{shown}");
    let logged = question.explain().without_secrets();
    let text = serde_json::to_string(&logged).unwrap();
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(
        logged.sentence,
        "GET /orders from cluster.local/ns/shop/sa/frontend is denied, as the one ALLOW policy that \
         applies does not match; nearest is rule 0 of `keyed.shop`, which fails on the header \
         `x-api-key`: expected `(hidden)`, got `(hidden)`"
    );
}
