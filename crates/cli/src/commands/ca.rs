//! `ca`: who signs and which roots are trusted, and the rotation of the root, step by step.

use std::{
    fs,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{not_ours, sidecar::texts};
use crate::{
    CliError, Mesh, Style,
    args::{CaCommand, Format, RotateArgs},
    error::During,
    output::remaining,
    table,
};

pub(crate) async fn run(
    mesh: &Mesh,
    what: &CaCommand,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    match what {
        CaCommand::Rotate(args) => rotate(mesh, args, out).await,
        CaCommand::Status(args) => {
            let status = mesh.control(STATUS).await?;
            let text = match args.output {
                Format::Json => format!("{status:#}\n"),
                Format::Table => told(&status, Timestamp::now()),
            };
            out.write_all(text.as_bytes()).during("print")
        }
    }
}

/// Takes steps until the rotation is over, or one.
async fn rotate(
    mesh: &Mesh,
    args: &RotateArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let brought = args.ca_dir.as_deref().map(read).transpose()?;
    let mut status = mesh.control(STATUS).await?;
    if brought.is_some() && status["step"] != "settled" {
        return Err(CliError::No(
            "a rotation is under way: finish it with `palisade ca rotate`, then bring another authority"
                .to_owned(),
        ));
    }
    loop {
        confirmed(mesh, &status, args.timeout).await?;
        let first = status["step"] == "settled";
        let body = brought.as_ref().filter(|_| first);
        let body = body.map(|it| it.to_string().into_bytes()).unwrap_or_default();
        status = mesh.rotate_root(body).await?;
        if status["taken"] != true {
            continue;
        }
        let last = status["step"] == "settled";
        if !last {
            writeln!(out, "{}", announced(&status)).during("print")?;
            status = confirmed(mesh, &status, args.timeout).await?;
            let (confirmed, total) = (&status["confirmed"], &status["total"]);
            let line = format!("  confirmed by {confirmed}/{total} sidecars");
            writeln!(out, "{}", Style::Good.paint(&line)).during("print")?;
            write!(out, "{}", not_ours(&texts(&status["foreign"]))).during("print")?;
        }
        // The last step is over once it is confirmed: nobody has to be asked to take one more.
        let over = status["step"] == "leaving";
        if last || (args.step && !over) {
            return if last {
                writeln!(out, "{}", Style::Good.paint("The root is rotated.")).during("print")
            } else {
                writeln!(out, "The next step: `palisade ca rotate`.").during("print")
            };
        }
    }
}

/// Waits until everybody has confirmed the step that is in force.
async fn confirmed(mesh: &Mesh, status: &Value, timeout: Duration) -> Result<Value, CliError> {
    let deadline = Instant::now() + timeout;
    let mut status = status.clone();
    let mut said = Instant::now();
    while let Some(waiting) = status["waiting"].as_array().filter(|all| !all.is_empty()) {
        let who: Vec<String> = waiting.iter().map(|it| waits(it).join(": ")).collect();
        let missing = format!(
            "{} of {} sidecars have confirmed step `{}`; waiting for\n  {}",
            status["confirmed"],
            status["total"],
            status["step"].as_str().unwrap_or_default(),
            who.join("\n  ")
        );
        if Instant::now() >= deadline {
            return Err(CliError::No(format!(
                "{missing}\nthe rotation stays where it is: see to these, then run `palisade ca rotate` again"
            )));
        }
        if said.elapsed() > SAY {
            said = Instant::now();
            // Progress that can't be shown is not worth failing for.
            drop(writeln!(anstream::stderr(), "{missing}"));
        }
        tokio::time::sleep(PAUSE).await;
        status = mesh.control(STATUS).await?;
    }
    Ok(status)
}

/// The authority of a directory, as the control plane takes it.
fn read(directory: &Path) -> Result<Value, CliError> {
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read_to_string(&path).during(format!("read `{}`", path.display()))
    };
    let chain = match directory.join("cert-chain.pem").exists() {
        true => read("cert-chain.pem")?,
        false => String::new(),
    };
    Ok(json!({
        "certificate": read("ca-cert.pem")?, "key": read("ca-key.pem")?,
        "roots": read("root-cert.pem")?, "chain": chain,
    }))
}

/// What a step that was taken means.
fn announced(status: &Value) -> &'static str {
    match status["step"].as_str() {
        Some("trusting") => "1/3 the new root is trusted besides the old one, which still signs",
        Some("signing") => "2/3 the new root signs, and every certificate is renewed",
        _ => "3/3 the old root is not trusted any more",
    }
}

fn told(status: &Value, now: Timestamp) -> String {
    let step = match status["step"].as_str() {
        Some("settled") => Style::Good.paint("settled"),
        Some(step) => Style::Warning.paint(&format!("{step} (a rotation is under way)")),
        None => String::new(),
    };
    let signer = &status["signer"]["serial"];
    let row = |use_: &str, root: &Value| {
        let text = |key: &str| root[key].as_str().unwrap_or_default().to_owned();
        let left = remaining(&text("notAfter"), now);
        vec![
            use_.to_owned(),
            text("subject"),
            text("serial"),
            text("notAfter"),
            left,
            text("fingerprint"),
        ]
    };
    let mut rows = vec![row("signer", &status["signer"])];
    for root in status["roots"].as_array().into_iter().flatten() {
        let signs = root["serial"] == *signer;
        rows.push(row(if signs { "root, signs" } else { "root" }, root));
    }
    let header = ["USE", "SUBJECT", "SERIAL NUMBER", "NOT AFTER", "LEFT", "SHA-256"];
    let mut text = format!(
        "Rotation:  {step}\nConfirmed: {}/{} sidecars\n\n{}",
        status["confirmed"],
        status["total"],
        table(&header, &rows)
    );
    let waiting: Vec<Vec<String>> =
        status["waiting"].as_array().into_iter().flatten().map(waits).collect();
    text.push_str(&not_ours(&texts(&status["foreign"])));
    if !waiting.is_empty() {
        text.push('\n');
        text.push_str(&table(&["WAITING FOR", "REASON"], &waiting));
    }
    text
}

fn waits(waiting: &Value) -> Vec<String> {
    ["who", "reason"].map(|key| waiting[key].as_str().unwrap_or_default().to_owned()).to_vec()
}

const STATUS: &str = "debug/ca";
const PAUSE: Duration = Duration::from_millis(100);
/// How often is said who is waited for.
const SAY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_names_signer_roots_and_who_is_waited_for() {
        let root = |serial: &str, fingerprint: &str| {
            json!({
                "subject": "CN=Palisade mesh CA", "serial": serial, "fingerprint": fingerprint,
                "notBefore": "2026-01-01T00:00:00Z", "notAfter": "2036-01-01T00:00:00Z",
            })
        };
        let status = json!({
            "step": "trusting", "signer": root("a1", "0a"),
            "roots": [root("a1", "0a"), root("b2", "0b")], "confirmed": 2, "total": 3,
            "foreign": ["envoy.shop"],
            "waiting": [{"who": "web-1.shop", "reason": "the sidecar is not connected"}],
        });
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        insta::assert_snapshot!(anstream::adapter::strip_str(&told(&status, now)));
    }
}
