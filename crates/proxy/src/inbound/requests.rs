//! What all requests of one connection have in common, in either version of HTTP: judging, and telling what
//! became of it.

use std::{cell::RefCell, sync::Arc};

use palisade_http::{Edits, Framing, RequestHead, Version};
use palisade_policy::Decision;
use palisade_types::{BodySeen, Protocol};
use tokio::time::Instant;

use super::{
    custom::{
        self, Ask, Granted,
        body::{NotShown, Shown},
    },
    judge::{self, Judged, Known, Verdict},
    peer::Connection,
};
use crate::{
    answer::Answer,
    attempts::Towards,
    forward::Ended,
    http2,
    report::{self, Since},
    spans::Finished,
    worker::Worker,
};

/// A request's head, and what it was parsed from.
pub(super) type Parsed<'a> = (&'a RequestHead, &'a [u8]);

/// A request that waits for its verdict, in either version of HTTP.
pub(super) trait Waiting {
    /// It as it is passed on.
    type Passed;

    /// Its head, and what makes of it what is passed on.
    fn open(&mut self) -> (Parsed<'_>, impl FnMut(&Edits<'_>) -> Result<Self::Passed, Answer>);

    /// Its body, or as much of it as may be seen, once it has come. It is still passed on.
    async fn body(&mut self, seen: BodySeen) -> Result<Shown, NotShown>;
}

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
    pub(super) fn server(&self, client: Version) -> (Towards<'static>, Version) {
        let address = self.connection.destination;
        let active = self.worker.shared.active();
        let declared = active.as_deref().map_or(Protocol::Auto, |it| it.protocol(address.port()));
        (Towards::Workload(address), http2::spoken(declared, client))
    }

    /// Judges a request.
    pub(super) async fn judge<W: Waiting>(&self, request: &mut W) -> (Verdict<W::Passed>, Judged) {
        match self.decide(request, None) {
            (Verdict::Ask(asked), judged) => Box::pin(self.ask(request, asked, judged)).await,
            judged => judged,
        }
    }

    fn decide<W: Waiting>(
        &self,
        request: &mut W,
        granted: Option<Box<Granted>>,
    ) -> (Verdict<W::Passed>, Judged) {
        let (head, mut pass) = request.open();
        judge::request(self.worker, self.connection, head, granted, &mut pass)
    }

    /// Asks the external authorizer of a request, and judges the request with what it says; again, if another
    /// configuration names another by then.
    async fn ask<W: Waiting>(
        &self,
        request: &mut W,
        mut asked: Box<Ask>,
        mut judged: Judged,
    ) -> (Verdict<W::Passed>, Judged) {
        let Self { worker, connection, .. } = self;
        loop {
            if let Err(unseen) = show(request, &mut asked).await {
                let verdict = match unseen {
                    NotShown::Long => Verdict::Answer(Answer::LongBody),
                    NotShown::Broken => Verdict::Answer(Answer::BadBody),
                    NotShown::Gone => Verdict::Gone,
                };
                return (verdict, judged);
            }
            let rule = Arc::clone(&asked.rule);
            match custom::ask(worker, connection, *asked).await {
                Ok(yes) => match self.decide(request, Some(Box::new(yes))) {
                    (Verdict::Ask(another), again) => (asked, judged) = (another, again),
                    judged => return judged,
                },
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
                host: head.authority(received),
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
        if let Some(traced) = judged.traced.as_deref() {
            let finished = Finished {
                request: &request,
                path: judged.path(head, received),
                scheme: judge::scheme(connection, head, received),
                decision: judged.decision.as_ref().map(|it| (it, known.rule(it))),
                now,
            };
            worker.finish_span(traced, &finished);
        }
        now
    }
}

/// Lets an external authorizer see the body, if it wants to and there is one.
async fn show(request: &mut impl Waiting, asked: &mut Ask) -> Result<(), NotShown> {
    let ((head, _), _) = request.open();
    let has_body = !matches!(head.framing(), Framing::None | Framing::Length(0));
    let wanted = asked.provider.body.filter(|_| has_body && !head.is_upgrade());
    if let Some((seen, question)) = wanted.zip(asked.request.as_mut()) {
        question.body = Some(request.body(seen).await?);
    }
    Ok(())
}
