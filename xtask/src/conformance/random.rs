//! Runs random-policies.json: random policies on workloads, and random requests to them.

use palisade_types::Mesh;
use serde::Deserialize;
use serde_json::Value;

use super::{
    authz::Run,
    case::{Expectation, Workload},
    deviations::Deviations,
    exchange::Server,
    policies::Policies,
    report::Report,
};

#[derive(Debug, Deserialize)]
struct File {
    mesh: Mesh,
    workloads: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    workload: Workload,
    policies: String,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    request: Value,
    #[serde(flatten)]
    expectation: Expectation,
}

pub(super) fn run(
    content: Value,
    deviations: &Deviations,
    report: &mut Report<'_>,
) -> anyhow::Result<()> {
    if !report.wants("random-policies") {
        return Ok(());
    }
    let file: File = serde_json::from_value(content)?;
    for entry in &file.workloads {
        let policies = Policies::parse(&entry.policies)?;
        let server = Server { mesh: &file.mesh, workload: &entry.workload, policies: &policies };
        for (index, case) in entry.cases.iter().enumerate() {
            let request = serde_json::from_value(case.request.clone())?;
            let run = Run { server, request: &request, expectation: &case.expectation };
            let context = || format!("{}\nrequest: {}", entry.policies, case.request);
            report.add(run.outcome(&format!("{}[{index}]", entry.name), deviations, context)?);
        }
    }
    Ok(())
}
