//! Problems of meaning: what manifests do that their authors can't have meant, found by looking at all
//! objects together. Which policies apply, what ports speak and what modes hold is asked of the same
//! [`World`] that explains and tests; nothing of that is worked out here.

mod destination;
mod fields;
mod identity;
mod place;
mod provider;
mod request;
mod shape;
mod telemetry;
mod together;
mod workload;

use std::collections::BTreeSet;

use palisade_manifest::{AuthorizationPolicy, Object, Study, Typed, codes::Code};
use palisade_policy::Scope;
use palisade_types::{Diagnostic, Span};

use crate::{Arrival, World};

/// A problem, and the study that it is in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Index of the study.
    pub study: usize,
    /// The problem.
    pub diagnostic: Diagnostic,
}

/// Finds all problems of meaning, in the order of their places. `world` must be of the same studies.
#[must_use]
pub fn lint(studies: &[&Study], world: &World) -> Vec<Finding> {
    let mut lint = Lint::new(studies, world);
    let subjects = lint.subjects();
    for subject in &subjects {
        shape::check(&mut lint, subject);
        identity::check(&mut lint, subject);
        request::check(&mut lint, subject);
        place::check(&mut lint, subject);
        provider::check(&mut lint, subject);
    }
    together::check(&mut lint, &subjects);
    place::peer_authentications(&mut lint);
    place::request_authentications(&mut lint);
    destination::check(&mut lint);
    telemetry::check(&mut lint);
    workload::check(&mut lint);
    let mut findings = lint.findings;
    findings.sort_by_key(|found| {
        let start = found.diagnostic.labels.first().map_or(0, |label| label.span.start);
        (found.study, start, found.diagnostic.code.clone())
    });
    findings.dedup();
    findings
}

/// What all checks look at, and what they have found.
struct Lint<'a> {
    studies: &'a [&'a Study],
    world: &'a World,
    /// Every pod.
    arrivals: Vec<Arrival<'a>>,
    /// Namespaces that are known.
    namespaces: BTreeSet<String>,
    /// Service accounts that are known, by namespace.
    accounts: BTreeSet<(String, String)>,
    findings: Vec<Finding>,
}

/// An AuthorizationPolicy, and the workloads that it applies to.
struct Subject<'a> {
    study: usize,
    object: &'a Object,
    policy: AuthorizationPolicy,
    /// Indices of arrivals.
    workloads: Vec<usize>,
}

impl<'a> Lint<'a> {
    fn new(studies: &'a [&'a Study], world: &'a World) -> Self {
        let mut namespaces: BTreeSet<String> =
            world.namespaces().map(|it| it.metadata.name.clone()).collect();
        let mut accounts = BTreeSet::new();
        for pod in world.pods() {
            namespaces.insert(pod.metadata.namespace.clone());
            if let Some(id) = world.identity(pod) {
                accounts.insert((id.namespace().to_owned(), id.service_account().to_owned()));
            }
        }
        for object in studies.iter().flat_map(|study| &study.objects) {
            if object.kind.kind.kind == "ServiceAccount" {
                let namespace = or_default(object.namespace());
                namespaces.insert(namespace.to_owned());
                accounts.insert((namespace.to_owned(), object.name().to_owned()));
            }
        }
        let arrivals = world.pods().map(|pod| world.arrival(pod)).collect();
        Self { studies, world, arrivals, namespaces, accounts, findings: Vec::new() }
    }

    fn subjects(&self) -> Vec<Subject<'a>> {
        let numbered = self.studies.iter().enumerate();
        let objects = numbered.flat_map(|(at, study)| study.objects.iter().map(move |it| (at, it)));
        objects
            .filter_map(|(study, object)| {
                let Typed::AuthorizationPolicy(policy) = &object.typed else { return None };
                let mut policy = policy.as_ref().clone();
                or_default(&policy.metadata.namespace)
                    .to_owned()
                    .clone_into(&mut policy.metadata.namespace);
                let applies =
                    |arrival: &Arrival<'_>| self.scope(arrival).selects_authorization(&policy);
                let indexed = self.arrivals.iter().enumerate();
                let workloads = indexed.filter(|(_, it)| applies(it)).map(|(index, _)| index);
                Some(Subject { study, object, workloads: workloads.collect(), policy })
            })
            .collect()
    }

    fn scope<'b>(&'b self, arrival: &'b Arrival<'_>) -> Scope<'b> {
        self.world.scope(arrival.pod())
    }

    /// The workloads that a policy applies to and that have a sidecar to enforce it.
    fn enforcing<'b>(&'b self, subject: &'b Subject<'_>) -> impl Iterator<Item = &'b Arrival<'a>> {
        let all = subject.workloads.iter().filter_map(|index| self.arrivals.get(*index));
        all.filter(|arrival| arrival.has_sidecar())
    }

    /// Whether enough is known to say that something is missing.
    fn knows_workloads(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Reports a problem at a path of an object, unless the object is to be spared.
    fn report(
        &mut self,
        code: &Code,
        (study, object): (usize, &Object),
        path: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if !is_spared(&object.typed.metadata().annotations, code) {
            let span = object.span_near(path);
            self.push(code, study, path, span, message.into(), help.into());
        }
    }

    fn push(
        &mut self,
        code: &Code,
        study: usize,
        path: &str,
        span: Span,
        message: String,
        help: String,
    ) {
        let mut diagnostic = Diagnostic::warning(code.id, message).at(span, "").field(path);
        if !help.is_empty() {
            diagnostic = diagnostic.help(help);
        }
        self.findings.push(Finding { study, diagnostic });
    }
}

/// Whether an object's annotation lists the code.
fn is_spared(annotations: &std::collections::BTreeMap<String, String>, code: &Code) -> bool {
    let listed = annotations.get(IGNORE).map_or("", String::as_str);
    listed.split([',', ' ']).any(|listed| listed == code.id)
}

/// An object that names no namespace ends up in `default`.
fn or_default(namespace: &str) -> &str {
    if namespace.is_empty() { "default" } else { namespace }
}

/// `TEXT` in back-ticks with the nearest of the names that are known, if one is near.
fn did_you_mean<'n>(text: &str, known: impl Iterator<Item = &'n str>) -> String {
    palisade_manifest::did_you_mean(text, known).unwrap_or_default()
}

/// Annotation with the codes that an object is spared.
pub const IGNORE: &str = "palisade.dev/ignore";
