//! The response's way down: head and what came with it in one write, then the body as it comes. A body
//! that ends with the upstream's connection is passed on in chunks, so that a client can tell its end
//! from a breakdown and keep its connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use palisade_http::{
    Advance, Asked, BodyReader, Edits, Framing, LAST_CHUNK, Limits, Name, Persistence,
    ResponseError, ResponseHead, Trailers, write_chunk,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::upload::poll_write_some;
use crate::{
    buffer::{Buffer, Buffers, SIZE},
    signature::Signature,
};

/// A response on its way down.
#[derive(Debug)]
pub(crate) struct Download {
    asked: Asked,
    head: ResponseHead,
    /// What the upstream sent.
    received: Buffer,
    /// Ready to write.
    out: Vec<u8>,
    written: usize,
    /// How many bytes of `received` are to be passed on, and how many after these to be left out.
    step: Advance,
    stage: Stage,
    body: BodyReader,
    promised: Persistence,
    grpc_status: Option<u8>,
    started: bool,
    /// How much the client has taken.
    taken: u64,
    /// Whether something waits for the client to take it.
    waits: bool,
    /// Fields that the head gets.
    added: Vec<(String, Vec<u8>)>,
    signature: Signature,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// The final head is yet to come.
    Head,
    /// The body is on its way as it stands.
    Body,
    /// The body is on its way, in chunks of our making.
    Chunks,
    /// Everything is written, but not flushed.
    Flush,
    /// The client has it all.
    Done,
}

/// Why a response could not be passed on.
#[derive(Debug)]
pub(crate) enum DownloadError {
    /// The client takes no more, or has left.
    Client,
    /// The client takes nothing for too long.
    Stalled,
    /// The upstream's connection ended or broke before the head: no answer was given.
    NoResponse(Option<io::Error>),
    /// The head is not acceptable.
    Head(ResponseError),
    /// The body broke off, or breaks its framing.
    Body,
    /// Nobody wants it: another is asked for instead.
    Declined,
}

impl Download {
    /// Waits for the response to `asked`; `head` and `out` are used again. What `out` holds is
    /// written to the client first; `added` are fields that the final head gets.
    pub(crate) fn new(
        asked: Asked,
        mut head: ResponseHead,
        out: Vec<u8>,
        added: Vec<(String, Vec<u8>)>,
        signature: Signature,
    ) -> Self {
        head.clear();
        Self {
            asked,
            head,
            received: Buffer::default(),
            out,
            written: 0,
            step: Advance::default(),
            stage: Stage::Head,
            body: BodyReader::new(Framing::None, Trailers::Forward),
            promised: Persistence::Close,
            grpc_status: None,
            started: false,
            taken: 0,
            waits: false,
            added,
            signature,
        }
    }

    /// The response head, once there is one.
    pub(crate) fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// Whether the client has been promised a final response.
    pub(crate) fn has_begun(&self) -> bool {
        self.stage != Stage::Head
    }

    /// Forgets a response of which nothing was passed on, and waits for another.
    pub(crate) fn rewind(&mut self) {
        self.received.consume(self.received.bytes().len());
        self.head.clear();
        self.grpc_status = None;
        self.started = false;
    }

    /// Whether the upstream has sent anything at all.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    /// Whether the protocol was switched: what follows are bytes.
    pub(crate) fn is_tunnel(&self) -> bool {
        self.has_begun() && self.head.framing() == Framing::Tunnel
    }

    /// What the client was told about its connection.
    pub(crate) fn promised(&self) -> Persistence {
        self.promised
    }

    /// The gRPC status in the response's head.
    pub(crate) fn grpc_status(&self) -> Option<u8> {
        self.grpc_status
    }

    /// How much the client has taken, if something waits for it.
    pub(crate) fn waits_for_client(&self) -> Option<u64> {
        self.waits.then_some(self.taken)
    }

    /// The response's body as far as it has been read.
    pub(crate) fn body(&self) -> &BodyReader {
        &self.body
    }

    /// Whether the upstream has sent nothing beyond the response, and its connection is whole.
    pub(crate) fn is_clean(&self) -> bool {
        self.received.is_empty() && !self.received.is_broken()
    }

