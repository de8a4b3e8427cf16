use serde_json::Value;

use super::*;

fn source(name: &str, text: &str) -> Source {
    Source::new(name.to_owned(), text.to_owned())
}

fn codes_of(texts: &[&str]) -> Vec<String> {
    let sources: Vec<Source> = texts.iter().map(|text| source("t", text)).collect();
    problems(&check(&sources)).map(|(_, problem)| problem.code.clone()).collect()
}

/// A small shop: two callers, a backend, a database, and STRICT mTLS.
const SHOP: &str = include_str!("shop.yaml");

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: p, namespace: shop}}\nspec: {spec}\n"
    )
}

#[test]
fn the_shop_has_no_problems() {
    assert_eq!(codes_of(&[SHOP]), [""; 0]);
    let sound = policy(
        "{selector: {matchLabels: {app: backend}}, rules: [{from: [{source: {principals: \
         [cluster.local/ns/shop/sa/frontend]}}], to: [{operation: {methods: [GET], paths: \
         [/orders, /orders/*]}}]}]}",
    );
    assert_eq!(codes_of(&[SHOP, &sound]), [""; 0]);
}

#[test]
fn each_mistake_has_its_code() {
    let backend = "selector: {matchLabels: {app: backend}}";
    let frontend = "{source: {principals: [cluster.local/ns/shop/sa/frontend]}}";
    for (spec, expected) in [
        ("{rules: []}".to_owned(), &["PAL0101"][..]),
        (format!("{{{backend}, rules: [{{from: [{frontend}]}}, {{to: [{{operation: {{methods: [GET]}}}}]}}]}}"), &["PAL0103"]),
        (format!("{{{backend}, rules: [{{from: [{frontend}, {{source: {{notIpBlocks: [10.0.0.0/8]}}}}]}}]}}"), &["PAL0103"]),
        (format!("{{{backend}, rules: [{{from: [{{source: {{principals: [cluster.local/ns/shop/sa/frontend], namespaces: [data]}}}}]}}]}}"), &["PAL0104"]),
        (format!("{{{backend}, rules: [{{to: [{{operation: {{methods: [GET], notMethods: [GET]}}}}]}}]}}"), &["PAL0104"]),
        (format!("{{{backend}, rules: [{{from: [{frontend}]}}, {{from: [{frontend}]}}]}}"), &["PAL0105"]),
        (format!("{{{backend}, rules: [{{from: [{{source: {{principals: [prod/ns/shop/sa/frontend]}}}}]}}]}}"), &["PAL0106"]),
        (format!("{{{backend}, rules: [{{from: [{{source: {{trustDomains: [prod]}}}}]}}]}}"), &["PAL0106"]),
        (format!("{{{backend}, rules: [{{from: [{{source: {{namespaces: [shopp]}}}}]}}]}}"), &["PAL0107"]),
        (format!("{{{backend}, rules: [{{from: [{{source: {{principals: [cluster.local/ns/shop/sa/fronted]}}}}]}}]}}"), &["PAL0108"]),
        (format!("{{{backend}, rules: [{{from: [{{source: {{serviceAccounts: [fronted]}}}}]}}]}}"), &["PAL0108"]),
        (format!("{{{backend}, rules: [{{from: [{{source: {{principals: [shop/frontend]}}}}]}}]}}"), &["PAL0109"]),
        (format!("{{{backend}, rules: [{{from: [{{source: {{principals: [spiffe://cluster.local/ns/shop/sa/frontend]}}}}]}}]}}"), &["PAL0040"]),
        ("{selector: {matchLabels: {app: open}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}".to_owned(), &["PAL0110"]),
        ("{action: DENY, selector: {matchLabels: {app: open}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}".to_owned(), &["PAL0111"]),
        ("{selector: {matchLabels: {app: open}}, rules: [{from: [{source: {notNamespaces: [data]}}]}]}".to_owned(), &["PAL0111"]),
        ("{selector: {matchLabels: {app: db}}, rules: [{to: [{operation: {methods: [GET]}}]}]}".to_owned(), &["PAL0112"]),
        (format!("{{{backend}, rules: [{{}}, {{from: [{frontend}]}}]}}"), &["PAL0102"]),
        (format!("{{{backend}, rules: [{{to: [{{operation: {{methods: [get]}}}}]}}]}}"), &["PAL0124"]),
        (format!("{{{backend}, rules: [{{from: [{{source: {{requestPrincipals: ['*']}}}}]}}]}}"), &["PAL0113"]),
        (format!("{{{backend}, rules: [{{to: [{{operation: {{paths: [orders]}}}}]}}]}}"), &["PAL0114"]),
        (format!("{{{backend}, rules: [{{to: [{{operation: {{paths: ['/a/../b']}}}}]}}]}}"), &["PAL0114"]),
        (format!("{{action: DENY, {backend}, rules: [{{to: [{{operation: {{paths: [/admin], ports: ['8080']}}}}]}}]}}"), &["PAL0115"]),
        (format!("{{action: DENY, {backend}, rules: [{{to: [{{operation: {{paths: [/admin, /admin/], ports: ['8080']}}}}]}}]}}"), &["PAL0115", "PAL0115"]),
        (format!("{{action: DENY, {backend}, rules: [{{to: [{{operation: {{paths: [/admin/*], ports: ['8080']}}}}]}}]}}"), &["PAL0115"]),
        (format!("{{action: DENY, {backend}, rules: [{{to: [{{operation: {{paths: ['/admin/{{*}}'], ports: ['8080']}}}}]}}]}}"), &["PAL0115"]),
        (format!("{{{backend}, rules: [{{to: [{{operation: {{hosts: [shop.example]}}}}]}}]}}"), &["PAL0116"]),
        (format!("{{selector: {{matchLabels: {{app: backned}}}}, rules: [{{from: [{frontend}]}}]}}"), &["PAL0117"]),
        (format!("{{{backend}, rules: [{{to: [{{operation: {{ports: ['80']}}}}]}}]}}"), &["PAL0122"]),
        (format!("{{{backend}, rules: [{{when: [{{key: destination.port, values: ['80']}}]}}]}}"), &["PAL0122"]),
    ] {
        let text = policy(&spec);
        assert_eq!(codes_of(&[SHOP, &text]), expected, "{spec}");
        let spared = text.replace(
            "namespace: shop}",
            &format!("namespace: shop, annotations: {{palisade.dev/ignore: '{}'}}}}", expected[0]),
        );
        if expected[0] > "PAL0100" {
            assert_eq!(codes_of(&[SHOP, &spared]), [""; 0], "{spec}");
        }
    }
}

