//! `check`: what is wrong with manifests, in form and in meaning, before they are applied anywhere.

use std::io::Write;

use palisade_manifest::codes;
use palisade_model::{World, lint};
use palisade_types::{Diagnostic, Severity};

mod formats;

use crate::{
    CliError,
    args::{CheckArgs, CheckFormat, FailOn, Target as Where},
    error::During,
    report,
    workbench::{Source, sources},
};

pub(crate) async fn run(
    mesh: &Where,
    args: &CheckArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let paths: Vec<_> = args.files.iter().chain(&args.paths).cloned().collect();
    let sources = sources(&paths, mesh).await?;
    let checked = check(&sources);
    let text = match args.output {
        CheckFormat::Text => text(&checked),
        CheckFormat::Json => formats::json(&checked).during("print")?,
        CheckFormat::Sarif => formats::sarif(&checked).during("print")?,
        CheckFormat::Github => formats::github(&checked),
    };
    out.write_all(text.as_bytes()).during("print")?;
    let fails = |severity: Severity| match args.fail_on {
        FailOn::Warning => true,
        FailOn::Error => severity == Severity::Error,
        FailOn::Never => false,
    };
    let failed = problems(&checked).any(|(_, problem)| fails(problem.severity));
    if failed { Err(CliError::Reported) } else { Ok(()) }
}

/// A source, and all that is wrong with it.
pub(crate) struct Checked<'a> {
    pub(crate) source: &'a Source,
    pub(crate) problems: Vec<Diagnostic>,
}

/// Problems of form, and of meaning in what is sound.
pub(crate) fn check(sources: &[Source]) -> Vec<Checked<'_>> {
    let world = World::of_manifests(sources.iter().map(|source| &source.study));
    let mut checked: Vec<Checked<'_>> = sources
        .iter()
        .map(|source| Checked { source, problems: source.study.diagnostics.clone() })
        .collect();
    let studies: Vec<_> = sources.iter().map(|source| &source.study).collect();
    for found in lint(&studies, &world) {
        if let Some(checked) = checked.get_mut(found.study) {
            checked.problems.push(found.diagnostic);
        }
    }
    for checked in &mut checked {
        checked.problems.sort_by_key(|it| it.labels.first().map_or(0, |label| label.span.start));
    }
    checked
}

pub(super) fn problems<'a>(
    checked: &'a [Checked<'a>],
) -> impl Iterator<Item = (&'a Source, &'a Diagnostic)> {
    checked.iter().flat_map(|it| it.problems.iter().map(move |problem| (it.source, problem)))
}

fn text(checked: &[Checked<'_>]) -> String {
    let mut text = String::new();
    for it in checked {
        text.push_str(&report::render(&it.source.name, &it.source.text, &it.problems));
    }
    let count = |severity| problems(checked).filter(|(_, it)| it.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let files = checked.len();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    text.push_str(&format!(
        "{files} source{}: {errors} error{}, {warnings} warning{}\n",
        plural(files),
        plural(errors),
        plural(warnings)
    ));
    text
}

/// Title of a code; empty for one that is unknown.
pub(super) fn title(code: &str) -> &'static str {
    codes::code(code).map_or("", |code| code.title)
}

#[cfg(test)]
mod tests;
