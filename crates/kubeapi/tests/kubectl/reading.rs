//! What kubectl prints, and what it sees change.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use super::server::Server;

const PODS: &str = include_str!("pods.yaml");

/// Pods with a status, as a node would write it.
fn with_pods() -> Server {
    let server = Server::start();
    server.ok(&["create", "sa", "default"]);
    server.apply(PODS);
    let running = r#"{"status":{"phase":"Running","podIP":"10.244.0.3","conditions":
        [{"type":"Ready","status":"True"},{"type":"Initialized","status":"True"}],
        "containerStatuses":[{"name":"a","ready":true,"restartCount":0,"image":"x","imageID":"",
        "state":{"running":{"startedAt":"2026-11-22T00:00:00Z"}}}]}}"#;
    server.ok(&["patch", "pod", "one", "--subresource=status", "--type=merge", "-p", running]);
    server
}

/// Ages differ from run to run.
fn ageless(text: &str) -> String {
    let mut clean = String::new();
    for line in text.lines() {
        let words: Vec<&str> =
            line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        let words: Vec<String> = words
            .into_iter()
            .map(|word| {
                let digits = word.trim_end_matches('s');
                let is_age =
                    digits.len() < word.len() && digits.bytes().all(|b| b.is_ascii_digit());
                if is_age { "AGE".to_owned() } else { word.to_owned() }
            })
            .collect();
        clean.push_str(&words.join(" | "));
        clean.push('\n');
    }
    clean
}

