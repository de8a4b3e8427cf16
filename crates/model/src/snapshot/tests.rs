//! Whole meshes: the two scenarios, failing closed, and what a change touches.

mod fixture;
mod properties;
mod tracing;

use palisade_types::{MtlsMode, WorkloadRef};
use serde_json::json;

use self::fixture::{lab, object, objects, poc_mesh, pod, service, slice};
use super::*;
use crate::{Kind, ObjectRef, Refusal};

fn names(set: &BTreeSet<WorkloadRef>) -> Vec<&str> {
    set.iter().map(|workload| workload.name.as_str()).collect()
}

fn config(objects: &Objects, namespace: &str, name: &str) -> ProxyConfig {
    Snapshot::new(objects, 1).proxy_config(&WorkloadRef::new(namespace, name)).unwrap()
}

#[test]
fn poc_mesh_gives_each_workload_what_it_needs_and_no_more() {
    let snapshot = Snapshot::new(&poc_mesh(), 7);
    let of = |name: &str| snapshot.proxy_config(&WorkloadRef::new("poc-mesh", name)).unwrap();
    insta::assert_json_snapshot!("poc_mesh_backend", of("backend-6499f67c78-d77lf"));
    insta::assert_json_snapshot!("poc_mesh_frontend_inbound", of("frontend-5d5f-x2x2x").inbound);
    let names: Vec<String> = snapshot.workloads().map(ToString::to_string).collect();
    insta::assert_json_snapshot!("poc_mesh_workloads", names);
}

#[test]
fn the_lab_is_strict_mesh_wide_and_keeps_its_intruders_in_telemetry_only() {
    let snapshot = Snapshot::new(&lab(), 3);
    let of = |name: &str| snapshot.proxy_config(&WorkloadRef::new("default", name));
    insta::assert_json_snapshot!("lab_backend", of("backend-684d96759f-wntdp").unwrap());
    assert_eq!(of("bare"), None, "a pod with no sidecar has no config");
}

#[test]
fn an_endpoint_is_spoken_to_as_its_own_sidecar_and_mode_say() {
    let base = || {
        vec![
            service("shop", "web", json!({"app": "web"}), json!([{"name": "http", "port": 80}])),
            slice("shop", "web", "http", 8080, &[("10.0.0.1", "with"), ("10.0.0.2", "without")]),
            pod("shop", "with", json!({"app": "web"}), "10.0.0.1", true),
            pod("shop", "without", json!({"app": "web"}), "10.0.0.2", false),
        ]
    };
    let disable = |port: &str| {
        let spec = json!({
            "selector": {"matchLabels": {"app": "web"}},
            "portLevelMtls": {port: {"mode": "DISABLE"}},
        });
        object("PeerAuthentication", "shop", "p", spec)
    };
    let rule = |namespace: &str, mode: &str| {
        let tls = json!({"tls": {"mode": mode}});
        let host = "web.shop.svc.cluster.local";
        let spec = json!({"host": host, "trafficPolicy": tls});
        object("DestinationRule", namespace, "r", spec)
    };
    for (extra, expected) in [
        (vec![], [true, false]),
        (vec![disable("8080")], [false, false]),
        (vec![disable("80")], [true, false]),
        (vec![rule("shop", "DISABLE")], [false, false]),
        (vec![rule("shop", "ISTIO_MUTUAL")], [true, true]),
        (vec![rule("elsewhere", "DISABLE")], [true, false]),
    ] {
        let objects = objects(base().into_iter().chain(extra.clone()));
        let outbound = config(&objects, "shop", "with").outbound;
        let mtls: Vec<bool> = outbound.ports[0].endpoints.iter().map(|it| it.mtls).collect();
        assert_eq!(mtls, expected, "{extra:?}");
    }
}

