//! `cargo xtask deps`: the arrows of docs/architecture.md, checked against what crates really use.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Who may use whom, besides `types`, which everybody may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("manifest", &[]),
    ("pki", &[]),
    ("http", &[]),
    ("jwt", &[]),
    ("wire", &[]),
    ("telemetry", &[]),
    ("sys", &[]),
    ("policy", &["manifest", "http", "jwt"]),
    ("model", &["manifest", "policy", "http"]),
    ("tls", &["pki"]),
    ("net", &["sys"]),
    ("probe", &["tls"]),
    ("proxy", &["policy", "model", "http", "tls", "net", "sys", "wire", "telemetry", "probe"]),
    ("control", &["model", "policy", "manifest", "pki", "tls", "wire", "telemetry"]),
    ("kubeapi", &["manifest", "pki", "tls"]),
    ("controllers", &["manifest"]),
    ("node", &["net", "sys", "manifest", "telemetry", "probe"]),
    ("console", &["model", "policy", "telemetry"]),
    ("cli", &["model", "policy", "manifest", "telemetry"]),
];

/// Crates that decide and do no IO.
const PURE: &[&str] = &["types", "manifest", "policy", "model", "pki", "http", "jwt"];

/// What pure crates may not use, at any depth.
const IMPURE: &[&str] = &["tokio", "kube", "rustls", "hyper", "tracing-subscriber"];

/// Heavy or dangerous crates, and the only ones that may use them directly.
const ONLY: &[(&str, &[&str])] = &[
    ("rustls", &["tls"]),
    ("kube", &["control", "controllers", "node", "cli"]),
    ("k8s-openapi", &["control", "controllers", "node", "cli"]),
    ("libc", &["sys"]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

/// Prints each arrow that points the wrong way.
///
/// # Errors
/// When there is one, or cargo's metadata can't be read.
pub(crate) fn run(out: &mut impl std::io::Write) -> Result<()> {
    let metadata = read()?;
    let mut problems = wrong_arrows(&metadata);
    problems.extend(impure(&metadata));
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    if problems.is_empty() {
        writeln!(out, "arrows as designed: {} crates", ARROWS.len())?;
        return Ok(());
    }
    bail!("{} arrows are not as docs/architecture.md draws them", problems.len())
}

fn read() -> Result<Metadata> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .output()
        .context("run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("read cargo metadata")
}

fn wrong_arrows(metadata: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    for package in &metadata.packages {
        let Some(name) = package.name.strip_prefix("palisade-") else { continue };
        let Some(allowed) = arrows.get(name) else {
            if name != "testkit" {
                problems.push(format!("{name}: a crate that the design does not name"));
            }
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.kind.is_none()) {
            if let Some(used) = dependency.name.strip_prefix("palisade-")
                && used != "types"
                && !allowed.contains(&used)
            {
                problems.push(format!("{name} -> {used}: not an arrow of the design"));
            }
            if let Some((crate_name, users)) = ONLY.iter().find(|(n, _)| *n == dependency.name)
                && !users.contains(&name)
            {
                problems.push(format!("{name} -> {crate_name}: only {} may", users.join(", ")));
            }
        }
    }
    problems
}

/// What pure crates reach at any depth, without development dependencies.
fn impure(metadata: &Metadata) -> Vec<String> {
    let names: BTreeMap<_, _> =
        metadata.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
    let nodes: BTreeMap<_, _> = metadata.resolve.nodes.iter().map(|n| (n.id.as_str(), n)).collect();
    let mut problems = Vec::new();
    for (id, name) in &names {
        let Some(short) = name.strip_prefix("palisade-").filter(|n| PURE.contains(n)) else {
            continue;
        };
        let (mut seen, mut open) = (BTreeSet::new(), vec![*id]);
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let edges = nodes.get(id).into_iter().flat_map(|node| &node.deps);
            let normal = |edge: &&Edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
            open.extend(edges.filter(normal).map(|edge| edge.pkg.as_str()));
        }
        let reached = seen.iter().filter_map(|id| names.get(id));
        problems.extend(
            reached
                .filter(|used| IMPURE.contains(used))
                .map(|used| format!("{short} is pure and reaches {used}")),
        );
    }
    problems
}
