//! Runs decision cases, and compares what came out with what a real Envoy decided.

use std::fmt::Write;

use palisade_types::Protocol;

use super::{
    case::{Expectation, Request, Workload},
    client::{Certificate, Chain, Client, Tls},
    deviations::Deviations,
    exchange::{Exchange, Server},
    report::{Difference, Outcome, Report},
    scene::{Case, Scene},
    token::Placement,
};

pub(crate) fn run(
    scenes: &[Scene],
    deviations: &Deviations,
    report: &mut Report<'_>,
) -> anyhow::Result<()> {
    for scene in scenes.iter().filter(|scene| report.wants(&scene.group)).collect::<Vec<_>>() {
        for case in &scene.cases {
            let Case { request, expectation, .. } = case;
            let run = Run { server: scene.server(), request, expectation };
            report.add(run.outcome(&case.name, deviations, || scene.context(case))?);
        }
    }
    Ok(())
}

/// One request and what is expected of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) server: Server<'a>,
    pub(crate) request: &'a Request,
    pub(crate) expectation: &'a Expectation,
}

impl Run<'_> {
    pub(crate) fn outcome(
        &self,
        name: &str,
        deviations: &Deviations,
        context: impl FnOnce() -> String,
    ) -> anyhow::Result<Outcome> {
        let client = client(self.request, self.server.workload)?;
        let exchange = self.server.ask(self.request, &client);
        match exchange {
            Exchange::NoConnection { deviation: Some(deviation) }
                if deviations.declares(deviation) =>
            {
                return Ok(Outcome::Deviated(deviation.to_owned()));
            }
            _ => {}
        }
        let (expected, got) = self.expectation.compare(&exchange.facts());
        if expected == got {
            return Ok(Outcome::Passed);
        }
        let name = name.to_owned();
        Ok(Outcome::Failed(Difference { name, expected, got, context: context() }))
    }
}

/// The client that a request describes.
pub(crate) fn client(request: &Request, workload: &Workload) -> anyhow::Result<Client> {
    let sans = request.principal.as_slice();
    let http = workload.protocol != Protocol::Tcp && request.protocol.as_deref() != Some("tcp");
    let tls = (!sans.is_empty()).then(|| Tls {
        alpn: request.alpn.clone().unwrap_or_else(|| {
            let offered: &[&str] = if http { &["istio-http/1.1", "istio"] } else { &["istio"] };
            offered.iter().map(ToString::to_string).collect()
        }),
        sni: request.sni.clone(),
        certificate: Some(Certificate {
            sans: sans.to_vec(),
            chain: match request.cert_issuer.as_deref() {
                Some("expired") => Chain::Expired,
                Some(_) => Chain::Foreign,
                None => Chain::Trusted,
            },
        }),
    });
    let bytes = if http { request_bytes(request)? } else { b"hello\n".to_vec() };
    Ok(Client { tls, bytes })
}

/// The request in HTTP/1.1; HTTP/2 means the same in other words.
fn request_bytes(request: &Request) -> anyhow::Result<Vec<u8>> {
    let grpc = request.protocol.as_deref() == Some("grpc");
    let method = request.method.as_deref().unwrap_or(if grpc { "POST" } else { "GET" });
    let token = Placement::of(request)?;
    let mut target = request.path.clone().unwrap_or_else(|| "/".to_owned());
    if let Some(parameter) = token.parameter {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(&parameter);
    }
    let version = request.version.as_deref().unwrap_or("1.1");
    let mut text = format!("{method} {target} HTTP/{version}\r\n");
    let mut field = |name: &str, value: &str| {
        let _ = write!(text, "{name}: {value}\r\n");
    };
    if let Some(host) = request.host.clone().unwrap_or_else(|| Some("httpbin.foo".to_owned())) {
        field("host", &host);
    }
    if grpc {
        field("content-type", "application/grpc");
    }
    for (name, values) in &request.headers {
        for value in values.as_slice() {
            field(name, value);
        }
    }
    if let Some((name, value)) = &token.field {
        field(name, value);
    }
    text.push_str("\r\n");
    Ok(text.into_bytes())
}
