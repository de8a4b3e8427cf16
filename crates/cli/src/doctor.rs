//! `doctor`: whether this machine can run a mesh, or whether the one that runs is well, and what to do where not.
//!
//! Pure: the binary finds the facts out, `judge` and `mesh` say what they mean, the rest prints.

mod judge;
mod mesh;

use std::{fmt::Write as _, io::Write};

use serde_json::{Value, json};

use crate::{CliError, Style, args::Format, error::During};

use judge::checks;
pub(crate) use mesh::{Asked, MeshFacts};

/// What was found out about this machine.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The kernel's release, such as `6.1.0-13-amd64`.
    pub kernel: String,
    /// Whether the kernel has seccomp filters.
    pub seccomp: bool,
    /// User, mount and pid namespaces, tried out; why not.
    pub sandbox: Option<String>,
    /// What was tried in them, in order, and why it failed.
    pub trials: Vec<Trial>,
    /// Programs that a mesh runs, and whether they are there.
    pub programs: Vec<(String, bool)>,
    /// Why the API's usual port can't be listened on.
    pub api_port: Option<String>,
    /// Soft limit of open files.
    pub open_files: Option<u64>,
    /// Soft limit of processes.
    pub processes: Option<u64>,
    /// Seconds since 1970.
    pub now: u64,
    /// The newest of what was certainly written before now: this program, certificates.
    pub written: u64,
    /// Whether limits on memory and processes can be set for pods.
    pub cgroups: Option<String>,
    /// Where the state directory is or will be.
    pub state_dir: String,
    /// Why it can't be written.
    pub state_dir_problem: Option<String>,
    /// Bytes free there.
    pub free_bytes: Option<u64>,
}

/// Something that was tried.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct Trial {
    /// What for.
    pub name: String,
    /// Why it failed.
    pub problem: Option<String>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// As it should be.
    Pass,
    /// A mesh runs, but something does not work or is slower, or will fail soon.
    Warn,
    /// A mesh can't run, or not as it should.
    Fail,
}

/// One question and its answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Check {
    /// What it belongs to.
    pub group: &'static str,
    /// What must hold.
    pub name: String,
    /// Whether it does.
    pub outcome: Outcome,
    /// What was found instead, and what to do.
    pub hint: Option<String>,
}

/// Prints the checks; the answer is no when one failed.
///
/// # Errors
/// [`CliError::Reported`] when a check failed, or when printing does.
pub fn doctor(facts: &Facts, format: Format, out: &mut dyn Write) -> Result<(), CliError> {
    print(&checks(facts), format, out)
}

/// The same for a mesh that runs.
pub(crate) fn doctor_mesh(
    facts: &MeshFacts,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    print(&mesh::checks(facts), format, out)
}

fn print(checks: &[Check], format: Format, out: &mut dyn Write) -> Result<(), CliError> {
    match format {
        Format::Table => write!(out, "{}", text(checks)).during("print")?,
        Format::Json => writeln!(out, "{:#}", document(checks)).during("print")?,
    }
    if passes(checks) { Ok(()) } else { Err(CliError::Reported) }
}

fn passes(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.outcome != Outcome::Fail)
}

/// In groups, each check with its sign; what is not as it should be with a hint and a page.
fn text(checks: &[Check]) -> String {
    let mut text = String::new();
    for group in checks.chunk_by(|a, b| a.group == b.group) {
        for (index, check) in group.iter().enumerate() {
            if index == 0 {
                let _ = write!(text, "{}\n{}\n", check.group, "-".repeat(check.group.len()));
            }
            let _ = writeln!(text, "{} {}", sign(check.outcome), check.name);
            if let Some(hint) = &check.hint {
                let _ = write!(text, "    {hint}\n    see {}\n", page(check));
            }
        }
        text.push('\n');
    }
    let outcome = if passes(checks) { Outcome::Pass } else { Outcome::Fail };
    let _ = writeln!(text, "Status check results are {}", sign(outcome));
    text
}

fn document(checks: &[Check]) -> Value {
    let one = |check: &Check| {
        json!({
            "group": check.group,
            "name": check.name,
            "result": match check.outcome {
                Outcome::Pass => "success",
                Outcome::Warn => "warning",
                Outcome::Fail => "error",
            },
            "hint": check.hint,
            "docs": check.hint.is_some().then(|| page(check)),
        })
    };
    let checks_json: Vec<_> = checks.iter().map(one).collect();
    json!({ "success": passes(checks), "checks": checks_json })
}

fn sign(outcome: Outcome) -> String {
    match outcome {
        Outcome::Pass => Style::Good.paint("√"),
        Outcome::Warn => Style::Warning.paint("‼"),
        Outcome::Fail => Style::Bad.paint("×"),
    }
}

fn page(check: &Check) -> String {
    format!("docs/doctor.md#{}", check.group)
}

#[cfg(test)]
mod tests;
