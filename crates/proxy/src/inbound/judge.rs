//! Whether a request to the workload may pass, and what is changed in it if it does. Nothing here waits:
//! one request meets one configuration.

use std::sync::Arc;

use palisade_http::{
    Edits, Method, Name, NameSet, RequestHead, normalize::normalize, refusal::Refusal,
};
use palisade_policy::{
    AcceptedToken, Custom, Decision, Forwarding, HeaderFields, Http, Reason, RuleName, TokenRules,
    TokenVerdict, client_address, token_refusal,
};
use palisade_telemetry::{EdgeMetrics, RequestId};
use palisade_types::ExtensionProvider;
use smallvec::SmallVec;

use super::{
    custom::{self, Ask, Granted, HOP_BY_HOP},
    peer::Connection,
};
use crate::{
    active::Active,
    answer::Answer,
    denials::{self, Denial},
    signature::now,
    spans::Traced,
    worker::Worker,
};

/// What is to be done with a request, which is passed on as a `P`.
#[derive(Debug)]
pub(crate) enum Verdict<P> {
    /// Pass it on.
    Pass(P),
    /// Answer it.
    Answer(Answer),
    /// Cut the connection: it would not be admitted any more.
    Cut,
    /// Nothing: the client is gone.
    Gone,
    /// Ask its external authorizer, and judge it again with the answer.
    Ask(Box<Ask>),
}

/// Why there is no decision over a request.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It is refused before.
    Refused(Refusal),
    /// A provider has the say, and was not asked.
    Ask(Arc<ExtensionProvider>, Arc<RuleName>),
}

/// A request that was judged.
#[derive(Debug)]
pub(crate) struct Judged {
    /// What the policies said; none if it did not come to that.
    pub(crate) decision: Option<Decision>,
    /// Generation of the configuration that it was judged by.
    pub(crate) generation: u64,
    /// The normalised path, if it differs from the one received.
    pub(crate) path: Option<String>,
    /// The id that it was given, if it came without.
    pub(crate) id: Option<RequestId>,
    /// What its external authorizer has said.
    pub(crate) granted: Option<Box<Granted>>,
    /// Its place in its trace, if there is tracing.
    pub(crate) traced: Option<Box<Traced>>,
}

impl Judged {
    fn new(generation: u64) -> Self {
        Self { decision: None, generation, path: None, id: None, granted: None, traced: None }
    }

    /// Begins the request's span, if there is tracing.
    fn trace(
        &mut self,
        worker: &Worker,
        active: &Active,
        connection: &Connection,
        (head, received): (&RequestHead, &[u8]),
    ) {
        let Some(tracer) = &active.tracers.server else { return };
        if tracer.needs_id()
            && self.id.is_none()
            && head.field(received, Name::XRequestId).is_none()
        {
            self.id = Some(worker.request_ids.borrow_mut().make());
        }
        let operation = || match head.text(received, Name::XEnvoyDecoratorOperation) {
            Some(said) if !said.is_empty() => said.into(),
            _ => {
                let port = connection.destination.port();
                let host = active.service(port).map_or("", |service| &service.host);
                format!("{host}:{port}/*").into()
            }
        };
        let id = self.id(head, received);
        self.traced = Some(tracer.begin(worker, (head, received), id, operation));
    }

    /// A request that could not be read, and so not judged.
    pub(crate) fn unread() -> Self {
        Self::new(0)
    }

    /// Takes what was decided instead, if the request was revoked on its way.
    pub(crate) fn revoke(&mut self, verdict: Option<(Option<Decision>, u64)>) {
        if let Some((decision, generation)) = verdict {
            (self.decision, self.generation) = (decision, generation);
        }
    }

    /// The normalised path of the request with this head.
    pub(crate) fn path<'a>(&'a self, head: &'a RequestHead, received: &'a [u8]) -> &'a str {
        self.path.as_deref().or_else(|| head.path(received)).unwrap_or_default()
    }

    /// Fields that its external authorizer adds to the response.
    pub(crate) fn added(&self) -> &[(String, Vec<u8>)] {
        self.granted.as_deref().map_or(&[], |granted| &granted.changes.response)
    }

    /// The id of the request with this head.
    pub(crate) fn id<'a>(&'a self, head: &'a RequestHead, received: &'a [u8]) -> &'a str {
        match &self.id {
            Some(id) => id.as_str(),
            None => head.text(received, Name::XRequestId).unwrap_or_default(),
        }
    }
}

