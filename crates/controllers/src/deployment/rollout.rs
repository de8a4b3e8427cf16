//! The arithmetic of a rollout: how many replicas each ReplicaSet should have now.

use std::cmp::Reverse;

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::template;
use crate::replica_set::wanted;

/// A deployment with its ReplicaSets, the current one apart from the others.
#[derive(Debug)]
pub(super) struct Rollout<'a> {
    pub(super) deployment: &'a Deployment,
    /// The one whose template is the deployment's.
    pub(super) current: Option<&'a ReplicaSet>,
    /// The others, oldest first.
    pub(super) old: Vec<&'a ReplicaSet>,
    max_surge: i32,
    pub(super) max_unavailable: i32,
}

impl<'a> Rollout<'a> {
    pub(super) fn new(deployment: &'a Deployment, sets: &[&'a ReplicaSet]) -> Self {
        let mut all = sets.to_vec();
        all.sort_by_key(|set| {
            (set.metadata.creation_timestamp.as_ref().map(|time| time.0), set.metadata.name.clone())
        });
        let current = all.iter().copied().find(|set| template::is_of(deployment, set));
        let old = all
            .into_iter()
            .filter(|set| current.is_none_or(|current| current.metadata.uid != set.metadata.uid))
            .collect();
        let (max_surge, max_unavailable) = bounds(deployment);
        Self { deployment, current, old, max_surge, max_unavailable }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'a ReplicaSet> {
        self.current.into_iter().chain(self.old.iter().copied())
    }

    pub(super) fn spec(&self) -> Option<&'a DeploymentSpec> {
        self.deployment.spec.as_ref()
    }

    /// How many replicas the deployment wants.
    pub(super) fn wanted(&self) -> i32 {
        replicas(self.deployment)
    }

    pub(super) fn max_total(&self) -> i32 {
        self.wanted().saturating_add(self.max_surge)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.spec().and_then(|spec| spec.paused).unwrap_or(false)
    }

    pub(super) fn is_recreate(&self) -> bool {
        is_recreate(self.deployment)
    }

    /// The revision of the current template: a new one, or one that is rolled back to, is one more
    /// than all others.
    pub(super) fn revision(&self) -> i64 {
        let of = |set: &ReplicaSet| template::revision(&set.metadata).unwrap_or(0);
        let above_old = self.old.iter().map(|set| of(set)).max().unwrap_or(0) + 1;
        self.current.map_or(above_old, |current| of(current).max(above_old))
    }

    /// Replicas of the current ReplicaSet, which has `now`.
    pub(super) fn target_of_new(&self, now: i32) -> i32 {
        if now >= self.wanted() || self.is_recreate() {
            return self.wanted();
        }
        if self.is_paused() && !self.old.iter().all(|set| wanted(set) == 0) {
            return now;
        }
        let total: i32 = self.old.iter().map(|set| wanted(set)).sum::<i32>() + now;
        let room = (self.max_total() - total).max(0);
        now + room.min(self.wanted() - now)
    }

    /// Replicas of the old ReplicaSets: first what is not available goes, then as many available
    /// ones as the new ones replace.
    pub(super) fn targets_of_old(&self) -> Vec<(&'a ReplicaSet, i32)> {
        let mut targets: Vec<(&ReplicaSet, i32)> =
            self.old.iter().map(|set| (*set, wanted(set))).collect();
        if self.is_paused() {
            return targets;
        }
        if self.is_recreate() {
            return targets.into_iter().map(|(set, _)| (set, 0)).collect();
        }
        let new_wanted = self.current.map_or(0, wanted);
        let new_available = self.current.map_or(0, available);
        let floor = self.wanted() - self.max_unavailable;
        let total: i32 = targets.iter().map(|(_, replicas)| replicas).sum::<i32>() + new_wanted;
        let mut removable = total - floor - (new_wanted - new_available).max(0);
        for (set, replicas) in &mut targets {
            let unhealthy = (*replicas - available(set)).clamp(0, removable.max(0));
            *replicas -= unhealthy;
            removable -= unhealthy;
        }
        let is_available: i32 =
            targets.iter().map(|(set, replicas)| available(set).min(*replicas)).sum::<i32>()
                + new_available;
        let mut removable = (is_available - floor).min(removable).max(0);
        for (_, replicas) in &mut targets {
            let going = (*replicas).min(removable);
            *replicas -= going;
            removable -= going;
        }
        targets
    }

    /// Old ReplicaSets beyond the history that is kept, lowest revision first.
    pub(super) fn outdated(&self) -> Vec<&'a ReplicaSet> {
        let limit = self.spec().and_then(|spec| spec.revision_history_limit).unwrap_or(HISTORY);
        let mut idle: Vec<&ReplicaSet> = self
            .old
            .iter()
            .copied()
            .filter(|set| {
                let status = set.status.as_ref();
                wanted(set) == 0
                    && status.is_some_and(|status| status.replicas == 0)
                    && status.and_then(|status| status.observed_generation)
                        >= set.metadata.generation
                    && set.metadata.deletion_timestamp.is_none()
            })
            .collect();
        idle.sort_by_key(|set| Reverse(template::revision(&set.metadata)));
        let kept = usize::try_from(limit).unwrap_or(0);
        idle.into_iter().skip(kept).rev().collect()
    }
}

/// How many replicas a deployment wants.
pub(super) fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0)
}

fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// How many replicas more, and how many fewer than wanted, a rollout may have.
fn bounds(deployment: &Deployment) -> (i32, i32) {
    if is_recreate(deployment) {
        return (0, replicas(deployment));
    }
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let quarter = || IntOrString::String("25%".to_owned());
    let surge = rolling.and_then(|rolling| rolling.max_surge.clone()).unwrap_or_else(quarter);
    let unavailable =
        rolling.and_then(|rolling| rolling.max_unavailable.clone()).unwrap_or_else(quarter);
    let wanted = replicas(deployment);
    let surge = portion(&surge, wanted, true);
    let unavailable = portion(&unavailable, wanted, false).min(wanted);
    // Neither more nor fewer would mean that nothing ever moves.
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

/// A number, or a percentage of another one.
fn portion(value: &IntOrString, of: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 =
                text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0);
            let exact = percent.clamp(0, 1000) * i64::from(of);
            let rounded = if round_up { (exact + 99) / 100 } else { exact / 100 };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}

const HISTORY: i32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_for_and_against() {
        let percent = |text: &str| IntOrString::String(text.to_owned());
        for (value, of, up, down) in [
            (percent("25%"), 1, 1, 0),
            (percent("25%"), 4, 1, 1),
            (percent("25%"), 10, 3, 2),
            (percent("0%"), 10, 0, 0),
            (percent("100%"), 3, 3, 3),
            (percent("x"), 3, 0, 0),
            (IntOrString::Int(2), 10, 2, 2),
            (IntOrString::Int(-2), 10, 0, 0),
        ] {
            assert_eq!((portion(&value, of, true), portion(&value, of, false)), (up, down));
        }
    }
}
