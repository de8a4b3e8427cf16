//! `cargo xtask guide`: does what docs/ci.md tells people to do, where nothing can help: in a root directory
//! with a shell, `palisade` (static, if none is named) and their manifests, and in a network without any
//! other machine.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// `cargo xtask guide`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A binary (default: a static one is built as `make static` builds it, without optimisation); one that
    /// is not static brings its libraries along
    #[arg(long, value_name = "PATH")]
    palisade: Option<PathBuf>,
}

const PAGE: &str = "docs/ci.md";
const MANIFESTS: &str = "examples/poc-mesh/manifests";
/// From Debian's busybox-static.
const SHELL: &str = "/bin/busybox";

/// Runs the steps of the page and those of its workflow.
///
/// # Errors
/// When a step fails, or does not do what the page says.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<()> {
    let palisade = args.palisade.clone().map_or_else(build, Ok)?;
    let page = fs::read_to_string(PAGE).with_context(|| format!("read {PAGE}"))?;
    let yaml = blocks(&page, "yaml");
    let one = |mark: &str| {
        let found = yaml.iter().find(|block| block.contains(mark));
        found.with_context(|| format!("no block of YAML with `{mark}` in {PAGE}"))
    };
    let (suite, workflow) = (one("probes:")?, one("runs-on:")?);
    let root = Root::new(&palisade)?;
    root.write("suite.yaml", suite)?;
    let steps = blocks(&page, "sh");
    ensure!(steps.len() >= 4, "{PAGE} has lost steps: {steps:?}");
    for step in &steps {
        root.step(step, out)?;
    }
    let report = root.read("report.xml")?;
    ensure!(report.contains("tests=\"3\" failures=\"0\""), "report.xml: {report}");

    let steps: Vec<&str> =
        workflow.lines().filter_map(|line| line.trim_start().strip_prefix("- run: ")).collect();
    ensure!(steps.len() >= 2, "the workflow of {PAGE} has lost steps: {steps:?}");
    for step in &steps {
        root.step(step, out)?;
    }
    // It is YAML: all that is found is that `on` would be a truth value to an API server.
    root.write("workflow.yaml", workflow)?;
    let found = root.step("palisade check workflow.yaml -o json --fail-on never", out)?;
    let found: Value = serde_json::from_str(&found)?;
    let codes: Vec<&Value> =
        found["problems"].as_array().into_iter().flatten().map(|it| &it["code"]).collect();
    ensure!(codes == ["PAL0008"], "the workflow of {PAGE}: {found:#}");
    writeln!(out, "all steps of {PAGE} ran")?;
    Ok(())
}

/// Builds a static binary from the crates that other builds made, and keeps it where they do not write.
fn build() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["rustc", "--locked", "--package", "palisade", "--bin", "palisade"])
        .args(["--", "-C", "target-feature=+crt-static"])
        .status()?;
    ensure!(status.success(), "the static binary could not be built");
    let kept = Path::new("target/static/palisade");
    fs::create_dir_all("target/static")?;
    fs::copy("target/debug/palisade", kept)?;
    Ok(kept.to_owned())
}

/// The blocks of a page that are in a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let start = format!("```{language}\n");
    let all = page.split(&start).skip(1).filter_map(|rest| rest.split("```").next());
    all.map(str::to_owned).collect()
}

/// The shared libraries of a program, by its own loader's word; none if it is static.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let told = Command::new("ldd").arg(program).output().context("start `ldd`")?;
    let words = String::from_utf8_lossy(&told.stdout).into_owned();
    let paths = words.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).filter(|path| path.is_file()).collect())
}

/// A root directory with `/bin/sh`, `/bin/palisade` and `/work`.
struct Root(tempfile::TempDir);

impl Root {
    fn new(palisade: &Path) -> Result<Self> {
        let root = Self(tempfile::tempdir()?);
        let (bin, manifests) = (root.0.path().join("bin"), root.path("manifests"));
        fs::create_dir_all(&bin)?;
        fs::create_dir_all(&manifests)?;
        fs::copy(SHELL, bin.join("sh"))
            .with_context(|| format!("copy {SHELL}: run `make tools`"))?;
        fs::copy(palisade, bin.join("palisade"))
            .with_context(|| format!("copy {}", palisade.display()))?;
        for library in libraries(palisade)? {
            let copy = root.0.path().join(library.strip_prefix("/")?);
            fs::create_dir_all(copy.parent().context("a library has a folder")?)?;
            fs::copy(&library, copy)?;
        }
        for file in fs::read_dir(MANIFESTS)? {
            let file = file?;
            fs::copy(file.path(), manifests.join(file.file_name()))?;
        }
        Ok(root)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("work").join(name)
    }

    fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.path(name)).with_context(|| format!("no step wrote {name}"))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.path(name), text)?)
    }

    /// What a step prints; it has to succeed.
    fn step(&self, step: &str, out: &mut impl Write) -> Result<String> {
        writeln!(out, "  {}", step.trim().replace('\n', "\n  "))?;
        let run = Command::new("unshare")
            .args(["--map-root-user", "--net", "--wd=/work", "--root"])
            .arg(self.0.path())
            .args(["/bin/sh", "-ec", step])
            .env_clear()
            .env("PATH", env::join_paths(["/bin", "/usr/bin"])?)
            .output()
            .context("start `unshare`, of Debian's util-linux")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !run.status.success() {
            bail!("{}\n{}{}", run.status, text(&run.stdout), text(&run.stderr));
        }
        Ok(text(&run.stdout))
    }
}