/// Judges the request whose head was parsed from `received`; with what its external authorizer has said,
/// once it was asked. `pass` makes of it what is passed on.
pub(crate) fn request<P>(
    worker: &Worker,
    connection: &Connection,
    (head, received): (&RequestHead, &[u8]),
    granted: Option<Box<Granted>>,
    pass: &mut impl FnMut(&Edits<'_>) -> Result<P, Answer>,
) -> (Verdict<P>, Judged) {
    let in_force = worker.shared.active();
    let Some(in_force) = in_force.as_ref() else { return (Verdict::Cut, Judged::new(0)) };
    let active = in_force.as_ref();
    let mut judged = Judged::new(active.generation());
    if !connection.is_admitted(active) {
        return (Verdict::Cut, judged);
    }
    let target = head.path(received);
    let normalized = match target.map(|path| normalize(path, active.config.mesh.path_normalization))
    {
        Some(Err(error)) => {
            return (Verdict::Answer(Answer::Refused(Refusal::Path(error))), judged);
        }
        Some(Ok(path)) => Some(path),
        None => None,
    };
    let path = normalized.as_deref();
    let granted_ref = granted.as_deref();
    judged.id = granted_ref.and_then(|granted| granted.id);
    judged.trace(worker, active, connection, (head, received));
    let decided = decide(active, connection, (head, received), path, granted_ref, now());
    let (decision, token) = match decided {
        Ok(decided) => decided,
        Err(Stop::Refused(refusal)) => {
            return (Verdict::Answer(Answer::Refused(refusal)), judged);
        }
        Err(Stop::Ask(provider, rule)) => {
            let request = Some(seen(worker, connection, (head, received), path, judged.id));
            return (Verdict::Ask(Box::new(Ask { provider, rule, request })), judged);
        }
    };
    let verdict = match decision.refusal() {
        Some(refusal) => {
            let id = judged.id(head, received);
            explain(worker, connection, in_force, (head, received), id, &token);
            Verdict::Answer(Answer::Refused(refusal))
        }
        None if head.method() == Method::CONNECT => Verdict::Answer(Answer::NoRoute),
        None => {
            let mut edits = edits(connection, head, received);
            if let Some(granted) = granted_ref {
                let changes = &granted.changes;
                changes.removed.iter().for_each(|name| edits.remove_named(name));
                let kept = changes.set.iter().filter(|(name, _)| !is_output(&active.tokens, name));
                kept.for_each(|(name, value)| edits.set_named(name, value));
            }
            active.tokens.outputs().for_each(|name| edits.remove_named(name));
            if let Some(path) = token.path.as_deref().or(path) {
                edits.path(path);
            }
            token.removed.iter().for_each(|name| edits.remove_named(name));
            token.added.iter().for_each(|(name, value)| edits.set_named(name, value.as_bytes()));
            let has_id = granted_ref.is_some_and(|yes| yes.changes.sets("x-request-id"));
            if judged.id.is_none() && !has_id && head.field(received, Name::XRequestId).is_none() {
                judged.id = Some(worker.request_ids.borrow_mut().make());
            }
            if let Some(id) = judged.id.as_ref().filter(|_| !has_id) {
                edits.set(Name::XRequestId, id.as_str().as_bytes());
            }
            if let Some(traced) = judged.traced.as_deref() {
                traced.edit(&mut edits);
            }
            match pass(&edits) {
                Ok(passed) => Verdict::Pass(passed),
                Err(answer) => Verdict::Answer(answer),
            }
        }
    };
    judged.decision = Some(decision);
    judged.path = path.filter(|path| Some(*path) != target).map(str::to_owned);
    judged.granted = granted;
    (verdict, judged)
}

/// The request as its external authorizer sees it: as it would reach the workload.
fn seen(
    worker: &Worker,
    connection: &Connection,
    (head, received): (&RequestHead, &[u8]),
    path: Option<&str>,
    id: Option<RequestId>,
) -> custom::Request {
    let scheme = scheme(connection, head, received);
    let mut fields: Vec<(String, Vec<u8>)> = head
        .fields(received)
        .filter(|(name, _)| !is_removed(name))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()))
        .filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str()))
        .filter(|(name, _)| !["host", custom::PARTIAL].contains(&name.as_str()))
        .collect();
    let mut add = |name: &str, value: &[u8]| fields.push((name.to_owned(), value.to_vec()));
    if !connection.client_certificate.is_empty() {
        add("x-forwarded-client-cert", connection.client_certificate.as_bytes());
    }
    if head.field(received, Name::XForwardedProto).is_none() {
        add("x-forwarded-proto", scheme.as_bytes());
    }
    let named = head.field(received, Name::XRequestId).is_some();
    let make = || worker.request_ids.borrow_mut().make();
    let id = (!named).then(|| id.unwrap_or_else(make));
    if let Some(id) = &id {
        add("x-request-id", id.as_str().as_bytes());
    }
    custom::Request {
        id,
        method: head.method().as_str().to_owned(),
        path: path.map(str::to_owned),
        authority: head.authority(received).to_owned(),
        scheme,
        protocol: head.version().as_str(),
        fields,
        body: None,
    }
}

