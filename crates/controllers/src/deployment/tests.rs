//! Whole rollouts in a simulated cluster.

use serde_json::{Value, json};

use crate::{objects::Kind, simulation::Simulation};

fn web(replicas: i32, image: &str, more: &Value) -> Value {
    let mut document = json!({
        "metadata": {"name": "web", "annotations": {"note": "kept", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    });
    for (key, value) in more.as_object().unwrap() {
        document["spec"][key] = value.clone();
    }
    document
}

fn status<'a>(cluster: &'a Simulation, field: &str) -> &'a Value {
    &cluster.get(Kind::Deployment, "web")["status"][field]
}

fn condition(cluster: &Simulation, kind: &str) -> (String, String) {
    let list = status(cluster, "conditions").as_array().unwrap();
    let found = list.iter().find(|condition| condition["type"] == kind).unwrap();
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("status"), text("reason"))
}

/// Lets pods become ready and end, until nothing moves any more.
fn finish(cluster: &mut Simulation) {
    loop {
        let before = cluster.writes();
        cluster.run_pods("web", true);
        cluster.end_pods();
        if cluster.writes() == before {
            return;
        }
    }
}

#[test]
fn a_deployment_becomes_a_replica_set_and_pods_with_a_status_that_kubectl_understands() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::Deployment, web(2, "one", &json!({})));
    assert_eq!(cluster.names(Kind::Pod).len(), 2);
    let sets = cluster.names(Kind::ReplicaSet);
    let [set] = sets.as_slice() else { panic!("{sets:?}") };
    let hash = set.strip_prefix("web-").unwrap();
    assert!(hash.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b)), "{hash}");
    let object = cluster.get(Kind::ReplicaSet, set);
    assert_eq!(object["spec"]["selector"]["matchLabels"]["pod-template-hash"], json!(hash));
    assert_eq!(object["metadata"]["ownerReferences"][0]["kind"], "Deployment");
    assert_eq!(
        object["metadata"]["annotations"],
        json!({
            "note": "kept",
            "deployment.kubernetes.io/revision": "1",
            "deployment.kubernetes.io/desired-replicas": "2",
            "deployment.kubernetes.io/max-replicas": "3",
        })
    );
    let pod = cluster.get(Kind::Pod, &cluster.names(Kind::Pod)[0]);
    assert_eq!(pod["metadata"]["labels"], json!({"app": "web", "pod-template-hash": hash}));
    assert_eq!(pod["metadata"]["ownerReferences"][0]["name"], json!(set));
    assert_eq!(status(&cluster, "unavailableReplicas"), 2);
    assert_eq!(condition(&cluster, "Available"), pair("False", "MinimumReplicasUnavailable"));
    assert_eq!(condition(&cluster, "Progressing"), pair("True", "ReplicaSetUpdated"));
    finish(&mut cluster);
    for (field, expected) in [
        ("replicas", 2),
        ("updatedReplicas", 2),
        ("readyReplicas", 2),
        ("availableReplicas", 2),
        ("unavailableReplicas", 0),
    ] {
        assert_eq!(status(&cluster, field), expected, "{field}");
    }
    let generation = &cluster.get(Kind::Deployment, "web")["metadata"]["generation"];
    assert_eq!(status(&cluster, "observedGeneration"), generation);
    assert_eq!(condition(&cluster, "Available"), pair("True", "MinimumReplicasAvailable"));
    assert_eq!(condition(&cluster, "Progressing"), pair("True", "NewReplicaSetAvailable"));
}

#[test]
fn a_rolling_update_stays_within_its_bounds() {
    for (replicas, surge, unavailable) in [
        (1, json!("25%"), json!("25%")),
        (4, json!(1), json!(0)),
        (4, json!(0), json!(1)),
        (10, json!("30%"), json!("20%")),
    ] {
        let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        let more = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}});
        let mut cluster = Simulation::new();
        cluster.put(Kind::Deployment, web(replicas, "one", &more));
        finish(&mut cluster);
        let before = cluster.names(Kind::ReplicaSet);
        cluster.put(Kind::Deployment, web(replicas, "two", &more));
        let (most, least) = match (&surge, &unavailable) {
            (Value::String(_), _) if replicas == 1 => (2, 1),
            (Value::String(_), _) => (13, 8),
            (surge, unavailable) => (
                replicas + i32::try_from(surge.as_i64().unwrap()).unwrap(),
                replicas - i32::try_from(unavailable.as_i64().unwrap()).unwrap(),
            ),
        };
        for _ in 0..12 {
            for pod in cluster.names(Kind::Pod) {
                let total: i64 = cluster
                    .names(Kind::ReplicaSet)
                    .iter()
                    .map(|set| {
                        cluster.get(Kind::ReplicaSet, set)["spec"]["replicas"].as_i64().unwrap()
                    })
                    .sum();
                let available = status(&cluster, "availableReplicas").as_i64().unwrap();
                assert!(total <= i64::from(most), "{total} of {most}\n{}", cluster.log.join("\n"));
                assert!(
                    available >= i64::from(least),
                    "{available} of {least}\n{}",
                    cluster.log.join("\n")
                );
                cluster.run_pods(&pod, true);
            }
            cluster.end_pods();
        }
        assert_eq!(status(&cluster, "updatedReplicas"), replicas);
        assert_eq!(status(&cluster, "replicas"), replicas);
        assert_eq!(cluster.names(Kind::Pod).len(), usize::try_from(replicas).unwrap());
        assert_eq!(cluster.get(Kind::ReplicaSet, &before[0])["spec"]["replicas"], 0);
        assert_eq!(condition(&cluster, "Progressing"), pair("True", "NewReplicaSetAvailable"));
        let annotations = &cluster.get(Kind::Deployment, "web")["metadata"]["annotations"];
        assert_eq!(annotations["deployment.kubernetes.io/revision"], "2");
    }
}

