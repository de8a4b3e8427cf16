//! What is told about a request or connection when it has ended: one count, one log line if wanted, one
//! decision record. Nothing here waits, and nothing is looked up by label.

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use palisade_http::{Name, RequestHead};
use palisade_policy::{Decision, Reason, RuleName, Verdict};
use palisade_telemetry::{
    AccessLogEntry, Decided, DecisionLabels, Direction, EdgeMetrics, Mode, Outcome,
    RequestProtocol, RequestSize, UnixMillis, Verdict as Told,
};
use tokio::time::Instant;

use crate::{forward::Ended, worker::Worker};

/// When something began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    /// For durations.
    pub(crate) instant: Instant,
    /// For people.
    pub(crate) time: UnixMillis,
}

impl Since {
    /// Now.
    pub(crate) fn now() -> Self {
        Self::at(Instant::now())
    }

    /// What began at `instant`, just now or not long ago.
    pub(crate) fn at(instant: Instant) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant, time: UnixMillis(millis(since)) }
    }
}

/// A request that has ended.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Its head.
    pub(crate) head: &'a RequestHead,
    /// What the head was parsed from.
    pub(crate) received: &'a [u8],
    /// Its id, as passed on.
    pub(crate) id: &'a str,
    /// When its first byte came.
    pub(crate) since: Since,
    /// The two ends of the client's connection.
    pub(crate) source: SocketAddr,
    /// Where it was going.
    pub(crate) destination: SocketAddr,
    /// SNI.
    pub(crate) server_name: &'a str,
    /// Istio's name of where it went.
    pub(crate) cluster: &'a str,
    /// How it ended.
    pub(crate) ended: &'a Ended,
}

/// A decision, and what it was about.
#[derive(Debug)]
pub(crate) struct Judgement<'a> {
    /// The decision.
    pub(crate) decision: &'a Decision,
    /// The deciding rule as text; empty without one.
    pub(crate) rule: &'a str,
    /// Generation of the configuration that it was made by.
    pub(crate) generation: u64,
    /// The caller's verified identity; empty without one.
    pub(crate) principal: &'a str,
    /// `x-request-id`.
    pub(crate) request_id: &'a str,
    /// Method.
    pub(crate) method: &'a str,
    /// `Host` or `:authority`.
    pub(crate) host: &'a str,
    /// Normalised path and query.
    pub(crate) path: &'a str,
    /// The two ends of the client's connection.
    pub(crate) source: SocketAddr,
    /// Where it was going.
    pub(crate) destination: SocketAddr,
    /// When it was made.
    pub(crate) time: UnixMillis,
    /// What the client got.
    pub(crate) response_code: u16,
}

/// An opaque connection that has ended.
#[derive(Debug)]
pub(crate) struct Connection<'a> {
    /// When it began.
    pub(crate) since: Since,
    /// The client.
    pub(crate) source: SocketAddr,
    /// Where it was going.
    pub(crate) destination: SocketAddr,
    /// SNI.
    pub(crate) server_name: &'a str,
    /// Istio's name of where it went.
    pub(crate) cluster: &'a str,
    /// Where it went.
    pub(crate) upstream: Option<SocketAddr>,
    /// What went wrong.
    pub(crate) flags: palisade_telemetry::ResponseFlags,
    /// `RESPONSE_CODE_DETAILS`.
    pub(crate) details: &'a str,
    /// Why it was ended.
    pub(crate) termination: &'a str,
    /// Why there was no connection to the server.
    pub(crate) upstream_failure: &'a str,
    /// Bytes from and to the client.
    pub(crate) bytes: (u64, u64),
}

