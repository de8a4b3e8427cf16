//! Holding a request back until its external authorizer can see its body. The body stays where it was read
//! to: from there it is passed on.

use std::future::poll_fn;

use palisade_http::{BodyReader, CONTINUE, Framing, Piece, RequestHead, Trailers};
use palisade_types::{BodySeen, LongerBody};

use crate::{
    buffer::{Buffers, SIZE},
    http1::Client,
    http2::Ways,
    io::Stream,
};

/// What an authorizer sees of a body.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Shown {
    /// The body, or its beginning.
    pub(crate) bytes: Vec<u8>,
    /// Whether there is more of it.
    pub(crate) is_cut: bool,
    /// Bytes of it that have come.
    pub(crate) received: i64,
}

/// Why nobody can be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotShown {
    /// It is longer than an authorizer may see.
    Long,
    /// It breaks its framing.
    Broken,
    /// The client is gone.
    Gone,
}

/// Reads the body behind `head`, which is at the front of what was received, until all of it is there or as
/// much as may be seen.
pub(crate) async fn hold_http1(
    client: &mut Client<Stream>,
    head: &RequestHead,
    seen: BodySeen,
    buffers: &Buffers,
) -> Result<Shown, NotShown> {
    let mut so_far = SoFar::new(head, seen)?;
    // Room for chunk lines as well: a body that is mostly those is as long as it looks.
    let room = head.len().saturating_add(so_far.most.saturating_mul(2)).saturating_add(SIZE);
    let mut reader = BodyReader::new(head.framing(), Trailers::Drop);
    let mut used = head.len();
    let mut invited = !head.expects_continue();
    loop {
        used +=
            so_far.take(&mut reader, client.received.bytes().get(used..).unwrap_or_default())?;
        if reader.is_done() {
            return so_far.whole();
        }
        if so_far.is_enough() || (client.received.is_full() && !client.received.grow(room)) {
            return so_far.beginning();
        }
        if !std::mem::replace(&mut invited, true) {
            client.write(CONTINUE).await.map_err(|_| NotShown::Gone)?;
        }
        let read = poll_fn(|cx| client.received.poll_fill(cx, &mut client.stream, buffers)).await;
        if !matches!(read, Ok(1..)) {
            return Err(NotShown::Gone);
        }
    }
}

/// Reads the body of a stream, behind `head`, until all of it is there or as much as may be seen.
pub(crate) async fn hold_http2(
    ways: &mut Ways,
    head: &RequestHead,
    seen: BodySeen,
) -> Result<Shown, NotShown> {
    let mut so_far = SoFar::new(head, seen)?;
    ways.invite(head);
    loop {
        match ways.read_ahead().await {
            Some(Ok(data)) => so_far.bytes.extend_from_slice(&data),
            Some(Err(_)) => return Err(NotShown::Gone),
            None => return so_far.whole(),
        }
        if ways.is_read() {
            return so_far.whole();
        }
        if so_far.is_enough() {
            return so_far.beginning();
        }
    }
}

/// As much of a body as has come.
struct SoFar {
    bytes: Vec<u8>,
    most: usize,
    longer: LongerBody,
}

impl SoFar {
    fn new(head: &RequestHead, seen: BodySeen) -> Result<Self, NotShown> {
        let most = usize::try_from(seen.most.get()).unwrap_or(usize::MAX);
        let announces_more =
            matches!(head.framing(), Framing::Length(length) if length > most as u64);
        if announces_more && seen.longer == LongerBody::Refused {
            return Err(NotShown::Long);
        }
        Ok(Self { bytes: Vec::new(), most, longer: seen.longer })
    }

    /// Takes the payload out of what was received; how much that was, with its framing.
    fn take(&mut self, reader: &mut BodyReader, received: &[u8]) -> Result<usize, NotShown> {
        let mut used = 0;
        loop {
            let input = received.get(used..).unwrap_or_default();
            used += match reader.take_apart(input).map_err(|_| NotShown::Broken)? {
                Piece::Payload(count) => {
                    self.bytes.extend_from_slice(input.get(..count).unwrap_or_default());
                    count
                }
                Piece::Trailer(count) | Piece::Framing(count) => count,
                Piece::None => return Ok(used),
            };
        }
    }

    /// Whether nothing that is still to come makes a difference.
    fn is_enough(&self) -> bool {
        self.bytes.len() > self.most
            || (self.bytes.len() == self.most && self.longer == LongerBody::Cut)
    }

    /// Nothing more comes.
    fn whole(self) -> Result<Shown, NotShown> {
        if self.bytes.len() > self.most {
            return self.beginning();
        }
        Ok(Shown { received: size(&self.bytes), bytes: self.bytes, is_cut: false })
    }

    /// More comes than may be seen.
    fn beginning(mut self) -> Result<Shown, NotShown> {
        if self.longer == LongerBody::Refused {
            return Err(NotShown::Long);
        }
        let received = size(&self.bytes);
        self.bytes.truncate(self.most);
        Ok(Shown { bytes: self.bytes, is_cut: true, received })
    }
}

fn size(bytes: &[u8]) -> i64 {
    bytes.len().try_into().unwrap_or(i64::MAX)
}
