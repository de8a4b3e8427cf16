//! What many rules on one workload cost: `cargo bench -p palisade-policy --bench scale`, or
//! `-- Suffixes` for one mix. For each mix and number of rules
//! the compile time, the memory that stays, what changing one policy costs, and the time of a decision beside
//! a naive scan, which asks one policy after the other. Decisions are compared with the scan's, down to the
//! rule. Times are the best of several rounds, because noise only ever adds.

#[path = "scale/measure.rs"]
mod measure;
#[path = "scale/mixes.rs"]
mod mixes;

use std::{
    alloc::System,
    collections::BTreeMap,
    fmt,
    io::{self, Write},
};

use palisade_manifest::{Action, AuthorizationPolicy};
use palisade_policy::{Attributes, Before, CompiledPolicies, Decision, Reason, Scope, Verdict};
use palisade_types::Mesh;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use measure::{kept, nanoseconds};
use mixes::{Caller, Mix, REQUESTS};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SIZES: [usize; 5] = [1, 10, 100, 10_000, 100_000];

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    for mix in Mix::ALL.into_iter().filter(|mix| mix.name().contains(&wanted)) {
        writeln!(out, "\n{}\n", mix.name())?;
        writeln!(
            out,
            "| rules | compile | memory | one policy changed | decision | scan | scan / decision |"
        )?;
        writeln!(out, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        let mut rows = Vec::new();
        for rules in SIZES {
            let row = Row::measure(mix, rules);
            writeln!(out, "{row}")?;
            rows.push(row);
        }
        let at = |rules| rows.iter().find(|row| row.rules == rules);
        if let (Some(ten), Some(many)) = (at(10), at(10_000)) {
            let ratio = many.decision / ten.decision;
            writeln!(out, "\n10,000 rules cost {ratio:.1} times what 10 cost.")?;
        }
    }
    Ok(())
}

/// What was measured; nanoseconds and bytes.
struct Row {
    rules: usize,
    compile: f64,
    memory: usize,
    change: f64,
    decision: f64,
    scan: f64,
}

impl Row {
    fn measure(mix: Mix, rules: usize) -> Self {
        let policies = mix.policies(rules);
        let (mesh, labels) = (Mesh::default(), BTreeMap::new());
        let scope = Scope { mesh: &mesh, namespace: "shop", labels: &labels };
        let compiling = || CompiledPolicies::compile(&policies, scope);
        let (compiled, memory) = kept(MEMORY, compiling);
        // What takes long is not disturbed much by what else runs.
        let rounds = if rules > 10_000 { 1 } else { 5 };
        let compile = nanoseconds(rounds, 1, compiling);

        let changed = mix.with_one_changed(&policies);
        let before = Some(Before { policies: &policies, scope, compiled: &compiled });
        let changing = || CompiledPolicies::compile_after(before, &changed, scope);
        assert_eq!(changing().compiled_anew(), 1);
        let change = nanoseconds(rounds, 1, changing);

        let scan = Scan::new(&policies, scope);
        let callers: Vec<Caller> = (0..REQUESTS).map(|number| mix.caller(number, rules)).collect();
        let asked: Vec<Attributes<'_>> = callers.iter().map(Caller::attributes).collect();
        let compared = if rules > 10_000 { 8 } else { asked.len() };
        for attributes in asked.iter().take(compared) {
            let (decision, expected) = (compiled.decide(attributes), scan.decide(attributes));
            assert_eq!(decision, expected, "{attributes:?}");
        }
        let allowed = asked.iter().filter(|one| compiled.decide(one).verdict == Verdict::Allow);
        let allowed = allowed.count();
        assert!(rules == 1 || (1..REQUESTS).contains(&allowed), "{allowed} are allowed");
        let decision =
            each(rounds, (100_000 / rules).clamp(1, 200), &asked, |one| compiled.decide(one));
        let scanned = asked.get(..8).unwrap_or(&asked);
        let scan = each(rounds, (1_000 / rules).max(1), scanned, |one| scan.decide(one));
        Self { rules, compile, memory, change, decision, scan }
    }
}

/// Nanoseconds of one decision.
#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn each(
    rounds: usize,
    calls: usize,
    asked: &[Attributes<'_>],
    decide: impl Fn(&Attributes<'_>) -> Decision,
) -> f64 {
    let allowed = || asked.iter().filter(|one| decide(one).verdict == Verdict::Allow).count();
    nanoseconds(rounds, calls, allowed) / asked.len() as f64
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rules, compile, memory, change, decision, scan } = self;
        let [compile, change] = [compile, change].map(|ns| format!("{:.2} ms", ns / 1e6));
        let memory = memory.div_ceil(1024);
        let ratio = scan / decision;
        write!(
            f,
            "| {rules} | {compile} | {memory} KiB | {change} | {decision:.0} ns | {scan:.0} ns | {ratio:.1} |"
        )
    }
}

/// Policies one by one, in the order of their names: those that deny, then those that allow.
struct Scan {
    deny: Vec<CompiledPolicies>,
    allow: Vec<CompiledPolicies>,
}

impl Scan {
    fn new(policies: &[AuthorizationPolicy], scope: Scope<'_>) -> Self {
        let mut sorted: Vec<&AuthorizationPolicy> = policies.iter().collect();
        sorted.sort_by_key(|policy| format!("policy[{}]", policy.metadata.name));
        let of = |action| {
            let wanted = sorted.iter().filter(|policy| policy.spec.action == action);
            wanted.map(|policy| CompiledPolicies::compile([*policy], scope)).collect()
        };
        Self { deny: of(Action::Deny), allow: of(Action::Allow) }
    }

    fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        let decided = |policy: &CompiledPolicies| policy.decide(attributes);
        let denies = self.deny.iter().map(decided).find(|it| it.verdict == Verdict::Deny);
        let allows = || self.allow.iter().map(decided).find(|it| it.verdict == Verdict::Allow);
        denies.or_else(allows).unwrap_or(Decision {
            verdict: Verdict::Deny,
            reason: Reason::NoAllowMatched,
            audited: false,
            shadow: None,
        })
    }
}
