//! `cargo xtask gen`: Rust code of the protocols in crates/wire/proto, without `protoc`.
//!
//! The output is checked in, so that a build needs none of this; `--check` fails when it is stale.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

/// Arguments of `cargo xtask gen`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if what is checked in differs from what would be generated
    #[arg(long)]
    check: bool,
}

/// Generates the code, or compares it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/wire");
    let committed = wire.join("src/generated");
    let fresh = scratch()?;
    generate(&wire.join("proto"), &fresh)?;
    format(&fresh)?;
    if args.check { compare(&committed, &fresh) } else { replace(&committed, &fresh) }
}

/// An empty folder below target/.
fn scratch() -> anyhow::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/xtask-gen");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("emptying target/xtask-gen")?;
    }
    fs::create_dir_all(&folder).context("making target/xtask-gen")?;
    Ok(folder)
}

fn generate(protos: &Path, out: &Path) -> anyhow::Result<()> {
    let files = files_in(protos, "proto")?;
    ensure!(!files.is_empty(), "no proto files in {}", protos.display());
    let descriptors = protox::compile(&files, [protos]).context("compiling the proto files")?;
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .bytes(".palisade.config.v1.Config.proxy_config")
        .bytes(".palisade.telemetry.v1.Batch.report")
        .out_dir(out)
        .compile_fds(descriptors)
        .context("generating code")
}

fn format(folder: &Path) -> anyhow::Result<()> {
    let status = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../rustfmt.toml"))
        .args(files_in(folder, "rs")?)
        .status()
        .context("running rustfmt")?;
    ensure!(status.success(), "rustfmt failed on the generated code");
    Ok(())
}

fn compare(committed: &Path, fresh: &Path) -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for name in names(committed)?.into_iter().chain(names(fresh)?) {
        let same = fs::read(committed.join(&name)).ok() == fs::read(fresh.join(&name)).ok();
        if !same && !stale.contains(&name) {
            stale.push(name);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    bail!("stale in {}: {}; run `cargo xtask gen`", committed.display(), stale.join(", "))
}

fn replace(committed: &Path, fresh: &Path) -> anyhow::Result<()> {
    for file in files_in(committed, "rs")? {
        fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
    }
    for name in names(fresh)? {
        fs::copy(fresh.join(&name), committed.join(&name))
            .with_context(|| format!("writing {name}"))?;
    }
    Ok(())
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let files = files_in(folder, "rs")?;
    Ok(files
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect())
}

fn files_in(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