impl Worker {
    /// Tells about a request.
    pub(crate) fn tell(&self, request: &Request<'_>, edge: &EdgeMetrics, now: Instant) {
        let Request { head, received, ended, .. } = *request;
        let duration = now.saturating_duration_since(request.since.instant);
        let grpc = head.is_grpc(received);
        let outcome = Outcome {
            protocol: if grpc { RequestProtocol::Grpc } else { RequestProtocol::Http },
            code: ended.status,
            flags: ended.flags,
            grpc_status: ended.grpc_status.filter(|_| grpc),
        };
        let size = RequestSize {
            duration,
            request_bytes: head.len() as u64 + ended.received,
            response_bytes: ended.sent,
        };
        edge.request(outcome, size);
        if grpc {
            edge.messages(ended.messages.0, ended.messages.1);
        }
        if let Some(log) = self.log.borrow_mut().as_mut() {
            log.log(&AccessLogEntry {
                start: request.since.time,
                method: head.method().as_str(),
                path: head.path(received).unwrap_or_default(),
                protocol: head.version().as_str(),
                response_code: ended.status,
                flags: ended.flags,
                details: &ended.details,
                termination_details: "",
                upstream_failure: ended.transport_failure.as_deref().unwrap_or_default(),
                bytes_received: ended.received,
                bytes_sent: ended.sent,
                duration_millis: millis(duration),
                upstream_millis: ended
                    .answered
                    .map(|at| millis(at.saturating_duration_since(request.since.instant))),
                forwarded_for: head.text(received, Name::XForwardedFor).unwrap_or_default(),
                user_agent: head.text(received, Name::UserAgent).unwrap_or_default(),
                request_id: request.id,
                authority: head.authority(received),
                upstream_host: ended.upstream,
                upstream_cluster: request.cluster,
                upstream_local: ended.local,
                downstream_local: Some(request.destination),
                downstream_remote: Some(request.source),
                server_name: request.server_name,
                route: "default",
            });
        }
    }

    /// Tells about an opaque connection.
    pub(crate) fn tell_connection(&self, connection: &Connection<'_>) {
        if let Some(log) = self.log.borrow_mut().as_mut() {
            log.log(&AccessLogEntry {
                start: connection.since.time,
                flags: connection.flags,
                details: connection.details,
                termination_details: connection.termination,
                upstream_failure: connection.upstream_failure,
                bytes_received: connection.bytes.0,
                bytes_sent: connection.bytes.1,
                duration_millis: millis(connection.since.instant.elapsed()),
                upstream_host: connection.upstream,
                upstream_cluster: connection.cluster,
                downstream_local: Some(connection.destination),
                downstream_remote: Some(connection.source),
                server_name: connection.server_name,
                ..AccessLogEntry::default()
            });
        }
    }

    /// Counts and keeps a decision.
    pub(crate) fn tell_decision(&self, judgement: &Judgement<'_>, edge: &EdgeMetrics) {
        let Judgement { decision, .. } = *judgement;
        edge.decided(&labels(decision.verdict, &decision.reason, Mode::Enforced));
        if let Some(shadow) = &decision.shadow {
            for (verdict, reason) in shadow.deny.iter().chain(&shadow.allow) {
                edge.decided(&labels(*verdict, reason, Mode::DryRun));
            }
        }
        self.decisions.record(&Decided {
            request_id: judgement.request_id,
            time: judgement.time,
            direction: Direction::Inbound,
            principal: judgement.principal,
            source: judgement.source,
            destination: judgement.destination,
            method: judgement.method,
            host: judgement.host,
            path: judgement.path.split(['?', '#']).next().unwrap_or_default(),
            verdict: match decision.verdict {
                Verdict::Allow => "allow",
                Verdict::Deny => "deny",
            },
            reason: word(&decision.reason),
            policy: judgement.rule,
            generation: judgement.generation,
            response_code: judgement.response_code,
        });
    }
}

fn labels(verdict: Verdict, reason: &Reason, mode: Mode) -> DecisionLabels<'_> {
    let rule: Option<&RuleName> = match reason {
        Reason::Allowed(rule) | Reason::Denied(rule) => Some(rule),
        Reason::NoPolicy | Reason::NoAllowMatched | Reason::NoConfig => None,
    };
    DecisionLabels {
        verdict: match verdict {
            Verdict::Allow => Told::Allow,
            Verdict::Deny => Told::Deny,
        },
        mode,
        reason: word(reason),
        policy_namespace: rule.map_or("", |rule| &rule.namespace),
        policy: rule.map_or("", |rule| &rule.policy),
        rule: rule.map(|rule| rule.rule),
    }
}

fn word(reason: &Reason) -> &'static str {
    match reason {
        Reason::NoPolicy => "no_policy",
        Reason::Allowed(_) => "allowed",
        Reason::Denied(_) => "denied",
        Reason::NoAllowMatched => "no_allow_matched",
        Reason::NoConfig => "no_config",
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
