//! How others find the control plane: its webhooks with the authority's root, and on one machine the
//! Service and EndpointSlice that a cluster makes of its Deployment. Both webhooks fail closed, so that one without
//! us behind it keeps pods and policies out: they are repaired.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use kube::{Client, core::ApiResource};
use palisade_model::Kind;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    ca::{Ca, Teller},
    kinds, kubernetes,
};

/// Name of the control plane's Service, as sidecars and Istio's tools look for it.
pub(crate) const SERVICE: &str = "istiod";

/// Port of certificates and configuration.
pub(crate) const GRPC_PORT: u16 = 15012;
/// Port of the webhooks, behind the Service's 443.
pub(crate) const WEBHOOK_PORT: u16 = 15017;
/// Port of metrics and status.
pub(crate) const MONITORING_PORT: u16 = 15014;

/// Where the control plane listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) grpc: SocketAddr,
    pub(crate) webhooks: SocketAddr,
    pub(crate) monitoring: SocketAddr,
}

/// Creates everything, and repairs it for ever: when the roots change, and when somebody else has changed or
/// deleted what the API server needs to ask us.
pub(crate) async fn keep(
    client: Client,
    namespace: String,
    ca: Arc<Ca>,
    service_at: Option<Addresses>,
) {
    let mut authorities = ca.changes();
    let kinds_of_webhooks = [kinds::validating_webhooks(), kinds::mutating_webhooks()];
    loop {
        let root_pem = authorities.borrow_and_update().bundle().to_pem();
        let webhooks = [validator(&namespace, &root_pem), injector(&namespace, &root_pem)];
        if let Some(addresses) = service_at {
            create(&client, &kinds::of(Kind::Service), service(&namespace)).await;
            let slice = endpoint_slice(&namespace, addresses);
            create(&client, &kinds::of(Kind::EndpointSlice), slice).await;
        }
        for (resource, object) in kinds_of_webhooks.iter().zip(&webhooks) {
            create(&client, resource, object.clone()).await;
        }
        ca.told(Teller::Webhooks, &root_pem);
        tracing::info!("registered with the API server");
        let damaged = async {
            sleep(LOOK).await;
            while all_registered(&client, &kinds_of_webhooks, &webhooks).await {
                sleep(LOOK).await;
            }
            tracing::warn!("a registration was changed or deleted: it is made again");
        };
        tokio::select! {
            changed = authorities.changed() => if changed.is_err() { return },
            () = damaged => {}
        }
    }
}

/// Creates or repairs an object, again and again until it is done.
async fn create(client: &Client, resource: &ApiResource, object: Value) {
    let mut pause = FIRST_PAUSE;
    while let Err(error) = kubernetes::ensure(client, resource, object.clone()).await {
        tracing::warn!(%error, "not registered yet, retrying");
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether the API server asks us what it is to ask, as far as it says. It is asked now and then: to get two objects by
/// name takes no permission to watch all.
async fn all_registered(client: &Client, kinds: &[ApiResource], wanted: &[Value]) -> bool {
    for (resource, wanted) in kinds.iter().zip(wanted) {
        let name = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        match kubernetes::find(client, resource, None, name).await {
            Ok(Some(stored)) if registers(&stored, wanted) => {}
            Ok(_) => return false,
            Err(error) => tracing::debug!(%error, name, "a registration can't be looked at"),
        }
    }
    true
}

/// Whether a stored registration has all webhooks that are wanted, with us behind them. What others add to
/// selectors is theirs.
fn registers(stored: &Value, wanted: &Value) -> bool {
    let webhooks = |of: &Value| of["webhooks"].as_array().cloned().unwrap_or_default();
    let known = webhooks(stored);
    webhooks(wanted).iter().all(|wanted| {
        let same = |it: &&Value| it["name"] == wanted["name"];
        let deciding = ["clientConfig", "rules", "failurePolicy"];
        known.iter().find(same).is_some_and(|it| deciding.iter().all(|key| it[key] == wanted[key]))
    })
}

fn service(namespace: &str) -> Value {
    let port = |name: &str, port: u16, target: u16| json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"});
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": namespace, "labels": labels()},
        "spec": {
            "type": "ClusterIP",
            "ports": [
                port("https-dns", GRPC_PORT, GRPC_PORT),
                port("https-webhook", 443, WEBHOOK_PORT),
                port("http-monitoring", MONITORING_PORT, MONITORING_PORT),
            ],
        },
    })
}

fn endpoint_slice(namespace: &str, at: Addresses) -> Value {
    let port =
        |name: &str, at: SocketAddr| json!({"name": name, "port": at.port(), "protocol": "TCP"});
    let mut labels = labels();
    labels["kubernetes.io/service-name"] = json!(SERVICE);
    labels["endpointslice.kubernetes.io/managed-by"] = json!("palisade");
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": SERVICE, "namespace": namespace, "labels": labels},
        "addressType": if at.grpc.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [at.grpc.ip()], "conditions": {"ready": true}}],
        "ports": [
            port("https-dns", at.grpc),
            port("https-webhook", at.webhooks),
            port("http-monitoring", at.monitoring),
        ],
    })
}