/// What the policies say about a request with this normalised path, and the token that it came with. An
/// external authorizer has its say first, then a token that is not accepted at this time (seconds since 1970)
/// refuses.
pub(crate) fn decide(
    active: &Active,
    connection: &Connection,
    (head, received): (&RequestHead, &[u8]),
    path: Option<&str>,
    granted: Option<&Granted>,
    time: u64,
) -> Result<(Decision, AcceptedToken), Stop> {
    let mut fields: SmallVec<[(&str, &[u8]); 24]> = seen_fields(active, head, received).collect();
    let source = connection.source.ip();
    let remote_ip = match head.field(received, Name::XForwardedFor) {
        Some(_) => {
            let forwarded = HeaderFields(&fields).values("x-forwarded-for");
            client_address(source, Forwarding::Sidecar, forwarded)
        }
        None => source,
    };
    if let Some(granted) = granted {
        granted.changes.apply(&mut fields);
        fields.retain(|(name, _)| !is_output(&active.tokens, name));
    }
    let headers = HeaderFields(&fields);
    let mut http = Http {
        method: head.method().as_str(),
        path,
        authority: head.authority(received),
        scheme: scheme(connection, head, received),
        headers,
        claims: None,
    };
    if active.has_custom() {
        match active.custom(&connection.attributes(remote_ip, Some(http))) {
            Custom::Denied(decision) => return Ok((decision, AcceptedToken::default())),
            Custom::Ask(provider, rule) if !granted.is_some_and(|yes| yes.is_by(&provider)) => {
                return Err(Stop::Ask(provider, rule));
            }
            Custom::Ask(..) | Custom::Pass => {}
        }
    }
    if active.tokens.is_empty() {
        let decision = active.decide(&connection.attributes(remote_ip, Some(http)));
        return Ok((decision, AcceptedToken::default()));
    }
    let token = match active.tokens.check(&http, time) {
        TokenVerdict::Missing => AcceptedToken::default(),
        TokenVerdict::Accepted(token) => *token,
        TokenVerdict::Refused(fault) => return Err(Stop::Refused(token_refusal(fault, &http))),
    };
    let fields = token.headers(&fields);
    http.headers = HeaderFields(&fields);
    http.claims = token.claims.is_object().then_some(&token.claims);
    let decision = active.decide(&connection.attributes(remote_ip, Some(http)));
    Ok((decision, token))
}

/// Explains why a request was denied, if somebody wants to know.
pub(super) fn explain(
    worker: &Worker,
    connection: &Connection,
    in_force: &Arc<Active>,
    (head, received): (&RequestHead, &[u8]),
    id: &str,
    token: &AcceptedToken,
) {
    worker.shared.denials.explain(|| Denial {
        request_id: id.to_owned(),
        request: Some(denied(in_force, connection, head, received, token)),
        ..connection.denial(in_force)
    });
}

