//! `explain --propose`: the smallest AuthorizationPolicy that allows one call, as YAML to apply; or what would have to
//! change instead.

use std::io::Write;

use palisade_model::{Change, Proposal, Remedy, World};
use palisade_policy::PolicyRef;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Ask, asked};
use crate::{
    CliError,
    args::{ExplainArgs, Format},
    error::During,
    workbench::{Source, tidied, yaml},
};

/// What would let a call pass.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposed {
    /// What it comes to.
    pub outcome: Outcome,
    /// Why, in sentences: what becomes of the call with the policy, or what would have to change instead.
    pub sentence: String,
    /// What to know about the policy, in sentences.
    pub notes: Vec<String>,
    /// The policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
    /// What is added to it, such as `spec.rules[0].to[1]`; absent if it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adds: Option<String>,
    /// The whole policy, as YAML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yaml: Option<String>,
}

/// What asking for a policy comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The call passes as it is.
    Passes,
    /// With this policy it would.
    Policy,
    /// No ALLOW policy would let it pass.
    Elsewhere,
}

/// What would let a call pass. `object` is a policy as it was written (YAML).
///
/// # Errors
/// As for `explain`, and when a policy that is to be added to was not found.
pub fn propose(
    world: &World,
    ask: &Ask,
    object: impl Fn(&PolicyRef) -> Option<String>,
) -> Result<Proposed, CliError> {
    let asked = asked(world, ask)?;
    let none = |outcome, sentence| Proposed {
        outcome,
        sentence,
        notes: Vec::new(),
        policy: None,
        adds: None,
        yaml: None,
    };
    let Proposal { policy, change, proof, notes } = match world.remedy(asked.pod, &asked.call) {
        Remedy::Passes(explained) => return Ok(none(Outcome::Passes, explained.sentence)),
        Remedy::Elsewhere(why) => return Ok(none(Outcome::Elsewhere, why)),
        Remedy::Policy(proposal) => *proposal,
    };
    let name = PolicyRef::of(&policy.metadata);
    let (written, adds) = match &change {
        None => (new(&name, &json!(policy.spec)), None),
        Some(change) => {
            let old = object(&name).and_then(|text| {
                Some(palisade_manifest::decode("policy", &text).objects.pop()?.value)
            });
            let old =
                old.ok_or_else(|| CliError::Trouble(format!("`{name}` is not to be found")))?;
            let (written, place) = added(old, change);
            (written, Some(place))
        }
    };
    let note = asked.note.into_iter().chain(notes).collect();
    let yaml = Some(yaml(&written));
    let (outcome, sentence) = (Outcome::Policy, proof.sentence);
    Ok(Proposed { outcome, sentence, notes: note, policy: Some(name), adds, yaml })
}

/// A policy that does not exist yet.
fn new(name: &PolicyRef, spec: &Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name.name, "namespace": name.namespace},
        "spec": spec,
    })
}

/// A policy as it was written with an entry more, and where that stands.
fn added(mut policy: Value, change: &Change) -> (Value, String) {
    let (rule, list) = (change.rule, change.entry.list());
    let entries = policy.pointer_mut(&format!("/spec/rules/{rule}/{list}"));
    let entries = entries.and_then(Value::as_array_mut);
    let at = entries.map_or(0, |entries| {
        entries.push(json!(change.entry));
        entries.len() - 1
    });
    (policy, format!("spec.rules[{rule}].{list}[{at}]"))
}

/// Prints what would let a call pass.
pub(super) fn run(
    world: &World,
    sources: &[Source],
    args: &ExplainArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let object = |name: &PolicyRef| {
        let mut objects = sources.iter().flat_map(|source| &source.study.objects);
        let found = objects.find(|object| is_policy(&object.value, name))?;
        Some(yaml(&tidied(found.value.clone())))
    };
    let proposed = propose(world, &args.ask, object)?;
    if args.output == Format::Json {
        let json = serde_json::to_string_pretty(&proposed).during("print")?;
        writeln!(out, "{json}").during("print")?;
    }
    match (args.output, proposed.outcome, &proposed.yaml) {
        (Format::Table, _, Some(yaml)) => {
            write!(out, "{}{yaml}", comments(&proposed)).during("print")
        }
        (_, Outcome::Policy, _) => Ok(()),
        (Format::Json, ..) => Err(CliError::Reported),
        (_, Outcome::Passes, _) => {
            Err(CliError::No(format!("no policy is needed: {}", proposed.sentence)))
        }
        _ => Err(CliError::No(format!("no ALLOW policy helps: {}", proposed.sentence))),
    }
}

/// What there is to say about a policy, above it.
fn comments(proposed: &Proposed) -> String {
    let what = match (&proposed.policy, &proposed.adds) {
        (Some(name), Some(place)) => format!("`{name}` with {place} added. "),
        _ => String::new(),
    };
    let first = format!("{what}With this policy, {}.", proposed.sentence);
    let lines = std::iter::once(&first).chain(&proposed.notes);
    lines.map(|line| format!("# {line}\n")).collect()
}

fn is_policy(object: &Value, name: &PolicyRef) -> bool {
    let metadata = &object["metadata"];
    object["kind"] == "AuthorizationPolicy"
        && metadata["name"] == name.name.as_str()
        && metadata["namespace"].as_str().unwrap_or("default") == name.namespace
}
