//! Compiled policies decide as a naive reading of the specification does.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "naive/interpreter.rs"]
mod interpreter;

use palisade_policy::{
    Attributes, Before, CompiledPolicies, Decision, Http, Reason, Scope, Verdict,
    generators::{self, Asked, many_policies, policies},
};
use palisade_types::Mesh;
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
        decided: (allowed(decision.verdict), rule(&decision.reason)),
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

#[test]
fn the_naive_reading_is_short_enough_to_be_held_against_the_specification() {
    let lines = include_str!("naive/interpreter.rs").lines().map(str::trim);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
    assert!(code <= 200, "{code} lines");
}

/// What the naive reading says, first of CUSTOM policies, which come before tokens, and then of the others.
fn decide(policies: &[Value], scope: Scope<'_>, attributes: &Attributes<'_>) -> Answer {
    let is_custom = |policy: &Value| policy["spec"]["action"] == "CUSTOM";
    let (custom, others): (Vec<Value>, Vec<Value>) = policies.iter().cloned().partition(is_custom);
    let http = attributes.http.map(|http| Http { claims: None, ..http });
    let before = interpreter::decide(&custom, scope, &Attributes { http, ..*attributes });
    let after = interpreter::decide(&others, scope, attributes);
    if before.decided.0 { after } else { Answer { shadow: after.shadow, ..before } }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn compiled_policies_decide_as_the_naive_reading(
        policies in prop_oneof![policies(), many_policies()],
        asked in prop::collection::vec(generators::asked(), 1..6),
    ) {
        let mesh = generators::mesh();
        let labels = generators::labels();
        let scope = Scope { mesh: &mesh, namespace: "foo", labels: &labels };
        let compiled = CompiledPolicies::compile(&policies, scope);
        let written: Vec<Value> = policies.iter().map(|policy| json!(policy)).collect();
        for asked in &asked {
            with_attributes(asked, |attributes| {
                let expected = decide(&written, scope, attributes);
                prop_assert_eq!(answer(&compiled.decide(attributes)), expected, "{:?}", attributes);
                Ok(())
            })?;
        }
    }

    #[test]
    fn after_a_change_only_what_it_touches_is_compiled(
        policies in many_policies(),
        other in policies(),
        at in any::<prop::sample::Index>(),
        asked in generators::asked(),
    ) {
        let mesh = generators::mesh();
        let labels = generators::labels();
        let scope = Scope { mesh: &mesh, namespace: "foo", labels: &labels };
        let compiled = CompiledPolicies::compile(&policies, scope);
        prop_assert_eq!(compiled.compiled_anew(), compiled.applied().count());
        let before = Some(Before { policies: &policies, scope, compiled: &compiled });
        let unchanged = CompiledPolicies::compile_after(before, &policies, scope);
        prop_assert_eq!(unchanged.compiled_anew(), 0);

        // One policy is replaced, under its own name, or is gone.
        let mut changed = policies.clone();
        let at = at.index(policies.len());
        match other.into_iter().next() {
            Some(other) => changed[at].spec = other.spec,
            None => drop(changed.remove(at)),
        }
        let compiled = CompiledPolicies::compile_after(before, &changed, scope);
        prop_assert!(compiled.compiled_anew() <= 1);
        let whole = CompiledPolicies::compile(&changed, scope);
        // What holds in another mesh is compiled there.
        let moved = Mesh { trust_domain_aliases: Vec::new(), ..mesh.clone() };
        let moved = Scope { mesh: &moved, ..scope };
        let elsewhere = CompiledPolicies::compile_after(before, &policies, moved);
        prop_assert_eq!(elsewhere.compiled_anew(), elsewhere.applied().count());
        with_attributes(&asked, |attributes| {
            prop_assert_eq!(compiled.decide(attributes), whole.decide(attributes));
            prop_assert_eq!(
                elsewhere.decide(attributes),
                CompiledPolicies::compile(&policies, moved).decide(attributes)
            );
            Ok(())
        })?;
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
