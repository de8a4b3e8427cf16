//! `describe policy` and `describe workload`: what policies mean, in plain words.

use std::{fmt::Write as _, io::Write};

use palisade_manifest::{Action, AuthorizationPolicy, Pod};
use palisade_model::World;
use palisade_policy::{Enforcement, words};
use palisade_types::MtlsMode;

use crate::{
    CliError,
    args::{DescribeMeaningArgs, Target as Where},
    commands::split_namespace,
    error::During,
    workbench::{sources, world},
};

pub(crate) async fn policy(
    mesh: &Where,
    args: &DescribeMeaningArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let world = world(&sources(&args.files, mesh).await?)?;
    let (name, namespace) = split_namespace(&args.name, args.namespace.as_deref());
    let at =
        |it: &&AuthorizationPolicy| it.metadata.name == name && it.metadata.namespace == namespace;
    let policy = world.policies().iter().find(at).ok_or_else(|| {
        CliError::No(format!("AuthorizationPolicy `{name}` not found in namespace `{namespace}`"))
    })?;
    out.write_all(policy_text(&world, policy).as_bytes()).during("print")
}

pub(crate) async fn workload(
    mesh: &Where,
    args: &DescribeMeaningArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let world = world(&sources(&args.files, mesh).await?)?;
    let (name, namespace) = split_namespace(&args.name, args.namespace.as_deref());
    let pod = world.pod(&name, &namespace).ok_or_else(|| {
        CliError::No(format!("workload `{name}` not found in namespace `{namespace}`"))
    })?;
    out.write_all(workload_text(&world, pod).as_bytes()).during("print")
}

fn policy_text(world: &World, policy: &AuthorizationPolicy) -> String {
    let mut text = headline(policy);
    for sentence in words(policy, world.mesh()) {
        let _ = writeln!(text, "  {sentence}");
    }
    let applies = |pod: &&Pod| world.scope(pod).selects_authorization(policy);
    let names: Vec<String> = world
        .pods()
        .filter(applies)
        .map(|pod| format!("{}.{}", pod.metadata.name, pod.metadata.namespace))
        .collect();
    match names.as_slice() {
        [] => text.push_str("Applies to no workload.\n"),
        names => {
            let _ = writeln!(text, "Applies to {}.", names.join(", "));
        }
    }
    text
}

fn workload_text(world: &World, pod: &Pod) -> String {
    let arrival = world.arrival(pod);
    let mut text = format!("{}.{}", pod.metadata.name, pod.metadata.namespace);
    if !arrival.has_sidecar() {
        text.push_str(": no sidecar, so nothing is enforced and everybody may do anything.\n");
        return text;
    }
    text.push('\n');
    let mut ports = arrival.ports();
    ports.dedup();
    if ports.is_empty() {
        let _ = writeln!(text, "Connections: {}.", mode_words(arrival.mtls().default));
    }
    for port in ports {
        let _ = writeln!(text, "Port {port}: {}.", mode_words(arrival.mtls().at(port)));
    }
    let applying = || {
        let scope = world.scope(pod);
        world.policies().iter().filter(move |policy| scope.selects_authorization(policy))
    };
    for action in [Action::Custom, Action::Audit, Action::Deny, Action::Allow] {
        for policy in applying().filter(|policy| policy.spec.action == action) {
            text.push_str(&headline(policy));
            for sentence in words(policy, world.mesh()) {
                let _ = writeln!(text, "  {sentence}");
            }
        }
    }
    let allows = arrival.compiled().applied().any(|applied| {
        applied.action == Action::Allow && applied.enforcement == Enforcement::Enforced
    });
    text.push_str(if allows {
        "All else is denied.\n"
    } else {
        "No ALLOW policy applies: all that is not denied is allowed.\n"
    });
    text
}

fn headline(policy: &AuthorizationPolicy) -> String {
    let metadata = &policy.metadata;
    let action = format!("{:?}", policy.spec.action).to_uppercase();
    format!("{}.{} ({action})\n", metadata.name, metadata.namespace)
}

fn mode_words(mode: MtlsMode) -> &'static str {
    match mode {
        MtlsMode::Strict => "mutual TLS only; plaintext is reset (STRICT)",
        MtlsMode::Permissive => "mutual TLS and plaintext (PERMISSIVE)",
        MtlsMode::Disable => "plaintext only, so nobody has an identity (DISABLE)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workbench::load;

    #[test]
    fn the_scenario_reads_as_sentences() {
        let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/poc-mesh/manifests");
        let world = world(&load(&[manifests.into()]).unwrap()).unwrap();
        let policies: Vec<String> =
            world.policies().iter().map(|policy| policy_text(&world, policy)).collect();
        let backend = workload_text(&world, world.pod("backend", "poc-mesh").unwrap());
        insta::assert_snapshot!(format!("{}\n{backend}", policies.join("\n")));
    }
}
