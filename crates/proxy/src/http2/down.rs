//! A client's stream as if it were a connection in HTTP/1.1: what is read from it is the request's body, what is
//! written to it the response. For servers that speak HTTP/1.1.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{SendStream, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue};
use palisade_http::{
    Asked, BodyReader, Framing, LAST_CHUNK, Limits, Piece, RequestHead, ResponseHead, Trailers,
    write_chunk,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{answer, body::Body, call::Ways, fields, pump::poll_room};

/// A stream as a connection.
#[derive(Debug)]
pub(super) struct Down {
    body: Body,
    chunked: bool,
    ended: bool,
    /// Read from the stream, and not by anybody else yet.
    ready: Bytes,
    asked: Asked,
    respond: SendResponse<Bytes>,
    head: ResponseHead,
    text: Vec<u8>,
    stage: Stage,
}

/// How much of the response was written.
#[derive(Debug)]
enum Stage {
    Head,
    Body(Box<Response>),
    Done,
}

/// A response's body on its way.
#[derive(Debug)]
struct Response {
    stream: SendStream<Bytes>,
    reader: BodyReader,
    trailers: HeaderMap,
    /// Written, and not sent.
    held: Bytes,
}

impl Response {
    /// Sends what was written; whether that was the end of it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let last = self.reader.is_done() && self.trailers.is_empty();
        while !self.held.is_empty() {
            let room = ready!(poll_room(&mut self.stream, cx, self.held.len())).map_err(broken)?;
            let part = self.held.split_to(room.min(self.held.len()));
            let ends = last && self.held.is_empty();
            self.stream.send_data(part, ends).map_err(broken)?;
            if ends {
                return Poll::Ready(Ok(true));
            }
        }
        if !self.reader.is_done() {
            return Poll::Ready(Ok(false));
        }
        let ended = match last {
            true => self.stream.send_data(Bytes::new(), true),
            false => {
                self.stream.send_trailers(fields::harmless(std::mem::take(&mut self.trailers)))
            }
        };
        Poll::Ready(ended.map(|()| true).map_err(broken))
    }

    /// Takes what is at the front of the bytes: how many they are.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let front = |count| bytes.get(..count).unwrap_or_default();
        Ok(match self.reader.take_apart(bytes).map_err(io::Error::other)? {
            Piece::Payload(count) => {
                self.held = Bytes::copy_from_slice(front(count));
                count
            }
            Piece::Trailer(count) => {
                keep(&mut self.trailers, front(count));
                count
            }
            Piece::Framing(count) => count,
            // Framing is written line by line.
            Piece::None => return Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

impl Down {
    /// The stream of the request with this head.
    pub(super) fn new(ways: Ways, head: &RequestHead) -> Self {
        let Ways { body, respond, .. } = ways;
        let chunked = head.framing() == Framing::Chunked;
        Self {
            // The last chunk is still to come.
            ended: !chunked && body.is_end_stream(),
            body,
            chunked,
            ready: Bytes::new(),
            asked: Asked { upgrade: false, ..head.asked() },
            respond,
            head: ResponseHead::default(),
            text: Vec::new(),
            stage: Stage::Head,
        }
    }

    /// Where an answer goes, if nothing was written.
    pub(super) fn respond(&mut self) -> &mut SendResponse<Bytes> {
        &mut self.respond
    }

    /// Tells the client that the rest of the response will not come.
    pub(super) fn reset(&mut self, reason: h2::Reason) {
        if let Stage::Body(response) = &mut self.stage {
            response.stream.send_reset(reason);
        }
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.stage {
            Stage::Head => self.respond.poll_reset(cx).map(|_| ()),
            Stage::Body(response) => response.stream.poll_reset(cx).map(|_| ()),
            Stage::Done => Poll::Pending,
        }
    }

    /// Takes the response's head. How many of the bytes belong to it.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = self.text.len();
        self.text.extend_from_slice(bytes);
        let parsed = self.head.parse(&self.text, self.asked, Limits::default());
        let Some(length) = parsed.map_err(io::Error::other)? else { return Ok(bytes.len()) };
        let framing = self.head.framing();
        let ends = matches!(framing, Framing::None | Framing::Length(0));
        let response = answer::response(&self.head, &self.text, ends);
        if self.head.is_interim() {
            self.respond.send_informational(response).map_err(broken)?;
        } else {
            let stream = self.respond.send_response(response, ends).map_err(broken)?;
            let reader = BodyReader::new(framing, Trailers::Forward);
            let (trailers, held) = (HeaderMap::new(), Bytes::new());
            self.stage = match ends {
                true => Stage::Done,
                false => Stage::Body(Box::new(Response { stream, reader, trailers, held })),
            };
        }
        self.head.clear();
        self.text.clear();
        Ok(length - before)
    }
}

impl AsyncRead for Down {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        while it.ready.is_empty() {
            if it.ended {
                // The stream's end is no news; its reset is.
                ready!(it.poll_reset(cx));
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            match ready!(poll_part(&mut it.body, it.chunked, cx)?) {
                Some(part) => it.ready = part,
                None => {
                    it.ended = true;
                    it.ready = Bytes::from_static(if it.chunked { LAST_CHUNK } else { b"" });
                }
            }
        }
        give(&mut it.ready, into);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Down {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let it = self.get_mut();
        match &mut it.stage {
            Stage::Head => Poll::Ready(it.write_head(bytes)),
            Stage::Done => Poll::Ready(Ok(bytes.len())),
            Stage::Body(response) => {
                if ready!(response.poll_send(cx))? {
                    it.stage = Stage::Done;
                    return Poll::Ready(Ok(bytes.len()));
                }
                Poll::Ready(response.take(bytes))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        if let Stage::Body(response) = &mut it.stage
            && ready!(response.poll_send(cx))?
        {
            it.stage = Stage::Done;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// More of a body, as a chunk if it is to be; none at its end.
pub(super) fn poll_part(
    body: &mut Body,
    chunked: bool,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Option<Bytes>>> {
    let Some(data) = ready!(body.poll_data(cx)) else { return Poll::Ready(Ok(None)) };
    let data = data.map_err(broken)?;
    body.release(data.len());
    if !chunked {
        return Poll::Ready(Ok(Some(data)));
    }
    let mut chunk = Vec::with_capacity(data.len() + 16);
    write_chunk(&data, &mut chunk);
    Poll::Ready(Ok(Some(chunk.into())))
}

/// Gives the reader as much as it has room for.
pub(super) fn give(ready: &mut Bytes, into: &mut ReadBuf<'_>) {
    let part = ready.split_to(ready.len().min(into.remaining()));
    into.put_slice(&part);
}

/// Keeps the field of a trailer line.
fn keep(trailers: &mut HeaderMap, line: &[u8]) {
    let Some(colon) = memchr::memchr(b':', line) else { return };
    let (name, value) = line.split_at(colon);
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        trailers.append(name, value);
    }
}

pub(super) fn broken(error: h2::Error) -> io::Error {
    match error.get_io() {
        Some(io) => io.kind().into(),
        None => io::Error::new(io::ErrorKind::ConnectionReset, error),
    }
}

/// Whether a server has refused a stream without having looked at it.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<h2::Error>());
    error.is_some_and(was_refused)
}

/// Whether a stream was refused without having been looked at.
pub(super) fn was_refused(error: &h2::Error) -> bool {
    error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
}
