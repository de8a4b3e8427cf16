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

/// Where the pod redirects itself, and the API server knows native sidecars or not.
fn self_redirecting(native_sidecars: bool) -> Template {
    Template { redirect: Redirect::Init, native_sidecars, ..template() }
}

fn injected(pod: &Value) -> Value {
    injected_by(&template(), pod)
}

fn injected_by(template: &Template, pod: &Value) -> Value {
    match inject(pod, "poc-mesh", template) {
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
    let ordinary = Template { native_sidecars: false, ..template() };
    for template in [template(), ordinary, self_redirecting(true), self_redirecting(false)] {
        let once = injected_by(&template, &backend());
        assert_eq!(injected_by(&template, &once), once, "{template:?}");
    }
}

#[test]
fn a_pod_of_an_older_cluster_redirects_itself_and_waits_for_an_ordinary_sidecar() {
    let pod = injected_by(&self_redirecting(false), &backend());
    insta::assert_json_snapshot!("injected_with_init", pod);
    let names = |pod: &Value, list: &str| -> Vec<String> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let native = injected_by(&self_redirecting(true), &backend());
    assert_eq!(names(&native, "initContainers"), ["istio-init", "istio-proxy", "migrate"]);
    assert_eq!(names(&native, "containers"), ["backend"]);
    let mut bare = backend();
    bare["spec"].as_object_mut().unwrap().remove("initContainers");
    let ordinary = Template { native_sidecars: false, ..template() };
    let pod = injected_by(&ordinary, &bare);
    assert!(pod["spec"].get("initContainers").is_none(), "{pod}");
    let status = pod["metadata"]["annotations"]["sidecar.istio.io/status"].as_str().unwrap();
    assert!(status.contains(r#""containers":["istio-proxy"]"#), "{status}");
    assert!(status.contains(r#""initContainers":null"#), "{status}");
}

#[test]
fn nobody_is_taken_for_the_sidecar_while_it_runs() {
    let asks = |path: &str, field: &str, id: u64| {
        let mut pod = backend();
        pod.pointer_mut(path).unwrap()["securityContext"] = json!({field: id});
        pod
    };
    let (app, init, all) = ("/spec/containers/0", "/spec/initContainers/0", "/spec");
    let mut overridden = asks(all, "runAsUser", 1337);
    overridden["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 1});
    overridden["spec"]["initContainers"] = json!([]);
    for (pod, native, refused) in [
        (asks(app, "runAsUser", 1337), false, Some("container `backend`: runAsUser 1337 is")),
        (asks(app, "runAsGroup", 1337), true, Some("container `backend`: runAsGroup 1337 is")),
        (asks(all, "runAsUser", 1337), false, Some("container `backend`: runAsUser 1337 is")),
        (asks(init, "runAsUser", 1337), true, Some("container `migrate`: runAsUser 1337 is")),
        (asks(init, "runAsUser", 1337), false, None),
        (asks(app, "runAsUser", 1338), true, None),
        (asks(all, "fsGroup", 1337), true, None),
        (overridden, true, None),
    ] {
        match (inject(&pod, "poc-mesh", &self_redirecting(native)), refused) {
            (Injection::Inject(_), None) => {}
            (Injection::Refuse(message), Some(start)) => {
                assert!(message.starts_with(start), "{message}");
            }
            (outcome, _) => panic!("{outcome:?} for {pod}"),
        }
        // By mark nobody is.
        assert!(matches!(inject(&pod, "poc-mesh", &template()), Injection::Inject(_)));
    }
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
    let mut redirects = backend();
    redirects["spec"]["initContainers"][0]["name"] = json!("istio-init");
    let outcome = |template: &Template| inject(&redirects, "poc-mesh", template);
    assert!(matches!(outcome(&self_redirecting(true)), Injection::Refuse(_)));
    assert!(matches!(outcome(&template()), Injection::Inject(_)), "a name like any other");
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