    /// Passes on what there is; ready when the client has the whole response.
    pub(crate) fn poll<U, C>(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut U,
        client: &mut C,
        begin: &mut impl FnMut(&ResponseHead, Option<u8>) -> Option<Persistence>,
        buffers: &Buffers,
    ) -> Poll<Result<(), DownloadError>>
    where
        U: AsyncRead + Unpin,
        C: AsyncWrite + Unpin,
    {
        loop {
            self.waits = true;
            ready!(self.poll_write(cx, client)).map_err(|_| DownloadError::Client)?;
            self.waits = self.stage == Stage::Flush;
            match self.stage {
                Stage::Head => {
                    if !self.parse(begin)? {
                        ready!(self.poll_read(cx, upstream, client, buffers))?;
                    }
                }
                Stage::Body | Stage::Chunks if self.body.is_done() => self.end_body(),
                Stage::Body | Stage::Chunks => {
                    if !self.advance()? {
                        ready!(self.poll_read(cx, upstream, client, buffers))?;
                    }
                }
                Stage::Flush => {
                    ready!(Pin::new(&mut *client).poll_flush(cx))
                        .map_err(|_| DownloadError::Client)?;
                    self.stage = Stage::Done;
                }
                Stage::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write<C: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut C,
    ) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.out.get(self.written..).filter(|bytes| !bytes.is_empty()) {
            let count = ready!(poll_write_some(cx, client, bytes))?;
            self.written += count;
            self.taken += count as u64;
        }
        self.out.clear();
        self.written = 0;
        while self.step.forward > 0 {
            let bytes = self.received.bytes().get(..self.step.forward).unwrap_or_default();
            let count = ready!(poll_write_some(cx, client, bytes))?;
            self.received.consume(count);
            self.step.forward -= count;
            self.taken += count as u64;
        }
        self.received.consume(std::mem::take(&mut self.step.discard));
        Poll::Ready(Ok(()))
    }

    /// Takes a head out of what was received. Whether there was one.
    fn parse(
        &mut self,
        begin: &mut impl FnMut(&ResponseHead, Option<u8>) -> Option<Persistence>,
    ) -> Result<bool, DownloadError> {
        let received = self.received.bytes();
        let parsed = self.head.parse(received, self.asked, Limits::default());
        let Some(len) = parsed.map_err(DownloadError::Head)? else { return Ok(false) };
        let date;
        let mut edits = Edits::new();
        if self.head.is_interim() {
            self.head.encode(received, &edits, &mut self.out);
            self.received.consume(len);
            self.head.clear();
            return Ok(true);
        }
        self.added.iter().for_each(|(name, value)| edits.append(name, value));
        edits.set(Name::Server, self.signature.server.as_bytes());
        if self.head.field(received, Name::Date).is_none() {
            date = self.signature.date();
            edits.append(Name::Date.as_str(), date.as_bytes());
        }
        self.grpc_status =
            self.head.text(received, Name::GrpcStatus).and_then(|status| status.parse().ok());
        self.promised = begin(&self.head, self.grpc_status).ok_or(DownloadError::Declined)?;
        if self.promised == Persistence::Close {
            edits.close();
        }
        self.stage = match self.head.framing() {
            Framing::UntilClose => Stage::Chunks,
            _ => Stage::Body,
        };
        if self.stage == Stage::Chunks {
            edits.chunked();
        }
        self.head.encode(received, &edits, &mut self.out);
        drop(edits);
        self.received.consume(len);
        let framing = Some(self.head.framing()).filter(|framing| *framing != Framing::Tunnel);
        self.body = BodyReader::new(framing.unwrap_or_default(), Trailers::Forward);
        // What came with the head goes out with the head, in one write.
        while !self.body.is_done() && self.advance()? {
            let step = std::mem::take(&mut self.step);
            let bytes = self.received.bytes().get(..step.forward).unwrap_or_default();
            self.out.extend_from_slice(bytes);
            self.received.consume(step.forward + step.discard);
        }
        Ok(true)
    }

    /// Finds out what of the received bytes is next to be passed on. Whether there was anything.
    fn advance(&mut self) -> Result<bool, DownloadError> {
        let step = self.body.advance(self.received.bytes()).map_err(|_| DownloadError::Body)?;
        if self.stage == Stage::Chunks {
            let data = self.received.bytes().get(..step.forward).unwrap_or_default();
            write_chunk(data, &mut self.out);
            self.received.consume(step.forward);
        } else {
            self.step = step;
        }
        Ok(step != Advance::default())
    }

    fn end_body(&mut self) {
        if self.stage == Stage::Chunks {
            self.out.extend_from_slice(LAST_CHUNK);
        }
        self.stage = Stage::Flush;
    }

    fn poll_read<U, C>(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut U,
        client: &mut C,
        buffers: &Buffers,
    ) -> Poll<Result<(), DownloadError>>
    where
        U: AsyncRead + Unpin,
        C: AsyncWrite + Unpin,
    {
        self.received.compact();
        if self.received.capacity() > 0 && self.received.is_full() {
            self.received.grow(Limits::default().head_bytes() + SIZE);
        }
        match self.received.poll_fill(cx, upstream, buffers) {
            Poll::Ready(Ok(0)) => Poll::Ready(self.end()),
            Poll::Ready(Ok(_)) => {
                self.started = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) if self.has_begun() => Poll::Ready(Err(DownloadError::Body)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(DownloadError::NoResponse(Some(error)))),
            Poll::Pending => {
                // What was written must not wait for what is still to come.
                self.waits = true;
                ready!(Pin::new(client).poll_flush(cx)).map_err(|_| DownloadError::Client)?;
                self.waits = false;
                Poll::Pending
            }
        }
    }

    /// The upstream has closed its connection.
    fn end(&mut self) -> Result<(), DownloadError> {
        if self.has_begun() {
            self.body.end().map_err(|_| DownloadError::Body)
        } else {
            Err(DownloadError::NoResponse(None))
        }
    }

    /// Gives back what can be used again: what the upstream sent beyond the response, the head and the
    /// write buffer.
    pub(crate) fn finish(mut self) -> (Buffer, ResponseHead, Vec<u8>) {
        self.out.clear();
        (self.received, self.head, self.out)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, rc::Rc, task::Waker};

    use palisade_http::Method;
    use tokio::io::ReadBuf;

    use super::*;

    /// Yields its pieces one by one, then ends.
    struct Pieces<'a>(VecDeque<&'a [u8]>);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(piece) = self.0.pop_front() {
                into.put_slice(piece);
            }
            Poll::Ready(Ok(()))
        }
    }

    fn signature() -> Signature {
        Signature::new("envoy", &Rc::default())
    }

    /// What the client gets of a response that arrives in these pieces.
    fn receive(pieces: &[&[u8]]) -> Result<(String, Download), DownloadError> {
        let asked = Asked { method: Method::GET, upgrade: false };
        let mut download =
            Download::new(asked, ResponseHead::default(), Vec::new(), Vec::new(), signature());
        let mut upstream = Pieces(pieces.iter().copied().filter(|p| !p.is_empty()).collect());
        let (mut client, buffers) = (Vec::new(), Buffers::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut keep = |_: &ResponseHead, _| Some(Persistence::KeepAlive);
        match download.poll(&mut cx, &mut upstream, &mut client, &mut keep, &buffers) {
            Poll::Ready(done) => done.map(|()| (String::from_utf8(client).unwrap(), download)),
            Poll::Pending => panic!("pieces are always ready"),
        }
    }

    #[test]
    fn where_the_network_cuts_a_response_does_not_matter() {
        let whole = "HTTP/1.1 100 Continue\r\n\r\n\
            HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nserver: envoy\r\n\r\n\
            5\r\nhello\r\n6\r\n world\r\n0\r\ngrpc-status: 0\r\n\r\n";
        let sized = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\nserver: envoy\r\n\r\nhello";
        for response in [whole, sized] {
            for cut in 0..=response.len() {
                let (first, second) = response.as_bytes().split_at(cut);
                let (received, download) = receive(&[first, second]).unwrap();
                assert_eq!(received, response, "{cut}");
                assert!(download.is_clean());
            }
        }
    }

    #[test]
    fn a_response_that_is_cut_short_is_an_error_and_says_how_far_it_came() {
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let head = response.len() - 5;
        for end in 0..response.len() {
            let error = receive(&[&response[..end]]).unwrap_err();
            match error {
                DownloadError::NoResponse(None) => assert!(end < head, "{end}"),
                DownloadError::Body => assert!(end >= head, "{end}"),
                other => panic!("{end}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_declined_response_leaves_nothing_behind() {
        let asked = Asked { method: Method::GET, upgrade: false };
        let mut download =
            Download::new(asked, ResponseHead::default(), Vec::new(), Vec::new(), signature());
        let (mut client, buffers) = (Vec::new(), Buffers::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut take_200 = |head: &ResponseHead, grpc| {
            assert_eq!(grpc, (head.status() == 503).then_some(14));
            (head.status() == 200).then_some(Persistence::KeepAlive)
        };
        let busy =
            b"HTTP/1.1 503 Service Unavailable\r\nGrpc-Status: 14\r\nContent-Length: 4\r\n\r\nbu";
        let mut first = Pieces([&busy[..]].into());
        let declined = download.poll(&mut cx, &mut first, &mut client, &mut take_200, &buffers);
        assert!(matches!(declined, Poll::Ready(Err(DownloadError::Declined))), "{declined:?}");
        download.rewind();
        let good = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nserver: envoy\r\n\r\nok";
        let mut second = Pieces([good.as_bytes()].into());
        let taken = download.poll(&mut cx, &mut second, &mut client, &mut take_200, &buffers);
        assert!(matches!(taken, Poll::Ready(Ok(()))), "{taken:?}");
        assert_eq!(String::from_utf8(client).unwrap(), good);
        assert_eq!(download.grpc_status(), None);
    }

    #[test]
    fn what_comes_after_a_response_is_noticed() {
        let (_, download) = receive(&[b"HTTP/1.1 204 No Content\r\n\r\nmore"]).unwrap();
        assert!(!download.is_clean());
    }
}
