//! Requests in HTTP/2, sent by curl: it recorded what came back, too, and its words are the ones compared.

use std::process::Command;

use anyhow::{Context, bail};

use crate::lab::Target;

/// Sends a request, which is written in HTTP/1.1 and has no body; the lines of the answer, without its date.
pub(super) fn ask(target: &Target, request: &[u8]) -> anyhow::Result<Vec<String>> {
    let text = std::str::from_utf8(request).context("a request")?;
    let mut lines = text.split_terminator("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = words.next().zip(words.next()).context("a request line")?;
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--include", "--path-as-is", "--http2-prior-knowledge"])
        .args(["--max-time", "20", "--request", method])
        .args(["--header", "User-Agent:", "--header", "Accept:"])
        .args(["--interface", &target.ends.source.to_string()]);
    if let Some((first, last)) = target.from_ports {
        curl.args(["--local-port", &format!("{first}-{last}")]);
    }
    for field in lines.filter(|line| !line.is_empty()) {
        curl.args(["--header", field]);
    }
    let output = curl
        .arg(format!("http://{}{path}", target.ends.destination))
        .output()
        .context("start `curl`: run `make tools`")?;
    if !output.status.success() {
        bail!("curl: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let lines = String::from_utf8(output.stdout).context("an answer")?;
    let lines = lines.split("\r\n").filter(|line| !line.starts_with("date: "));
    Ok(lines.map(str::to_owned).collect())
}
