//! One request and its response, both ways at once, between a client's stream and a server's.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture, server::SendResponse};
use http::Response;
use tokio::time::Instant;

use super::{
    body::Body,
    fields,
    messages::Messages,
    pump::{Broken, Pump},
};
use crate::{
    attempts::{Begun, Towards},
    inbound::guard::Revoked,
    patience::{Late, Patience},
    signature::Signature,
    stall::Stall,
};

/// An exchange on its way.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    respond: &'a mut SendResponse<Bytes>,
    towards: &'a Towards<'a>,
    patience: &'a mut Patience,
    upload: Option<Pump>,
    /// Whether the server takes no more of the request.
    refused: bool,
    stage: Stage,
    added: &'a [(String, Vec<u8>)],
    signature: Signature,
    messages: Option<Messages>,
    stall: Stall,
    /// HTTP status of the response; 0 before it.
    pub(super) status: u16,
    /// When the response began.
    pub(super) answered: Option<Instant>,
    grpc_status: Option<u8>,
}

#[derive(Debug)]
enum Stage {
    /// The response is yet to come.
    Head(ResponseFuture),
    /// Its body is on its way.
    Body(Pump),
    /// The client has it all.
    Done,
}

/// Why an exchange did not complete.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client has left.
    Client,
    /// No answer was given.
    NoResponse(h2::Error),
    /// The answer broke off.
    Body,
    /// The client takes nothing of the answer.
    Stalled,
    /// Nobody wants the answer: another is asked for instead.
    Declined,
    /// It took too long.
    Late(Late),
    /// It was allowed, and is not any more.
    Revoked(Revoked),
}

impl From<Revoked> for Failure {
    fn from(revoked: Revoked) -> Self {
        Self::Revoked(revoked)
    }
}

impl<'a> Exchange<'a> {
    /// An exchange of which the request's head was sent; `up` takes the rest of it. `messages` count those of a
    /// gRPC call.
    pub(super) fn new(
        body: Option<Body>,
        respond: &'a mut SendResponse<Bytes>,
        (towards, patience): (&'a Towards<'a>, &'a mut Patience),
        (response, up): (ResponseFuture, SendStream<Bytes>),
        (added, signature): (&'a [(String, Vec<u8>)], Signature),
        messages: Option<Messages>,
    ) -> Self {
        let upload = body.map(|body| Pump::new(body, up, messages));
        Self {
            respond,
            towards,
            patience,
            upload,
            refused: false,
            stage: Stage::Head(response),
            added,
            signature,
            messages,
            stall: Stall::default(),
            status: 0,
            answered: None,
            grpc_status: None,
        }
    }

    /// Bytes of the request's body and of the response's.
    pub(super) fn payload(&self) -> (u64, u64) {
        (
            self.upload.as_ref().map_or(0, |it| it.payload),
            self.download().map_or(0, |it| it.payload),
        )
    }

    /// What is left of the request's body.
    pub(super) fn into_body(self) -> Option<Body> {
        self.upload.map(Pump::into_body)
    }

    fn is_replayable(&self) -> bool {
        self.upload.as_ref().is_none_or(Pump::is_replayable)
    }

    /// gRPC messages of the request and of the response.
    pub(super) fn messages(&self) -> (u64, u64) {
        let begun =
            |pump: Option<&Pump>| pump.and_then(|pump| pump.messages).map_or(0, Messages::begun);
        (begun(self.upload.as_ref()), begun(self.download()))
    }

    /// The gRPC status in the response's head or trailers.
    pub(super) fn grpc_status(&self) -> Option<u8> {
        self.download().and_then(|pump| pump.grpc_status).or(self.grpc_status)
    }

    /// Runs to the end of the response.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if let Poll::Ready(done) = self.poll_both(cx) {
            return Poll::Ready(done);
        }
        let complete = self.upload.as_ref().is_none_or(Pump::is_done);
        let late = ready!(self.patience.poll(cx, complete, self.status > 0));
        if let Stage::Body(download) = &mut self.stage {
            download.reset(Reason::INTERNAL_ERROR);
        }
        Poll::Ready(Err(Failure::Late(late)))
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.poll_upload(cx)?;
        if let Stage::Head(response) = &mut self.stage {
            while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
                // That the client does not get it is told by what follows.
                let _ = self.respond.send_informational(interim);
            }
            match Pin::new(response).poll(cx) {
                Poll::Ready(Ok(response)) => self.begin(response)?,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::NoResponse(error))),
                Poll::Pending => {
                    return match self.respond.poll_reset(cx) {
                        Poll::Ready(_) => Poll::Ready(Err(Failure::Client)),
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
        self.poll_download(cx)
    }

    /// Tells a client whose response has begun that the rest will not come: in trailers, if the call is gRPC.
    pub(super) fn revoke(&mut self, revoked: &Revoked) {
        let Stage::Body(download) = &mut self.stage else { return };
        match revoked.grpc().filter(|_| self.messages.is_some()) {
            Some((status, message)) => download.end_call(status, message),
            None => download.reset(Reason::CANCEL),
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Some(upload) = self.upload.as_mut().filter(|it| !it.is_done() && !self.refused) else {
            return Ok(());
        };
        match upload.poll(cx) {
            Poll::Ready(Err(Broken::From(_))) => Err(Failure::Client),
            // What the server has to say about it comes as its response.
            Poll::Ready(Err(Broken::To)) => {
                self.refused = true;
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn begin(&mut self, response: Response<RecvStream>) -> Result<(), Failure> {
        let (mut parts, body) = response.into_parts();
        self.grpc_status = fields::grpc_status(&parts.headers);
        let begun = Begun {
            status: parts.status.as_u16(),
            grpc_status: self.grpc_status,
            replayable: self.is_replayable(),
        };
        if self.towards.declines(begun) {
            return Err(Failure::Declined);
        }
        self.status = begun.status;
        self.answered = Some(Instant::now());
        fields::add(&mut parts.headers, self.added);
        fields::sign(&mut parts.headers, &self.signature);
        let ends = body.is_end_stream();
        let response = Response::from_parts(parts, ());
        let down = self.respond.send_response(response, ends).map_err(|_| Failure::Client)?;
        self.stage = if ends {
            Stage::Done
        } else {
            Stage::Body(Pump::new(body.into(), down, self.messages))
        };
        Ok(())
    }

    fn poll_download(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Stage::Body(download) = &mut self.stage else { return Poll::Ready(Ok(())) };
        match download.poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(Broken::To)) => Poll::Ready(Err(Failure::Client)),
            Poll::Ready(Err(Broken::From(error))) => {
                // The client is told the server's reason; a broken connection is an error of its own.
                let reason = error.reason().filter(|_| error.is_reset());
                download.reset(reason.unwrap_or(Reason::INTERNAL_ERROR));
                Poll::Ready(Err(Failure::Body))
            }
            Poll::Pending => {
                let taken = download.is_blocked().then_some(download.payload);
                ready!(self.stall.poll(cx, taken));
                download.reset(Reason::CANCEL);
                Poll::Ready(Err(Failure::Stalled))
            }
        }
    }

    fn download(&self) -> Option<&Pump> {
        match &self.stage {
            Stage::Body(download) => Some(download),
            Stage::Head(_) | Stage::Done => None,
        }
    }
}
