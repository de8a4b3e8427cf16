//! Passing a request of HTTP/2 on to a server that speaks HTTP/1.1.

use std::pin::pin;

use h2::Reason;
use palisade_http::{Asked, Persistence, ResponseHead};
use palisade_telemetry::ResponseFlags;
use tokio::time::Instant;

use super::{Passing, answer::answer, call::Ways, down::Down};
use crate::{
    attempts::Towards,
    buffer::Buffer,
    forward::{After, Ended, Failure, VIA_UPSTREAM, blame, is_reusable, keep, local_address, run},
    http1::{Download, Exchange, Upload},
    inbound::guard::{Guard, unless_revoked},
};

/// Passes a request on, as `upload` was made of it, and its response back, for as long as `guard` lets it.
pub(super) async fn forward(
    passing: Passing<'_, '_>,
    towards: &mut Towards<'_>,
    ways: Ways,
    upload: Upload,
    mut guard: Option<&mut Guard<'_>>,
) -> Ended {
    let Passing { worker, request: (head, text), server, added, .. } = passing;
    let asked = Asked { upgrade: false, ..head.asked() };
    let (response, signature) = (ResponseHead::default(), worker.signature(server));
    let download = Download::new(asked, response, Vec::new(), added.to_vec(), signature);
    let (mut exchange, mut down) = (Exchange::new(upload, download), Down::new(ways, head));
    exchange.patience = towards.patience(head);
    let mut answered = None;
    let mut begin = |_: &ResponseHead| {
        answered = Some(Instant::now());
        Persistence::KeepAlive
    };
    // The head was not read from the stream: nothing of the body came with it.
    let received = Buffer::default();
    let from = (&mut down, &received);
    let outcome = {
        let work = pin!(run(worker, from, head.method(), &mut exchange, towards, &mut begin));
        unless_revoked(&mut guard, passing.request, work).await
    };
    let Exchange { upload, download, .. } = exchange;
    let mut ended = match outcome {
        Ok(upstream) => {
            let local = local_address(worker, &upstream);
            if is_reusable(&upload, &download) {
                keep(worker, upstream, Instant::now());
            }
            Ended {
                grpc_status: download.grpc_status(),
                local,
                after: After::KeepAlive,
                ..Ended::cut(download.head().status(), ResponseFlags::NONE, VIA_UPSTREAM)
            }
        }
        Err(failure) => {
            let by_us = matches!(failure, Failure::Revoked(_)) || failure.is_stall();
            match blame(failure, &download) {
                Ok(with) => answer(worker, down.respond(), (head, text), &with, server),
                Err(ended) => {
                    down.reset(if by_us { Reason::CANCEL } else { Reason::INTERNAL_ERROR });
                    *ended
                }
            }
        }
    };
    ended.received = upload.body().payload();
    ended.sent += download.body().payload();
    ended.answered = answered;
    ended
}
