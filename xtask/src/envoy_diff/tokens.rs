//! What istiod makes of RequestAuthentications: providers and requirements of Envoy's JWT filter.
//!
//! Follows `pilot/pkg/security/authn/policy_applier.go:143-365`.

use palisade_manifest::{JwtRule, RequestAuthentication};
use serde_json::{Map, Value, json};

use super::{config::type_of, rbac::Target};

/// The providers and requirements of all workloads.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    providers: Vec<Value>,
    requirements: Map<String, Value>,
}

impl Tokens {
    /// The name of what a workload requires of tokens; none if it does not look at them.
    pub(super) fn require(
        &mut self,
        target: &Target<'_>,
        policies: &[RequestAuthentication],
    ) -> Option<String> {
        let mut rules: Vec<&JwtRule> = policies
            .iter()
            .filter(|policy| {
                let spec = &policy.spec;
                let (refs, single) = (&spec.target_refs, spec.target_ref.as_ref());
                target.selects(&policy.metadata, spec.selector.as_ref(), refs, single)
            })
            .flat_map(|policy| policy.spec.jwt_rules.iter().flatten())
            .collect();
        rules.sort_by(|a, b| a.issuer.cmp(&b.issuer));
        let names: Vec<String> = rules.iter().map(|rule| self.provider(rule)).collect();
        let required = |name: &String| json!({"provider_name": name});
        let optional = |name: &String| json!({"requires_any": {"requirements": [required(name), {"allow_missing": {}}]}});
        let requirement = match names.as_slice() {
            [] => return None,
            [name] => optional(name),
            names => {
                let all: Vec<Value> = names.iter().map(optional).collect();
                let mut any: Vec<Value> = names.iter().map(required).collect();
                any.push(json!({"requires_all": {"requirements": all}}));
                json!({"requires_any": {"requirements": any}})
            }
        };
        let known = self.requirements.iter().find(|(_, known)| **known == requirement);
        if let Some((name, _)) = known {
            return Some(name.clone());
        }
        let name = format!("requirement-{}", self.requirements.len());
        self.requirements.insert(name.clone(), requirement);
        Some(name)
    }

    fn provider(&mut self, rule: &JwtRule) -> String {
        let mut spaced = rule.space_delimited_claims.clone();
        spaced.extend(["permission", "scope"].map(str::to_owned));
        spaced.sort();
        spaced.dedup();
        let headers: Vec<Value> = rule
            .from_headers
            .iter()
            .flatten()
            .map(|header| json!({"name": header.name, "value_prefix": header.prefix}))
            .collect();
        let outputs: Vec<Value> = rule
            .output_claim_to_headers
            .iter()
            .flatten()
            .map(|output| json!({"header_name": output.header, "claim_name": output.claim}))
            .collect();
        let provider = json!({
            "issuer": rule.issuer,
            "audiences": rule.audiences,
            "local_jwks": {"inline_string": rule.jwks},
            "forward": rule.forward_original_token,
            "forward_payload_header": rule.output_payload_to_header,
            "claim_to_headers": outputs,
            "from_headers": headers,
            "from_params": rule.from_params,
            "from_cookies": rule.from_cookies,
            "payload_in_metadata": "payload",
            "normalize_payload_in_metadata": {"space_delimited_claims": spaced},
        });
        let known = self.providers.iter().position(|known| *known == provider);
        let index = known.unwrap_or_else(|| {
            self.providers.push(provider);
            self.providers.len() - 1
        });
        format!("origins-{index}")
    }

    pub(super) fn filter(&self) -> Value {
        let providers: Map<String, Value> = self
            .providers
            .iter()
            .enumerate()
            .map(|(index, provider)| (format!("origins-{index}"), provider.clone()))
            .collect();
        json!({
            "@type": type_of("filters.http.jwt_authn.v3.JwtAuthentication"),
            "providers": providers,
            "requirement_map": self.requirements,
            "bypass_cors_preflight": true,
        })
    }
}
