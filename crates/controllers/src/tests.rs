//! Whole stories in a simulated cluster: services and endpoints, namespaces, owners.

use serde_json::{Value, json};

use crate::{objects::Kind, simulation::Simulation};

fn service(name: &str, more: &Value) -> Value {
    let mut document = json!({
        "metadata": {"name": name, "labels": {"team": "a"}},
        "spec": {
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": "web"}],
        },
    });
    for (key, value) in more.as_object().unwrap() {
        document["spec"][key] = value.clone();
    }
    document
}

fn pod(name: &str, labels: &Value, more: &Value) -> Value {
    let mut document = json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "nodeName": "node",
            "containers": [{"name": "main", "ports": [{"name": "web", "containerPort": 8080}]}],
        },
        "status": {"phase": "Running", "podIP": "10.244.0.5",
                   "conditions": [{"type": "Ready", "status": "True"}]},
    });
    for (key, value) in more.as_object().unwrap() {
        document[key] = value.clone();
    }
    document
}

fn set(name: &str, replicas: i32) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
        },
    })
}

fn slices(cluster: &Simulation) -> Vec<&Value> {
    let names = cluster.names(Kind::EndpointSlice);
    names.iter().map(|name| cluster.get(Kind::EndpointSlice, name)).collect()
}

/// Name, address, and the conditions ready, serving, terminating of each endpoint.
fn endpoints(cluster: &Simulation) -> Vec<(String, String, [bool; 3])> {
    slices(cluster)
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().unwrap())
        .map(|endpoint| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let is = |key: &str| endpoint["conditions"][key].as_bool().unwrap();
            let conditions = [is("ready"), is("serving"), is("terminating")];
            (text(&endpoint["targetRef"]["name"]), text(&endpoint["addresses"][0]), conditions)
        })
        .collect()
}

#[test]
fn a_service_has_the_addresses_of_its_pods_and_follows_them() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::Service, service("web", &json!({})));
    assert_eq!(slices(&cluster).len(), 1, "an empty one at first");
    let label = json!({"app": "web"});
    cluster.put(Kind::Pod, pod("a", &label, &json!({})));
    cluster.put(Kind::Pod, pod("other", &json!({"app": "db"}), &json!({})));
    assert_eq!(endpoints(&cluster), [("a".into(), "10.244.0.5".into(), [true, true, false])]);
    let slice = slices(&cluster)[0];
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(slice["endpoints"][0]["nodeName"], "node");
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!(
        slice["metadata"]["labels"],
        json!({
            "team": "a",
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        })
    );
    let not_ready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    cluster.patch(Kind::Pod, "a", &not_ready);
    assert_eq!(endpoints(&cluster)[0].2, [false, false, false]);
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    cluster.patch(Kind::Pod, "a", &ready);
    cluster.delete(Kind::Pod, "a", None);
    assert_eq!(endpoints(&cluster)[0].2, [false, true, true], "it still ends");
    cluster.end_pods();
    assert!(endpoints(&cluster).is_empty());
    assert_eq!(slices(&cluster).len(), 1);
    cluster.patch(Kind::Pod, "other", &json!({"metadata": {"labels": label}}));
    assert_eq!(endpoints(&cluster).len(), 1, "a pod may be labelled into a service");
    cluster.patch(Kind::Pod, "other", &json!({"metadata": {"labels": {"app": "db"}}}));
    assert!(endpoints(&cluster).is_empty(), "and out of it");
    cluster.delete(Kind::Service, "web", None);
    assert!(slices(&cluster).is_empty());
}

#[test]
fn ports_lead_where_service_and_pod_say() {
    let label = json!({"app": "web"});
    for (ports, expected) in [
        (json!([{"port": 80}]), json!([{"name": "", "port": 80, "protocol": "TCP"}])),
        (
            json!([{"port": 80, "targetPort": 9000}]),
            json!([{"name": "", "port": 9000, "protocol": "TCP"}]),
        ),
        (json!([{"port": 80, "targetPort": "none"}]), json!([])),
        (json!([{"port": 80, "targetPort": "web", "protocol": "UDP"}]), json!([])),
        (
            json!([{"name": "a", "port": 80, "targetPort": "web", "appProtocol": "grpc"}, {"name": "b", "port": 81}]),
            json!([{"name": "a", "port": 8080, "protocol": "TCP", "appProtocol": "grpc"},
                   {"name": "b", "port": 81, "protocol": "TCP"}]),
        ),
    ] {
        let mut cluster = Simulation::new();
        cluster.put(Kind::Pod, pod("a", &label, &json!({})));
        cluster.put(Kind::Service, service("web", &json!({"ports": ports})));
        assert_eq!(slices(&cluster)[0]["ports"], expected, "{ports}");
    }
}