/// What resembles a mistake, by the code that it must not have.
#[test]
fn near_misses_are_no_problems() {
    let backend = "selector: {matchLabels: {app: backend}}";
    let source =
        |fields: &str| format!("{{{backend}, rules: [{{from: [{{source: {{{fields}}}}}]}}]}}");
    let operation =
        |fields: &str| format!("{{{backend}, rules: [{{to: [{{operation: {{{fields}}}}}]}}]}}");
    let frontend = "principals: [cluster.local/ns/shop/sa/frontend]";
    for (code, spec) in [
        ("PAL0101", format!("{{{backend}, action: DENY, rules: [{{to: [{{operation: {{methods: [PUT]}}}}]}}]}}")),
        ("PAL0101", "{}".to_owned()),
        ("PAL0103", format!("{{{backend}, rules: [{{from: [{{source: {{{frontend}}}}}], to: [{{operation: {{methods: [GET]}}}}]}}]}}")),
        ("PAL0104", source("principals: [cluster.local/ns/shop/sa/frontend], namespaces: [shop]")),
        ("PAL0104", operation("methods: [GET, PUT], notMethods: [PUT]")),
        ("PAL0105", format!("{{{backend}, rules: [{{from: [{{source: {{{frontend}}}}}], to: [{{operation: {{methods: [GET]}}}}]}}, {{from: [{{source: {{{frontend}}}}}], to: [{{operation: {{methods: [PUT]}}}}]}}]}}")),
        ("PAL0102", format!("{{{backend}, rules: [{{}}]}}")),
        ("PAL0106", source("principals: ['*/ns/shop/sa/frontend']")),
        ("PAL0106", source("trustDomains: [cluster.local, 'prod*']")),
        ("PAL0107", source("namespaces: [shop, 'dat*']")),
        ("PAL0108", source("serviceAccounts: [frontend]")),
        ("PAL0109", source("principals: ['*']")),
        ("PAL0040", source("principals: ['cluster.local/ns/shop/*']")),
        ("PAL0110", source("namespaces: [shop]")),
        ("PAL0111", format!("{{{backend}, action: DENY, rules: [{{from: [{{source: {{notNamespaces: [shop]}}}}]}}]}}")),
        ("PAL0112", "{selector: {matchLabels: {app: db}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}".to_owned()),
        ("PAL0114", operation("paths: ['*.json', /orders]")),
        ("PAL0115", operation("paths: [/admin], ports: ['8080']")),
        ("PAL0116", operation("hosts: [shop.example, 'shop.example:*']")),
        ("PAL0117", "{selector: {matchLabels: {app: frontend}}, rules: [{from: [{source: {namespaces: [data]}}]}]}".to_owned()),
        ("PAL0119", source(frontend)),
        ("PAL0122", operation("ports: ['8080']")),
        ("PAL0122", operation("ports: ['9999']")),
        ("PAL0124", operation("methods: [GET, 'P*', x-own]")),
    ] {
        let codes = codes_of(&[SHOP, &policy(&spec)]);
        assert!(!codes.iter().any(|found| found == code), "{code} {spec}: {codes:?}");
    }
    let with_tokens = "{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: t, \
                       namespace: shop}, spec: {selector: {matchLabels: {app: backend}}, jwtRules: \
                       [{issuer: i, jwksUri: 'https://i.example/keys'}]}}";
    let claims = policy(&source("requestPrincipals: ['*']"));
    assert!(!codes_of(&[SHOP, with_tokens, &claims]).contains(&"PAL0113".to_owned()));
    let narrower = "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: two, \
                    namespace: shop}, spec: {selector: {matchLabels: {app: backend}}, mtls: {mode: STRICT}}}";
    assert!(!codes_of(&[SHOP, narrower]).contains(&"PAL0118".to_owned()));
}

