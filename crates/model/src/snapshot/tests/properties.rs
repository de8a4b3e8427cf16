//! Laws over random histories of a mesh: only what is there counts, not how it came there.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{Snapshot, changed},
    fixture::{object, objects, pod, service, slice, typed},
};
use crate::{Objects, ProxyConfig};

/// Sixteen objects that influence each other, each in two versions.
fn candidate(index: usize, version: bool) -> Value {
    let app = |index: usize| ["web", "db"][index % 2];
    let namespace = ["shop", "istio-system"][index / 2 % 2];
    let mode = if version { "STRICT" } else { "DISABLE" };
    match index / 4 {
        0 => pod(
            namespace,
            &format!("pod-{index}"),
            json!({"app": app(index)}),
            &format!("10.0.{}.{index}", u8::from(version)),
            index != 3,
        ),
        1 if index.is_multiple_of(2) => {
            let ports = json!([{"name": if version { "http" } else { "tcp" }, "port": 80}]);
            service(namespace, "web", json!({"app": "web"}), ports)
        }
        1 => slice(namespace, "web", "http", 8080, &[("10.0.0.0", "pod-0"), ("10.0.0.2", "pod-2")]),
        2 if index.is_multiple_of(2) => {
            let name = format!("pa-{index}");
            object("PeerAuthentication", namespace, &name, json!({"mtls": {"mode": mode}}))
        }
        2 => {
            let host = "web.shop.svc.cluster.local";
            let mode = if version { "ISTIO_MUTUAL" } else { "DISABLE" };
            let spec = json!({"host": host, "trafficPolicy": {"tls": {"mode": mode}}});
            object("DestinationRule", namespace, "rule", spec)
        }
        _ => {
            let spec = json!({
                "selector": {"matchLabels": {"app": app(index)}},
                "action": if version { "ALLOW" } else { "DENY" },
                "rules": [{}],
            });
            object("AuthorizationPolicy", namespace, &format!("ap-{index}"), spec)
        }
    }
}

fn configs(snapshot: &Snapshot) -> Vec<ProxyConfig> {
    snapshot.workloads().filter_map(|at| snapshot.proxy_config(at)).collect()
}

fn history() -> impl Strategy<Value = Vec<(usize, Option<bool>)>> {
    prop::collection::vec((0_usize..16, prop::option::weighted(0.75, any::<bool>())), 0..60)
}

proptest! {
    #[test]
    fn a_history_comes_to_the_same_as_its_outcome_in_any_order(
        history in history(),
        seed in any::<u64>(),
    ) {
        let mut incremental = Objects::default();
        let mut outcome = [None; 16];
        for (index, version) in &history {
            match version {
                Some(version) => incremental.apply(typed(candidate(*index, *version))),
                None => incremental.delete(&typed(candidate(*index, true)).reference()),
            }
            outcome[*index] = *version;
        }
        let mut left: Vec<Value> = outcome
            .iter()
            .enumerate()
            .filter_map(|(index, version)| Some(candidate(index, (*version)?)))
            .collect();
        left.sort_by_key(|object| object.to_string().len() as u64 ^ seed);
        let one = Snapshot::new(&incremental, 1);
        let other = Snapshot::new(&objects(left), 1);
        prop_assert_eq!(configs(&one), configs(&other));
        prop_assert!(changed(&one, &other).is_empty());
    }

    #[test]
    fn changed_names_exactly_the_workloads_whose_configs_differ(
        history in history(),
        index in 0_usize..16,
        version in prop::option::of(any::<bool>()),
    ) {
        let mut objects = Objects::default();
        for (index, version) in &history {
            objects.apply(typed(candidate(*index, version.unwrap_or_default())));
        }
        let before = Snapshot::new(&objects, 1);
        match version {
            Some(version) => objects.apply(typed(candidate(index, version))),
            None => objects.delete(&typed(candidate(index, true)).reference()),
        }
        let after = Snapshot::new(&objects, 1);
        let differing: Vec<_> = before
            .workloads()
            .chain(after.workloads())
            .filter(|at| before.proxy_config(at) != after.proxy_config(at))
            .cloned()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        prop_assert_eq!(changed(&before, &after).into_iter().collect::<Vec<_>>(), differing);
    }
}
