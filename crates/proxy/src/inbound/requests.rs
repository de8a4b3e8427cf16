//! What all requests of one connection have in common, in either version of HTTP: judging, and telling what
//! became of it.

use std::{cell::RefCell, sync::Arc};

use palisade_http::{Edits, RequestHead, Version};
use palisade_policy::Decision;
use palisade_types::Protocol;
use tokio::time::Instant;

use super::{
    custom::{self, Ask},
    judge::{self, Judged, Known, Verdict},
    peer::Connection,
};
use crate::{
    answer::Answer,
    forward::Ended,
    http2,
    report::{self, Since},
    upstream::Dial,
    worker::Worker,
};

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Requests<'a> {
    pub(super) worker: &'a Worker,
    pub(super) connection: &'a Connection,
    known: RefCell<Known>,
}

impl<'a> Requests<'a> {
    pub(super) fn new(worker: &'a Worker, connection: &'a Connection) -> Self {
        Self { worker, connection, known: RefCell::default() }
    }

    /// Where requests of a client that speaks this version go, and what is spoken there.
    pub(super) fn server(&self, client: Version) -> (Dial<'static>, Version) {
        let address = self.connection.destination;
        let active = self.worker.shared.active();
        let declared = active.as_deref().map_or(Protocol::Auto, |it| it.protocol(address.port()));
        (Dial { address, target: None }, http2::spoken(declared, client))
    }

    /// Judges the request with this head, which was parsed from these bytes. `pass` makes of it what is
    /// passed on.
    pub(super) async fn judge<P>(
        &self,
        request: (&RequestHead, &[u8]),
        pass: &mut impl FnMut(&Edits<'_>) -> Result<P, Answer>,
    ) -> (Verdict<P>, Judged) {
        match judge::request(self.worker, self.connection, request, None, pass) {
            (Verdict::Ask(asked), judged) => Box::pin(self.ask(request, asked, judged, pass)).await,
            judged => judged,
        }
    }

    /// Asks the external authorizer of a request, and judges the request with what it says; again, if another
    /// configuration names another by then.
    async fn ask<P>(
        &self,
        request: (&RequestHead, &[u8]),
        mut asked: Box<Ask>,
        mut judged: Judged,
        pass: &mut impl FnMut(&Edits<'_>) -> Result<P, Answer>,
    ) -> (Verdict<P>, Judged) {
        let Self { worker, connection, .. } = self;
        loop {
            let rule = Arc::clone(&asked.rule);
            match custom::ask(worker, connection, *asked).await {
                Ok(yes) => {
                    let granted = Some(Box::new(yes));
                    match judge::request(worker, connection, request, granted, pass) {
                        (Verdict::Ask(another), again) => (asked, judged) = (another, again),
                        judged => return judged,
                    }
                }
                Err(no) => {
                    judged.decision = Some(Decision::denied(rule, None));
                    return (Verdict::Answer(Answer::External(no)), judged);
                }
            }
        }
    }

    /// Tells what became of a request. The time that it ended at.
    pub(super) fn record(
        &self,
        (head, received): (&RequestHead, &[u8]),
        judged: &Judged,
        ended: &Ended,
        since: Since,
    ) -> Instant {
        let Self { worker, connection, known } = self;
        let now = Instant::now();
        let mut known = known.borrow_mut();
        let id = judged.id(head, received);
        let edge = known.edge(worker, connection);
        if let Some(decision) = &judged.decision {
            let judgement = report::Judgement {
                decision,
                rule: known.rule(decision),
                generation: judged.generation,
                principal: connection.principal().unwrap_or_default(),
                request_id: id,
                method: head.method().as_str(),
                path: judged.path(head, received),
                source: connection.source,
                destination: connection.destination,
                time: since.time,
                response_code: ended.status,
            };
            worker.tell_decision(&judgement, &edge);
        }
        let request = report::Request {
            head,
            received,
            id,
            since,
            source: connection.source,
            destination: connection.destination,
            server_name: &connection.server_name,
            cluster: &connection.cluster,
            ended,
        };
        worker.tell(&request, &edge, now);
        now
    }
}