#[test]
fn sarif_has_the_form_that_code_scanning_takes() {
    let text = policy("{selector: {matchLabels: {app: backned}}, rules: [{}]}");
    let sources = [source("shop.yaml", SHOP), source("my policies/p.yaml", &text)];
    let sarif: Value = serde_json::from_str(&formats::sarif(&check(&sources)).unwrap()).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert!(!results.is_empty());
    for result in results {
        assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]), "{result}");
        assert!(["error", "warning", "note", "none"].contains(&result["level"].as_str().unwrap()));
        assert!(result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "my%20policies/p.yaml");
        for number in ["startLine", "startColumn"] {
            assert!(place["region"][number].as_u64().is_some_and(|at| at >= 1), "{result}");
        }
    }
    for rule in rules {
        for text in [&rule["shortDescription"]["text"], &rule["help"]["text"]] {
            assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{rule}");
        }
    }
}

/// A policy of another name.
fn named(name: &str, spec: &str) -> String {
    policy(spec).replace("name: p,", &format!("name: {name},"))
}

fn other_kind(group: &str, kind: &str, spec: &str) -> String {
    let metadata = "metadata: {name: other, namespace: shop}";
    format!("{{apiVersion: {group}.istio.io/v1, kind: {kind}, {metadata}, spec: {spec}}}")
}

const BACKEND: &str = "selector: {matchLabels: {app: backend}}";
const FROM_FRONTEND: &str = "from: [{source: {principals: [cluster.local/ns/shop/sa/frontend]}}]";

/// A policy that lets the frontend call the backend.
fn for_frontend(name: &str, action: &str) -> String {
    named(name, &format!("{{action: {action}, {BACKEND}, rules: [{{{FROM_FRONTEND}}}]}}"))
}

#[test]
fn mistakes_of_several_objects_have_their_codes() {
    let allow = for_frontend("p", "ALLOW");
    let allow_all = named("all", &format!("{{{BACKEND}, rules: [{{}}]}}"));
    assert_eq!(codes_of(&[SHOP, &allow_all, &allow]), ["PAL0102"]);
    assert_eq!(codes_of(&[SHOP, &allow, &for_frontend("q", "ALLOW")]), ["PAL0105"]);
    let strict = other_kind("security", "PeerAuthentication", "{mtls: {mode: STRICT}}");
    assert_eq!(codes_of(&[SHOP, &strict]), ["PAL0118"]);
    let nobody =
        "{selector: {matchLabels: {app: backned}}, jwtRules: [{issuer: i, jwks: '{\"keys\":[]}'}]}";
    let nobody = other_kind("security", "RequestAuthentication", nobody);
    assert_eq!(codes_of(&[SHOP, &nobody]), ["PAL0117"]);
    let bare = SHOP.replace("# frontend", "sidecar.istio.io/inject: 'false'");
    assert_eq!(codes_of(&[&bare, &allow]), ["PAL0119"]);
    let probed = SHOP.replace("# backend", "sidecar.istio.io/rewriteAppHTTPProbers: 'false'");
    assert_eq!(codes_of(&[&probed]), ["PAL0120"]);
    for deny in
        ["{action: DENY, rules: [{}]}", &format!("{{action: DENY, rules: [{{{FROM_FRONTEND}}}]}}")]
    {
        assert_eq!(
            codes_of(&[&strict_shop(), &allow, &named("deny", deny)]),
            ["PAL0121"],
            "{deny}"
        );
    }
    let deny = |path: &str| {
        let operation = format!("{{paths: ['{path}'], ports: ['8080']}}");
        named(
            "deny",
            &format!("{{action: DENY, {BACKEND}, rules: [{{to: [{{operation: {operation}}}]}}]}}"),
        )
    };
    assert_eq!(codes_of(&[SHOP, &normalizing("MERGE_SLASHES"), &deny("/admin/*")]), ["PAL0115"]);
    let all = normalizing("DECODE_AND_MERGE_SLASHES");
    assert_eq!(codes_of(&[SHOP, &all, &deny("/admin/*")]), ["PAL0115"]);
    assert_eq!(codes_of(&[SHOP, &all, &deny("/admin*")]), [""; 0]);
    let plaintext = "{host: backend, trafficPolicy: {tls: {mode: DISABLE}}}";
    let plaintext = other_kind("networking", "DestinationRule", plaintext);
    assert_eq!(codes_of(&[SHOP, &plaintext]), ["PAL0123"]);
}