#[test]
fn a_named_port_of_a_native_sidecar_counts_and_different_numbers_are_in_different_slices() {
    let label = json!({"app": "web"});
    let mut cluster = Simulation::new();
    cluster.put(Kind::Service, service("web", &json!({})));
    cluster.put(Kind::Pod, pod("a", &label, &json!({})));
    let sidecar = json!({"name": "s", "restartPolicy": "Always", "ports": [{"name": "web", "containerPort": 9090}]});
    let spec = json!({"containers": [{"name": "main"}], "initContainers": [sidecar]});
    cluster.put(Kind::Pod, pod("b", &label, &json!({"spec": spec})));
    let numbers: Vec<&Value> =
        slices(&cluster).iter().map(|slice| &slice["ports"][0]["port"]).collect();
    assert_eq!(numbers, [8080, 9090]);
}

#[test]
fn services_without_selector_or_of_other_names_have_no_slices() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::Service, service("a", &json!({"selector": {}})));
    cluster.put(Kind::Service, service("b", &json!({"type": "ExternalName"})));
    assert!(slices(&cluster).is_empty());
    cluster.put(
        Kind::Service,
        service("c", &json!({"clusterIP": "None", "publishNotReadyAddresses": true})),
    );
    let not_ready = json!({"status": {"phase": "Running", "podIP": "10.244.0.9"}});
    cluster.put(Kind::Pod, pod("p", &json!({"app": "web"}), &not_ready));
    assert_eq!(endpoints(&cluster)[0].2, [true, false, false]);
    let labels = &slices(&cluster)[0]["metadata"]["labels"];
    assert_eq!(labels["service.kubernetes.io/headless"], "");
}

#[test]
fn many_pods_share_slices_of_a_hundred() {
    let mut cluster = Simulation::new();
    for number in 0..105 {
        let name = format!("p{number:03}");
        cluster.put(Kind::Pod, pod(&name, &json!({"app": "web"}), &json!({})));
    }
    cluster.put(Kind::Service, service("web", &json!({})));
    let sizes = |cluster: &Simulation| -> Vec<usize> {
        slices(cluster).iter().map(|slice| slice["endpoints"].as_array().unwrap().len()).collect()
    };
    assert_eq!(sizes(&cluster), [100, 5]);
    for number in 0..60 {
        cluster.delete(Kind::Pod, &format!("p{number:03}"), None);
    }
    cluster.end_pods();
    assert_eq!(sizes(&cluster), [45]);
}

#[test]
fn a_namespace_has_its_account_and_gets_it_back() {
    let mut cluster = Simulation::new();
    assert_eq!(cluster.names(Kind::ServiceAccount), ["default"]);
    cluster.delete(Kind::ServiceAccount, "default", None);
    assert_eq!(cluster.names(Kind::ServiceAccount), ["default"]);
}

#[test]
fn a_namespace_takes_its_contents_along_and_waits_for_running_pods() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::Service, service("web", &json!({})));
    cluster.put(Kind::ReplicaSet, set("web", 2));
    cluster.run_pods("web", true);
    cluster.delete(Kind::Namespace, "n", None);
    assert_eq!(cluster.names(Kind::Namespace), ["n"], "pods still end");
    assert_eq!(cluster.names(Kind::Pod).len(), 2);
    for kind in [Kind::Service, Kind::EndpointSlice, Kind::ReplicaSet, Kind::ServiceAccount] {
        assert!(cluster.names(kind).is_empty(), "{kind:?}");
    }
    cluster.end_pods();
    assert!(cluster.names(Kind::Namespace).is_empty());
}

