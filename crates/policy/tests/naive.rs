//! Compiled policies decide as a naive reading of the specification does.

#[path = "naive/interpreter.rs"]
mod interpreter;
#[path = "naive/words.rs"]
mod words;

use palisade_manifest::AuthorizationPolicy;
use palisade_policy::{
    Attributes, CompiledPolicies, Decision, Reason, Scope, Verdict,
    generators::{self, Asked, policies},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use interpreter::Answer;

fn answer(decision: &Decision) -> Answer {
    let allowed = |verdict| verdict == Verdict::Allow;
    let rule = |reason: &Reason| match reason {
        Reason::Allowed(rule) | Reason::Denied(rule) => Some(rule.to_string()),
        Reason::NoPolicy | Reason::NoAllowMatched | Reason::NoConfig => None,
    };
    let shadow = decision.shadow.as_deref();
    let results = [shadow.and_then(|s| s.deny.as_ref()), shadow.and_then(|s| s.allow.as_ref())];
    Answer {
        allowed: allowed(decision.verdict),
        rule: rule(&decision.reason),
        audited: decision.audited,
        shadow: results.map(|set| set.map(|(verdict, reason)| (allowed(*verdict), rule(reason)))),
    }
}

/// Lends the attributes, which borrow from the request.
fn with_attributes(
    asked: &Asked,
    check: impl FnOnce(&Attributes<'_>) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let fields = asked.fields();
    check(&asked.attributes(&fields))
}

fn written(policies: &[AuthorizationPolicy]) -> Vec<Value> {
    policies.iter().map(|policy| json!(policy)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn compiled_policies_decide_as_the_naive_reading(
        policies in policies(), asked in prop::collection::vec(generators::asked(), 1..6),
    ) {
        let mesh = generators::mesh();
        let labels = generators::labels();
        let scope = Scope { mesh: &mesh, namespace: "foo", labels: &labels };
        let compiled = CompiledPolicies::compile(&policies, scope);
        let written = written(&policies);
        for asked in &asked {
            with_attributes(asked, |attributes| {
                let expected = interpreter::decide(&written, scope, attributes);
                prop_assert_eq!(answer(&compiled.decide(attributes)), expected, "{:?}", attributes);
                Ok(())
            })?;
        }
    }

    #[test]
    fn the_order_of_policies_changes_nothing(policies in policies(), asked in generators::asked()) {
        let mesh = generators::mesh();
        let labels = generators::labels();
        let scope = Scope { mesh: &mesh, namespace: "foo", labels: &labels };
        let forwards = CompiledPolicies::compile(&policies, scope);
        let backwards = CompiledPolicies::compile(policies.iter().rev(), scope);
        with_attributes(&asked, |attributes| {
            prop_assert_eq!(forwards.decide(attributes), backwards.decide(attributes));
            Ok(())
        })?;
    }
}
