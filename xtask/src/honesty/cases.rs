//! Wrong policies that people asked about: `check` names the fault by its code, or `explain` by its field.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, anyhow};
use palisade_manifest::study;
use palisade_model::{Call, Request, World, lint};
use serde::Deserialize;

/// How many faults were named.
#[derive(Debug, Default)]
pub(super) struct Score {
    pub(super) named: usize,
    pub(super) all: usize,
    pub(super) missed: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Sound manifests.
    base: String,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Where somebody asked.
    thread: String,
    /// Manifests with the fault.
    #[serde(default)]
    manifests: String,
    /// A text of the base, and what stands there instead.
    replace: Option<(String, String)>,
    /// The code that `check` must report.
    code: Option<String>,
    /// What to ask of `explain`, and the field that it must name first.
    ask: Option<Ask>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// Absent: plaintext.
    principal: Option<String>,
    method: Option<String>,
    path: Option<String>,
    host: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    field: String,
}

pub(super) fn run(path: &Path) -> Result<Score> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let (documents, _) = palisade_manifest::read(&text);
    let document = documents.into_iter().next().ok_or_else(|| anyhow!("no document"))?;
    let file: File = serde_json::from_value(document.to_value())?;
    let sound = codes(&[&file.base]);
    anyhow::ensure!(sound.is_empty(), "the base has problems: {sound:?}");
    let mut score = Score::default();
    for case in &file.cases {
        score.all += 1;
        match missed(&file.base, case)? {
            None => score.named += 1,
            Some(why) => score.missed.push(format!("{} ({}): {why}", case.name, case.thread)),
        }
    }
    Ok(score)
}

fn missed(base: &str, case: &Case) -> Result<Option<String>> {
    let base = match &case.replace {
        Some((old, new)) => {
            anyhow::ensure!(base.contains(old), "{}: the base has no `{old}`", case.name);
            base.replacen(old, new, 1)
        }
        None => base.to_owned(),
    };
    anyhow::ensure!(case.code.is_some() || case.ask.is_some(), "{} asks nothing", case.name);
    if let Some(code) = &case.code {
        let found = codes(&[&base, &case.manifests]);
        if !found.contains(code) {
            return Ok(Some(format!("check reports {found:?}, not {code}")));
        }
    }
    let Some(ask) = &case.ask else { return Ok(None) };
    let studies = [study("base", &base), study("case", &case.manifests)];
    let world = World::of_manifests(&studies);
    let pod = world.pod("backend", "shop").ok_or_else(|| anyhow!("no backend"))?;
    let explained = world.arrival(pod).explain(&call(ask));
    let first = explained.nearest.as_ref().and_then(|nearest| nearest.failed.first());
    let because = explained.because.first();
    let named = first.or(because).is_some_and(|condition| condition.field == ask.field);
    Ok((!named).then(|| format!("explain says: {}", explained.sentence)))
}

/// The codes that `check` reports.
fn codes(texts: &[&str]) -> Vec<String> {
    let studies: Vec<_> = texts.iter().map(|text| study("case", text)).collect();
    let world = World::of_manifests(&studies);
    let all: Vec<_> = studies.iter().collect();
    let of_form = studies.iter().flat_map(|it| &it.diagnostics).map(|it| it.code.clone());
    of_form.chain(lint(&all, &world).into_iter().map(|it| it.diagnostic.code)).collect()
}

fn call(ask: &Ask) -> Call {
    let or =
        |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
    Call {
        identities: ask.principal.iter().map(|it| format!("spiffe://{it}")).collect(),
        source_ip: std::net::Ipv4Addr::new(10, 244, 0, 7).into(),
        port: 8080,
        now: None,
        authorizer: None,
        request: Some(Request {
            method: or(&ask.method, "GET"),
            path: or(&ask.path, "/orders"),
            host: or(&ask.host, "backend.shop"),
            headers: ask.headers.clone().into_iter().collect(),
            claims: None,
        }),
    }
}
