//! What would let a call pass that is denied: the smallest ALLOW policy, or the smallest addition to one that is
//! there, which allows this call and nothing else; or, where no ALLOW policy helps, what would have to change
//! instead. A policy is offered only after the engine has said that the call passes with it.
//!
//! A call is its caller, its request principal if it has one, port, method, and path as policies see it. Policies
//! can't tell queries apart, and other header fields and the host are the caller's to choose.

mod elsewhere;
mod exact;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use palisade_manifest::{
    Action, AuthorizationPolicy, AuthorizationPolicySpec, From, ObjectMeta, Pod, To,
    WorkloadSelector,
};
use palisade_policy::{
    PolicyRef, Verdict,
    explain::{Explanation, LayerName},
    is_dry_run,
};
use palisade_types::Protocol;
use serde::Serialize;

use self::exact::Exact;
use super::{Arrival, Call, World};
use crate::metadata_of;

/// What would let a call pass.
#[derive(Clone, Debug)]
pub enum Remedy {
    /// Nothing has to change: it passes.
    Passes(Box<Explanation>),
    /// A policy.
    Policy(Box<Proposal>),
    /// No ALLOW policy would; what would have to change instead, in sentences.
    Elsewhere(String),
}

/// An ALLOW policy that lets one call pass.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The policy as it would be.
    pub policy: AuthorizationPolicy,
    /// What is added to the policy of this name; none: the policy is new.
    pub change: Option<Change>,
    /// What becomes of the call with it.
    pub proof: Explanation,
    /// What to know about it, in sentences.
    pub notes: Vec<String>,
}

/// An entry more in a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Index of the rule.
    pub rule: usize,
    /// The entry.
    pub entry: Entry,
}

/// An entry of a rule.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Entry {
    /// Of `from`.
    From(From),
    /// Of `to`.
    To(To),
}

impl Entry {
    /// The list that it belongs to.
    #[must_use]
    pub fn list(&self) -> &'static str {
        match self {
            Self::From(_) => "from",
            Self::To(_) => "to",
        }
    }
}

impl World {
    /// What would let a call to a pod pass.
    #[must_use]
    pub fn remedy(&self, pod: &Pod, call: &Call) -> Remedy {
        let arrival = self.arrival(pod);
        let denied = arrival.explain(call);
        match denied.refused_by {
            None => Remedy::Passes(Box::new(denied)),
            Some(LayerName::Allow) => match Exact::of(&arrival, call, &denied) {
                Ok(exact) => self.proposal(&arrival, call, &exact, &denied),
                Err(why) => Remedy::Elsewhere(why),
            },
            Some(layer) => Remedy::Elsewhere(self.elsewhere(&arrival, call, layer, &denied)),
        }
    }

    fn proposal(
        &self,
        arrival: &Arrival<'_>,
        call: &Call,
        exact: &Exact,
        denied: &Explanation,
    ) -> Remedy {
        let pod = arrival.pod();
        let nearest = denied.nearest.as_ref().map(|nearest| (&nearest.policy, nearest.rule));
        let mut changes = self.changes(pod, exact);
        changes.sort_by_key(|(policy, change)| {
            Some((&PolicyRef::of(&policy.metadata), change.rule)) != nearest
        });
        let changes = changes.into_iter().take(MAX_TRIED);
        let changes = changes.map(|(policy, change)| (changed(policy, &change), Some(change)));
        let labels = self.selector(pod);
        let new = labels.clone().map(|labels| (self.new_policy(pod, exact, labels), None));
        let mut why = no_selector(pod);
        for (policy, change) in changes.chain(new) {
            let after = self.with(&policy, Some(&policy));
            let proof = after.arrival(pod).explain(call);
            if proof.verdict == Verdict::Allow {
                let notes = notes(arrival, call, &proof);
                return Remedy::Policy(Box::new(Proposal { policy, change, proof, notes }));
            }
            if labels.is_some() {
                why = format!(
                    "an ALLOW policy for this call alone does not help: {}",
                    proof.sentence
                );
            }
        }
        Remedy::Elsewhere(why)
    }

    /// The additions to policies for this workload alone that allow nothing but the call.
    fn changes(&self, pod: &Pod, exact: &Exact) -> Vec<(&AuthorizationPolicy, Change)> {
        let own = self.policies.iter().filter(|policy| {
            policy.spec.action == Action::Allow && !is_dry_run(policy) && self.is_for(policy, pod)
        });
        own.flat_map(|policy| {
            let rules = policy.spec.rules.iter().enumerate();
            rules.filter_map(move |(index, rule)| {
                let entry = exact.entry(rule.as_ref()?)?;
                Some((policy, Change { rule: index, entry }))
            })
        })
        .collect()
    }

    /// Whether a policy applies to the workload of a pod, and to no other.
    fn is_for(&self, policy: &AuthorizationPolicy, pod: &Pod) -> bool {
        let is_own = |other: &&Pod| is_of_same_workload(pod, other);
        self.scope(pod).selects_authorization(policy)
            && self.pods().all(|it| is_own(&it) || !self.scope(it).selects_authorization(policy))
    }

