use super::*;

fn template() -> Template {
    Template {
        image: "palisade.dev/proxy:0.1.0".to_owned(),
        redirect: Redirect::Node,
        native_sidecars: true,
        control_address: "istiod.istio-system.svc:15012".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        certificate_seconds: 86400,
    }
}

fn backend() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "backend-6499f67c78-",
            "namespace": "poc-mesh",
            "labels": {"app": "backend", "pod-template-hash": "6499f67c78"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "backend-6499f67c78",
                "uid": "ac80d33d", "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "serviceAccountName": "backend-sa",
            "volumes": [{"name": "kube-api-access-4kpg4", "projected": {"sources": []}}],
            "initContainers": [{"name": "migrate", "image": "busybox"}],
            "containers": [{
                "name": "backend",
                "image": "mendhak/http-https-echo:34",
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {
                    "httpGet": {
                        "path": "/ready", "port": "http", "scheme": "HTTP",
                        "httpHeaders": [{"name": "X-Probe", "value": "1"}],
                    },
                    "timeoutSeconds": 2, "periodSeconds": 10,
                },
                "livenessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 10},
                "startupProbe": {"exec": {"command": ["true"]}},
            }],
        },
    })
}

fn injected(pod: &Value) -> Value {
    match inject(pod, "poc-mesh", &template()) {
        Injection::Inject(pod) => pod,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pod_gets_its_sidecar_first_and_everything_by_which_it_is_recognised() {
    insta::assert_json_snapshot!("injected_backend", injected(&backend()));
}

#[test]
fn a_pod_alone_is_named_after_itself() {
    let pod = json!({
        "metadata": {"name": "test", "labels": {"run": "test"}},
        "spec": {"containers": [{"name": "test", "image": "curlimages/curl"}]},
    });
    let pod = injected(&pod);
    assert_eq!(pod["metadata"]["labels"]["service.istio.io/canonical-name"], "test");
    assert_eq!(pod["spec"]["initContainers"][0]["name"], SIDECAR);
}

#[test]
fn injecting_twice_is_injecting_once() {
    let once = injected(&backend());
    assert_eq!(injected(&once), once);
}

#[test]
fn nobody_brings_a_sidecar_of_his_own() {
    let mut forged = backend();
    forged["metadata"]["annotations"] = json!({"sidecar.istio.io/status": "{}"});
    forged["spec"]["initContainers"] = json!([
        {"name": "istio-proxy", "image": "evil", "command": ["/bin/evil"], "restartPolicy": "Always"},
    ]);
    let mut clean = backend();
    clean["spec"]["initContainers"] = json!([]);
    assert_eq!(injected(&forged)["spec"], injected(&clean)["spec"]);
    let mut beside = backend();
    beside["spec"]["containers"][0]["name"] = json!("istio-proxy");
    assert!(matches!(inject(&beside, "poc-mesh", &template()), Injection::Refuse(_)));
}

#[test]
fn a_pod_can_opt_out_and_some_never_take_part() {
    let wish = |map: &str, value: &str| {
        let mut pod = backend();
        pod["metadata"][map][INJECT] = json!(value);
        pod
    };
    let mut host_network = backend();
    host_network["spec"]["hostNetwork"] = json!(true);
    let mut both = wish("labels", "true");
    both["metadata"]["annotations"] = json!({INJECT: "false"});
    for (pod, namespace, injects) in [
        (backend(), "poc-mesh", true),
        (backend(), "kube-system", false),
        (wish("labels", "true"), "poc-mesh", true),
        (wish("labels", "false"), "poc-mesh", false),
        (wish("annotations", "false"), "poc-mesh", false),
        (wish("annotations", "No"), "poc-mesh", false),
        (wish("annotations", "true"), "poc-mesh", true),
        (both, "poc-mesh", true),
        (host_network, "poc-mesh", false),
    ] {
        let outcome = inject(&pod, namespace, &template());
        assert_eq!(matches!(outcome, Injection::Inject(_)), injects, "{outcome:?}");
    }
}

#[test]
fn only_probes_that_the_sidecar_can_answer_are_redirected() {
    let redirected = |probe: Value| {
        let mut pod = backend();
        pod["spec"]["containers"][0]["startupProbe"] = probe;
        injected(&pod)["spec"]["containers"][0]["startupProbe"].to_string().contains("app-health")
    };
    for (probe, expected) in [
        (json!({"httpGet": {"port": 80}}), true),
        (json!({"httpGet": {"port": "http"}}), true),
        (json!({"httpGet": {"port": "nameless"}}), false),
        (json!({"httpGet": {"port": 80, "host": "example.com"}}), false),
        (json!({"tcpSocket": {"port": 80}}), true),
        (json!({"tcpSocket": {"port": 80, "host": "10.0.0.1"}}), false),
        (json!({"exec": {"command": ["true"]}}), false),
        (json!({"grpc": {"port": 80, "service": "a.b"}}), true),
    ] {
        assert_eq!(redirected(probe.clone()), expected, "{probe}");
    }
    let mut kept = backend();
    kept["metadata"]["annotations"] = json!({REWRITE_PROBES: "false"});
    let containers = kept["spec"]["containers"].clone();
    assert_eq!(injected(&kept)["spec"]["containers"], containers);
}

#[test]
fn own_scrape_annotations_and_defaults_are_kept() {
    let mut pod = backend();
    let own = json!({
        "prometheus.io/scrape": "true", "prometheus.io/port": "9090",
        "kubectl.kubernetes.io/default-container": "other",
    });
    pod["metadata"]["annotations"] = own.clone();
    let annotations = injected(&pod)["metadata"]["annotations"].clone();
    for (key, value) in own.as_object().unwrap() {
        assert_eq!(&annotations[key], value);
    }
}
