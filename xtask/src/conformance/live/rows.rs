//! The files that are not about decisions: what is sent to a workload, and what comes back, in their words.

use std::collections::BTreeMap;

use anyhow::Context;
use palisade_types::{Mesh, MtlsMode, Protocol};
use serde::Deserialize;
use serde_json::{Value, json};

use super::application::{self, Application};
use crate::{
    conformance::{
        Client, Format, authz, paths, peer_authentication, policies::Policies, refused,
        scene::Scene,
    },
    lab::Heard,
};

/// A workload and what is sent to it.
pub(super) struct Group {
    pub(super) scene: Scene,
    pub(super) rows: Vec<Row>,
}

/// What is sent, and what is to come back.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) client: Client,
    pub(super) expected: String,
    kind: Kind,
}

/// What of an answer counts.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    /// The path that the application sees, or the status.
    Path,
    /// Whether it gets to the application.
    Template,
    /// How the connection is served.
    Port,
    /// All that the client receives.
    Refusal,
    /// The same in HTTP/2.
    RefusalInHttp2,
}

/// What a file holds; none if that is decisions.
pub(super) fn groups(content: Value) -> anyhow::Result<Option<Vec<Group>>> {
    Ok(match Format::of(&content) {
        Some(Format::PathNormalization) => Some(normalization(content)?),
        Some(Format::PathTemplates) => Some(templates(content)?),
        Some(Format::PeerAuthentication) => Some(ports(content)?),
        Some(Format::RefusedResponses) => Some(refusals(content)?),
        Some(Format::Authz | Format::Random) | None => None,
    })
}

impl Row {
    /// Whether it counts what is sent first on a connection.
    pub(super) fn is_about_connections(&self) -> bool {
        self.kind == Kind::Port
    }

    /// Whether it is sent in HTTP/2.
    pub(super) fn is_in_http2(&self) -> bool {
        self.kind == Kind::RefusalInHttp2
    }

    /// What came back, in the words of the file.
    pub(super) fn told(&self, heard: &Heard, application: &Application) -> String {
        match self.kind {
            Kind::Path => path(heard),
            Kind::Template if application::has_answered(heard) => "matches".to_owned(),
            Kind::Template => "no match".to_owned(),
            Kind::Port => port(heard, application, &self.client),
            Kind::Refusal | Kind::RefusalInHttp2 => refusal(heard).to_string(),
        }
    }
}

fn get(path: &str) -> Client {
    let bytes = format!("GET {path} HTTP/1.1\r\nHost: server\r\n\r\n").into_bytes();
    Client { tls: None, bytes }
}

fn scene(group: &str, mesh: Mesh, protocol: Protocol, policies: &str) -> anyhow::Result<Scene> {
    let workload = json!({"namespace": "foo", "labels": {}, "protocol": protocol});
    Ok(Scene {
        group: group.to_owned(),
        mesh,
        workload: serde_json::from_value(workload)?,
        text: policies.to_owned(),
        policies: Policies::parse(policies)?,
        cases: Vec::new(),
    })
}

