//! Which Telemetry counts for a workload.

#![expect(clippy::needless_pass_by_value, reason = "literals read better by value")]

use palisade_types::Sampling;
use serde_json::{Value, json};

use super::{
    config,
    fixture::{object, objects, pod, service},
};
use crate::{Objects, ProxyConfig};

const SETTINGS: &str = "
defaultConfig: {tracing: {sampling: 5}}
extensionProviders:
- name: otel
  opentelemetry: {service: otel.tools.svc.cluster.local, port: 4317, maxTagLength: 10}
- name: other
  opentelemetry: {service: tools/otel.tools.svc.cluster.local, port: 4318, http: {path: /v1/traces}}
- name: gone
  opentelemetry: {service: gone.tools.svc.cluster.local, port: 4317}
- name: elsewhere
  opentelemetry: {service: shop/otel.tools.svc.cluster.local, port: 4317}
";

fn mesh(settings: &str, telemetries: Vec<Value>) -> Objects {
    let mut all = vec![
        pod("shop", "web", json!({"app": "web"}), "10.0.0.1", true),
        service("tools", "otel", json!({"app": "otel"}), json!([{"name": "grpc", "port": 4317}])),
    ];
    all.extend(telemetries);
    let mut objects = objects(all);
    let (mesh, problems) = palisade_manifest::mesh_config(settings);
    assert!(problems.iter().all(|it| !it.is_error()), "{problems:?}");
    objects.apply_mesh(mesh);
    objects
}

/// What the workload is told: provider and sampling of its requests and of those to it.
fn told(config: &ProxyConfig) -> [Option<(String, Sampling)>; 2] {
    let tracing = config.tracing.as_ref();
    let sides =
        [tracing.and_then(|it| it.client.as_ref()), tracing.and_then(|it| it.server.as_ref())];
    sides.map(|side| side.map(|it| (it.provider.name.clone(), it.sampling)))
}

fn telemetry(namespace: &str, name: &str, tracing: Value) -> Value {
    object("Telemetry", namespace, name, json!({"tracing": tracing}))
}

fn selecting(namespace: &str, name: &str, app: &str, tracing: Value) -> Value {
    let selector = json!({"matchLabels": {"app": app}});
    object("Telemetry", namespace, name, json!({"selector": selector, "tracing": tracing}))
}

/// Percentages of both sides, all spans to `otel`.
fn both(client: f64, server: f64) -> [Option<(String, Sampling)>; 2] {
    [client, server].map(|it| Some(("otel".to_owned(), Sampling::percent(it))))
}

#[test]
fn the_more_specific_telemetry_counts_field_by_field() {
    let otel = || json!([{"providers": [{"name": "OTEL"}]}]);
    let percent = |share: f64| json!([{"randomSamplingPercentage": share}]);
    let root = "istio-system";
    for (what, telemetries, expected) in [
        ("none", vec![], [None, None]),
        ("no provider", vec![telemetry("shop", "a", percent(50.0))], [None, None]),
        ("root", vec![telemetry(root, "a", otel())], both(5.0, 5.0)),
        ("other namespace", vec![telemetry("tools", "a", otel())], [None, None]),
        (
            "namespace over root",
            vec![telemetry(root, "a", otel()), telemetry("shop", "a", percent(50.0))],
            both(50.0, 50.0),
        ),
        (
            "workload over namespace",
            vec![
                telemetry(root, "a", otel()),
                telemetry("shop", "a", percent(50.0)),
                selecting("shop", "b", "web", percent(0.0)),
            ],
            both(0.0, 0.0),
        ),
        (
            "another workload",
            vec![telemetry(root, "a", otel()), selecting("shop", "b", "db", percent(0.0))],
            both(5.0, 5.0),
        ),
        (
            "a selector in the root namespace is for its own pods",
            vec![telemetry(root, "a", otel()), selecting(root, "b", "web", percent(0.0))],
            both(5.0, 5.0),
        ),
        (
            "one side",
            vec![
                telemetry(root, "a", otel()),
                telemetry(
                    "shop",
                    "a",
                    json!([{"match": {"mode": "CLIENT"}, "randomSamplingPercentage": 100}]),
                ),
            ],
            both(100.0, 5.0),
        ),
        (
            "the last entry",
            vec![telemetry(
                "shop",
                "a",
                json!([
                    {"providers": [{"name": "other"}], "randomSamplingPercentage": 1},
                    {"providers": [{"name": "otel"}]},
                    {"match": {"mode": "SERVER"}, "randomSamplingPercentage": 2},
                ]),
            )],
            both(1.0, 2.0),
        ),
        (
            "switched off and on again",
            vec![
                telemetry(
                    root,
                    "a",
                    json!([{"providers": [{"name": "otel"}], "disableSpanReporting": true}]),
                ),
                telemetry(
                    "shop",
                    "a",
                    json!([{"match": {"mode": "SERVER"}, "disableSpanReporting": false}]),
                ),
            ],
            [None, Some(("otel".to_owned(), Sampling::percent(5.0)))],
        ),
        ("of a namespace's two the older", two_of_different_age(), both(7.0, 7.0)),
        (
            "a provider without its service",
            vec![telemetry("shop", "a", json!([{"providers": [{"name": "gone"}]}]))],
            [None, None],
        ),
        (
            "a provider in another namespace",
            vec![telemetry("shop", "a", json!([{"providers": [{"name": "elsewhere"}]}]))],
            [None, None],
        ),
        (
            "no such provider",
            vec![telemetry("shop", "a", json!([{"providers": [{"name": "nobody"}]}]))],
            [None, None],
        ),
    ] {
        let config = config(&mesh(SETTINGS, telemetries), "shop", "web");
        assert_eq!(told(&config), expected, "{what}");
    }
}

fn two_of_different_age() -> Vec<Value> {
    let aged = |name: &str, year: u16, share: u8| {
        let tracing = json!([{"providers": [{"name": "otel"}], "randomSamplingPercentage": share}]);
        let mut telemetry = telemetry("shop", name, tracing);
        telemetry["metadata"]["creationTimestamp"] = json!(format!("{year}-01-01T00:00:00Z"));
        telemetry
    };
    vec![aged("a", 2025, 9), aged("b", 2024, 7)]
}

#[test]
fn the_default_provider_needs_no_telemetry() {
    let settings = format!("defaultProviders: {{tracing: [otel]}}\n{SETTINGS}");
    let off = || telemetry("shop", "off", json!([{"disableSpanReporting": true}]));
    assert_eq!(told(&config(&mesh(&settings, vec![]), "shop", "web")), both(5.0, 5.0));
    assert_eq!(told(&config(&mesh(&settings, vec![off()]), "shop", "web")), [None, None]);
}

#[test]
fn a_sidecar_is_told_all_of_it() {
    let tracing = json!([{
        "match": {"mode": "SERVER"},
        "providers": [{"name": "otel"}],
        "randomSamplingPercentage": 12.34,
        "useRequestIdForTraceSampling": false,
        "enableIstioTags": false,
        "disableContextPropagation": true,
        "customTags": {
            "zone": {"literal": {"value": "a"}},
            "who": {"header": {"name": "x-who", "defaultValue": "nobody"}},
            "node": {"environment": {"name": "NODE"}},
        },
    }]);
    let config = config(&mesh(SETTINGS, vec![telemetry("shop", "a", tracing)]), "shop", "web");
    insta::assert_json_snapshot!(config.tracing);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<ProxyConfig>(&text).unwrap(), config);
}
