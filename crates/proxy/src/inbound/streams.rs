//! The requests of one connection in HTTP/2, each on its stream.

use palisade_http::{Edits, SERVER_INBOUND, Version};

use super::{
    judge::{Judged, Verdict},
    peer,
    requests::Requests,
};
use crate::{
    answer::Answer,
    http2::{Call, Fate, Passing, Service, forward},
    report::Since,
};

impl Service for Requests<'_> {
    async fn serve(&self, mut call: Call) -> Fate {
        let Self { worker, connection, .. } = self;
        let since = Since::now();
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
        let (dial, version) = self.server(Version::Http2);
        let mut pass = |edits: &Edits<'_>| call.rewrite(request, edits, version);
        let (verdict, judged) = self.judge(request, &mut pass).await;
        let ended = match verdict {
            // No question is left.
            Verdict::Cut | Verdict::Ask(_) => {
                connection.refused(worker, peer::PLAINTEXT);
                worker.scratches.give(scratch);
                return Fate::Cut;
            }
            Verdict::Answer(answer) => call.ways.answer(worker, request, &answer, SERVER_INBOUND),
            Verdict::Pass(rewritten) => {
                let passing = Passing {
                    worker,
                    request,
                    dial,
                    server: SERVER_INBOUND,
                    added: judged.added(),
                };
                forward(passing, call.ways, rewritten).await
            }
        };
        self.record(request, &judged, &ended, since);
        worker.scratches.give(scratch);
        Fate::of(&ended, since)
    }
}