/// `HOST:PORT how upstream` of what a namespace's clients see beyond Kubernetes.
fn entries(objects: &Objects, namespace: &str) -> Vec<String> {
    let ports = config(objects, namespace, "client").outbound.ports.into_iter();
    let text = |port: crate::OutboundPort| {
        let entry = port.entry?;
        let upstream = match entry.upstream {
            crate::Upstream::Endpoints => {
                let one = |it: &crate::Endpoint| {
                    assert!(!it.mtls);
                    format!("{}:{}", it.address, it.port)
                };
                port.endpoints.iter().map(one).collect::<Vec<_>>().join(",")
            }
            crate::Upstream::OriginalDestination => "original".to_owned(),
            crate::Upstream::Names(names) => {
                let one = |it: &crate::NamedEndpoint| format!("{}:{}", it.name, it.port);
                names.iter().map(one).collect::<Vec<_>>().join(",")
            }
        };
        Some(format!("{}:{} {:?} {upstream}", port.service.host, port.port, entry.matching))
    };
    ports.filter_map(text).collect()
}

#[test]
fn an_entry_is_known_by_its_addresses_or_by_what_connections_say() {
    let http = json!({"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080});
    let tls = json!({"number": 443, "name": "tls", "protocol": "TLS"});
    let tcp = json!({"number": 5432, "name": "tcp", "protocol": "TCP"});
    for (spec, expected) in [
        (
            json!({"hosts": ["a.com", "b.com"], "resolution": "DNS", "ports": [http, tls]}),
            vec![
                "a.com:80 Host a.com:8080",
                "a.com:443 ServerName a.com:443",
                "b.com:80 Host b.com:8080",
                "b.com:443 ServerName b.com:443",
            ],
        ),
        (
            json!({"hosts": ["*.a.com"], "ports": [tls, tcp]}),
            vec!["*.a.com:443 ServerName original", "*.a.com:5432 Port original"],
        ),
        (
            json!({"hosts": ["db.a.com"], "addresses": ["198.51.100.9"], "resolution": "STATIC",
                "ports": [tcp, http], "endpoints": [
                    {"address": "203.0.113.1", "ports": {"tcp": 15432}},
                    {"address": "203.0.113.2"}]}),
            vec![
                "db.a.com:5432 Address 203.0.113.1:15432,203.0.113.2:5432",
                "db.a.com:80 Address 203.0.113.1:8080,203.0.113.2:8080",
            ],
        ),
        (
            json!({"hosts": ["*.a.com"], "resolution": "DNS", "ports": [tls],
                "endpoints": [{"address": "one.a.com", "ports": {"tls": 8443}}]}),
            vec!["*.a.com:443 ServerName one.a.com:8443"],
        ),
    ] {
        let client = pod("shop", "client", json!({}), "10.0.0.1", true);
        let all = objects([client, object("ServiceEntry", "other", "e", spec.clone())]);
        assert_eq!(entries(&all, "shop"), expected, "{spec}");
    }
}

#[test]
fn an_entry_is_seen_where_it_is_exported_to() {
    for (export_to, own, other) in [
        (json!([]), true, true),
        (json!(["*"]), true, true),
        (json!(["."]), true, false),
        (json!(["other"]), false, true),
        (json!([".", "other"]), true, true),
        (json!(["~"]), false, false),
    ] {
        let port = json!({"number": 80, "name": "http", "protocol": "HTTP"});
        let spec = json!({"hosts": ["a.com"], "ports": [port], "exportTo": export_to});
        let all = objects([
            pod("shop", "client", json!({}), "10.0.0.1", true),
            pod("other", "client", json!({}), "10.0.0.2", true),
            object("ServiceEntry", "shop", "e", spec),
        ]);
        let seen = ["shop", "other"].map(|namespace| !entries(&all, namespace).is_empty());
        assert_eq!(seen, [own, other], "{export_to}");
    }
}

#[test]
fn an_endpoint_whose_pod_is_unknown_or_not_ready_is_not_connected_to() {
    let mut unready = slice("shop", "web", "http", 8080, &[("10.0.0.1", "known")]);
    unready["endpoints"][0]["conditions"] = json!({"ready": false});
    unready["metadata"]["name"] = json!("web-2");
    let objects = objects([
        service("shop", "web", json!({"app": "web"}), json!([{"name": "http", "port": 80}])),
        slice("shop", "web", "http", 8080, &[("10.0.0.9", "not-seen-yet")]),
        unready,
        pod("shop", "known", json!({"app": "web"}), "10.0.0.1", true),
    ]);
    let port = config(&objects, "shop", "known").outbound.ports.remove(0);
    assert!(port.endpoints.is_empty());
    let identities: Vec<String> = port.identities.iter().map(ToString::to_string).collect();
    assert_eq!(identities, ["spiffe://cluster.local/ns/shop/sa/default"]);
}

#[test]
fn a_named_target_port_is_the_containers_and_the_oldest_service_names_it() {
    let ports = |name: &str| json!([{"name": name, "port": 80, "targetPort": "web"}]);
    let mut old = service("shop", "z-old", json!({"app": "web"}), ports("http"));
    let mut young = service("shop", "a-young", json!({"app": "web"}), ports("tcp"));
    old["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    young["metadata"]["creationTimestamp"] = json!("2026-01-02T00:00:00Z");
    let mut of_pod = pod("shop", "one", json!({"app": "web"}), "10.0.0.1", true);
    of_pod["spec"]["containers"] =
        json!([{"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}]);
    let inbound = config(&objects([young, old, of_pod]), "shop", "one").inbound;
    insta::assert_json_snapshot!(inbound.ports, @r#"
    [
      {
        "port": 8080,
        "protocol": "HTTP",
        "service": {
          "host": "z-old.shop.svc.cluster.local",
          "name": "z-old",
          "namespace": "shop"
        }
      }
    ]
    "#);
}

#[test]
fn identities_of_a_service_hold_in_every_trust_domain_of_the_mesh() {
    let mut objects = objects([
        service("shop", "web", json!({"app": "web"}), json!([{"port": 80}])),
        pod("shop", "one", json!({"app": "web"}), "10.0.0.1", true),
    ]);
    let aliases = vec!["old.example".parse().unwrap()];
    objects.apply_mesh(Mesh { trust_domain_aliases: aliases, ..Mesh::default() });
    let identities: Vec<String> = config(&objects, "shop", "one").outbound.ports[0]
        .identities
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        identities,
        ["spiffe://cluster.local/ns/shop/sa/default", "spiffe://old.example/ns/shop/sa/default"]
    );
}

#[test]
fn a_policy_that_cannot_be_used_denies_whom_it_may_select_until_a_good_version_is_known() {
    let unusable =
        |objects: &Objects, name: &str| config(objects, "poc-mesh", name).inbound.unusable;
    let at = |namespace: &str| ObjectRef {
        kind: Kind::AuthorizationPolicy,
        namespace: namespace.to_owned(),
        name: "p".to_owned(),
    };
    let refusal = |selector: Option<&str>| Refusal {
        reason: "broken".to_owned(),
        selector: selector.map(|app| [("app".to_owned(), app.to_owned())].into()),
    };
    let (backend, frontend) = ("backend-6499f67c78-d77lf", "frontend-5d5f-x2x2x");
    for (namespace, selector, denies_backend, denies_frontend) in [
        ("poc-mesh", None, true, true),
        ("poc-mesh", Some("backend"), true, false),
        ("istio-system", None, true, true),
        ("istio-system", Some("frontend"), false, true),
        ("elsewhere", None, false, false),
    ] {
        let mut objects = poc_mesh();
        objects.refuse(&at(namespace), refusal(selector));
        let what = format!("{namespace} {selector:?}");
        assert_eq!(!unusable(&objects, backend).is_empty(), denies_backend, "{what}");
        assert_eq!(!unusable(&objects, frontend).is_empty(), denies_frontend, "{what}");
        objects.delete(&at(namespace));
        assert!(unusable(&objects, backend).is_empty(), "{what}: gone is gone");
    }
    let mut objects = poc_mesh();
    let good = at("poc-mesh");
    let known = ObjectRef { name: "backend-allow-frontend-read".to_owned(), ..good };
    let before = config(&objects, "poc-mesh", backend);
    objects.refuse(&known, refusal(None));
    assert_eq!(config(&objects, "poc-mesh", backend), before, "the last good version stays");
}

#[test]
fn unusable_mesh_settings_deny_everything_until_good_ones_are_known() {
    let mut objects = poc_mesh();
    objects.refuse_mesh(Refusal::default());
    let inbound = config(&objects, "poc-mesh", "backend-6499f67c78-d77lf").inbound;
    assert_eq!(inbound.unusable, ["ConfigMap/istio-system/istio"]);
    objects.apply_mesh(Mesh::default());
    objects.refuse_mesh(Refusal::default());
    let inbound = config(&objects, "poc-mesh", "backend-6499f67c78-d77lf").inbound;
    assert!(inbound.unusable.is_empty());
}

#[test]
fn only_workloads_whose_config_differs_have_changed() {
    let (backend, frontend) = ("backend-6499f67c78-d77lf", "frontend-5d5f-x2x2x");
    let before = Snapshot::new(&poc_mesh(), 1);
    assert!(changed(&before, &Snapshot::new(&poc_mesh(), 2)).is_empty());
    let strict =
        object("PeerAuthentication", "poc-mesh", "default", json!({"mtls": {"mode": "DISABLE"}}));
    let audit =
        json!({"selector": {"matchLabels": {"app": "backend"}}, "action": "AUDIT", "rules": [{}]});
    let mut no_op = poc_mesh();
    let mut same = fixture::poc_mesh_objects();
    same.iter_mut().for_each(|it| it["metadata"]["resourceVersion"] = json!("99"));
    objects(same).pods().for_each(|pod| no_op.apply(crate::Object::Pod(Box::new(pod.clone()))));
    assert!(changed(&before, &Snapshot::new(&no_op, 2)).is_empty(), "a new version is no change");
    for (extra, expected) in [
        (object("AuthorizationPolicy", "poc-mesh", "audit", audit), vec![backend]),
        (object("AuthorizationPolicy", "elsewhere", "deny", json!({})), vec![]),
        (strict, vec![backend, frontend, "payments-77-abcde"]),
        (
            pod("poc-mesh", "new", json!({"app": "new"}), "10.244.0.9", true),
            vec![backend, frontend, "new", "payments-77-abcde"],
        ),
    ] {
        let mut objects = poc_mesh();
        objects.apply(fixture::typed(extra.clone()));
        let after = Snapshot::new(&objects, 2);
        assert_eq!(names(&changed(&before, &after)), expected, "{extra}");
    }
    let mut fewer = poc_mesh();
    let name = frontend.to_owned();
    fewer.delete(&ObjectRef { kind: Kind::Pod, namespace: "poc-mesh".to_owned(), name });
    assert!(names(&changed(&before, &Snapshot::new(&fewer, 2))).contains(&frontend));
}

#[test]
fn a_pod_that_is_over_is_no_workload() {
    let mut over = pod("shop", "job", json!({"app": "web"}), "10.0.0.1", true);
    over["status"]["phase"] = json!("Succeeded");
    let snapshot = Snapshot::new(&objects([over]), 1);
    assert_eq!(snapshot.workloads().count(), 0);
}

#[test]
fn a_config_survives_the_wire() {
    let config = config(&poc_mesh(), "poc-mesh", "backend-6499f67c78-d77lf");
    let bytes = serde_json::to_vec(&config).unwrap();
    assert_eq!(serde_json::from_slice::<ProxyConfig>(&bytes).unwrap(), config);
    assert_eq!(config.inbound.mtls.default, MtlsMode::Strict);
}

#[test]
fn a_sidecar_of_somebody_else_is_not_expected_but_named() {
    let sidecar = |name: &str, container: &str, image: &str| {
        let mut pod = pod("shop", name, json!({"app": name}), "10.0.0.1", true);
        pod["spec"]["initContainers"] = json!([{"name": container, "image": image}]);
        pod["status"]["phase"] = json!("Running");
        pod
    };
    let snapshot = Snapshot::new(
        &objects(vec![
            sidecar("ours", "istio-proxy", "palisade.dev/proxy:0.1.0"),
            sidecar("mirrored", "istio-proxy", "registry.example:5000/mesh/sidecar@sha256:00"),
            sidecar("istios", "istio-proxy", "docker.io/istio/proxyv2:1.24.0"),
            sidecar("envoy", "envoy", "envoyproxy/envoy:v1.32.0"),
        ]),
        1,
    );
    let foreign: Vec<&str> = snapshot.foreign().map(|at| at.name.as_str()).collect();
    assert_eq!(foreign, ["envoy", "istios"]);
    let expected = snapshot.workloads().filter(|at| snapshot.expects(at));
    assert_eq!(expected.map(|at| at.name.as_str()).collect::<Vec<_>>(), ["mirrored", "ours"]);
}