/// Istio's selectors (`manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml`):
/// a namespace opts in by `istio-injection` or `istio.io/rev`, a pod out by its label; a pod of a
/// namespace that says nothing can opt in.
fn injector(namespace: &str, root_pem: &str) -> Value {
    let absent = |key: &str| json!({"key": key, "operator": "DoesNotExist"});
    let is = |key: &str, value: &str| json!({"key": key, "operator": "In", "values": [value]});
    let no_opt_out = json!({"key": INJECT, "operator": "NotIn", "values": ["false"]});
    let (injection, revision) = ("istio-injection", "istio.io/rev");
    let webhook = |name: &str, namespaces: Value, pods: Value| {
        json!({
            "name": format!("{name}.sidecar-injector.istio.io"),
            "clientConfig": client_config(namespace, root_pem, "/inject"),
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["pods"], "scope": "*",
            }],
            "namespaceSelector": {"matchExpressions": namespaces},
            "objectSelector": {"matchExpressions": pods},
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "reinvocationPolicy": "Never",
            "sideEffects": "None",
            "timeoutSeconds": 10,
        })
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "istio-sidecar-injector", "labels": labels()},
        "webhooks": [
            webhook(
                "rev.namespace",
                json!([is(revision, "default"), absent(injection)]),
                json!([no_opt_out]),
            ),
            webhook(
                "rev.object",
                json!([absent(revision), absent(injection)]),
                json!([no_opt_out, is(revision, "default")]),
            ),
            webhook("namespace", json!([is(injection, "enabled")]), json!([no_opt_out])),
            webhook(
                "object",
                json!([absent(injection), absent(revision)]),
                json!([is(INJECT, "true"), absent(revision)]),
            ),
        ],
    })
}

fn validator(namespace: &str, root_pem: &str) -> Value {
    let webhook = |name: &str, operations: &[&str], failure_policy: &str, seconds: u8| {
        json!({
            "name": name,
            "clientConfig": client_config(namespace, root_pem, "/validate"),
            "rules": [{
                "apiGroups": ["security.istio.io", "networking.istio.io", "telemetry.istio.io"],
                "apiVersions": ["*"],
                "operations": operations,
                "resources": ["*"],
                "scope": "*",
            }],
            "admissionReviewVersions": ["v1"],
            "failurePolicy": failure_policy,
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": seconds,
        })
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": format!("istio-validator-{namespace}"), "labels": labels()},
        "webhooks": [
            webhook("rev.validation.istio.io", &["CREATE", "UPDATE"], "Fail", 10),
            // For the history only: nobody is kept from deleting.
            webhook("deletion.history.palisade.dev", &["DELETE"], "Ignore", 1),
        ],
    })
}

fn client_config(namespace: &str, root_pem: &str, path: &str) -> Value {
    json!({
        "service": {"name": SERVICE, "namespace": namespace, "path": path, "port": 443},
        "caBundle": BASE64_STANDARD.encode(root_pem),
    })
}

fn labels() -> Value {
    json!({"app": "istiod", "istio.io/rev": "default"})
}

const INJECT: &str = "sidecar.istio.io/inject";
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often registrations are looked at.
const LOOK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_leads_to_us_or_is_none() {
        let wanted = injector("istio-system", "ROOT");
        let changed = |change: fn(&mut Value)| {
            let mut object = wanted.clone();
            change(&mut object);
            object
        };
        for (stored, registered) in [
            (wanted.clone(), true),
            (changed(|it| it["metadata"]["labels"]["team"] = json!("x")), true),
            (changed(|it| it["webhooks"][0]["namespaceSelector"]["x"] = json!(1)), true),
            (changed(|it| it["webhooks"][0]["clientConfig"]["caBundle"] = json!("")), false),
            (changed(|it| it["webhooks"][1]["failurePolicy"] = json!("Ignore")), false),
            (changed(|it| it["webhooks"][2]["rules"] = json!([])), false),
            (changed(|it| it["webhooks"] = json!([])), false),
            (changed(|it| it["webhooks"] = Value::Null), false),
        ] {
            assert_eq!(registers(&stored, &wanted), registered, "{stored}");
        }
    }

    #[test]
    fn the_registered_objects_are_those_that_istios_tools_know() {
        let at = |port: u16| SocketAddr::from(([10, 244, 0, 1], port));
        let addresses = Addresses { grpc: at(15012), webhooks: at(15017), monitoring: at(15014) };
        insta::assert_yaml_snapshot!(
            "registration",
            [
                service("istio-system"),
                endpoint_slice("istio-system", addresses),
                validator("istio-system", "ROOT"),
                injector("istio-system", "ROOT"),
            ]
        );
    }
}
