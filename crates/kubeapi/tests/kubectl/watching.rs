//! The watch protocol, as clients' reflectors use it.

use serde_json::Value;

use super::{backend, server::Server};

fn events(server: &Server, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1&{query}");
    let said = server.ok(&["get", "--raw", &path]);
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn summary(events: &[Value]) -> String {
    let lines: Vec<String> = events
        .iter()
        .map(|event| {
            let object = &event["object"];
            let name = object["metadata"]["name"].as_str().unwrap_or("-");
            let end = object["metadata"]["annotations"]["k8s.io/initial-events-end"].as_str();
            format!(
                "{} {} {name} {}",
                event["type"].as_str().unwrap(),
                object["kind"].as_str().unwrap(),
                end.unwrap_or("")
            )
        })
        .collect();
    lines.join("\n")
}

#[test]
fn a_watch_list_gives_everything_then_its_end() {
    let server = Server::start();
    for name in ["a", "b"] {
        server.ok(&["create", "cm", name]);
    }
    server.ok(&["label", "cm", "a", "x=y"]);
    let all = events(
        &server,
        "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan",
    );
    insta::assert_snapshot!(summary(&all), @r"
    ADDED ConfigMap a 
    ADDED ConfigMap b 
    BOOKMARK ConfigMap - true
    ");
    let some = events(&server, "labelSelector=x%3Dy");
    insta::assert_snapshot!(summary(&some), @"ADDED ConfigMap a");
}

#[test]
fn a_watch_from_a_version_gives_what_came_after() {
    let server = Server::start();
    server.ok(&["create", "cm", "a"]);
    let version = server.ok(&["get", "cm", "a", "-o", "jsonpath={.metadata.resourceVersion}"]);
    server.ok(&["label", "cm", "a", "x=y"]);
    server.ok(&["label", "cm", "a", "x-"]);
    server.ok(&["delete", "cm", "a"]);
    let all = events(&server, &format!("resourceVersion={version}"));
    let selected = events(&server, &format!("resourceVersion={version}&labelSelector=x"));
    let other =
        events(&server, &format!("resourceVersion={version}&fieldSelector=metadata.name%3Db"));
    let story = [summary(&all), summary(&selected), summary(&other)].join("\n--\n");
    insta::assert_snapshot!(story, @r"
    MODIFIED ConfigMap a 
    MODIFIED ConfigMap a 
    DELETED ConfigMap a 
    --
    ADDED ConfigMap a 
    DELETED ConfigMap a 
    --
    ");
}

#[test]
fn a_version_that_is_forgotten_is_gone() {
    let server = Server::start();
    server.ok(&["create", "cm", "a"]);
    let directory = std::sync::Arc::clone(&server.directory);
    let version = server.ok(&["get", "cm", "a", "-o", "jsonpath={.metadata.resourceVersion}"]);
    drop(server);
    let server = Server::start_in(directory);
    for version in [version.as_str(), "999999999"] {
        let events = events(&server, &format!("resourceVersion={version}"));
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0]["type"], "ERROR");
        assert_eq!(events[0]["object"]["code"], 410);
        assert_eq!(events[0]["object"]["reason"], "Expired");
    }
}

#[test]
fn a_client_that_speaks_no_tls_harms_nobody() {
    let server = Server::start();
    let address = server.url.strip_prefix("https://").unwrap();
    backend::nonsense(address);
    server.ok(&["get", "ns"]);
}
