//! What the console needs to know about a mesh, and from whom: whoever runs the console implements
//! [`MeshView`].

use std::{collections::BTreeMap, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use futures::stream::BoxStream;
use palisade_model::World;
use palisade_policy::explain::Explanation;
use palisade_telemetry::SampleLabels;
use palisade_types::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A mesh, as far as the console looks at it.
pub trait MeshView: Send + Sync + 'static {
    /// The objects as they are now.
    fn objects(&self) -> Answer<'_, MeshObjects>;

    /// What each sidecar has in force: Istio's sync status (`/debug/syncz`).
    fn sidecars(&self) -> Answer<'_, Vec<Value>>;

    /// What the control plane says of itself.
    fn control_plane(&self) -> Answer<'_, ControlPlane>;

    /// Whose tokens workloads accept, as `palisade issuers -o json` prints it.
    fn issuers<'a>(&'a self, objects: &'a MeshObjects) -> Answer<'a, Vec<Value>>;

    /// What happened to the mesh's objects (`time`, `warning`, `object`, `reason`, `message`, `count`), newest first.
    fn events(&self) -> Answer<'_, Vec<Value>>;

    /// What would become of a request, as `palisade explain` says it.
    ///
    /// # Errors
    /// When the question makes no sense in this world.
    fn explain(&self, world: &World, question: &Question) -> Result<Explanation, ViewError>;

    /// What would let a request pass, as `palisade explain --propose -o json` prints it.
    ///
    /// # Errors
    /// When the question makes no sense in this world.
    fn propose(&self, objects: &MeshObjects, question: &Question) -> Result<Value, ViewError>;

    /// The configuration that the control plane has for the sidecar of a pod.
    fn sidecar_config<'a>(&'a self, namespace: &'a str, pod: &'a str) -> Answer<'a, Value>;

    /// What a container wrote last, and all that it will write.
    fn logs<'a>(&'a self, of: &'a LogsOf) -> Answer<'a, BoxStream<'static, Line>>;

    /// The mesh as it would be with objects that somebody is writing (YAML).
    fn draft<'a>(&'a self, yaml: &'a str) -> Answer<'a, Draft>;

    /// Applies objects (YAML) and waits until they are in force.
    fn apply<'a>(&'a self, yaml: &'a str) -> Answer<'a, Applied>;
}

/// A Prometheus that scrapes the mesh, for what lies further back than the console remembers.
pub trait LongHistory: Send + Sync + 'static {
    /// Which one it is, for people.
    fn name(&self) -> String;

    /// What a query (PromQL) says at some times (`/api/v1/query_range`).
    fn ask<'a>(&'a self, query: &'a str, over: Steps) -> Answer<'a, Vec<SampleSeries>>;
}

/// An answer, and who remembered it.
#[derive(Debug, Serialize)]
pub(crate) struct Remembered<T> {
    #[serde(flatten)]
    pub(crate) told: T,
    /// Which Prometheus; absent where the console itself remembers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
}

/// Times with equal distances.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Steps {
    /// The first (seconds since 1970).
    pub from: u64,
    /// None is later (seconds since 1970).
    pub to: u64,
    /// Seconds between two.
    pub step: u64,
}

/// The values of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleSeries {
    /// Its labels.
    pub labels: SampleLabels,
    /// Time (seconds since 1970) and value.
    pub values: Vec<(f64, f64)>,
}

impl Steps {
    /// The step that a time belongs to.
    pub(crate) fn nearest(self, time: f64) -> u64 {
        let step = self.step.max(1);
        let time = Duration::try_from_secs_f64(time).unwrap_or_default().as_secs();
        let steps = (time.clamp(self.from, self.to.max(self.from)) - self.from + step / 2) / step;
        self.from + steps.min((self.to.saturating_sub(self.from)) / step) * step
    }
}

/// A line of a log.
pub type Line = Result<String, String>;

/// An answer that is on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ViewError>> + Send + 'a>>;

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ViewError {
    /// The question is at fault.
    Question(String),
    /// The mesh answered, and the answer is no.
    No(String),
    /// The mesh can't be asked.
    Unavailable(String),
}

impl ViewError {
    /// What is wrong, in words.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Question(text) | Self::No(text) | Self::Unavailable(text) => text,
        }
    }
}

/// The objects of a mesh.
#[derive(Clone, Debug)]
pub struct MeshObjects {
    /// The mesh that they make.
    pub world: World,
    /// Istio's objects, as people look at them.
    pub config: Vec<ConfigObject>,
}

/// The control plane, in its own words.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlane {
    /// Its version.
    pub version: String,
    /// The generation that sidecars should have in force.
    pub generation: u64,
    /// Objects that can't be used, or not wholly, and why.
    pub troubles: BTreeMap<String, String>,
    /// Signer, roots and the step of their rotation, as `palisade ca status -o json` prints them.
    pub authority: Value,
}

/// One of Istio's objects.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigObject {
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// When it was created (RFC 3339).
    pub created: String,
    /// It, as YAML, without what the API adds.
    pub yaml: String,
    /// What `palisade check` says about it; lines are those of the YAML.
    pub problems: Vec<Problem>,
}

/// A problem of an object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Stable code.
    pub code: String,
    /// `error` or `warning`.
    pub severity: palisade_types::Severity,
    /// Line in the YAML, from 1; 0 without a place.
    pub line: usize,
    /// One sentence.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// Path of the field.
    pub field: Option<String>,
}

impl From<&Diagnostic> for Problem {
    fn from(diagnostic: &Diagnostic) -> Self {
        Self {
            code: diagnostic.code.clone(),
            severity: diagnostic.severity,
            line: diagnostic.labels.first().map_or(0, |label| label.span.line),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            field: diagnostic.field.clone(),
        }
    }
}

/// A request to explain; the fields are the options of `palisade explain`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// Caller.
    pub from: String,
    /// Workload or service.
    pub to: String,
    /// Method; `GET` if empty.
    #[serde(default)]
    pub method: String,
    /// Path with query; `/` if empty.
    #[serde(default)]
    pub path: String,
    /// Host; the workload's or service's name if absent.
    pub host: Option<String>,
    /// Header fields, `NAME: VALUE`.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Port.
    pub port: Option<u16>,
    /// Claims of a valid token, `NAME=VALUE`.
    #[serde(default)]
    pub claims: Vec<String>,
    /// Address of the caller.
    pub ip: Option<IpAddr>,
    /// A connection that is not HTTP.
    #[serde(default)]
    pub tcp: bool,
}

/// Which container's log.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogsOf {
    /// Namespace.
    pub namespace: String,
    /// Pod.
    pub pod: String,
    /// Container; `istio-proxy` is the sidecar.
    pub container: String,
}

/// Objects that were written and not applied.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The mesh as it is.
    pub before: World,
    /// The mesh as it would be.
    pub after: World,
    /// What `palisade check` says about the text.
    pub problems: Vec<Problem>,
    /// Kinds of the objects.
    pub kinds: Vec<String>,
}

/// What became of applied objects.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// A line for each object, as `palisade apply` prints it.
    pub lines: String,
    /// Sidecars that have it in force.
    pub synced: u64,
    /// Sidecars concerned.
    pub total: u64,
    /// Generation in which it is in force.
    pub generation: u64,
    /// What is in force and yet not as whoever wrote it wants it.
    pub warnings: Vec<String>,
}

/// A shared view.
pub(crate) type Shared = Arc<dyn MeshView>;