#[test]
fn pods_are_printed_as_a_cluster_prints_them() {
    let server = with_pods();
    let printed = [
        server.ok(&["get", "pods"]),
        server.ok(&["get", "pods", "-o", "wide"]),
        server.ok(&["get", "pods", "-A", "-l", "app=one"]),
        server.ok(&["get", "pods", "--field-selector=status.phase=Running"]),
        server.ok(&["get", "pods", "--no-headers", "--field-selector=metadata.name!=one"]),
    ];
    insta::assert_snapshot!(ageless(&printed.join("--\n")), @r"
    NAME | READY | STATUS | RESTARTS | AGE
    one | 1/1 | Running | 0 | AGE
    two | 0/2 | Pending | 0 | AGE
    --
    NAME | READY | STATUS | RESTARTS | AGE | IP | NODE | NOMINATED NODE | READINESS GATES
    one | 1/1 | Running | 0 | AGE | 10.244.0.3 | node1 | <none> | <none>
    two | 0/2 | Pending | 0 | AGE | <none> | <none> | <none> | <none>
    --
    NAMESPACE | NAME | READY | STATUS | RESTARTS | AGE
    default | one | 1/1 | Running | 0 | AGE
    --
    NAME | READY | STATUS | RESTARTS | AGE
    one | 1/1 | Running | 0 | AGE
    --
    two | 0/2 | Pending | 0 | AGE
    ");
    let none = server.kubectl(&["-n", "kube-system", "get", "pods"]);
    assert_eq!(none.err, "No resources found in kube-system namespace.\n");
}

#[test]
fn other_kinds_are_printed_as_a_cluster_prints_them() {
    let server = Server::start();
    server.apply(include_str!("mesh.yaml"));
    let mesh = |arguments: &[&str]| server.ok(&[&["-n", "poc-mesh", "get"], arguments].concat());
    let printed = [
        mesh(&["deploy", "-o", "wide"]),
        mesh(&["sa"]),
        mesh(&["ap"]),
        server.ok(&["get", "pa", "-A"]),
        server.ok(&["get", "ns"]),
        server.ok(&["get", "svc", "kubernetes"]),
        server.ok(&["get", "endpointslices"]),
    ];
    insta::assert_snapshot!(ageless(&printed.join("--\n")), @r"
    NAME | READY | UP-TO-DATE | AVAILABLE | AGE | CONTAINERS | IMAGES | SELECTOR
    backend | 0/1 | 0 | 0 | AGE | backend | hashicorp/http-echo:1.0 | app=backend
    --
    NAME | AGE
    backend-sa | AGE
    frontend-sa | AGE
    --
    NAME | ACTION | AGE
    backend-allow-frontend-read | ALLOW | AGE
    namespace-deny-all | AGE
    --
    NAMESPACE | NAME | MODE | AGE
    poc-mesh | default | STRICT | AGE
    --
    NAME | STATUS | AGE
    default | Active | AGE
    istio-system | Active | AGE
    kube-system | Active | AGE
    poc-mesh | Active | AGE
    --
    NAME | TYPE | CLUSTER-IP | EXTERNAL-IP | PORT(S) | AGE
    kubernetes | ClusterIP | 10.96.0.1 | <none> | 443/TCP | AGE
    --
    NAME | ADDRESSTYPE | PORTS | ENDPOINTS | AGE
    kubernetes | IPv4 | 6443 | 10.244.0.1 | AGE
    ");
    let all = mesh(&["all", "-o", "name"]);
    assert_eq!(all, "service/backend\ndeployment.apps/backend\n");
}

#[test]
fn objects_come_back_whole() {
    let server = Server::start();
    server.apply(include_str!("mesh.yaml"));
    let yaml = server.ok(&["-n", "poc-mesh", "get", "svc", "backend", "-o", "yaml"]);
    let stable: String = yaml
        .lines()
        .filter(|line| {
            ![
                "uid:",
                "resourceVersion:",
                "creationTimestamp:",
                "clusterIP",
                "10.96.",
                "last-applied",
                "{\"api",
            ]
            .iter()
            .any(|word| line.contains(word))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    insta::assert_snapshot!(stable, @r"
    apiVersion: v1
    kind: Service
    metadata:
      annotations:
      name: backend
      namespace: poc-mesh
    spec:
      internalTrafficPolicy: Cluster
      ipFamilies:
      - IPv4
      ipFamilyPolicy: SingleStack
      ports:
      - name: http
        port: 80
        protocol: TCP
        targetPort: 8080
      selector:
        app: backend
      sessionAffinity: None
      type: ClusterIP
    status:
      loadBalancer: {}
    ");
}

#[test]
fn kubectl_knows_the_kinds() {
    let server = Server::start();
    insta::assert_snapshot!(server.ok(&["api-resources", "--no-headers"]), @r"
    configmaps                        cm          v1                                true    ConfigMap
    events                            ev          v1                                true    Event
    namespaces                        ns          v1                                false   Namespace
    nodes                             no          v1                                false   Node
    pods                              po          v1                                true    Pod
    secrets                                       v1                                true    Secret
    serviceaccounts                   sa          v1                                true    ServiceAccount
    services                          svc         v1                                true    Service
    mutatingwebhookconfigurations                 admissionregistration.k8s.io/v1   false   MutatingWebhookConfiguration
    validatingwebhookconfigurations               admissionregistration.k8s.io/v1   false   ValidatingWebhookConfiguration
    customresourcedefinitions         crd         apiextensions.k8s.io/v1           false   CustomResourceDefinition
    deployments                       deploy      apps/v1                           true    Deployment
    replicasets                       rs          apps/v1                           true    ReplicaSet
    selfsubjectreviews                            authentication.k8s.io/v1          false   SelfSubjectReview
    tokenreviews                                  authentication.k8s.io/v1          false   TokenReview
    localsubjectaccessreviews                     authorization.k8s.io/v1           true    LocalSubjectAccessReview
    selfsubjectaccessreviews                      authorization.k8s.io/v1           false   SelfSubjectAccessReview
    selfsubjectrulesreviews                       authorization.k8s.io/v1           false   SelfSubjectRulesReview
    subjectaccessreviews                          authorization.k8s.io/v1           false   SubjectAccessReview
    jobs                                          batch/v1                          true    Job
    leases                                        coordination.k8s.io/v1            true    Lease
    endpointslices                                discovery.k8s.io/v1               true    EndpointSlice
    events                            ev          events.k8s.io/v1                  true    Event
    destinationrules                  dr          networking.istio.io/v1            true    DestinationRule
    serviceentries                    se          networking.istio.io/v1            true    ServiceEntry
    virtualservices                   vs          networking.istio.io/v1            true    VirtualService
    authorizationpolicies             ap          security.istio.io/v1              true    AuthorizationPolicy
    peerauthentications               pa          security.istio.io/v1              true    PeerAuthentication
    requestauthentications            ra          security.istio.io/v1              true    RequestAuthentication
    telemetries                       telemetry   telemetry.istio.io/v1             true    Telemetry
    ");
    insta::assert_snapshot!(server.ok(&["explain", "peerauthentication.spec.mtls.mode"]), @r"
    GROUP:      security.istio.io
    KIND:       PeerAuthentication
    VERSION:    v1

    FIELD: mode <string>
    ENUM:
        UNSET
        DISABLE
        PERMISSIVE
        STRICT

    DESCRIPTION:
        Defines the mTLS mode used for peer authentication.
    ");
    assert!(server.ok(&["explain", "deployment.spec.template.spec"]).contains("containers"));
    assert!(server.ok(&["version"]).contains("Server Version: v1.36"));
    let versions = server.ok(&["api-versions"]);
    assert!(versions.contains("security.istio.io/v1beta1\n"), "{versions}");
}

#[test]
fn a_watch_tells_changes_as_they_come() {
    let server = with_pods();
    let mut watching = server
        .command(&[
            "get",
            "pods",
            "-w",
            "-o",
            "custom-columns=N:.metadata.name,L:.metadata.labels.x",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().starts_with('N'));
    assert!(next().starts_with("one"));
    assert!(next().starts_with("two"));
    server.ok(&["label", "pod", "one", "x=changed"]);
    let line = next();
    assert!(line.starts_with("one") && line.contains("changed"), "{line}");
    server.ok(&["run", "three", "--image=x:1"]);
    assert!(next().starts_with("three"));
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn events_are_one_thing_in_two_apis() {
    let server = with_pods();
    let event = r#"{"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"e","namespace":"default"},
        "eventTime":"2026-11-22T00:00:00.000001Z","reportingController":"kubelet","reportingInstance":"n",
        "action":"Pull","reason":"Pulled","regarding":{"kind":"Pod","namespace":"default","name":"one"},
        "note":"hello","type":"Normal"}"#;
    server.apply(event);
    let columns = "jsonpath={.items[*].involvedObject.name} {.items[*].message}";
    let core = [
        "get",
        "--raw",
        "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Done",
    ];
    assert!(server.ok(&core).contains(r#""message":"hello""#));
    assert_eq!(server.ok(&["get", "ev", "-o", columns]), "one hello");
    assert!(server.ok(&["events"]).contains("Pulled"));
}

#[test]
fn describe_reads_what_it_needs() {
    let server = with_pods();
    server.apply(include_str!("mesh.yaml"));
    for what in ["deploy/backend", "svc/backend", "sa/backend-sa", "ap/backend-allow-frontend-read"]
    {
        let said = server.ok(&["-n", "poc-mesh", "describe", what]);
        assert!(said.starts_with("Name:"), "{said}");
    }
}

#[test]
fn long_lists_come_in_pages() {
    let server = Server::start();
    for index in 0..7 {
        server.ok(&["create", "cm", &format!("c{index}")]);
    }
    let names = server.ok(&["get", "cm", "--chunk-size=3", "-o", "name"]);
    assert_eq!(names.lines().count(), 7, "{names}");
    let page = server.ok(&["get", "--raw", "/api/v1/configmaps?limit=3"]);
    assert!(page.contains(r#""remainingItemCount":4"#), "{page}");
}
