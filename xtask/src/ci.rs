//! `cargo xtask ci`: everything that must hold before a change lands, what fails fastest first.

use std::{env, ffi::OsStr, process::Command, time::Instant};

use anyhow::{Context, Result, bail};

/// A step: its name, and a command line; `xtask` is this program, whatever features cargo would build it with alone.
const STEPS: &[(&str, &[&str])] = &[
    ("format", &["cargo", "fmt", "--all", "--check"]),
    ("arrows", &["xtask", "deps"]),
    ("generated code", &["xtask", "gen", "--check"]),
    ("licences and bans", &["cargo-deny", "check", "bans", "licenses", "sources"]),
    ("pages", &["scripts/build-pages"]),
    ("lints of the pages", &["npm", "run", "--silent", "--prefix", "web", "lint"]),
    ("tests of the pages", &["npm", "run", "--silent", "--prefix", "web", "test"]),
    ("a large graph", &["npm", "run", "--silent", "--prefix", "web", "scale"]),
    (
        "lints",
        &["cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
    ),
    ("faults named", &["xtask", "honesty"]),
    ("Envoy on recorded cases", &["xtask", "envoy-diff", "--corpus", "conformance"]),
    ("Envoy on random cases", &["xtask", "envoy-diff", "--pairs", "20000", "--seed", "1"]),
    ("tests", &["cargo", "test", "--workspace", "--locked", "--no-fail-fast"]),
    ("steps of the guide", &["xtask", "guide", "--palisade", BUILT]),
    (
        "recorded cases through sidecars",
        &["xtask", "conformance", "--live", "--palisade", BUILT, RECORDED],
    ),
];

/// The program that the tests ran, and what it is asked.
const BUILT: &str = "target/debug/palisade";
const RECORDED: &str = "conformance/authz-cases.yaml";

/// Runs all steps and ends at the first one that fails.
///
/// # Errors
/// When a step fails or can't be started.
pub(crate) fn run(out: &mut impl std::io::Write) -> Result<()> {
    let tools = env::current_dir()?.join("target/tools/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(tools).chain(env::split_paths(&path)))?;
    let this = env::current_exe()?;
    let start = Instant::now();
    for (name, command) in STEPS {
        let [program, arguments @ ..] = *command else { continue };
        let step = Instant::now();
        writeln!(out, "==> {name}: {}", command.join(" "))?;
        out.flush()?;
        let program = if *program == "xtask" { this.as_os_str() } else { OsStr::new(program) };
        let status = Command::new(program).args(arguments).env("PATH", &path).status();
        let status = status.with_context(|| {
            let program = program.display();
            format!(
                "start `{program}`: run `make tools`; for `npm`, install Node.js 20.19 or newer"
            )
        })?;
        if !status.success() {
            bail!("{name} failed");
        }
        writeln!(out, "    {name}: {:.0} s", step.elapsed().as_secs_f64())?;
    }
    writeln!(out, "==> all steps passed in {:.0} s", start.elapsed().as_secs_f64())?;
    Ok(())
}