/// A request that was denied, as far as policies see it.
fn denied(
    active: &Active,
    connection: &Connection,
    head: &RequestHead,
    received: &[u8],
    token: &AcceptedToken,
) -> denials::Request {
    let fields: SmallVec<[(&str, &[u8]); 24]> = seen_fields(active, head, received).collect();
    let fields = token.headers(&fields);
    denials::Request {
        method: head.method().as_str().to_owned(),
        path: head.path(received).map(str::to_owned),
        authority: head.authority(received).to_owned(),
        scheme: scheme(connection, head, received),
        headers: fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect(),
        claims: token.claims.is_object().then(|| token.claims.clone()),
    }
}

/// The header fields that policies see.
fn seen_fields<'a>(
    active: &Active,
    head: &'a RequestHead,
    received: &'a [u8],
) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let seen = |name: &str| !is_removed(name) && !is_output(&active.tokens, name);
    head.fields(received).filter(move |(name, _)| seen(name))
}

/// Whether claims are written to a field, so that nobody else may.
fn is_output(tokens: &TokenRules, name: &str) -> bool {
    tokens.outputs().any(|output| output.eq_ignore_ascii_case(name))
}

/// What is changed in a request that passes: nothing that a client says about itself survives.
fn edits<'a>(connection: &'a Connection, head: &RequestHead, received: &[u8]) -> Edits<'a> {
    let mut edits = Edits::new();
    edits.remove_all(REMOVED);
    if !connection.client_certificate.is_empty() {
        edits.set(Name::XForwardedClientCert, connection.client_certificate.as_bytes());
    }
    if head.field(received, Name::XForwardedProto).is_none() {
        let scheme = scheme(connection, head, received);
        edits.set(Name::XForwardedProto, scheme.as_bytes());
    }
    edits
}

/// The scheme that the request was made with, as far as anybody says so.
pub(super) fn scheme(connection: &Connection, head: &RequestHead, received: &[u8]) -> &'static str {
    match head.text(received, Name::XForwardedProto) {
        Some("http") => "http",
        Some("https") => "https",
        _ if connection.identities.is_empty() => "http",
        _ => "https",
    }
}

/// Whether only a proxy may write a field.
pub(super) fn is_removed(name: &str) -> bool {
    name.starts_with(['x', 'X']) && REMOVED.contains(Name::of(name.as_bytes()))
}

/// Fields that only a proxy may write.
pub(crate) const REMOVED: NameSet = NameSet::of(&[
    Name::XEnvoy,
    Name::XEnvoyAttemptCount,
    Name::XEnvoyDecoratorOperation,
    Name::XEnvoyOriginalPath,
    Name::XEnvoyPeerMetadata,
    Name::XEnvoyPeerMetadataId,
    Name::XEnvoyUpstreamServiceTime,
    Name::XForwardedClientCert,
]);

/// What a connection need not find out twice.
#[derive(Debug, Default)]
pub(crate) struct Known {
    edge: Option<(u64, EdgeMetrics)>,
    rule: Option<(Arc<RuleName>, String)>,
}

impl Known {
    /// The connection's metrics.
    pub(crate) fn edge(&mut self, worker: &Worker, connection: &Connection) -> EdgeMetrics {
        let active = worker.shared.active();
        let generation = active.as_deref().map_or(0, Active::generation);
        match &self.edge {
            Some((known, edge)) if *known == generation => edge.clone(),
            _ => {
                let edge = worker.edges.inbound(
                    active.as_deref(),
                    connection.source.ip(),
                    connection.principal(),
                    connection.destination.port(),
                );
                self.edge.insert((generation, edge)).1.clone()
            }
        }
    }

    /// The name of the rule that decided, as text.
    pub(crate) fn rule(&mut self, decision: &Decision) -> &str {
        let (Reason::Allowed(rule) | Reason::Denied(rule)) = &decision.reason else { return "" };
        if self.rule.as_ref().is_none_or(|(known, _)| !Arc::ptr_eq(known, rule)) {
            self.rule = Some((Arc::clone(rule), rule.to_string()));
        }
        self.rule.as_ref().map_or("", |(_, text)| text.as_str())
    }
}