#[test]
fn a_replica_set_replaces_what_is_deleted_or_has_failed() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::ReplicaSet, set("web", 2));
    cluster.run_pods("web", true);
    let first = cluster.names(Kind::Pod);
    cluster.delete(Kind::Pod, &first[0], None);
    assert_eq!(cluster.names(Kind::Pod).len(), 3, "the new one does not wait for the old one");
    cluster.end_pods();
    cluster.patch(Kind::Pod, &first[1], &json!({"status": {"phase": "Failed"}}));
    assert_eq!(cluster.names(Kind::Pod).len(), 3, "a failed one is left for people to look at");
    assert_eq!(cluster.get(Kind::ReplicaSet, "web")["status"]["replicas"], 2);
}

#[test]
fn a_replica_set_dispenses_with_the_least_useful_pods() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::ReplicaSet, set("web", 3));
    let pods = cluster.names(Kind::Pod);
    cluster.run_pods(&pods[0], true);
    cluster.run_pods(&pods[1], false);
    cluster.patch(Kind::ReplicaSet, "web", &json!({"spec": {"replicas": 2}}));
    assert_eq!(cluster.names(Kind::Pod), [pods[0].as_str(), &pods[1]], "the one without node went");
    cluster.patch(Kind::ReplicaSet, "web", &json!({"spec": {"replicas": 1}}));
    cluster.end_pods();
    assert_eq!(cluster.names(Kind::Pod), [pods[0].as_str()], "the one that is not ready went");
}

#[test]
fn pods_are_adopted_and_released_by_their_labels() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::Pod, pod("lone", &json!({"app": "web"}), &json!({})));
    cluster.put(Kind::ReplicaSet, set("web", 1));
    assert_eq!(cluster.names(Kind::Pod), ["lone"], "it is adopted, none is created");
    let owners = |cluster: &Simulation| {
        cluster.get(Kind::Pod, "lone")["metadata"]["ownerReferences"].clone()
    };
    assert_eq!(owners(&cluster)[0]["name"], "web");
    cluster.patch(Kind::Pod, "lone", &json!({"metadata": {"labels": {"app": "debug"}}}));
    assert_eq!(owners(&cluster), json!([]));
    assert_eq!(cluster.names(Kind::Pod).len(), 2, "and replaced");
    cluster.put(Kind::ReplicaSet, set("web2", 1));
    let count = cluster.names(Kind::Pod).len();
    assert_eq!(count, 3, "what has a controller is nobody else's");
}

#[test]
fn what_has_lost_its_owner_goes_too() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::ReplicaSet, set("web", 1));
    let uid = cluster.get(Kind::ReplicaSet, "web")["metadata"]["uid"].clone();
    let owner = |uid: &Value, name: &str| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": uid});
    let owned =
        |name: &str, owners: Value| json!({"metadata": {"name": name, "ownerReferences": owners}});
    cluster.put(Kind::ConfigMap, owned("mine", json!([owner(&uid, "web")])));
    cluster.put(
        Kind::Secret,
        owned("shared", json!([owner(&uid, "web"), owner(&json!("uid-1"), "n")])),
    );
    cluster.put(Kind::ConfigMap, owned("stray", json!([owner(&json!("never"), "gone")])));
    assert_eq!(cluster.names(Kind::ConfigMap), ["mine"], "the stray one went at once");
    cluster.delete(Kind::ReplicaSet, "web", None);
    assert!(cluster.names(Kind::Pod).is_empty());
    assert!(cluster.names(Kind::ConfigMap).is_empty());
    assert_eq!(cluster.names(Kind::Secret), ["shared"], "it has another owner");
}

#[test]
fn foreground_waits_for_dependents_and_orphan_lets_them_live() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::ReplicaSet, set("web", 2));
    cluster.run_pods("web", true);
    cluster.delete(Kind::ReplicaSet, "web", Some("foregroundDeletion"));
    assert_eq!(cluster.names(Kind::ReplicaSet), ["web"], "its pods still end");
    cluster.end_pods();
    assert!(cluster.names(Kind::ReplicaSet).is_empty());
    assert!(cluster.names(Kind::Pod).is_empty());
    cluster.put(Kind::ReplicaSet, set("web", 2));
    cluster.delete(Kind::ReplicaSet, "web", Some("orphan"));
    assert!(cluster.names(Kind::ReplicaSet).is_empty());
    assert_eq!(cluster.names(Kind::Pod).len(), 2);
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::Service, service("web", &json!({})));
    cluster.put(Kind::ReplicaSet, set("web", 2));
    cluster.run_pods("web", true);
    let before = cluster.writes();
    cluster.resync();
    assert_eq!(cluster.writes(), before);
}
