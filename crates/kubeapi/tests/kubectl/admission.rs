//! Admission webhooks: who is asked, what they may change, and how they refuse.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    backend::{self, Webhook},
    server::Server,
};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n\
                   spec: {containers: [{name: a, image: x:1}]}\n";

fn configuration(kind: &str, webhook: &Webhook, fields: &Value) -> String {
    let mut entry = json!({
        "name": "hook.example.com",
        "clientConfig": {"url": format!("https://127.0.0.1:{}/x", webhook.port),
                         "caBundle": webhook.ca_bundle},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                   "resources": ["pods", "configmaps"]}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
    });
    for (key, value) in fields.as_object().unwrap() {
        entry[key] = value.clone();
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
           "metadata": {"name": "hook"}, "webhooks": [entry]})
    .to_string()
}

fn sidecar(_: &Value) -> Value {
    let patch = json!([
        {"op": "add", "path": "/metadata/annotations", "value": {"injected": "yes"}},
        {"op": "add", "path": "/spec/initContainers", "value":
            [{"name": "istio-proxy", "image": "palisade.dev/proxy:1", "restartPolicy": "Always"}]},
    ]);
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string()),
           "warnings": ["a sidecar comes along"]})
}

fn refusal(_: &Value) -> Value {
    json!({"allowed": false, "status": {"code": 403, "message": "not on my machine"}})
}

#[test]
fn a_mutating_webhook_adds_a_sidecar_where_its_selectors_match() {
    let server = Server::start();
    server.ok(&["create", "sa", "default"]);
    let webhook = backend::webhook(sidecar);
    let selector = json!({"namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}}});
    server.apply(&configuration("MutatingWebhookConfiguration", &webhook, &selector));
    server.apply(&POD.replace("name: p", "name: plain"));
    assert_eq!(webhook.reviews.lock().unwrap().len(), 0);
    server.ok(&["label", "ns", "default", "istio-injection=enabled"]);
    let said = server.kubectl_with(&["create", "-f", "-"], POD);
    assert_eq!((said.code, said.err.as_str()), (0, "Warning: a sidecar comes along\n"), "{said:?}");
    let names = "jsonpath={.spec.initContainers[*].name} {.metadata.annotations.injected} \
                 {.spec.initContainers[*].imagePullPolicy}";
    assert_eq!(server.ok(&["get", "pod", "p", "-o", names]), "istio-proxy yes IfNotPresent");
    let reviews = webhook.reviews.lock().unwrap();
    let request = &reviews[0]["request"];
    assert_eq!(request["operation"], "CREATE");
    assert_eq!(request["namespace"], "default");
    assert_eq!(request["userInfo"]["username"], "kubernetes-admin");
    assert_eq!(request["object"]["spec"]["serviceAccountName"], "default");
    assert_eq!(request["dryRun"], false);
}

#[test]
fn a_validating_webhook_refuses_in_its_own_words() {
    let server = Server::start();
    server.ok(&["create", "sa", "default"]);
    let webhook = backend::webhook(refusal);
    server.apply(&configuration("ValidatingWebhookConfiguration", &webhook, &json!({})));
    let said = server.kubectl_with(&["apply", "-f", "-"], POD);
    insta::assert_snapshot!(said.err, @r#"Error from server: error when creating "STDIN": admission webhook "hook.example.com" denied the request: not on my machine"#);
    assert_eq!(server.ok(&["get", "pods", "-o", "name"]), "");
    server.ok(&["delete", "validatingwebhookconfiguration", "hook"]);
    server.apply(POD);
}

#[test]
fn a_webhook_that_cannot_be_asked_refuses_unless_it_may_be_ignored() {
    let server = Server::start();
    server.ok(&["create", "sa", "default"]);
    let mut webhook = backend::webhook(sidecar);
    let good = webhook.ca_bundle.clone();
    webhook.ca_bundle = backend::webhook(sidecar).ca_bundle;
    server.apply(&configuration("MutatingWebhookConfiguration", &webhook, &json!({})));
    let said = server.kubectl_with(&["create", "-f", "-"], POD);
    assert_eq!(said.code, 1);
    assert!(
        said.err
            .contains("failed calling webhook \"hook.example.com\": failed to call webhook: Post"),
        "{said:?}"
    );
    let ignore = json!({"failurePolicy": "Ignore"});
    server.apply(&configuration("MutatingWebhookConfiguration", &webhook, &ignore));
    server.apply(POD);
    let nobody = json!({"clientConfig": {"service": {"name": "hook", "namespace": "default"}, "caBundle": good}});
    server.apply(&configuration("MutatingWebhookConfiguration", &webhook, &nobody));
    let said = server.kubectl_with(&["create", "-f", "-"], &POD.replace("name: p", "name: q"));
    assert!(said.err.contains("service \"hook\" not found"), "{said:?}");
}

#[test]
fn a_webhook_can_be_a_service() {
    let server = Server::start();
    server.ok(&["create", "sa", "default"]);
    let webhook = backend::webhook(refusal);
    let service = json!({"clientConfig": {"caBundle": webhook.ca_bundle,
        "service": {"name": "hook", "namespace": "default", "path": "/v"}}});
    server.apply(&configuration("ValidatingWebhookConfiguration", &webhook, &service));
    server.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: hook}\nspec: {ports: [{port: 443}]}\n",
    );
    server.apply(&format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: hook\n  \
         labels: {{kubernetes.io/service-name: hook}}\naddressType: IPv4\n\
         endpoints: [{{addresses: [127.0.0.1]}}]\nports: [{{name: '', port: {}}}]\n",
        webhook.port
    ));
    let said = server.kubectl_with(&["create", "-f", "-"], POD);
    assert!(said.err.contains("denied the request: not on my machine"), "{said:?}");
}

#[test]
fn a_dry_run_asks_only_webhooks_without_side_effects() {
    let server = Server::start();
    server.ok(&["create", "sa", "default"]);
    let webhook = backend::webhook(sidecar);
    server.apply(&configuration("MutatingWebhookConfiguration", &webhook, &json!({})));
    let said = server.kubectl_with(&["create", "--dry-run=server", "-f", "-"], POD);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(webhook.reviews.lock().unwrap()[0]["request"]["dryRun"], true);
    let effects = json!({"sideEffects": "Some"});
    server.kubectl_with(
        &["apply", "--validate=false", "-f", "-"],
        &configuration("MutatingWebhookConfiguration", &webhook, &effects),
    );
}
