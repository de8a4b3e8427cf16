//! Reads authz-cases.yaml and random-policies.json: workloads with policies, and requests to them.

use anyhow::Context;
use palisade_types::Mesh;
use serde::Deserialize;
use serde_json::Value;

use super::{
    case::{Expectation, Request, Workload},
    exchange::Server,
    policies::Policies,
};

/// A workload with its policies, and what is asked of it.
#[derive(Debug)]
pub(crate) struct Scene {
    /// What groups of cases are told apart by.
    pub(crate) group: String,
    pub(crate) mesh: Mesh,
    pub(crate) workload: Workload,
    /// The policies as they were written.
    pub(crate) text: String,
    pub(crate) policies: Policies,
    pub(crate) cases: Vec<Case>,
}

/// A workload with its policies, before anything is asked.
#[derive(Debug)]
pub(crate) struct Stage {
    mesh: Mesh,
    workload: Workload,
    policies: Policies,
}

impl Stage {
    /// Reads them in the words of a case; each of the policies is a document.
    pub(crate) fn new(mesh: &Value, workload: &Value, policies: &[Value]) -> anyhow::Result<Self> {
        Ok(Self {
            mesh: Mesh::deserialize(mesh)?,
            workload: Workload::deserialize(workload)?,
            policies: Policies::of(policies.iter().cloned())?,
        })
    }

    pub(crate) fn server(&self) -> Server<'_> {
        Server { mesh: &self.mesh, workload: &self.workload, policies: &self.policies }
    }
}

/// A request and what is expected of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// The request as it was written.
    pub(crate) json: Value,
    pub(crate) request: Request,
    pub(crate) expectation: Expectation,
}

impl Scene {
    pub(crate) fn server(&self) -> Server<'_> {
        Server { mesh: &self.mesh, workload: &self.workload, policies: &self.policies }
    }

    /// What a difference is about.
    pub(crate) fn context(&self, case: &Case) -> String {
        format!("{}\nrequest: {}", self.text, case.json)
    }
}

impl Case {
    fn new(name: String, json: Value, expectation: Expectation) -> anyhow::Result<Self> {
        let request =
            serde_json::from_value(json.clone()).with_context(|| format!("request of {name}"))?;
        Ok(Self { name, json, request, expectation })
    }
}

/// An entry of authz-cases.yaml.
#[derive(Deserialize)]
struct Single {
    name: String,
    group: String,
    policies: String,
    mesh: Mesh,
    workload: Workload,
    request: Value,
    #[serde(flatten)]
    expectation: Expectation,
}

/// The content of authz-cases.yaml.
pub(crate) fn singles(content: Value) -> anyhow::Result<Vec<Scene>> {
    let entries: Vec<Single> = serde_json::from_value(content)?;
    entries
        .into_iter()
        .map(|entry| {
            let Single { name, group, policies: text, mesh, workload, .. } = entry;
            let policies = Policies::parse(&text).with_context(|| format!("policies of {name}"))?;
            let name = format!("{name} ({group})");
            let cases = vec![Case::new(name, entry.request, entry.expectation)?];
            Ok(Scene { group, mesh, workload, text, policies, cases })
        })
        .collect()
}

/// random-policies.json.
#[derive(Deserialize)]
struct Many {
    mesh: Mesh,
    workloads: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    workload: Workload,
    policies: String,
    cases: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    request: Value,
    #[serde(flatten)]
    expectation: Expectation,
}

/// The content of random-policies.json.
pub(crate) fn many(content: Value) -> anyhow::Result<Vec<Scene>> {
    let Many { mesh, workloads } = serde_json::from_value(content)?;
    workloads
        .into_iter()
        .map(|Entry { name, workload, policies: text, cases }| {
            let policies = Policies::parse(&text).with_context(|| format!("policies of {name}"))?;
            let case = |(index, Asked { request, expectation })| {
                Case::new(format!("{name}[{index}]"), request, expectation)
            };
            let cases = cases.into_iter().enumerate().map(case).collect::<anyhow::Result<_>>()?;
            let (mesh, group) = (mesh.clone(), "random-policies".to_owned());
            Ok(Scene { group, mesh, workload, text, policies, cases })
        })
        .collect()
}