    /// The fewest labels that select the pods of a workload, and no other.
    fn selector(&self, pod: &Pod) -> Option<BTreeMap<String, String>> {
        let own: Vec<&Pod> = self.pods().filter(|it| is_of_same_workload(pod, it)).collect();
        let mut labels = pod.metadata.labels.clone();
        labels.retain(|key, value| {
            !OF_CONTROLLERS.iter().any(|prefix| key.starts_with(prefix))
                && own.iter().all(|it| it.metadata.labels.get(key) == Some(value))
        });
        let one = |key: &str| labels.get(key).map(|value| (key.to_owned(), value.clone()));
        let usual = USUAL.iter().map(|keys| keys.iter().filter_map(|key| one(key)).collect());
        let single = labels.keys().map(|key| one(key).into_iter().collect());
        let all: Vec<BTreeMap<String, String>> =
            usual.chain(single).chain([labels.clone()]).collect();
        all.into_iter().find(|it| {
            let selector = Some(WorkloadSelector { match_labels: it.clone() });
            let spec = AuthorizationPolicySpec { selector, ..AuthorizationPolicySpec::default() };
            let namespace = pod.metadata.namespace.clone();
            let metadata = ObjectMeta { namespace, ..ObjectMeta::default() };
            !it.is_empty() && self.is_for(&AuthorizationPolicy { metadata, spec }, pod)
        })
    }

    fn new_policy(
        &self,
        pod: &Pod,
        exact: &Exact,
        labels: BTreeMap<String, String>,
    ) -> AuthorizationPolicy {
        let namespace = pod.metadata.namespace.clone();
        let is_taken = |name: &str| {
            let mut here = self.policies.iter().filter(|it| it.metadata.namespace == namespace);
            here.any(|it| it.metadata.name == name)
        };
        let account = exact.account();
        let plain = format!("allow-{account}-to-{}", metadata_of(pod).workload);
        let numbered = (2_u32..).map(|number| format!("{plain}-{number}"));
        let name = std::iter::once(plain.clone()).chain(numbered).find(|it| !is_taken(it));
        let metadata =
            ObjectMeta { name: name.unwrap_or(plain.clone()), namespace, ..ObjectMeta::default() };
        let spec = AuthorizationPolicySpec {
            selector: Some(WorkloadSelector { match_labels: labels }),
            action: Action::Allow,
            rules: vec![Some(exact.rule())],
            ..AuthorizationPolicySpec::default()
        };
        AuthorizationPolicy { metadata, spec }
    }
}

fn changed(policy: &AuthorizationPolicy, change: &Change) -> AuthorizationPolicy {
    let mut policy = policy.clone();
    if let Some(Some(rule)) = policy.spec.rules.get_mut(change.rule) {
        match &change.entry {
            Entry::From(from) => rule.from.push(Some(from.clone())),
            Entry::To(to) => rule.to.push(Some(to.clone())),
        }
    }
    policy
}

fn is_of_same_workload(one: &Pod, other: &Pod) -> bool {
    one.metadata.namespace == other.metadata.namespace
        && metadata_of(one).workload == metadata_of(other).workload
}

fn no_selector(pod: &Pod) -> String {
    let workload = metadata_of(pod).workload;
    format!(
        "`{workload}` has no label that no other workload has, so no policy can be for it alone: add one, such \
         as `app: {workload}`, to the labels of its pods"
    )
}

fn notes(arrival: &Arrival<'_>, call: &Call, proof: &Explanation) -> Vec<String> {
    let mut notes = Vec::new();
    if call.request.is_some() && arrival.protocol(call.port) == Some(Protocol::Tcp) {
        let text = "The port speaks TCP, where policies see neither method nor path: whatever this caller sends \
                    to it is allowed.";
        notes.push(text.to_owned());
    }
    if arrival.authenticates() && proof.request_principal.is_none() {
        let text = "The call was asked about without a token, so the policy allows it with any token that is \
                    accepted, and without one.";
        notes.push(text.to_owned());
    }
    if let Some(provider) = &proof.asks {
        notes.push(format!(
            "The external authorizer `{provider}` is asked before, and may refuse it."
        ));
    }
    notes
}

/// Changes that are tried.
const MAX_TRIED: usize = 8;
/// Labels that people select by, tried first.
const USUAL: [&[&str]; 4] =
    [&["app"], &["app.kubernetes.io/name"], &["k8s-app"], &["app", "version"]];
/// Labels that controllers and injectors add, and that change without anybody's doing.
const OF_CONTROLLERS: [&str; 13] = [
    "pod-template-hash",
    "pod-template-generation",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "apps.kubernetes.io/",
    "batch.kubernetes.io/",
    "statefulset.kubernetes.io/",
    "topology.",
    "istio.io/",
    "security.istio.io/",
    "service.istio.io/",
    "sidecar.istio.io/",
];
