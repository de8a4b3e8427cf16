//! Scenes asked of both: what Palisade decides, and what Envoy does.

use anyhow::Context;
use serde_json::Value;

use super::{
    envoy::{Envoy, ends},
    random::Draft,
};
use crate::conformance::{Expectation, Server, Stage, client};

/// A request that the two do not agree about.
#[derive(Clone, Debug)]
pub(super) struct Disagreement {
    /// The scene, with this request only.
    pub(super) draft: Draft,
    /// Envoy's decision.
    pub(super) expected: Expectation,
    /// The facts that differ, as texts.
    pub(super) texts: (String, String),
}

/// Asks all requests of all scenes, and gives those on which the two differ, in order. Envoy serves so
/// many scenes at once as it is quick at reading.
pub(super) fn disagreements(
    drafts: &[Draft],
    envoy: &mut Envoy,
) -> anyhow::Result<Vec<Disagreement>> {
    let mut found = Vec::new();
    for batch in drafts.chunks(BATCH) {
        let stages: Vec<Stage> = batch
            .iter()
            .map(|draft| Stage::new(&draft.mesh, &draft.workload, &draft.policies))
            .collect::<anyhow::Result<_>>()?;
        let servers: Vec<Server<'_>> = stages.iter().map(Stage::server).collect();
        let mut running = envoy.start(&servers, &PORTS)?;
        for (index, (draft, server)) in batch.iter().zip(&servers).enumerate() {
            for json in &draft.requests {
                let request = serde_json::from_value(json.clone()).context("a random request")?;
                let client = client(&request, server.workload)?;
                let expected =
                    running.ask(index, ends(&request, server.workload), &client)?.expectation();
                let got = server.ask(&request, &client).facts();
                let texts = expected.compare(&got);
                if texts.0 != texts.1 {
                    let draft = Draft { requests: vec![json.clone()], ..draft.clone() };
                    found.push(Disagreement { draft, expected, texts });
                }
            }
        }
    }
    Ok(found)
}

const BATCH: usize = 1000;

/// Ports that random requests go to.
const PORTS: [u16; 2] = [80, 8080];

/// A case for conformance/ that shows a disagreement.
pub(super) fn case(name: &str, disagreement: &Disagreement) -> Value {
    let Disagreement { draft, expected, texts } = disagreement;
    let policies: Vec<String> = draft.policies.iter().map(ToString::to_string).collect();
    let mut case = serde_json::json!({
        "name": name,
        "group": "envoy-diff",
        "policies": policies.join("\n---\n"),
        "mesh": draft.mesh,
        "workload": draft.workload,
        "request": draft.requests.first(),
        "why": format!("Envoy: {}Palisade: {}", texts.0, texts.1),
        "evidence": ["a run of Envoy"],
    });
    if let (Some(case), Ok(Value::Object(expected))) =
        (case.as_object_mut(), serde_json::to_value(expected))
    {
        case.extend(expected);
    }
    case
}
