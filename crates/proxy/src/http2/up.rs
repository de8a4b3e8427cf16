//! A server's stream as if it were a connection in HTTP/1.1: what is written to it is a request, what is read from
//! it the response. For clients that speak HTTP/1.1.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::ResponseFuture};
use http::{HeaderMap, Response};
use palisade_http::{
    BodyReader, Edits, LAST_CHUNK, Limits, Method, Piece, RequestHead, Trailers, reason,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    body::Body,
    down::{broken, give, poll_part},
    fields,
    pool::Lease,
    pump::poll_room,
};

/// A stream as a connection.
#[derive(Debug)]
pub(crate) struct Up {
    lease: Lease,
    request: Stage,
    response: Answer,
    method: Method,
    /// Read from the stream, and not by anybody else yet.
    ready: Bytes,
}

/// How much of the request was written.
#[derive(Debug)]
enum Stage {
    Head(Box<RequestHead>, Vec<u8>),
    Body(SendStream<Bytes>, BodyReader, Bytes),
    Done,
}

/// How much of the response was read.
#[derive(Debug)]
enum Answer {
    /// The request is not sent yet.
    Unasked,
    Head(ResponseFuture),
    Body(Body, Framed),
    Done,
}

/// How a body is passed on in HTTP/1.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framed {
    Length,
    Chunks,
}

impl Up {
    /// A stream of this connection, which is opened with the request's head.
    pub(super) fn new(lease: Lease) -> Self {
        let request = Stage::Head(Box::default(), Vec::new());
        let (response, method) = (Answer::Unasked, Method::default());
        Self { lease, request, response, method, ready: Bytes::new() }
    }

    /// Our address towards the server.
    pub(crate) fn local(&self) -> Option<std::net::SocketAddr> {
        self.lease.local()
    }

    /// Takes the request's head. How many of the bytes belong to it.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Stage::Head(head, text) = &mut self.request else { return Ok(0) };
        let before = text.len();
        text.extend_from_slice(bytes);
        let parsed = head.parse(text, Limits::default());
        let Some(length) = parsed.map_err(io::Error::other)? else { return Ok(bytes.len()) };
        let reader = BodyReader::new(head.framing(), Trailers::Drop);
        let refused = |_| io::Error::from(io::ErrorKind::InvalidData);
        let request = fields::request(head, text, &Edits::new()).map_err(refused)?;
        self.method = head.method();
        let ends = reader.is_done();
        let (response, stream) = self.lease.send_now(request, ends).map_err(broken)?;
        self.response = Answer::Head(response);
        self.request = match ends {
            true => Stage::Done,
            false => Stage::Body(stream, reader, Bytes::new()),
        };
        Ok(length - before)
    }

    /// The response's head in HTTP/1.1.
    fn begin(&mut self, response: Response<RecvStream>) {
        let (parts, body) = response.into_parts();
        let bodiless = self.method == Method::HEAD || matches!(parts.status.as_u16(), 204 | 304);
        let has_length = parts.headers.contains_key(http::header::CONTENT_LENGTH);
        let mut text = head(parts.status, &parts.headers);
        self.response = if body.is_end_stream() {
            if !has_length && !bodiless {
                text.extend_from_slice(b"content-length: 0\r\n");
            }
            Answer::Done
        } else if has_length || bodiless {
            Answer::Body(body.into(), Framed::Length)
        } else {
            text.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Answer::Body(body.into(), Framed::Chunks)
        };
        text.extend_from_slice(b"\r\n");
        self.ready = text.into();
    }

    /// Reads more of the response; false at its end, after which nothing comes.
    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match &mut self.response {
            Answer::Unasked | Answer::Done => return Poll::Ready(Ok(false)),
            Answer::Head(future) => {
                if let Poll::Ready(Some(Ok(interim))) = future.poll_informational(cx) {
                    let mut text = head(interim.status(), interim.headers());
                    text.extend_from_slice(b"\r\n");
                    self.ready = text.into();
                } else {
                    let response = ready!(Pin::new(future).poll(cx)).map_err(broken)?;
                    self.begin(response);
                }
            }
            Answer::Body(body, framed) => {
                match ready!(poll_part(body, *framed == Framed::Chunks, cx)?) {
                    Some(part) => self.ready = part,
                    None => {
                        let trailers = ready!(body.poll_trailers(cx)).map_err(broken)?;
                        if *framed == Framed::Chunks {
                            self.ready = last_chunk(trailers.unwrap_or_default());
                        }
                        self.response = Answer::Done;
                    }
                }
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Sends what was written of the request's body.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Stage::Body(stream, reader, held) = &mut self.request else {
            return Poll::Ready(Ok(()));
        };
        while !held.is_empty() {
            let room = ready!(poll_room(stream, cx, held.len())).map_err(broken)?;
            let part = held.split_to(room.min(held.len()));
            stream.send_data(part, false).map_err(broken)?;
        }
        if reader.is_done() {
            stream.send_data(Bytes::new(), true).map_err(broken)?;
            self.request = Stage::Done;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Up {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        while it.ready.is_empty() {
            if matches!(it.response, Answer::Unasked) {
                return Poll::Pending;
            }
            if !ready!(it.poll_response(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
        give(&mut it.ready, into);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Up {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let it = self.get_mut();
        ready!(it.poll_send(cx))?;
        match &mut it.request {
            Stage::Head(..) => Poll::Ready(it.write_head(bytes)),
            Stage::Done => Poll::Ready(Ok(bytes.len())),
            Stage::Body(_, reader, held) => {
                Poll::Ready(match reader.take_apart(bytes).map_err(io::Error::other)? {
                    Piece::Payload(count) => {
                        *held = Bytes::copy_from_slice(bytes.get(..count).unwrap_or_default());
                        Ok(count)
                    }
                    Piece::Trailer(count) | Piece::Framing(count) => Ok(count),
                    // Framing is written line by line.
                    Piece::None => Err(io::ErrorKind::InvalidData.into()),
                })
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// Status line and fields.
fn head(status: http::StatusCode, fields: &HeaderMap) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(status.as_str().as_bytes());
    text.push(b' ');
    let phrase = status.canonical_reason().unwrap_or_else(|| reason(status.as_u16()));
    text.extend_from_slice(phrase.as_bytes());
    text.extend_from_slice(b"\r\n");
    write(fields, &mut text);
    text
}

fn last_chunk(trailers: HeaderMap) -> Bytes {
    if trailers.is_empty() {
        return Bytes::from_static(LAST_CHUNK);
    }
    let mut text = b"0\r\n".to_vec();
    write(&fields::harmless(trailers), &mut text);
    text.extend_from_slice(b"\r\n");
    text.into()
}

/// Field lines. A value of HTTP/2 holds no line end.
fn write(fields: &HeaderMap, text: &mut Vec<u8>) {
    for (name, value) in fields {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
}
