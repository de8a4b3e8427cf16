use palisade_types::{MtlsMode, WorkloadRef};
use serde_json::json;

use super::*;

fn pod(name: &str, version: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "resourceVersion": version,
            "labels": {"app": name, "security.istio.io/tlsMode": "istio"},
        },
        "spec": {"containers": []},
        "status": {"phase": "Running"},
    })
}

fn authentication(mode: &str, version: &str) -> Value {
    json!({
        "metadata": {"name": "default", "namespace": "shop", "resourceVersion": version},
        "spec": {"mtls": {"mode": mode}},
    })
}

fn of(kind: Kind) -> Source {
    Source::Objects(kind)
}

/// An index that has listed everything, with two pods.
fn listed() -> Index {
    let mut index = Index::new("istio-system");
    for source in Source::all() {
        let objects = match source {
            Source::Objects(Kind::Pod) => vec![pod("a", "1"), pod("b", "1")],
            _ => Vec::new(),
        };
        index.change(source, Change::Reset(objects));
    }
    index
}

fn mode(published: &Published, name: &str) -> MtlsMode {
    let config = published.snapshot.proxy_config(&WorkloadRef::new("shop", name)).unwrap();
    config.inbound.mtls.default
}

#[test]
fn nothing_is_published_before_every_kind_was_listed() {
    let mut index = Index::new("istio-system");
    let sources: Vec<Source> = Source::all().collect();
    let (last, others) = sources.split_last().unwrap();
    for source in others {
        index.change(*source, Change::Reset(Vec::new()));
        assert!(index.publish().is_none(), "{source}");
    }
    index.change(*last, Change::Reset(Vec::new()));
    let published = index.publish().unwrap();
    assert_eq!(published.snapshot.generation(), 1);
    assert!(published.missing.is_empty());
}

#[test]
fn a_generation_is_made_only_of_what_a_workload_can_notice() {
    let mut index = listed();
    assert_eq!(index.publish().unwrap().snapshot.generation(), 1);
    assert!(index.publish().is_none(), "nothing happened");

    index.change(of(Kind::Pod), Change::Apply(pod("a", "2")));
    let published = index.publish().unwrap();
    assert_eq!(published.snapshot.generation(), 1, "a new version of the same");
    let seen = published.seen.iter().find(|(at, _)| at.name == "a").unwrap().1;
    assert_eq!(seen.resource_version, "2");

    index.change(of(Kind::PeerAuthentication), Change::Apply(authentication("STRICT", "3")));
    let published = index.publish().unwrap();
    assert_eq!(published.snapshot.generation(), 2);
    assert_eq!(mode(&published, "a"), MtlsMode::Strict);
    assert!(published.changed_in.values().all(|generation| *generation == 2));
}

#[test]
fn only_workloads_that_a_change_is_about_have_changed_in_its_generation() {
    let mut index = listed();
    index.publish().unwrap();
    let policy = json!({
        "metadata": {"name": "p", "namespace": "shop", "resourceVersion": "5"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "action": "DENY", "rules": [{}]},
    });
    index.change(of(Kind::AuthorizationPolicy), Change::Apply(policy));
    let published = index.publish().unwrap();
    let changed: Vec<(&str, u64)> =
        published.changed_in.iter().map(|(at, it)| (at.name.as_str(), *it)).collect();
    assert_eq!(changed, [("a", 2), ("b", 1)]);
}

#[test]
fn a_reset_forgets_what_it_does_not_name_and_a_broken_version_keeps_the_last_good_one() {
    let mut index = listed();
    let source = of(Kind::PeerAuthentication);
    index.change(source, Change::Apply(authentication("STRICT", "3")));
    index.publish().unwrap();
    index.change(source, Change::Reset(vec![authentication("SOMETIMES", "4")]));
    let published = index.publish().unwrap();
    assert_eq!(mode(&published, "a"), MtlsMode::Strict);
    let seen = published.seen.iter().find(|(at, _)| at.name == "default").unwrap().1;
    assert!(seen.refused.is_some(), "{seen:?}");
    index.change(source, Change::Reset(Vec::new()));
    let published = index.publish().unwrap();
    assert_eq!(mode(&published, "a"), MtlsMode::Permissive);
    assert!(!published.seen.keys().any(|at| at.name == "default"));
}

#[test]
fn a_broken_policy_without_a_good_version_denies() {
    let mut index = listed();
    let broken = json!({
        "metadata": {"name": "p", "namespace": "shop", "resourceVersion": "5"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "rulez": []},
    });
    index.change(of(Kind::AuthorizationPolicy), Change::Apply(broken));
    let published = index.publish().unwrap();
    let unusable = |name: &str| {
        published.snapshot.proxy_config(&WorkloadRef::new("shop", name)).unwrap().inbound.unusable
    };
    assert_eq!(unusable("a"), ["AuthorizationPolicy/shop/p"]);
    assert!(unusable("b").is_empty());
}

#[test]
fn the_mesh_settings_are_those_of_one_config_map() {
    let config_map = |namespace: &str, name: &str, domain: &str| {
        json!({
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": "5"},
            "data": {"mesh": format!("trustDomain: {domain}")},
        })
    };
    let mut index = listed();
    for (namespace, name) in [("istio-system", "other"), ("shop", "istio")] {
        index
            .change(Source::MeshConfig, Change::Apply(config_map(namespace, name, "evil.example")));
    }
    index.change(
        Source::MeshConfig,
        Change::Apply(config_map("istio-system", "istio", "a.example")),
    );
    let published = index.publish().unwrap();
    assert_eq!(published.mesh().trust_domain.as_str(), "a.example");
    index.change(
        Source::MeshConfig,
        Change::Apply(config_map("istio-system", "istio", "No Domain")),
    );
    let published = index.publish().unwrap();
    assert_eq!(published.mesh().trust_domain.as_str(), "a.example");
    index.change(Source::MeshConfig, Change::Delete(config_map("istio-system", "istio", "")));
    assert_eq!(index.publish().unwrap().mesh().trust_domain.as_str(), "cluster.local");
}

#[test]
fn generations_go_on_from_an_earlier_life_within_bounds() {
    let mut index = listed();
    index.publish().unwrap();
    index.at_least(57);
    let published = index.publish().unwrap();
    assert_eq!(published.snapshot.generation(), 58);
    assert!(published.changed_in.values().all(|generation| *generation == 1));
    index.at_least(3);
    index.at_least(u64::MAX);
    assert!(index.publish().is_none());
}
