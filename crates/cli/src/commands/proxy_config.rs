//! `proxy-config`: what a sidecar has in force, as the sidecar itself says it, in istioctl's layouts.

mod layout;

use std::{collections::BTreeSet, io::Write};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    exec::capture,
    target::{PodTarget, SIDECAR},
};
use crate::{
    CliError, Mesh,
    args::{Format, ProxyConfigCommand, RootcaCompareArgs},
    error::During,
};

pub(crate) async fn run(
    mesh: &Mesh,
    command: &ProxyConfigCommand,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    type Layout = fn(&Value) -> String;
    let (args, shown, layout): (_, _, Layout) = match command {
        ProxyConfigCommand::Secret(args) => (args, "certificate", layout::secret),
        ProxyConfigCommand::Policy(args) => (args, "policies", layout::policy),
        ProxyConfigCommand::Listener(args) => (args, "listeners", layout::listener),
        ProxyConfigCommand::Endpoint(args) => (args, "endpoints", layout::endpoint),
        ProxyConfigCommand::All(args) => (args, "all", |dump| format!("{dump:#}\n")),
        ProxyConfigCommand::RootcaCompare(args) => return compare_roots(mesh, args, out).await,
    };
    let dump = dump(mesh, &args.target, args.namespace.as_deref()).await?;
    let text = match args.output {
        Format::Table => layout(&dump),
        Format::Json => format!("{:#}\n", part(&dump, shown)),
    };
    out.write_all(text.as_bytes()).during("print")
}

/// Says whether two sidecars trust the same roots; without a root in common they can't talk.
pub(crate) async fn compare_roots(
    mesh: &Mesh,
    args: &RootcaCompareArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let (first, second) =
        (dump(mesh, &args.first, None).await?, dump(mesh, &args.second, None).await?);
    let (here, there) = (roots(&first), roots(&second));
    let both = format!("[{}] and [{}]", args.first, args.second);
    if !here.is_empty() && here == there {
        let line = format!(
            "Both {both} have the identical ROOTCA, theoretically the connectivity between them is available"
        );
        return writeln!(out, "{line}").during("print");
    }
    let common = here.intersection(&there).count();
    Err(CliError::No(format!(
        "{both} trust other roots ({common} in common): a rotation is under way (`palisade ca status`), or one of \
         them has lost the control plane (`palisade proxy-status`)"
    )))
}

/// What a sidecar says of itself.
pub(super) async fn dump(
    mesh: &Mesh,
    target: &str,
    namespace: Option<&str>,
) -> Result<Value, CliError> {
    let pod = PodTarget::resolve(mesh, target, namespace).await?;
    let command = ["palisade", "internal", "request", "config_dump"].map(str::to_owned);
    let answer = capture(mesh, &pod, Some(SIDECAR), &command).await?;
    let what = format!("ask the sidecar of pod `{}.{}`", pod.name(), pod.namespace);
    if answer.code != 0 {
        return Err(CliError::Trouble(format!("{what}: {}", answer.stderr.trim())));
    }
    serde_json::from_str(&answer.stdout).during(what)
}

fn roots(dump: &Value) -> BTreeSet<&str> {
    let roots = dump["certificate"]["roots"].as_array().into_iter().flatten();
    roots.filter_map(|root| root["fingerprint"].as_str()).collect()
}

/// The part of a dump that a command shows, as JSON.
fn part(dump: &Value, shown: &str) -> Value {
    let config = &dump["config"];
    match shown {
        "certificate" => json!({
            "certificate": dump["certificate"], "renewalError": dump["renewalError"],
        }),
        "policies" => json!({
            "policies": config["inbound"]["policies"],
            "requestAuthentications": config["inbound"]["requestAuthentications"],
            "unusable": config["inbound"]["unusable"],
            "mtls": config["inbound"]["mtls"],
        }),
        "listeners" => json!({
            "mtls": config["inbound"]["mtls"],
            "inbound": config["inbound"]["ports"],
            "outbound": config["outbound"]["ports"],
        }),
        "endpoints" => {
            let ports = config["outbound"]["ports"].as_array().into_iter().flatten();
            let endpoints = ports.flat_map(|port| {
                let all = port["endpoints"].as_array().into_iter().flatten();
                all.map(|endpoint| {
                    let mut endpoint = endpoint.clone();
                    endpoint["cluster"] = layout::cluster(port).into();
                    endpoint
                })
            });
            endpoints.collect()
        }
        _ => dump.clone(),
    }
}

/// How much of a certificate's life is left, in percent.
pub(super) fn percent_left(certificate: &Value, now: Timestamp) -> Option<i64> {
    let at = |key: &str| certificate[key].as_str()?.parse::<Timestamp>().ok();
    let (begin, end) = (at("notBefore")?.as_second(), at("notAfter")?.as_second());
    let left = (end - now.as_second()).max(0);
    (end > begin).then(|| left * 100 / (end - begin))
}
