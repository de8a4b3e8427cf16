//! Opaque bytes to the workload: authorized when the connection is accepted, and again whenever the
//! configuration changes.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use palisade_policy::{Custom, Decision, Verdict};
use palisade_telemetry::{EdgeMetrics, ResponseFlags};
use palisade_tls::Offer;

use super::{
    custom::{self, Ask, External, Granted},
    judge::Known,
    peer::Connection,
};
use crate::{
    buffer::Buffer,
    http1::Client,
    io::Stream,
    report::{self, Since},
    signal::Watch,
    socket,
    tcp::{End, Watcher, relay},
    upstream::{ConnectError, Dial},
    worker::Worker,
};

/// Serves one connection, of which `received` has been read.
pub(crate) async fn serve(
    worker: &Worker,
    connection: &Connection,
    mut stream: Stream,
    received: Buffer,
) {
    let since = Since::now();
    let watch = Watch::new(&worker.reconfigured);
    let asked = Box::pin(ask(worker, connection)).await;
    let Some((mut decision, generation)) = decide(worker, connection, asked.granted.as_deref())
    else {
        return socket::reset(stream.tcp());
    };
    let external = asked.refused.map(|(refused, external)| {
        decision = refused;
        external
    });
    let mut known = Known::default();
    let edge = known.edge(worker, connection);
    let rule = known.rule(&decision).to_owned();
    let judgement = report::Judgement {
        decision: &decision,
        rule: &rule,
        generation,
        principal: connection.principal().unwrap_or_default(),
        request_id: "",
        method: "",
        host: "",
        path: "",
        source: connection.source,
        destination: connection.destination,
        time: since.time,
        response_code: 0,
    };
    worker.tell_decision(&judgement, &edge);
    edge.opened();
    let mut ended = Ended::default();
    if let Some(external) = external {
        ended.flags = ResponseFlags::UNAUTHORIZED_EXTERNAL;
        external.details().clone_into(&mut ended.termination);
        Client::new(stream, received).part(&worker.buffers).await;
    } else if let Some(refusal) = decision.refusal() {
        if let Some(active) = worker.shared.active().as_ref() {
            worker.shared.denials.explain(|| connection.denial(active));
        }
        ended.termination = refusal.details().into_owned();
        Client::new(stream, received).part(&worker.buffers).await;
    } else {
        ended = carry(worker, connection, &mut stream, received, &edge, watch, asked.granted).await;
    }
    edge.closed(ended.flags);
    worker.tell_connection(&report::Connection {
        since,
        source: connection.source,
        destination: connection.destination,
        server_name: &connection.server_name,
        cluster: &connection.cluster,
        upstream: Some(connection.destination),
        flags: ended.flags,
        details: "",
        termination: &ended.termination,
        upstream_failure: &ended.upstream_failure,
        bytes: ended.bytes,
    });
}

/// How a connection ended.
#[derive(Debug, Default)]
struct Ended {
    flags: ResponseFlags,
    termination: String,
    upstream_failure: String,
    bytes: (u64, u64),
}

async fn carry(
    worker: &Worker,
    connection: &Connection,
    stream: &mut Stream,
    received: Buffer,
    edge: &EdgeMetrics,
    watch: Watch,
    granted: Option<Box<Granted>>,
) -> Ended {
    let dial = Dial::workload(connection.destination);
    let mut upstream = match dial.fresh(worker, Offer::Tcp).await {
        Ok(upstream) => upstream.stream,
        Err(error) => {
            socket::reset(stream.tcp());
            return unreachable(&error);
        }
    };
    let mut guard = Guard { worker, connection, edge, watch, granted, refused: None };
    let early = (received, Buffer::default());
    let relayed = relay(stream, &mut upstream, early, &worker.buffers, &mut guard).await;
    let mut ended = Ended { bytes: (relayed.received, relayed.sent), ..Ended::default() };
    match relayed.end {
        End::Finished => return ended,
        End::Idle => ended.flags = ResponseFlags::STREAM_IDLE_TIMEOUT,
        End::Downstream => ended.flags = ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION,
        End::Upstream => ended.flags = ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
        End::Stopped => ended.termination = guard.refused.unwrap_or_default(),
    }
    // An end that was not agreed on must not look like one that was.
    socket::reset(stream.tcp());
    socket::reset(upstream.tcp());
    ended
}

fn unreachable(error: &ConnectError) -> Ended {
    Ended {
        flags: ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
        upstream_failure: error.to_string(),
        ..Ended::default()
    }
}

/// What the external authorizer of a connection has said.
#[derive(Default)]
struct Asked {
    granted: Option<Box<Granted>>,
    refused: Option<(Decision, Box<External>)>,
}

/// Asks the external authorizer, if there is one for this connection.
async fn ask(worker: &Worker, connection: &Connection) -> Asked {
    let custom = {
        let active = worker.shared.active();
        let attributes = connection.attributes(connection.source.ip(), None);
        active.as_deref().map(|active| active.custom(&attributes))
    };
    let Some(Custom::Ask(provider, rule)) = custom else { return Asked::default() };
    let question = Ask { provider, rule: Arc::clone(&rule), request: None };
    match custom::ask(worker, connection, question).await {
        Ok(granted) => Asked { granted: Some(Box::new(granted)), refused: None },
        Err(no) => Asked { granted: None, refused: Some((Decision::denied(rule, None), no)) },
    }
}

/// The decision over the connection by the configuration in force, and its generation; none if it would not
/// even be admitted. A provider that was not asked might say no, so the client has to come again.
fn decide(
    worker: &Worker,
    connection: &Connection,
    granted: Option<&Granted>,
) -> Option<(Decision, u64)> {
    let active = worker.shared.active();
    let active = active.as_deref()?;
    if !connection.is_admitted(active) {
        return None;
    }
    let attributes = connection.attributes(connection.source.ip(), None);
    let decision = match active.custom(&attributes) {
        Custom::Ask(provider, rule) if !granted.is_some_and(|yes| yes.is_by(&provider)) => {
            Decision::denied(rule, None)
        }
        Custom::Denied(decision) => decision,
        Custom::Ask(..) | Custom::Pass => active.decide(&attributes),
    };
    Some((decision, active.generation()))
}

/// Watches over an open connection.
struct Guard<'a> {
    worker: &'a Worker,
    connection: &'a Connection,
    edge: &'a EdgeMetrics,
    watch: Watch,
    granted: Option<Box<Granted>>,
    refused: Option<String>,
}

impl Watcher for Guard<'_> {
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.watch.poll_changed(cx).is_ready() {
            let refused = match decide(self.worker, self.connection, self.granted.as_deref()) {
                Some((Decision { verdict: Verdict::Allow, .. }, _)) => continue,
                Some((decision, _)) => decision.refusal().map(|refusal| refusal.details().into()),
                None => Some("filter_chain_not_found".to_owned()),
            };
            self.refused = refused;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn carried(&mut self, received: u64, sent: u64) {
        self.edge.transferred(sent, received);
    }
}
