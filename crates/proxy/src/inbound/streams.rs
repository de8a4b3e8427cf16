//! The requests of one connection in HTTP/2, each on its stream.

use palisade_http::{Edits, SERVER_INBOUND, Version};
use palisade_types::BodySeen;

use super::{
    custom::body::{NotShown, Shown, hold_http2},
    guard::Guard,
    judge::{Judged, Verdict},
    peer,
    requests::{Parsed, Requests, Waiting},
};
use crate::{
    answer::Answer,
    forward::gone,
    http2::{Call, Fate, Passing, Rewritten, Service, forward},
    report::Since,
    signal::Watch,
};

impl Service for Requests<'_> {
    async fn serve(&self, mut call: Call) -> Fate {
        let Self { worker, connection, .. } = self;
        let since = Since::now();
        let watch = Watch::new(&worker.reconfigured);
        let mut scratch = worker.scratches.take();
        let (head, text) = (&mut scratch.request, &mut scratch.down);
        if let Err(error) = call.read(head, text) {
            let request = (&*head, text.as_slice());
            let with = Answer::Unreadable(error);
            let ended = call.ways.answer(worker, request, &with, SERVER_INBOUND);
            self.record(request, &Judged::unread(), &ended, since);
            worker.scratches.give(scratch);
            return Fate::Ended;
        }
        let request = (&*head, text.as_slice());
        let (towards, version) = self.server(Version::Http2);
        let mut waiting = OnStream { call: &mut call, request, version };
        let (verdict, mut judged) = self.judge(&mut waiting).await;
        let ended = match verdict {
            // No question is left.
            Verdict::Cut | Verdict::Ask(_) => {
                connection.refused(worker, peer::PLAINTEXT);
                worker.scratches.give(scratch);
                return Fate::Cut;
            }
            Verdict::Gone => gone(0),
            Verdict::Answer(answer) => call.ways.answer(worker, request, &answer, SERVER_INBOUND),
            Verdict::Pass(rewritten) => {
                let passing = Passing {
                    worker,
                    request,
                    server: SERVER_INBOUND,
                    edits: None,
                    added: judged.added(),
                };
                let mut guard = Guard::new(worker, connection, &judged, since, watch);
                let ended = forward(passing, towards, call.ways, rewritten, Some(&mut guard)).await;
                let verdict = guard.verdict();
                judged.revoke(verdict);
                ended
            }
        };
        self.record(request, &judged, &ended, since);
        worker.scratches.give(scratch);
        Fate::of(&ended, since)
    }
}

/// A request whose head was read from its stream.
struct OnStream<'a> {
    call: &'a mut Call,
    request: Parsed<'a>,
    /// What is spoken to the server.
    version: Version,
}

impl Waiting for OnStream<'_> {
    type Passed = Rewritten;

    fn open(&mut self) -> (Parsed<'_>, impl FnMut(&Edits<'_>) -> Result<Rewritten, Answer>) {
        let Self { call, request, version } = self;
        let (request, version) = (*request, *version);
        (request, move |edits: &Edits<'_>| call.rewrite(request, edits, version))
    }

    async fn body(&mut self, seen: BodySeen) -> Result<Shown, NotShown> {
        hold_http2(&mut self.call.ways, self.request.0, seen).await
    }
}
