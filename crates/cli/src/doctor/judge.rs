//! What the facts about a machine mean.

use super::{Check, Facts, Outcome};

/// All checks, group by group, what others build on first.
pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    [kernel(facts), namespaces(facts), network(facts), resources(facts), state(facts)].concat()
}

fn kernel(facts: &Facts) -> Vec<Check> {
    let group = "kernel";
    let new_enough = version(&facts.kernel).is_some_and(|version| version >= MINIMUM_KERNEL);
    let (major, minor) = MINIMUM_KERNEL;
    vec![
        fatal(group, &format!("Linux is {major}.{minor} or later"), new_enough, || {
            format!("this is {}: update the kernel", facts.kernel)
        }),
        fatal(group, "system calls can be filtered", facts.seccomp, || {
            "this kernel was built without CONFIG_SECCOMP_FILTER: take another one".to_owned()
        }),
    ]
}

fn namespaces(facts: &Facts) -> Vec<Check> {
    let group = "namespaces";
    let sandbox = &facts.sandbox;
    vec![fatal(group, "user, mount and pid namespaces are allowed", sandbox.is_none(), || {
        sandbox.clone().unwrap_or_default()
    })]
}

fn network(facts: &Facts) -> Vec<Check> {
    let group = "network";
    let programs = facts.programs.iter().map(|(program, there)| {
        fatal(group, &format!("`{program}` is installed"), *there, || {
            let package = if program == "nft" { "nftables" } else { program };
            format!("install the package `{package}`, or add its directory to PATH")
        })
    });
    let trials = facts.trials.iter().map(|trial| {
        fatal(group, &trial.name, trial.problem.is_none(), || {
            let problem = trial.problem.as_deref().unwrap_or_default();
            format!("{problem}: {KERNEL_NEEDS}")
        })
    });
    let port = warning(group, "the API's usual port is free", facts.api_port.is_none(), || {
        let problem = facts.api_port.as_deref().unwrap_or_default();
        format!("{problem}: `up` takes a free one, or the one of --api-port")
    });
    programs.chain(trials).chain([port]).collect()
}

fn resources(facts: &Facts) -> Vec<Check> {
    let group = "resources";
    let limit = |name: &str, limit: Option<u64>, wanted: u64, option: &str| {
        let enough = limit.is_none_or(|limit| limit >= wanted);
        warning(group, &format!("at least {wanted} {name}"), enough, || {
            let limit = limit.unwrap_or_default();
            format!("the limit is {limit}: raise it with `ulimit -{option} {wanted}`")
        })
    };
    vec![
        limit("open files", facts.open_files, OPEN_FILES, "n"),
        limit("processes", facts.processes, PROCESSES, "u"),
        warning(
            group,
            "pods can be held to limits of memory, CPU and processes",
            facts.cgroups.is_none(),
            || {
                let problem = facts.cgroups.as_deref().unwrap_or_default();
                format!(
                    "{problem}; until then a pod may take from the others what it is not limited in"
                )
            },
        ),
        fatal(
            group,
            "the clock does not go back",
            facts.now + CLOCK_SLACK >= facts.written,
            || {
                let behind = facts.written.saturating_sub(facts.now);
                format!(
                    "it is {behind} s before what was written on this machine, and certificates are \
                 not valid yet: set it, for example with `timedatectl set-ntp true`"
                )
            },
        ),
    ]
}

fn state(facts: &Facts) -> Vec<Check> {
    let group = "state";
    let place = &facts.state_dir;
    let free = facts.free_bytes.map(|bytes| bytes >> 20);
    let room = format!("{MEBIBYTES_FREE} MiB are free for state");
    vec![
        fatal(
            group,
            "the state directory can be written",
            facts.state_dir_problem.is_none(),
            || {
                let problem = facts.state_dir_problem.as_deref().unwrap_or_default();
                format!("`{place}`: {problem}: take another one with --state-dir")
            },
        ),
        fatal(group, &room, free.is_none_or(|free| free >= MEBIBYTES_FREE), || {
            let free = free.unwrap_or_default();
            format!("{free} MiB are free at `{place}`: make room, or take another --state-dir")
        }),
    ]
}

pub(super) fn fatal(
    group: &'static str,
    name: &str,
    holds: bool,
    hint: impl FnOnce() -> String,
) -> Check {
    check(group, name, holds, Outcome::Fail, hint)
}

pub(super) fn warning(
    group: &'static str,
    name: &str,
    holds: bool,
    hint: impl FnOnce() -> String,
) -> Check {
    check(group, name, holds, Outcome::Warn, hint)
}

fn check(
    group: &'static str,
    name: &str,
    holds: bool,
    otherwise: Outcome,
    hint: impl FnOnce() -> String,
) -> Check {
    let name = name.to_owned();
    if holds {
        Check { group, name, outcome: Outcome::Pass, hint: None }
    } else {
        Check { group, name, outcome: otherwise, hint: Some(hint()) }
    }
}

/// Major and minor version of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

const KERNEL_NEEDS: &str = "the kernel needs veth, nf_tables, nft_nat and nft_redir, and the sysctls \
                            user.max_net_namespaces and user.max_mnt_namespaces must allow more";
const MINIMUM_KERNEL: (u32, u32) = (5, 15);
/// A pod takes some dozens in the supervisor, a busy sidecar two for each connection.
const OPEN_FILES: u64 = 4096;
const PROCESSES: u64 = 1024;
/// Seconds that clocks of file systems may be ahead.
const CLOCK_SLACK: u64 = 60;
/// Objects, logs and the API's history of a small mesh.
const MEBIBYTES_FREE: u64 = 256;