fn normalization(content: Value) -> anyhow::Result<Vec<Group>> {
    let file: paths::File<paths::Normalization> = serde_json::from_value(content)?;
    let mut by_mode: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for row in &file.rows {
        for (mode, expected) in &row.modes {
            by_mode.entry(mode).or_default().push(Row {
                name: format!("{} under {mode}", row.r#in),
                client: get(&row.r#in),
                expected: expected.to_string(),
                kind: Kind::Path,
            });
        }
    }
    by_mode
        .into_iter()
        .map(|(mode, rows)| {
            let path_normalization = serde_json::from_value(json!(mode))?;
            let mesh = Mesh { path_normalization, ..Mesh::default() };
            Ok(Group { scene: scene("path-normalization", mesh, Protocol::Http, "")?, rows })
        })
        .collect()
}

fn path(heard: &Heard) -> String {
    match heard {
        Heard::Response(response) => match response.field(application::PATH) {
            Some(path) => json!(path).to_string(),
            None => json!(response.status()).to_string(),
        },
        other => format!("{other:?}"),
    }
}

fn templates(content: Value) -> anyhow::Result<Vec<Group>> {
    let file: paths::File<paths::Template> = serde_json::from_value(content)?;
    let group = |row: paths::Template| {
        let asked = |paths: &[String], expected: &str| -> Vec<Row> {
            let row = |path: &String| Row {
                name: format!("{} on {path}", row.template),
                client: get(path),
                expected: expected.to_owned(),
                kind: Kind::Template,
            };
            paths.iter().map(row).collect()
        };
        let rows = [asked(&row.r#match, "matches"), asked(&row.no_match, "no match")].concat();
        let policy = json!({
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "template", "namespace": "foo"},
            "spec": {"rules": [{"to": [{"operation": {"paths": [row.template]}}]}]},
        });
        let scene = scene("path-templates", Mesh::default(), Protocol::Http, &policy.to_string())?;
        Ok(Group { scene, rows })
    };
    file.rows.into_iter().map(group).collect()
}

fn strict(mode: MtlsMode) -> String {
    json!({
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "foo"},
        "spec": {"mtls": {"mode": mode}},
    })
    .to_string()
}

fn ports(content: Value) -> anyhow::Result<Vec<Group>> {
    let file: peer_authentication::File = serde_json::from_value(content)?;
    let mut groups: Vec<(Protocol, MtlsMode, Vec<Row>)> = Vec::new();
    for row in file.rows {
        let made = Row {
            name: format!("{:?} {} {}", row.port_protocol, row.mode, row.client),
            client: peer_authentication::client(&row.client)?,
            expected: row.outcome,
            kind: Kind::Port,
        };
        let same = |(protocol, mode, _): &&mut (Protocol, MtlsMode, Vec<Row>)| {
            (*protocol, *mode) == (row.port_protocol, row.mode)
        };
        match groups.iter_mut().find(same) {
            Some((_, _, rows)) => rows.push(made),
            None => groups.push((row.port_protocol, row.mode, vec![made])),
        }
    }
    groups
        .into_iter()
        .map(|(protocol, mode, rows)| {
            let scene = scene("peer-authentication", Mesh::default(), protocol, &strict(mode))?;
            Ok(Group { scene, rows })
        })
        .collect()
}

/// How a connection was served. A client that speaks TLS to what does not can't tell who answered it: the
/// application can.
fn port(heard: &Heard, application: &Application, client: &Client) -> String {
    let identity = if client.tls.is_some() { "identity" } else { "plaintext" };
    match heard {
        Heard::Response(response) => match response.field(application::SEEN) {
            Some(application::OPAQUE) => format!("tcp:{identity}"),
            Some(seen) => seen.to_owned(),
            None => format!("http:{}", response.status().unwrap_or_default()),
        },
        Heard::Bytes(bytes) if bytes.starts_with(b"hello") => format!("tcp:{identity}"),
        Heard::Bytes(bytes) => match bytes.strip_prefix(b"HTTP/1.1 ").and_then(|it| it.get(..3)) {
            Some(status) => format!("http:{}", String::from_utf8_lossy(status)),
            None => format!("{heard:?}"),
        },
        Heard::Reset => "reset".to_owned(),
        Heard::HandshakeRefused(_) if application.has_seen_tls() => "passthrough-tls".to_owned(),
        Heard::HandshakeRefused(why) if why.contains("corrupt message") => "http:400".to_owned(),
        Heard::HandshakeRefused(_) => {
            match client.tls.as_ref().and_then(|tls| tls.certificate.as_ref()) {
                None => "tls-rejected (client certificate required)".to_owned(),
                Some(_) => "tls-rejected".to_owned(),
            }
        }
    }
}

fn refusals(content: Value) -> anyhow::Result<Vec<Group>> {
    #[derive(Deserialize)]
    struct File {
        policies: String,
        rows: Vec<Recorded>,
    }
    #[derive(Deserialize)]
    struct Recorded {
        name: String,
        received: Value,
    }
    let file: File = serde_json::from_value(content)?;
    let mut http = scene("refused-responses", Mesh::default(), Protocol::Http, &file.policies)?;
    let mut tcp = scene("refused-responses", Mesh::default(), Protocol::Tcp, "")?;
    // On TCP the DENY policy would deny everything by name; the row was recorded without it.
    tcp.policies = http.policies.allowing();
    let closed =
        scene("refused-responses", Mesh::default(), Protocol::Http, &strict(MtlsMode::Strict))?;
    let (mut of_http, mut of_tcp, mut of_closed) = (Vec::new(), Vec::new(), Vec::new());
    for Recorded { name, received } in file.rows {
        let (to, client) = if let Some(client) = refused::client_of_strict(&name) {
            (&mut of_closed, client)
        } else if let Some(text) = refused::request(&name) {
            let to = if text == refused::BYTES { &mut of_tcp } else { &mut of_http };
            (to, Client { tls: None, bytes: text.as_bytes().to_vec() })
        } else {
            let token =
                refused::with_token(&name).with_context(|| format!("no row is `{name}`"))?;
            let request = serde_json::from_value(token)?;
            (&mut of_http, authz::client(&request, &http.workload)?)
        };
        let kind = if received.is_array() { Kind::RefusalInHttp2 } else { Kind::Refusal };
        to.push(Row { name, client, expected: received.to_string(), kind });
    }
    http.text.clear();
    Ok(vec![
        Group { scene: http, rows: of_http },
        Group { scene: tcp, rows: of_tcp },
        Group { scene: closed, rows: of_closed },
    ])
}

fn refusal(heard: &Heard) -> Value {
    match heard {
        Heard::Response(response) => {
            refused::received(&[&response.head[..], &response.body].concat())
        }
        Heard::Bytes(bytes) => json!({"error": "closed", "got": String::from_utf8_lossy(bytes)}),
        Heard::Reset => json!({"error": "reset"}),
        Heard::HandshakeRefused(_) => json!({"error": "tls-rejected"}),
    }
}
