//! `test --offline`: the same suites, answered by the engine from manifests instead of by sidecars.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    time::Instant,
};

use palisade_manifest::Pod;
use palisade_model::{Arrival, Call, Request, World, mutants};
use palisade_policy::{Verdict, explain::Explanation};

use super::{
    super::explain::now,
    Outcome, Probe, ProbeResult, differences, policy_of, read,
    report::{Extent, Part},
};
use crate::{
    CliError,
    args::TestArgs,
    workbench::{caller, load, target, world},
};

/// What a suite said about a world.
pub(super) struct Offline {
    pub(super) results: Vec<ProbeResult>,
    pub(super) extent: Extent,
}

pub(super) fn run(args: &TestArgs) -> Result<Offline, CliError> {
    let mut paths = args.files.clone();
    let mut probes = Vec::new();
    for path in &args.suites {
        let suite = read(path)?;
        let beside = path.parent().unwrap_or(path);
        paths.extend(suite.manifests.iter().map(|manifest| beside.join(manifest)));
        probes.extend(suite.probes);
    }
    answer(args, &paths, &probes)
}

fn answer(args: &TestArgs, paths: &[PathBuf], probes: &[Probe]) -> Result<Offline, CliError> {
    if paths.is_empty() {
        return Err(CliError::Trouble(
            "--offline needs manifests: name them with -f, or in the suite under `manifests`"
                .to_owned(),
        ));
    }
    let world = world(&load(paths)?)?;
    let calls: Vec<Prepared<'_>> =
        probes.iter().map(|probe| Prepared::new(&world, probe)).collect::<Result<_, _>>()?;
    let (mut results, mut reached) = (Vec::new(), BTreeSet::new());
    let mut started = Instant::now();
    for (call, explained) in answers(&world, calls.iter()) {
        let rules = explained.layers.iter().filter_map(|layer| layer.rule.clone());
        reached.extend(rules.chain(explained.rule.clone()));
        results.push(result(call, &explained, started.elapsed().as_secs_f64()));
        started = Instant::now();
    }
    let coverage = args.coverage.then(|| unreached(&world, &reached));
    let passing = calls.iter().zip(&results).filter(|(_, result)| result.passed());
    let passing: Vec<&Prepared<'_>> = passing.map(|(call, _)| call).collect();
    let mutation = args.mutate.then(|| unnoticed(&world, &passing));
    Ok(Offline { results, extent: Extent { coverage, mutation } })
}

/// A probe with its call.
struct Prepared<'a> {
    probe: &'a Probe,
    pod: &'a Pod,
    call: Call,
}

impl<'a> Prepared<'a> {
    fn new(world: &'a World, probe: &'a Probe) -> Result<Self, CliError> {
        let caller = caller(world, &probe.from)?;
        let (host, port) = (probe.host(), probe.port());
        let host = host.trim_end_matches(".cluster.local").trim_end_matches(".svc");
        let name = if host.contains('.') {
            host.to_owned()
        } else {
            format!("{host}.{}", caller.namespace)
        };
        let target = match target(world, &format!("svc/{name}"), Some(port)) {
            Err(_) if world.pods().any(|pod| pod_is(pod, &name)) => {
                target(world, &name, Some(port))?
            }
            found => found?,
        };
        let caller = caller.calling(world, &target);
        let request = Request {
            method: probe.method.clone(),
            path: probe.path_and_query(),
            host: probe.authority(),
            headers: probe.headers.clone().into_iter().collect(),
            claims: probe.claims.clone(),
        };
        Ok(Self {
            probe,
            pod: target.pod,
            call: Call {
                identities: caller.identities,
                source_ip: caller.address,
                port: target.port,
                request: Some(request),
                now: now(),
                authorizer: probe.custom.map(Verdict::from),
            },
        })
    }
}

fn pod_is(pod: &Pod, name: &str) -> bool {
    format!("{}.{}", pod.metadata.name, pod.metadata.namespace) == name
}

/// Answers each call in a world, whose policies are compiled once for each pod.
fn answers<'c>(
    world: &'c World,
    calls: impl Iterator<Item = &'c Prepared<'c>>,
) -> impl Iterator<Item = (&'c Prepared<'c>, Explanation)> {
    let mut arrivals: HashMap<*const Pod, Arrival<'c>> = HashMap::new();
    calls.map(move |call| {
        let arrival =
            arrivals.entry(std::ptr::from_ref(call.pod)).or_insert_with(|| world.arrival(call.pod));
        (call, arrival.explain(&call.call))
    })
}

fn result(call: &Prepared<'_>, explained: &Explanation, seconds: f64) -> ProbeResult {
    let outcome = match (explained.verdict, explained.status) {
        (Verdict::Allow, _) => Outcome::Allow,
        (Verdict::Deny, Some(_)) => Outcome::Deny,
        (Verdict::Deny, None) => Outcome::Reset,
    };
    let policy = match (&explained.rule, outcome) {
        (Some(rule), _) => Some(policy_of(rule)),
        (None, Outcome::Deny) => Some("none".to_owned()),
        (None, _) => None,
    };
    let status = match outcome {
        Outcome::Reset => Some(0),
        // What the application would answer is not known; any status that is no refusal will do.
        Outcome::Allow => None,
        _ => explained.status,
    };
    let mut result = ProbeResult {
        status,
        transport: (0, String::new()),
        seconds,
        outcome,
        principal: call.call.identities.first().cloned(),
        policy,
        differences: Vec::new(),
        probe: call.probe.clone(),
    };
    result.differences = differences(&result);
    if let Some(issuer) = &explained.unverified {
        result.differences.push(format!(
            "the token of `{issuer}` can't be verified here, as only the issuer has its keys: state \
             `claims` instead"
        ));
    }
    if !result.passed() && explained.verdict == Verdict::Deny {
        result.differences.push(explained.sentence.clone());
    }
    result
}

/// Rules that decided about no probe.
fn unreached(world: &World, reached: &BTreeSet<String>) -> Part {
    let rules = world.policies().iter().flat_map(|policy| {
        let (name, namespace) = (&policy.metadata.name, &policy.metadata.namespace);
        let count = policy.spec.rules.len();
        (0..count).map(move |rule| {
            let id = format!("ns[{namespace}]-policy[{name}]-rule[{rule}]");
            (id, format!("rule {rule} of {name}.{namespace}"))
        })
    });
    let all: Vec<(String, String)> = rules.collect();
    let missed = all.iter().filter(|(id, _)| !reached.iter().any(|it| it.contains(id.as_str())));
    Part { all: all.len(), missed: missed.map(|(_, text)| text.clone()).collect() }
}

/// Changes with which all these probes, which pass without, still pass.
fn unnoticed(world: &World, passing: &[&Prepared<'_>]) -> Part {
    let (mut missed, mut all) = (Vec::new(), 0);
    for policy in world.policies() {
        for mutant in mutants(policy) {
            all += 1;
            let changed = world.with(policy, mutant.policy.as_ref());
            let noticed = answers(&changed, passing.iter().copied())
                .any(|(call, explained)| !result(call, &explained, 0.0).passed());
            if !noticed {
                let metadata = &policy.metadata;
                let name = format!("{}.{}", metadata.name, metadata.namespace);
                missed.push(format!("{name}: {}", mutant.change));
            }
        }
    }
    Part { all, missed }
}
