//! The requests of one connection in HTTP/2, each on its stream.

use std::sync::Arc;

use palisade_http::{RequestHead, SERVER_OUTBOUND, Version};

use super::{
    Routed,
    requests::{Asked, Requests},
};
use crate::{
    active::Budget,
    answer::Answer,
    forward::Ended,
    http2::{Call, Fate, Passing, Service, forward},
    report::Since,
};

impl Service for Requests<'_> {
    async fn serve(&self, mut call: Call) -> Fate {
        let worker = self.worker;
        let mut asked = Asked::new(Since::now());
        let mut scratch = worker.scratches.take();
        let (head, text) = (&mut scratch.request, &mut scratch.down);
        if let Err(error) = call.read(head, text) {
            let (request, routed) = ((&*head, text.as_slice()), self.nowhere().await);
            let with = Answer::Unreadable(error);
            let ended = call.ways.answer(worker, request, &with, SERVER_OUTBOUND);
            self.record(request, &routed, &ended, &asked);
            worker.scratches.give(scratch);
            return Fate::Ended;
        }
        let request = (&*head, text.as_slice());
        let (mut routed, budget) = self.route(request.0, request.1).await;
        let ended = self.pass(call, request, (&mut routed, budget), &mut asked).await;
        self.record(request, &routed, &ended, &asked);
        worker.scratches.give(scratch);
        Fate::of(&ended, asked.since)
    }
}

impl Requests<'_> {
    /// Passes a request on to where `routed` leads.
    async fn pass(
        &self,
        mut call: Call,
        request: (&RequestHead, &[u8]),
        (routed, budget): (&mut Routed, Option<Arc<Budget>>),
        asked: &mut Asked,
    ) -> Ended {
        let worker = self.worker;
        let version = routed.version(Version::Http2);
        let prepared = asked.prepare(worker, routed, request).and_then(|edits| {
            let rewritten = call.rewrite(request, &edits, version)?;
            Ok((edits, rewritten, self.attempts(routed, request.0.method(), budget)?))
        });
        match prepared {
            Err(answer) => call.ways.answer(worker, request, &answer, SERVER_OUTBOUND),
            Ok((edits, rewritten, attempts)) => {
                let edits = Some(&edits);
                let passing =
                    Passing { worker, request, server: SERVER_OUTBOUND, edits, added: &[] };
                forward(passing, attempts, call.ways, rewritten, None).await
            }
        }
    }
}
