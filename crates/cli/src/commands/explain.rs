//! `explain`: what would become of a request, and why; from manifests or from a running mesh.

mod propose;
mod recorded;

use std::{io::Write, path::Path, time::SystemTime};

use palisade_manifest::Pod;
use palisade_model::{Call, Request, World};
use palisade_policy::{
    KeySet, Verdict,
    explain::{Condition, Explanation, LayerName, Said},
};
use serde_json::{Map, Value};

pub use crate::args::Ask;
pub use propose::{Proposed, propose};

use crate::{
    CliError, Mesh, Style,
    args::{ExplainArgs, Format, Target as Where},
    error::During,
    workbench::{caller, sources, target, world},
};

pub(crate) async fn run(
    mesh: &Where,
    args: &ExplainArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    if let Some(request) = &args.request {
        let mesh = Mesh::connect(mesh).await?;
        return recorded::run(&mesh, request, args.pod.as_deref(), args.output, out).await;
    }
    let sources = sources(&args.files, mesh).await?;
    let world = match &args.ask.jwks {
        Some(path) => world(&sources)?.with_keys(&keys(path)?),
        None => world(&sources)?,
    };
    if args.propose {
        return propose::run(&world, &sources, args, out);
    }
    let Explained { explanation: explained, note } = explain(&world, &args.ask)?;
    let text = match args.output {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&explained).during("print")?),
        Format::Table => {
            let note = note.map(|note| format!("{note}\n\n")).unwrap_or_default();
            format!("{note}{}", text(&explained))
        }
    };
    out.write_all(text.as_bytes()).during("print")?;
    match explained.verdict {
        Verdict::Allow => Ok(()),
        Verdict::Deny => Err(CliError::Reported),
    }
}

/// What would become of a request, and what to know about its caller.
#[derive(Clone, Debug)]
pub struct Explained {
    /// What would become of it, and why.
    pub explanation: Explanation,
    /// What was assumed about the caller.
    pub note: Option<String>,
}

/// What would become of a request in a world, and why.
///
/// # Errors
/// When caller or workload are unknown there, or a header, claim or token can't be read.
pub fn explain(world: &World, ask: &Ask) -> Result<Explained, CliError> {
    let Asked { pod, call, note } = asked(world, ask)?;
    Ok(Explained { explanation: world.arrival(pod).explain(&call), note })
}

/// A question, as the engine takes it.
struct Asked<'w> {
    pod: &'w Pod,
    call: Call,
    note: Option<String>,
}

fn asked<'w>(world: &'w World, ask: &Ask) -> Result<Asked<'w>, CliError> {
    let target = target(world, ask.to.as_deref().unwrap_or_default(), ask.port)?;
    let caller = caller(world, ask.from.as_deref().unwrap_or_default())?.calling(world, &target);
    let mut request = Request {
        method: ask.method.to_uppercase(),
        path: ask.path.clone(),
        host: ask.host.clone().unwrap_or(target.host),
        headers: ask.headers.iter().map(|text| header(text)).collect::<Result<_, _>>()?,
        claims: claims(ask)?,
    };
    if let Some(token) = &ask.jwt {
        world.arrival(target.pod).carry(token, &mut request);
    }
    let call = Call {
        identities: caller.identities,
        source_ip: ask.ip.unwrap_or(caller.address),
        port: target.port,
        request: (!ask.tcp).then_some(request),
        now: now(),
        authorizer: ask.custom.map(Verdict::from),
    };
    Ok(Asked { pod: target.pod, call, note: caller.note })
}

/// Seconds since 1970.
pub(crate) fn now() -> Option<u64> {
    SystemTime::UNIX_EPOCH.elapsed().ok().map(|since| since.as_secs())
}

/// `NAME: VALUE` or `NAME=VALUE`.
fn header(text: &str) -> Result<(String, String), CliError> {
    let (name, value) = text
        .split_once([':', '='])
        .ok_or_else(|| CliError::Trouble(format!("`{text}` is no header: write `NAME: VALUE`")))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// The claims of `--claim`.
fn claims(args: &Ask) -> Result<Option<Value>, CliError> {
    if args.claims.is_empty() {
        return Ok(None);
    }
    let mut claims = Map::new();
    for text in &args.claims {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            CliError::Trouble(format!("`{text}` is no claim: write `NAME=VALUE`"))
        })?;
        let value = match serde_json::from_str(value) {
            Ok(value @ (Value::Array(_) | Value::Object(_))) => value,
            _ => Value::String(value.to_owned()),
        };
        claims.insert(name.to_owned(), value);
    }
    Ok(Some(Value::Object(claims)))
}

/// The keys of a file.
fn keys(path: &Path) -> Result<String, CliError> {
    let what = format!("read the keys in `{}`", path.display());
    let text = std::fs::read_to_string(path).during(&what)?;
    KeySet::parse(&text).during(&what)?;
    Ok(text)
}

fn text(explained: &Explanation) -> String {
    let (style, verdict) = match explained.verdict {
        Verdict::Allow => (Style::Good, "ALLOWED"),
        Verdict::Deny => (Style::Bad, "DENIED"),
    };
    let status = explained.status.map(|status| format!(" ({status})")).unwrap_or_default();
    let mut text = format!("{}{status}: {}\n\n", style.paint(verdict), explained.sentence);
    for layer in &explained.layers {
        let said = match layer.said {
            Said::Passed => Style::Faint.paint("-"),
            Said::Allowed => Style::Good.paint("allowed"),
            Said::Denied => Style::Bad.paint("denied"),
            Said::Noted => Style::Warning.paint("noted"),
        };
        let pad = " ".repeat(9_usize.saturating_sub(said_width(layer.said)));
        let name = layer.layer.as_str();
        let rule = layer.rule.as_ref().filter(|_| layer.layer == LayerName::DryRun);
        let rule = rule.map(|rule| format!(": {rule}")).unwrap_or_default();
        text.push_str(&format!("  {name:<11}{said}{pad}{}{rule}\n", layer.text));
    }
    if let Some(policy) = &explained.policy {
        let name = explained.rule.as_deref().unwrap_or_default();
        text.push_str(&format!(
            "\nDecided by `{policy}` ({name}), all of whose conditions hold:\n"
        ));
        explained.because.iter().for_each(|condition| text.push_str(&conditions(condition)));
        if explained.because.is_empty() {
            text.push_str("  it has none\n");
        }
    }
    if let Some(nearest) = &explained.nearest {
        let (policy, rule) = (&nearest.policy, nearest.rule);
        text.push_str(&format!("\nNearest is rule {rule} of `{policy}`, of which this fails:\n"));
        nearest.failed.iter().for_each(|condition| text.push_str(&conditions(condition)));
    }
    text
}

fn conditions(condition: &Condition) -> String {
    let mut text = format!("  {}\n      {}\n", condition.field, condition.clause());
    if let Some(hint) = &condition.hint {
        text.push_str(&format!("      {}\n", Style::Warning.paint(hint)));
    }
    text
}

fn said_width(said: Said) -> usize {
    match said {
        Said::Passed => 1,
        Said::Allowed => 7,
        Said::Denied => 6,
        Said::Noted => 5,
    }
}
