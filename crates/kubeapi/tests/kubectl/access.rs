//! Who may do what: certificates, tokens, impersonation.

use super::server::Server;

fn with_token(server: &Server, token: &str, arguments: &[&str]) -> super::server::Said {
    let config = server.directory.path().join("empty");
    std::fs::write(&config, "").unwrap();
    let kubeconfig = config.to_str().unwrap();
    let server_flag = format!("--server={}", server.url);
    let own =
        ["--kubeconfig", kubeconfig, &server_flag, "--insecure-skip-tls-verify", "--token", token];
    server.kubectl(&[&own, arguments].concat())
}

#[test]
fn nobody_gets_in_without_credentials() {
    let server = Server::start();
    let said = with_token(&server, "nonsense", &["get", "pods"]);
    let last = said.err.lines().last().unwrap_or_default();
    insta::assert_snapshot!(format!("{} {last}", said.code), @"1 error: You must be logged in to the server (the server has asked for the client to provide credentials)");
}

#[test]
fn a_service_account_proves_itself_and_may_do_nothing_else() {
    let server = Server::start();
    server.ok(&["create", "sa", "demo"]);
    let token = server.ok(&["create", "token", "demo"]);
    let token = token.trim();
    let whoami = with_token(
        &server,
        token,
        &["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"],
    );
    assert_eq!(whoami.out, "system:serviceaccount:default:demo", "{whoami:?}");
    let errors = [
        with_token(&server, token, &["get", "pods"]),
        with_token(&server, token, &["get", "pods", "-A"]),
        with_token(&server, token, &["create", "token", "demo"]),
        with_token(&server, token, &["auth", "can-i", "create", "pods"]),
        with_token(&server, token, &["--as=kubernetes-admin", "get", "pods"]),
    ];
    let errors: Vec<String> =
        errors.iter().map(|said| format!("{} {}{}", said.code, said.out, said.err)).collect();
    insta::assert_snapshot!(errors.concat(), @r#"
    1 Error from server (Forbidden): pods is forbidden: User "system:serviceaccount:default:demo" cannot list resource "pods" in API group "" in the namespace "default"
    1 Error from server (Forbidden): pods is forbidden: User "system:serviceaccount:default:demo" cannot list resource "pods" in API group "" at the cluster scope
    1 error: failed to create token: serviceaccounts "demo" is forbidden: User "system:serviceaccount:default:demo" cannot create resource "serviceaccounts/token" in API group "" in the namespace "default"
    1 no
    1 Error from server (Forbidden): users "kubernetes-admin" is forbidden: User "system:serviceaccount:default:demo" cannot impersonate resource "users"
    "#);
    server.ok(&["delete", "sa", "demo"]);
    server.ok(&["create", "sa", "demo"]);
    let said = with_token(&server, token, &["auth", "whoami"]);
    assert_eq!(said.code, 1, "a token of an account that was deleted is worth nothing: {said:?}");
}

#[test]
fn a_token_of_another_audience_is_not_for_the_api() {
    let server = Server::start();
    server.ok(&["create", "sa", "demo"]);
    let token = server.ok(&["create", "token", "demo", "--audience=istio-ca"]);
    assert_eq!(with_token(&server, token.trim(), &["auth", "whoami"]).code, 1);
    let review = |audience: &str| {
        let review = format!(
            "{{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\
            \"spec\":{{\"token\":\"{}\",\"audiences\":[\"{audience}\"]}}}}",
            token.trim()
        );
        let said = server.kubectl_with(
            &["create", "--raw", "/apis/authentication.k8s.io/v1/tokenreviews", "-f", "-"],
            &review,
        );
        assert_eq!(said.code, 0, "{said:?}");
        let value: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let mut status = value["status"].clone();
        if status["user"]["uid"].is_string() {
            status["user"]["uid"] = "UID".into();
            status["user"]["extra"] = "EXTRA".into();
        }
        status.to_string()
    };
    insta::assert_snapshot!(review("istio-ca"), @r#"{"authenticated":true,"user":{"username":"system:serviceaccount:default:demo","uid":"UID","groups":["system:serviceaccounts","system:serviceaccounts:default","system:authenticated"],"extra":"EXTRA"},"audiences":["istio-ca"]}"#);
    insta::assert_snapshot!(review("other"), @r#"{"user":{},"error":"[invalid bearer token, token audiences [\"istio-ca\"] is invalid for the target audiences [\"other\"]]"}"#);
}

#[test]
fn a_token_is_bound_to_its_pod() {
    let server = Server::start();
    server.ok(&["create", "sa", "default"]);
    server.ok(&["run", "p", "--image=x:1"]);
    let token = server.ok(&[
        "create",
        "token",
        "default",
        "--bound-object-kind=Pod",
        "--bound-object-name=p",
    ]);
    let whoami = ["auth", "whoami", "-o", "jsonpath={.status.userInfo.extra}"];
    let said = with_token(&server, token.trim(), &whoami);
    assert!(said.out.contains(r#""authentication.kubernetes.io/pod-name":["p"]"#), "{said:?}");
    server.ok(&["delete", "pod", "p", "--grace-period=0", "--force"]);
    assert_eq!(with_token(&server, token.trim(), &whoami).code, 1);
}

#[test]
fn the_owner_may_do_everything_and_less_as_somebody_else() {
    let server = Server::start();
    assert_eq!(server.ok(&["auth", "can-i", "create", "pods"]), "yes\n");
    let said = server.kubectl(&[
        "--as=system:serviceaccount:default:demo",
        "auth",
        "can-i",
        "create",
        "pods",
    ]);
    assert_eq!((said.code, said.out.as_str()), (1, "no\n"), "{said:?}");
    let said = server.kubectl(&["--as=system:serviceaccount:default:demo", "get", "pods"]);
    assert_eq!(said.code, 1);
}

#[test]
fn state_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start();
    let state = server.directory.path().join("state");
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for name in ["store.redb", "token.key", "ca.key"] {
        assert_eq!(mode(&state.join(name)), 0o600, "{name}");
    }
}
