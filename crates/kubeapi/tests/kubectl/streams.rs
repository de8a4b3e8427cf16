//! What others answer: logs, exec and attach by the kubelet, HTTP by services and pods.

use super::{backend, server::Server};

fn with_pod() -> Server {
    let server = Server::start();
    server.ok(&["create", "sa", "default"]);
    server.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n\
         spec: {nodeName: node1, containers: [{name: a, image: x:1}, {name: b, image: x:1}]}\n",
    );
    let running = r#"{"status":{"phase":"Running","podIP":"127.0.0.1","containerStatuses":[
        {"name":"a","ready":true,"restartCount":0,"image":"x","imageID":"","state":{"running":{}}}]}}"#;
    server.ok(&["patch", "pod", "p", "--subresource=status", "--type=merge", "-p", running]);
    server
}

#[test]
fn logs_come_from_the_kubelet() {
    let server = with_pod();
    backend::kubelet(&server.directory.path().join("kubelet.sock"));
    let said = server.ok(&["logs", "p", "-c", "b", "--tail=3", "--timestamps"]);
    assert_eq!(
        said,
        "GET /containerLogs/default/p/b?tailLines=3&timestamps=true authorization=false impersonate=false"
    );
    let raw = server.kubectl(&["get", "--raw", "/api/v1/namespaces/default/pods/p/log"]);
    insta::assert_snapshot!(raw.err, @"Error from server (BadRequest): a container name must be specified for pod p, choose one of: [a b]");
}

#[test]
fn exec_joins_the_streams_and_tells_the_exit_code() {
    let server = with_pod();
    backend::kubelet(&server.directory.path().join("kubelet.sock"));
    let said = server.kubectl(&["exec", "p", "-c", "a", "--", "sh", "-c", "a b&c"]);
    assert_eq!(
        said.out,
        "/exec/default/p/a?output=1&error=1&command=sh&command=-c&command=a%20b%26c\n"
    );
    assert_eq!(said.err, "on stderr\ncommand terminated with exit code 3\n");
    assert_eq!(said.code, 3);
    let said = server.kubectl_with(&["exec", "-i", "p", "-c", "a", "--", "cat"], "hello\n");
    assert!(said.out.ends_with("read hello\n"), "{said:?}");
    assert_eq!(said.code, 3, "{said:?}");
    let said = server.kubectl_with(&["attach", "-i", "p", "-c", "a"], "hello\n");
    assert!(said.out.starts_with("/attach/default/p/a?input=1&output=1&error=1"), "{said:?}");
}

#[test]
fn without_a_kubelet_there_is_a_clear_error() {
    let server = with_pod();
    let said = server.kubectl(&["logs", "p", "-c", "a"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("the node's kubelet does not answer"), "{said:?}");
}

#[test]
fn services_and_pods_answer_http_through_the_api() {
    let server = with_pod();
    let port = backend::echo();
    server.apply(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: s\n  \
         labels: {{kubernetes.io/service-name: s}}\naddressType: IPv4\n\
         endpoints: [{{addresses: [127.0.0.1]}}]\nports: [{{name: http, port: {port}}}]\n"
    ));
    for path in ["services/s:80", "services/s:http", "services/s", &format!("pods/p:{port}")] {
        let said = server.ok(&[
            "get",
            "--raw",
            &format!("/api/v1/namespaces/default/{path}/proxy/debug/x?y=z"),
        ]);
        assert_eq!(said, "GET /debug/x?y=z authorization=false impersonate=false", "{path}");
    }
    for path in ["services/s:81", "services/none:80", "services/https:s:80", "pods/none:80"] {
        let path = format!("/api/v1/namespaces/default/{path}/proxy/");
        assert_eq!(server.kubectl(&["get", "--raw", &path]).code, 1, "{path}");
    }
}
