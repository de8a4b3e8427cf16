//! What one rule says about a request, condition by condition, from its compiled form.

use palisade_manifest::AuthorizationPolicy;
use palisade_types::Mesh;

use super::{
    place::{Part, Place},
    rule::{CompiledRule, Context, Dropped, Layer},
    seen::Seen,
    test::{Sense, Test, View},
};
use crate::{Attributes, Scope};

/// A rule against a request.
#[derive(Clone, Debug)]
pub(crate) enum Traced {
    /// Its conditions; of several alternatives those of the one of which the fewest fail.
    Tried(Vec<Tried>),
    /// It is not used for this protocol, or at all, for the condition at this place.
    Unused(Place),
    /// It never matches.
    Never,
}

/// One condition against a request.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    /// Path below the rule.
    pub(crate) field: String,
    /// Whether one of the values must match, and not none.
    pub(crate) one_of: bool,
    pub(crate) holds: bool,
    pub(crate) seen: Seen,
}

/// Tries the rule of a policy at an index; none if there is no such rule.
pub(crate) fn trace(
    policy: &AuthorizationPolicy,
    index: usize,
    scope: Scope<'_>,
    attributes: &Attributes<'_>,
) -> Option<Traced> {
    let rule = policy.spec.rules.get(index)?.as_ref()?;
    let context = Context {
        mesh: scope.mesh,
        namespace: &policy.metadata.namespace,
        action: policy.spec.action,
        layer: if attributes.http.is_some() { Layer::Http } else { Layer::Tcp },
    };
    let view = View::new(attributes);
    Some(match CompiledRule::compile(rule, context) {
        Err(Dropped(place)) => Traced::Unused(place),
        Ok(compiled) => match compiled.nearest_tests(&view) {
            Some(tests) => {
                Traced::Tried(tests.into_iter().map(|test| tried(test, &view)).collect())
            }
            None => Traced::Never,
        },
    })
}

/// What becomes of a rule on a TCP port, in words, if it is not the same as for requests.
pub(crate) fn use_on_tcp(
    policy: &AuthorizationPolicy,
    index: usize,
    mesh: &Mesh,
) -> Option<&'static str> {
    let rule = policy.spec.rules.get(index)?.as_ref()?;
    let at = |layer| {
        let namespace = &policy.metadata.namespace;
        let context = Context { mesh, namespace, action: policy.spec.action, layer };
        CompiledRule::compile(rule, context).ok()
    };
    let (http, tcp) = (at(Layer::Http)?, at(Layer::Tcp));
    match tcp {
        None => Some("On a TCP port it allows nothing."),
        Some(tcp) if tcp.conditions() < http.conditions() => {
            Some("On a TCP port its HTTP conditions count as true.")
        }
        Some(_) => None,
    }
}

fn tried(test: &Test, view: &View<'_>) -> Tried {
    Tried {
        field: test.place.path(&field(test)),
        one_of: test.sense == Sense::OneOf,
        holds: test.holds(view),
        seen: test.values.seen(view),
    }
}

/// The name of a list of values: `principals`, `notPrincipals`, or `values` of a condition.
fn field(test: &Test) -> String {
    let name = if test.place.part == Part::When { "values" } else { test.values.field() };
    match (test.sense, name.split_at_checked(1)) {
        (Sense::NoneOf, Some((first, rest))) => format!("not{}{rest}", first.to_uppercase()),
        _ => name.to_owned(),
    }
}