#[test]
fn a_broken_template_leaves_the_old_pods_alone_and_times_out() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::Deployment, web(2, "one", &json!({"progressDeadlineSeconds": 60})));
    finish(&mut cluster);
    cluster.put(Kind::Deployment, web(2, "broken", &json!({"progressDeadlineSeconds": 60})));
    cluster.pass(30);
    assert_eq!(condition(&cluster, "Progressing"), pair("True", "ReplicaSetUpdated"));
    assert_eq!(status(&cluster, "availableReplicas"), 2);
    cluster.pass(31);
    assert_eq!(condition(&cluster, "Progressing"), pair("False", "ProgressDeadlineExceeded"));
    assert_eq!(status(&cluster, "availableReplicas"), 2);
    cluster.put(Kind::Deployment, web(2, "one", &json!({"progressDeadlineSeconds": 60})));
    finish(&mut cluster);
    assert_eq!(condition(&cluster, "Progressing"), pair("True", "NewReplicaSetAvailable"));
    assert_eq!(cluster.names(Kind::ReplicaSet).len(), 2, "going back makes no third one");
    let annotations = &cluster.get(Kind::Deployment, "web")["metadata"]["annotations"];
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "3");
}

#[test]
fn a_complete_deployment_that_loses_its_pods_much_later_is_not_late() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::Deployment, web(2, "one", &json!({"progressDeadlineSeconds": 60})));
    finish(&mut cluster);
    cluster.pass(3600);
    cluster.run_pods("web", false);
    assert_eq!(status(&cluster, "unavailableReplicas"), 2);
    assert_eq!(condition(&cluster, "Progressing"), pair("True", "NewReplicaSetAvailable"));
    let writes = cluster.writes();
    cluster.pass(5);
    assert_eq!(cluster.writes(), writes, "nothing is to be done, now or soon");
}

#[test]
fn recreate_starts_nothing_new_before_the_old_has_ended() {
    let more = json!({"strategy": {"type": "Recreate"}});
    let mut cluster = Simulation::new();
    cluster.put(Kind::Deployment, web(2, "one", &more));
    finish(&mut cluster);
    let old = cluster.names(Kind::Pod);
    cluster.put(Kind::Deployment, web(2, "two", &more));
    assert_eq!(cluster.names(Kind::Pod), old, "they are ending");
    cluster.end_pods();
    let new = cluster.names(Kind::Pod);
    assert_eq!(new.len(), 2);
    assert!(new.iter().all(|name| !old.contains(name)));
}

#[test]
fn scaling_goes_up_and_down_and_to_nothing() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::Deployment, web(1, "one", &json!({})));
    for replicas in [3, 1, 0, 2] {
        cluster.patch(Kind::Deployment, "web", &json!({"spec": {"replicas": replicas}}));
        finish(&mut cluster);
        assert_eq!(status(&cluster, "availableReplicas"), replicas);
        assert_eq!(cluster.names(Kind::Pod).len(), usize::try_from(replicas).unwrap());
        assert_eq!(condition(&cluster, "Progressing"), pair("True", "NewReplicaSetAvailable"));
    }
    assert_eq!(cluster.names(Kind::ReplicaSet).len(), 1);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::Deployment, web(2, "one", &json!({})));
    finish(&mut cluster);
    cluster.put(Kind::Deployment, web(2, "two", &json!({"paused": true})));
    assert_eq!(cluster.names(Kind::ReplicaSet).len(), 1);
    cluster.patch(Kind::Deployment, "web", &json!({"spec": {"paused": false}}));
    finish(&mut cluster);
    assert_eq!(cluster.names(Kind::ReplicaSet).len(), 2);
    assert_eq!(status(&cluster, "updatedReplicas"), 2);
}

#[test]
fn old_replica_sets_are_kept_as_history_and_no_longer() {
    let more = json!({"revisionHistoryLimit": 2});
    let mut cluster = Simulation::new();
    for image in ["one", "two", "three", "four", "five"] {
        cluster.put(Kind::Deployment, web(1, image, &more));
        finish(&mut cluster);
    }
    let sets = cluster.names(Kind::ReplicaSet);
    let mut revisions: Vec<&str> = sets
        .iter()
        .map(|set| &cluster.get(Kind::ReplicaSet, set)["metadata"]["annotations"])
        .map(|annotations| annotations["deployment.kubernetes.io/revision"].as_str().unwrap())
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, ["3", "4", "5"]);
}

#[test]
fn a_name_that_is_taken_is_got_around() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::Deployment, web(1, "one", &json!({})));
    let name = cluster.names(Kind::ReplicaSet).remove(0);
    let mut cluster = Simulation::new();
    cluster.put(Kind::ReplicaSet, json!({"metadata": {"name": name}, "spec": {"replicas": 0,
        "selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}}}));
    cluster.put(Kind::Deployment, web(1, "one", &json!({})));
    assert_eq!(cluster.names(Kind::ReplicaSet).len(), 2);
    assert_eq!(status(&cluster, "collisionCount"), 1);
    assert_eq!(cluster.names(Kind::Pod).len(), 1);
}

#[test]
fn minimum_ready_time_delays_availability() {
    let mut cluster = Simulation::new();
    cluster.put(Kind::Deployment, web(1, "one", &json!({"minReadySeconds": 10})));
    cluster.run_pods("web", true);
    assert_eq!(
        (status(&cluster, "readyReplicas"), status(&cluster, "availableReplicas")),
        (&json!(1), &json!(0))
    );
    cluster.pass(9);
    assert_eq!(status(&cluster, "availableReplicas"), 0);
    cluster.pass(1);
    assert_eq!(status(&cluster, "availableReplicas"), 1);
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}
