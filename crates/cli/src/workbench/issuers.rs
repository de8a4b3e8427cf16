//! Issuers of end users' tokens: which workloads accept them, and the state of their keys.

use palisade_manifest::JwtRule;
use palisade_model::{KeySource, World, has_sidecar, metadata_of, named_keys};
use palisade_policy::PolicyRef;
use serde::Serialize;
use serde_json::Value;

use crate::Mesh;

/// A rule of a RequestAuthentication.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Issuer {
    /// The issuer (`iss`).
    pub issuer: String,
    /// The RequestAuthentication.
    pub policy: PolicyRef,
    /// Audiences, of which a token must have one; empty: any.
    pub audiences: Vec<String>,
    /// Workloads with a sidecar that it applies to (`NAME.NAMESPACE`).
    pub workloads: Vec<String>,
    /// Its keys.
    pub keys: Keys,
}

/// The keys of a rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// Whether they are there.
    pub state: State,
    /// Where they are fetched: a URL, or the issuer whose discovery document says; absent if they are inline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// When they came last (RFC 3339).
    #[serde(skip_serializing_if = "Value::is_null")]
    pub fetched_at: Value,
    /// When they were asked for last (RFC 3339).
    #[serde(skip_serializing_if = "Value::is_null")]
    pub attempted_at: Value,
    /// Why they did not come then.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub error: Value,
    /// `kid`, `kty`, `alg` and `use` of each.
    pub keys: Value,
}

/// Whether there are keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// They stand in the rule.
    Inline,
    /// They were fetched.
    Fetched,
    /// They were fetched, and can't be fetched again: they stay in use for seven days.
    Stale,
    /// There are none: every token of the rule is refused.
    Missing,
    /// They were not asked for yet.
    Awaited,
    /// The control plane does not tell.
    Unknown,
}

impl State {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Fetched => "fetched",
            Self::Stale => "stale",
            Self::Missing => "missing",
            Self::Awaited => "awaited",
            Self::Unknown => "unknown",
        }
    }
}

/// All issuers of a mesh. A control plane that does not answer leaves the state of fetched keys unknown.
pub async fn issuers(mesh: &Mesh, world: &World) -> Vec<Issuer> {
    let fetched = mesh.control("debug/keys").await.ok();
    of_world(world, fetched.as_ref())
}

fn of_world(world: &World, fetched: Option<&Value>) -> Vec<Issuer> {
    let all = world.request_authentications().flat_map(|authentication| {
        let selected = |pod: &&_| world.scope(pod).selects_authentication(authentication);
        let selected = world.pods().filter(|pod| has_sidecar(pod)).filter(selected);
        let named =
            selected.map(|pod| format!("{}.{}", metadata_of(pod).workload, pod.metadata.namespace));
        let mut workloads: Vec<String> = named.collect();
        workloads.sort();
        workloads.dedup();
        let rules = authentication.spec.jwt_rules.iter().flatten();
        rules.map(move |rule| Issuer {
            issuer: rule.issuer.clone(),
            policy: PolicyRef::of(&authentication.metadata),
            audiences: rule.audiences.clone(),
            workloads: workloads.clone(),
            keys: keys(rule, fetched),
        })
    });
    all.collect()
}

fn keys(rule: &JwtRule, fetched: Option<&Value>) -> Keys {
    let none = |state, at| Keys {
        state,
        at,
        fetched_at: Value::Null,
        attempted_at: Value::Null,
        error: Value::Null,
        keys: Value::Array(Vec::new()),
    };
    let (by, at) = match KeySource::of(rule) {
        None => return Keys { keys: named_keys(&rule.jwks), ..none(State::Inline, None) },
        Some(KeySource::Uri(at)) => ("uri", at),
        Some(KeySource::Issuer(at)) => ("discovery", at),
    };
    let Some(fetched) = fetched else { return none(State::Unknown, Some(at)) };
    let mut known = fetched.as_array().into_iter().flatten();
    let Some(known) = known.find(|it| it["by"] == by && it["at"] == at.as_str()) else {
        return none(State::Awaited, Some(at));
    };
    let state = match (known["in_use"] == true, known["error"].is_null()) {
        (true, true) => State::Fetched,
        (true, false) => State::Stale,
        (false, _) => State::Missing,
    };
    Keys {
        state,
        at: Some(at),
        fetched_at: known["fetched_at"].clone(),
        attempted_at: known["attempted_at"].clone(),
        error: known["error"].clone(),
        keys: known["keys"].clone(),
    }
}

#[cfg(test)]
mod tests {
    use palisade_manifest::study;
    use serde_json::json;

    use super::*;

    const MANIFESTS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {containers: [{name: api, image: api}]}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: shop, labels: {app: bare, sidecar.istio.io/inject: "false"}}
spec: {containers: [{name: bare, image: bare}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec:
  jwtRules:
  - {issuer: inline, jwks: '{"keys": [{"kid": "a", "kty": "oct", "k": "c2VjcmV0"}]}'}
  - {issuer: by-uri, jwksUri: "https://i/keys", audiences: [shop]}
  - {issuer: "https://found"}
"#;

    fn states(fetched: Option<&Value>) -> Vec<&'static str> {
        let world = World::of_manifests([&study("shop.yaml", MANIFESTS)]);
        let issuers = of_world(&world, fetched);
        assert!(issuers.iter().all(|it| it.workloads == ["api.shop"]), "{issuers:?}");
        assert_eq!(issuers[0].keys.keys, json!([{"kid": "a", "kty": "oct"}]));
        issuers.iter().map(|it| it.keys.state.as_str()).collect()
    }

    #[test]
    fn the_state_of_keys_is_what_the_control_plane_knows() {
        let known = |in_use: bool, error: Option<&str>| json!([{"by": "uri", "at": "https://i/keys", "in_use": in_use, "error": error}]);
        for (fetched, expected) in [
            (None, ["inline", "unknown", "unknown"]),
            (Some(json!([])), ["inline", "awaited", "awaited"]),
            (Some(known(true, None)), ["inline", "fetched", "awaited"]),
            (Some(known(true, Some("late"))), ["inline", "stale", "awaited"]),
            (Some(known(false, Some("late"))), ["inline", "missing", "awaited"]),
        ] {
            assert_eq!(states(fetched.as_ref()), expected, "{fetched:?}");
        }
    }
}