/// Settings of the mesh.
fn normalizing(mode: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: istio, namespace: istio-system}}, \
         data: {{mesh: 'pathNormalization: {{normalization: {mode}}}'}}}}"
    )
}

/// Nothing in it takes plaintext, so that policies for the whole namespace are no problem.
fn strict_shop() -> String {
    SHOP.replace("PERMISSIVE", "STRICT")
}

#[test]
fn near_misses_of_several_objects_are_no_problems() {
    let allow = for_frontend("p", "ALLOW");
    let everything = format!("{{{BACKEND}, rules: [{{}}]}}");
    let dry_run = |policy: &str| {
        policy.replace(
            "namespace: shop}",
            "namespace: shop, annotations: {istio.io/dry-run: 'true'}}",
        )
    };
    let bare = SHOP.replace("# frontend", "sidecar.istio.io/inject: 'false'");
    let probed = SHOP.replace("# backend", "sidecar.istio.io/rewriteAppHTTPProbers: 'false'");
    let destination = |spec: &str| other_kind("networking", "DestinationRule", spec);
    for (code, shop, others) in [
        (
            "PAL0102",
            SHOP,
            vec![allow.clone(), named("all", &everything.replace("backend", "open"))],
        ),
        ("PAL0102", SHOP, vec![allow.clone(), dry_run(&named("all", &everything))]),
        ("PAL0102", SHOP, vec![for_frontend("q", "DENY"), named("all", &everything)]),
        ("PAL0105", SHOP, vec![allow.clone(), for_frontend("q", "DENY")]),
        (
            "PAL0105",
            SHOP,
            vec![allow.clone(), for_frontend("q", "ALLOW").replace("app: backend", "app: db")],
        ),
        ("PAL0119", &bare, vec![allow.replace("sa/frontend", "sa/backend")]),
        ("PAL0119", &bare, vec![for_frontend("q", "DENY")]),
        ("PAL0120", &probed.replace("'false'", "'true'"), vec![]),
        ("PAL0120", &probed.replace("STRICT", "PERMISSIVE"), vec![]),
        ("PAL0121", SHOP, vec![allow.clone(), named("nothing", "{}")]),
        (
            "PAL0121",
            SHOP,
            vec![allow.clone(), dry_run(&named("deny", "{action: DENY, rules: [{}]}"))],
        ),
        (
            "PAL0121",
            SHOP,
            vec![
                allow.clone(),
                named("deny", "{action: DENY, selector: {matchLabels: {app: db}}, rules: [{}]}"),
            ],
        ),
        (
            "PAL0123",
            SHOP,
            vec![destination("{host: backend, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}")],
        ),
        (
            "PAL0123",
            SHOP,
            vec![destination("{host: other, trafficPolicy: {tls: {mode: DISABLE}}}")],
        ),
        (
            "PAL0123",
            &SHOP.replace("STRICT", "PERMISSIVE"),
            vec![destination("{host: backend, trafficPolicy: {tls: {mode: DISABLE}}}")],
        ),
    ] {
        let texts: Vec<&str> =
            [shop].into_iter().chain(others.iter().map(String::as_str)).collect();
        let codes = codes_of(&texts);
        assert!(!codes.iter().any(|found| found == code), "{code} {others:?}: {codes:?}");
    }
}

#[test]
fn problems_print_in_every_format() {
    let text = policy("{selector: {matchLabels: {app: backned}}, rules: [{}], actoin: DENY}");
    let sound = policy(
        "{selector: {matchLabels: {app: backned}}, rules: [{to: [{operation: {paths: [a]}}]}]}",
    );
    let sources = [
        source("shop.yaml", SHOP),
        source("broken.yaml", &text),
        source("policies/p,q.yaml", &sound),
    ];
    let checked = check(&sources);
    let plain = super::text(&checked);
    insta::assert_snapshot!("text", anstream::adapter::strip_str(&plain).to_string());
    insta::assert_snapshot!("json", formats::json(&checked).unwrap());
    insta::assert_snapshot!("sarif", formats::sarif(&checked).unwrap());
    insta::assert_snapshot!("github", formats::github(&checked));
}
