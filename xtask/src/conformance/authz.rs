//! Runs authz-cases.yaml, and compares what came out with what a real Envoy decided.

use std::fmt::Write;

use palisade_policy::{Decision, Reason, Shadow, Verdict as Decided};
use palisade_types::{Mesh, Protocol};
use serde::Deserialize;
use serde_json::Value;

use super::{
    case::{Expectation, Request, ShadowResult, Verdict, Workload},
    client::{Certificate, Chain, Client, Tls},
    deviations::Deviations,
    exchange::{Exchange, Server},
    policies::Policies,
    report::{Difference, Outcome, Report},
    token::Placement,
};

/// One case of the file.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    group: String,
    policies: String,
    mesh: Mesh,
    workload: Workload,
    request: Value,
    #[serde(flatten)]
    expectation: Expectation,
}

pub(super) fn run(
    content: Value,
    deviations: &Deviations,
    report: &mut Report<'_>,
) -> anyhow::Result<()> {
    let cases: Vec<Case> = serde_json::from_value(content)?;
    for case in cases.iter().filter(|case| report.wants(&case.group)).collect::<Vec<_>>() {
        let policies = Policies::parse(&case.policies)?;
        let request = serde_json::from_value(case.request.clone())?;
        let server = Server { mesh: &case.mesh, workload: &case.workload, policies: &policies };
        let run = Run { server, request: &request, expectation: &case.expectation };
        let context = || format!("{}\nrequest: {}", case.policies, case.request);
        report.add(run.outcome(&format!("{} ({})", case.name, case.group), deviations, context)?);
    }
    Ok(())
}

/// One request and what is expected of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    pub(super) server: Server<'a>,
    pub(super) request: &'a Request,
    pub(super) expectation: &'a Expectation,
}

impl Run<'_> {
    pub(super) fn outcome(
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
        let (expected, got) = self.compare(&exchange);
        if expected == got {
            return Ok(Outcome::Passed);
        }
        let name = name.to_owned();
        Ok(Outcome::Failed(Difference { name, expected, got, context: context() }))
    }

    /// What is expected and what came out, of the facts that were recorded.
    fn compare(&self, exchange: &Exchange) -> (String, String) {
        let wanted = self.expectation;
        let decision = exchange.decision();
        let mut both = Both::default();
        let by = exchange.refused_by();
        let verdict = if by.is_some() { Verdict::Deny } else { Verdict::Allow };
        both.fact("verdict", Some(wanted.expect), verdict);
        both.fact("by", wanted.deny_by.map(Some), by);
        both.fact("status", wanted.status.map(Some), exchange.status());
        both.fact("grpc-status", wanted.grpc_status.map(Some), exchange.grpc_status());
        let rule = decision.and_then(Decision::rule).map(ToString::to_string);
        both.fact("policy", wanted.matched_policy.clone(), rule);
        let audited = decision.is_some_and(|decision| decision.audited);
        // Recorded of requests only, and only where it holds.
        if !matches!(exchange, Exchange::Tcp(_)) {
            both.fact("audited", Some(wanted.audited.unwrap_or_default()), audited);
        }
        if let Some(shadow) = &wanted.shadow {
            let got = decision.and_then(|decision| decision.shadow.as_deref());
            for (set, wanted) in shadow {
                both.fact(set, Some(Some(wanted.clone())), shadow_result(got, set));
            }
        }
        (both.expected, both.got)
    }
}

/// Two texts that grow together.
#[derive(Default)]
struct Both {
    expected: String,
    got: String,
}

impl Both {
    fn fact<T: std::fmt::Debug>(&mut self, name: &str, wanted: Option<T>, got: T) {
        if let Some(wanted) = wanted {
            // Writing to a String does not fail.
            let _ = write!(self.expected, "{name} {wanted:?}; ");
            let _ = write!(self.got, "{name} {got:?}; ");
        }
    }
}

fn shadow_result(shadow: Option<&Shadow>, set: &str) -> Option<ShadowResult> {
    let (verdict, reason) = match set {
        "dry_run_deny" => shadow?.deny.as_ref()?,
        _ => shadow?.allow.as_ref()?,
    };
    let result = if *verdict == Decided::Allow { "allowed" } else { "denied" };
    let matched_policy = match reason {
        Reason::Allowed(rule) | Reason::Denied(rule) => Some(rule.to_string()),
        Reason::NoPolicy | Reason::NoAllowMatched | Reason::NoConfig => None,
    };
    Some(ShadowResult { result: result.to_owned(), matched_policy })
}

/// The client that a request describes.
fn client(request: &Request, workload: &Workload) -> anyhow::Result<Client> {
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
            chain: match request.cert_issuer {
                Some(_) => Chain::Faulty,
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
