//! One direction of a stream: data as it comes and as fast as the other side takes it, then trailers. What is
//! not taken is not acknowledged to the sender, whose window then closes.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http::{HeaderMap, HeaderValue};

use super::{body::Body, fields, messages::Messages};

/// A body on its way.
#[derive(Debug)]
pub(super) struct Pump {
    from: Body,
    to: SendStream<Bytes>,
    /// Received, and not taken yet.
    held: Bytes,
    done: bool,
    /// Bytes that have passed.
    pub(super) payload: u64,
    /// gRPC messages that have passed, if it is gRPC.
    pub(super) messages: Option<Messages>,
    /// The gRPC status in the trailers.
    pub(super) grpc_status: Option<u8>,
}

/// Which side broke a body off, and how.
#[derive(Debug)]
pub(super) enum Broken {
    From(h2::Error),
    To,
}

impl Pump {
    pub(super) fn new(from: Body, to: SendStream<Bytes>, messages: Option<Messages>) -> Self {
        Self { from, to, held: Bytes::new(), done: false, payload: 0, messages, grpc_status: None }
    }

    /// The body, to be sent elsewhere.
    pub(super) fn into_body(self) -> Body {
        self.from
    }

    /// Whether all of the body can be sent elsewhere.
    pub(super) fn is_replayable(&self) -> bool {
        self.from.is_replayable()
    }

    /// Whether all of it has passed.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the receiver takes nothing of what waits for it.
    pub(super) fn is_blocked(&self) -> bool {
        !self.held.is_empty()
    }

    /// Tells the receiver that the rest will not come.
    pub(super) fn reset(&mut self, reason: h2::Reason) {
        self.to.send_reset(reason);
    }

    /// Ends a gRPC call in the sender's place.
    pub(super) fn end_call(&mut self, status: &'static str, message: &'static str) {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        trailers.insert("grpc-message", HeaderValue::from_static(message));
        self.grpc_status = fields::grpc_status(&trailers);
        // It fails only if the stream is gone.
        let _ = self.to.send_trailers(trailers);
    }

    /// Passes on what there is; ready when all of it has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while !self.done {
            if !self.held.is_empty() {
                ready!(self.poll_send(cx))?;
                continue;
            }
            match self.from.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    if let Some(messages) = &mut self.messages {
                        messages.pass(&data);
                    }
                    self.held = data;
                    if self.held.is_empty() && self.from.is_end_stream() {
                        self.end()?;
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Broken::From(error))),
                Poll::Ready(None) => {
                    let trailers = ready!(self.from.poll_trailers(cx)).map_err(Broken::From)?;
                    self.finish(trailers)?;
                }
                Poll::Pending => {
                    return match self.to.poll_reset(cx) {
                        Poll::Ready(_) => Poll::Ready(Err(Broken::To)),
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let room = ready!(poll_room(&mut self.to, cx, self.held.len())).map_err(|_| Broken::To)?;
        let part = self.held.split_to(room.min(self.held.len()));
        self.payload += part.len() as u64;
        self.from.release(part.len());
        let last = self.held.is_empty() && self.from.is_end_stream();
        self.done = last;
        Poll::Ready(self.to.send_data(part, last).map_err(|_| Broken::To))
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Broken> {
        let Some(trailers) = trailers else { return self.end() };
        self.grpc_status = fields::grpc_status(&trailers);
        self.done = true;
        self.to.send_trailers(fields::harmless(trailers)).map_err(|_| Broken::To)
    }

    fn end(&mut self) -> Result<(), Broken> {
        self.done = true;
        self.to.send_data(Bytes::new(), true).map_err(|_| Broken::To)
    }
}

/// How much of `wanted` a stream takes now; more than nothing.
pub(super) fn poll_room(
    stream: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    wanted: usize,
) -> Poll<Result<usize, h2::Error>> {
    stream.reserve_capacity(wanted);
    let mut room = stream.capacity();
    while room == 0 {
        room = match ready!(stream.poll_capacity(cx)) {
            Some(room) => room?,
            None => return Poll::Ready(Err(h2::Reason::CANCEL.into())),
        };
    }
    Poll::Ready(Ok(room))
}
