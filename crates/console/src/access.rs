//! Who may call a workload: each caller of the mesh asked about each operation that policies name. The engine
//! answers every question as `palisade explain` does.

use std::collections::BTreeSet;

use palisade_model::{Arrival, World, has_sidecar};
use palisade_policy::{PolicyRef, Verdict, words};
use palisade_types::{MtlsMode, Protocol};
use serde::Serialize;

use crate::{
    mesh::{PolicyView, policies},
    view::{MeshView, Question, ViewError},
};

/// What is enforced at a workload.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Access {
    /// Whether it has a sidecar; without, nothing is enforced.
    sidecar: bool,
    ports: Vec<PortAccess>,
    /// The policies that apply, in plain words.
    policies: Vec<PolicyWords>,
    /// Callers or operations that did not fit into the tables.
    left_out: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PortAccess {
    port: u16,
    protocol: Option<Protocol>,
    mtls: MtlsMode,
    /// The PeerAuthentication that says so; none if it is Istio's default.
    mtls_from: Option<PolicyRef>,
    operations: Vec<Operation>,
    callers: Vec<CallerAccess>,
}

/// A request that stands for those of a rule.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Operation {
    method: String,
    path: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CallerAccess {
    /// As `explain --from` takes it.
    from: String,
    /// One for each operation.
    answers: Vec<AccessAnswer>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccessAnswer {
    verdict: Verdict,
    policy: Option<PolicyRef>,
    sentence: String,
}

#[derive(Debug, Serialize)]
struct PolicyWords {
    #[serde(flatten)]
    policy: PolicyView,
    words: Vec<String>,
}

/// Asks about all callers of the mesh, one of whom nothing is known but that it is in the mesh, and one that speaks
/// plaintext.
pub(crate) fn access(
    world: &World,
    view: &dyn MeshView,
    namespace: &str,
    name: &str,
) -> Result<Access, ViewError> {
    let pod = world.pod(name, namespace).ok_or_else(|| {
        ViewError::Question(format!("there is no workload `{name}` in namespace `{namespace}`"))
    })?;
    let arrival = world.arrival(pod);
    let (mut callers, mut operations) = (callers(world), operations(world, &arrival));
    let left_out =
        callers.len().saturating_sub(MAX_CALLERS) + operations.len().saturating_sub(MAX_OPERATIONS);
    callers.truncate(MAX_CALLERS);
    operations.truncate(MAX_OPERATIONS);
    let mut ports = arrival.ports();
    ports.dedup();
    ports.truncate(MAX_PORTS);
    let ask = |from: &str, port: u16, operation: &Operation, tcp: bool| {
        let question = Question {
            from: from.to_owned(),
            to: format!("{name}.{namespace}"),
            method: operation.method.clone(),
            path: operation.path.clone(),
            port: Some(port),
            tcp,
            ..Question::default()
        };
        let explained = view.explain(world, &question)?;
        let (verdict, policy, sentence) = (explained.verdict, explained.policy, explained.sentence);
        Ok(AccessAnswer { verdict, policy, sentence })
    };
    let of_port = |port: &u16| {
        let protocol = arrival.protocol(*port);
        let tcp = protocol == Some(Protocol::Tcp);
        let operations: &[Operation] =
            if tcp { operations.get(..1).unwrap_or_default() } else { &operations };
        let of_caller = |from: &String| {
            let answers = operations.iter().map(|it| ask(from, *port, it, tcp));
            let answers = answers.collect::<Result<_, ViewError>>()?;
            Ok(CallerAccess { from: from.clone(), answers })
        };
        Ok(PortAccess {
            port: *port,
            protocol,
            mtls: arrival.mtls().at(*port),
            mtls_from: arrival.mtls().from(*port).cloned(),
            operations: if tcp { Vec::new() } else { operations.to_vec() },
            callers: callers.iter().map(of_caller).collect::<Result<_, ViewError>>()?,
        })
    };
    Ok(Access {
        sidecar: has_sidecar(pod),
        ports: ports.iter().map(of_port).collect::<Result<_, ViewError>>()?,
        policies: in_words(world, &arrival),
        left_out,
    })
}

fn callers(world: &World) -> Vec<String> {
    let with_sidecar = world.pods().filter(|pod| has_sidecar(pod));
    let identities = with_sidecar.filter_map(|pod| world.identity(pod)).map(|identity| {
        let text = identity.to_string();
        let short = text.split_once("/ns/").and_then(|(_, rest)| rest.split_once("/sa/"));
        short.map_or(text.clone(), |(namespace, account)| format!("{namespace}/{account}"))
    });
    let known: BTreeSet<String> = identities.collect();
    known.into_iter().chain([SOMEBODY.to_owned(), "none".to_owned()]).collect()
}

/// A request for each operation that a rule names, and one for all that none does.
fn operations(world: &World, arrival: &Arrival<'_>) -> Vec<Operation> {
    let scope = world.scope(arrival.pod());
    let applying = world.policies().iter().filter(|policy| scope.selects_authorization(policy));
    let rules = applying.flat_map(|policy| policy.spec.rules.iter().flatten());
    let named =
        rules.flat_map(|rule| rule.to.iter().flatten()).filter_map(|to| to.operation.as_ref());
    let mut all = BTreeSet::new();
    for operation in named {
        let methods = operation.methods.iter().map(|method| method.replace('*', ""));
        let methods: Vec<String> = methods.filter(|method| !method.is_empty()).collect();
        let methods = if methods.is_empty() { vec!["GET".to_owned()] } else { methods };
        let paths: Vec<String> = operation.paths.iter().map(|path| example(path)).collect();
        let paths = if paths.is_empty() { vec!["/".to_owned()] } else { paths };
        for (method, path) in methods.iter().flat_map(|it| paths.iter().map(move |path| (it, path)))
        {
            all.insert(Operation { method: method.clone(), path: path.clone() });
        }
    }
    let other = Operation { method: "GET".to_owned(), path: "/".to_owned() };
    all.remove(&other);
    [other].into_iter().chain(all).collect()
}

/// A path that a pattern matches.
fn example(pattern: &str) -> String {
    let plain = pattern.replace("{**}", "x").replace("{*}", "x");
    match (plain.strip_prefix('*'), plain.strip_suffix('*')) {
        (Some(""), _) => "/".to_owned(),
        (Some(end), _) => format!("/x{end}"),
        (None, Some(begin)) => format!("{begin}x"),
        (None, None) => plain,
    }
}

fn in_words(world: &World, arrival: &Arrival<'_>) -> Vec<PolicyWords> {
    policies(arrival)
        .into_iter()
        .filter_map(|view| {
            let PolicyRef { namespace, name } = view.at();
            let policy = world.policies().iter().find(|policy| {
                policy.metadata.namespace == *namespace && policy.metadata.name == *name
            })?;
            Some(PolicyWords { words: words(policy, world.mesh()), policy: view })
        })
        .collect()
}

/// An identity of the mesh that no policy can have meant.
const SOMEBODY: &str = "any-other-namespace/any-other-account";
const MAX_CALLERS: usize = 60;
const MAX_OPERATIONS: usize = 12;
const MAX_PORTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_what_its_pattern_matches() {
        for (pattern, path) in [
            ("/api", "/api"),
            ("/api/*", "/api/x"),
            ("*/info", "/x/info"),
            ("*", "/"),
            ("/a/{*}/b/{**}", "/a/x/b/x"),
        ] {
            assert_eq!(example(pattern), path, "{pattern}");
        }
    }
}
