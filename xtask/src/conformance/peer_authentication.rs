//! Runs peer-authentication.json: what a client meets at a port, by mode and protocol.

use anyhow::{Context, bail};
use palisade_http::{Limits, RequestHead};
use palisade_policy::inbound::{RESET_DETAILS, RESET_FLAGS};
use palisade_types::{Mesh, MtlsMode, Protocol};
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::{Certificate, Chain, Client, Connection, Layer, Served, Tls, connect},
    report::Report,
};

#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Row {
    pub(super) port_protocol: Protocol,
    pub(super) mode: MtlsMode,
    pub(super) client: String,
    pub(super) outcome: String,
    response_flags: Option<String>,
    details: Option<String>,
}

pub(crate) fn run(content: Value, report: &mut Report<'_>) -> anyhow::Result<()> {
    if !report.wants("peer-authentication") {
        return Ok(());
    }
    let file: File = serde_json::from_value(content)?;
    let mesh = Mesh::default();
    for row in &file.rows {
        let client = client(&row.client)?;
        let connection = connect(row.mode, row.port_protocol, &mesh, &client);
        let got = outcome(&connection, &client);
        let facts = [Some(&row.outcome), row.response_flags.as_ref(), row.details.as_ref()];
        let expected: Vec<&str> = facts.into_iter().flatten().map(String::as_str).collect();
        let title = format!("{:?} {} {}", row.port_protocol, row.mode, row.client);
        report.compare(title, expected.join(" "), got, String::new);
    }
    Ok(())
}

/// A client by its description.
pub(super) fn client(description: &str) -> anyhow::Result<Client> {
    let (kind, rest) = match description.strip_prefix("plaintext ") {
        Some(bytes) => ("plaintext", bytes),
        None => description.split_once(", ").context("a client has a comma")?,
    };
    let bytes = match rest {
        "HTTP/1.0" => "GET / HTTP/1.0\r\nHost: server\r\n\r\n",
        "non-HTTP bytes" => "hello\r\n\r\n",
        bytes if bytes.ends_with(", bytes") => "hello\r\n\r\n",
        _ => "GET / HTTP/1.1\r\nHost: server\r\n\r\n",
    };
    let alpn: &[&str] = match rest.trim_end_matches(", bytes").trim_end_matches(", HTTP/1.1") {
        "ALPN h2+http/1.1" => &["h2", "http/1.1"],
        "ALPN istio" => &["istio"],
        "Istio TCP ALPN" => &["istio-peer-exchange", "istio"],
        "ALPN http/1.1 only" => &["http/1.1"],
        "no ALPN" => &[],
        "Istio HTTP ALPN" | "wrong trust domain" | "unknown CA" => {
            &["istio-http/1.1", "istio", "http/1.1"]
        }
        _ if kind == "plaintext" => &[],
        other => bail!("no client is known as `{other}`"),
    };
    let domain = if rest == "wrong trust domain" { "other" } else { "cluster.local" };
    let certificate = Certificate {
        sans: vec![format!("spiffe://{domain}/ns/foo/sa/a")],
        chain: if rest == "unknown CA" { Chain::Foreign } else { Chain::Trusted },
    };
    let tls = Tls {
        alpn: alpn.iter().map(ToString::to_string).collect(),
        sni: String::new(),
        certificate: (kind == "mTLS").then_some(certificate),
    };
    Ok(Client { tls: (kind != "plaintext").then_some(tls), bytes: bytes.as_bytes().to_vec() })
}

/// In the words of the file.
fn outcome(connection: &Connection, client: &Client) -> String {
    let certificate = client.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
    match connection {
        Connection::Reset => format!("reset {RESET_FLAGS} {RESET_DETAILS}"),
        Connection::HandshakeRefused(_) if certificate.is_none() => {
            "tls-rejected (client certificate required)".to_owned()
        }
        Connection::HandshakeRefused(_) => "tls-rejected".to_owned(),
        Connection::HandedOn { .. } => "passthrough-tls".to_owned(),
        Connection::Served(served) => self::served(served),
    }
}

fn served(served: &Served) -> String {
    let identity = if served.identities.is_empty() { "plaintext" } else { "identity" };
    match served.layer {
        Layer::Tcp => format!("tcp:{identity}"),
        Layer::Http => match RequestHead::default().parse(&served.bytes, Limits::default()) {
            Ok(_) => format!("http:200:{identity}"),
            Err(error) => format!("http:{}", error.status()),
        },
    }
}
