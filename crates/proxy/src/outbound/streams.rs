//! The requests of one connection in HTTP/2, each on its stream.

use palisade_http::{Edits, SERVER_OUTBOUND, Version};

use super::requests::{Asked, Requests};
use crate::{
    answer::Answer,
    http2::{Call, Fate, Passing, Service, forward},
    report::Since,
};

impl Service for Requests<'_> {
    async fn serve(&self, mut call: Call) -> Fate {
        let Self { worker, connection } = self;
        let mut asked = Asked { since: Since::now(), id: None };
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
        let routed = self.route(request.0, request.1).await;
        let version = routed.version(Version::Http2);
        let mut pass = |edits: &Edits<'_>| call.rewrite(request, edits, version);
        let ended = match asked.prepare(worker, &routed, request, &mut pass) {
            Err(answer) => call.ways.answer(worker, request, &answer, SERVER_OUTBOUND),
            Ok(rewritten) => {
                let passing = Passing {
                    worker,
                    request,
                    dial: routed.dial(connection.destination),
                    server: SERVER_OUTBOUND,
                    added: &[],
                };
                forward(passing, call.ways, rewritten, None).await
            }
        };
        self.record(request, &routed, &ended, &asked);
        worker.scratches.give(scratch);
        Fate::of(&ended, asked.since)
    }
}
