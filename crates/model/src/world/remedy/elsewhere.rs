//! What would have to change where a call is refused by something that no ALLOW policy outweighs.

use palisade_policy::{
    PolicyRef, Verdict,
    explain::{Explanation, LayerName},
};

use crate::world::{Arrival, Call, World};

impl World {
    /// What would have to change, in sentences.
    pub(super) fn elsewhere(
        &self,
        arrival: &Arrival<'_>,
        call: &Call,
        layer: LayerName,
        denied: &Explanation,
    ) -> String {
        let said = denied.layers.last().map_or("", |layer| layer.text.as_str());
        let port = call.port;
        match (layer, &denied.policy) {
            (LayerName::Mtls, _) => format!(
                "the connection is reset before any policy is asked: {said}. Give the caller a sidecar (label its \
                 namespace `istio-injection=enabled` and restart it); or, if plaintext is wanted, set mode \
                 PERMISSIVE for port {port} in a PeerAuthentication of the workload"
            ),
            (LayerName::Jwt, _) => format!(
                "the token is refused before any ALLOW policy is asked ({said}): send one that a \
                 RequestAuthentication of the workload accepts"
            ),
            (LayerName::Custom | LayerName::Deny, Some(policy)) => {
                let of = if layer == LayerName::Deny { "DENY" } else { "CUSTOM" };
                let rule = denied.rule.as_deref().unwrap_or_default();
                let mut text = format!(
                    "{of} policies go before ALLOW policies, and `{policy}` refuses this call ({said}): change \
                     that rule ({rule}) so that it does not match"
                );
                if layer == LayerName::Custom {
                    text.push_str(", or let the external authorizer say yes");
                }
                text.push_str(&self.without(policy, arrival, call));
                text
            }
            _ => format!(
                "it is refused before any ALLOW policy is asked ({said}): that has to change"
            ),
        }
    }

    /// What would become of the call without a policy, if it would not pass even then.
    fn without(&self, policy: &PolicyRef, arrival: &Arrival<'_>, call: &Call) -> String {
        let old = self.policies.iter().find(|it| PolicyRef::of(&it.metadata) == *policy);
        let Some(old) = old else { return String::new() };
        let after = self.with(old, None).arrival(arrival.pod()).explain(call);
        match after.verdict {
            Verdict::Allow => String::new(),
            Verdict::Deny => format!(". Even without that policy, {}", after.sentence),
        }
    }
}
