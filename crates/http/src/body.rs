//! Message bodies, passed through as they stand: the reader is shown bytes and says how many of them belong
//! to the body, having checked the framing first. Chunks stay the chunks that they were; what a
//! recipient might read in two ways (chunk extensions, unwanted trailers) is left out.

use crate::{error::BodyError, framing::Framing, name::Name};

/// Progress through one body.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
    trailers: Trailers,
    trailer_bytes: usize,
    payload: u64,
}

/// What becomes of the fields after a chunked body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trailers {
    /// They are left out: for requests, whose trailers no policy has seen.
    Drop,
    /// They are passed on, except those that concern framing, routing or identity: for responses.
    Forward,
}

/// What to do with the bytes shown: pass on the first `forward`, leave out `discard` more, show the rest
/// again. If both are 0 and the body is not done, more bytes must be read first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Advance {
    /// How many bytes to pass on.
    pub forward: usize,
    /// How many bytes after these to leave out.
    pub discard: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Remaining(u64),
    ChunkSize,
    Extension { left: usize, size: u64 },
    ChunkSizeEnd { size: u64 },
    ChunkData { left: u64 },
    ChunkEnd,
    Trailers,
    UntilClose,
    Done,
}

/// A piece at the front of a body, for whoever does not pass the framing on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece {
    /// So many bytes of payload.
    Payload(usize),
    /// A trailer line of so many bytes, with its CRLF.
    Trailer(usize),
    /// So many bytes of framing, to be left out.
    Framing(usize),
    /// Nothing: more bytes must be read first, or the body is done.
    None,
}

enum Step {
    Take(usize),
    Skip(usize),
    Wait,
}

impl BodyReader {
    /// Most bytes that may have to be in the buffer at once for the reader to get on: the longest
    /// chunk-size or trailer line. A buffer must be larger than that.
    pub const MAX_LINE: usize = 4 * 1024;

    /// Most bytes of trailers.
    pub const MAX_TRAILERS: usize = 8 * 1024;

    /// A reader for a body that is delimited by `framing`.
    #[must_use]
    pub fn new(framing: Framing, trailers: Trailers) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Remaining(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose | Framing::Tunnel => State::UntilClose,
        };
        Self { state, trailers, trailer_bytes: 0, payload: 0 }
    }

    /// Looks at `input`, the bytes that follow those already dealt with.
    ///
    /// # Errors
    ///
    /// The framing is broken: nothing of `input` may be passed on, and both connections must be closed.
    pub fn advance(&mut self, input: &[u8]) -> Result<Advance, BodyError> {
        let mut forward = 0;
        loop {
            let rest = input.get(forward..).unwrap_or_default();
            if self.is_done() || rest.is_empty() {
                return Ok(Advance { forward, discard: 0 });
            }
            match self.step(rest)? {
                Step::Take(count) => forward += count,
                Step::Skip(discard) => return Ok(Advance { forward, discard }),
                Step::Wait => return Ok(Advance { forward, discard: 0 }),
            }
        }
    }

    /// Looks at `input` as [`BodyReader::advance`] does, and tells what its front is.
    ///
    /// # Errors
    ///
    /// As [`BodyReader::advance`].
    pub fn take_apart(&mut self, input: &[u8]) -> Result<Piece, BodyError> {
        if self.is_done() || input.is_empty() {
            return Ok(Piece::None);
        }
        let before = self.state;
        Ok(match (self.step(input)?, before) {
            (Step::Wait, _) => Piece::None,
            (
                Step::Take(count),
                State::Remaining(_) | State::ChunkData { .. } | State::UntilClose,
            ) => Piece::Payload(count),
            (Step::Take(count), State::Trailers) if !self.is_done() => Piece::Trailer(count),
            (Step::Take(count) | Step::Skip(count), _) => Piece::Framing(count),
        })
    }

    /// Tells the reader that the connection was closed cleanly by the sender.
    ///
    /// # Errors
    ///
    /// The body was not complete.
    pub fn end(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::UntilClose | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyError::Truncated),
        }
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of payload so far, without framing.
    #[must_use]
    pub fn payload(&self) -> u64 {
        self.payload
    }

    fn step(&mut self, rest: &[u8]) -> Result<Step, BodyError> {
        match self.state {
            State::Remaining(left) => {
                let (count, left) = self.take_payload(rest, left);
                self.state = if left == 0 { State::Done } else { State::Remaining(left) };
                Ok(Step::Take(count))
            }
            State::ChunkData { left } => {
                let (count, left) = self.take_payload(rest, left);
                self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData { left } };
                Ok(Step::Take(count))
            }
            State::UntilClose => {
                self.payload += rest.len() as u64;
                Ok(Step::Take(rest.len()))
            }
            State::ChunkSize => self.chunk_size(rest),
            State::Extension { left, size } => {
                let count = left.min(rest.len());
                self.state = match left - count {
                    0 => State::ChunkSizeEnd { size },
                    left => State::Extension { left, size },
                };
                Ok(Step::Skip(count))
            }
            State::ChunkSizeEnd { size } => self.crlf(rest, after_size(size), BodyError::ChunkSize),
            State::ChunkEnd => self.crlf(rest, State::ChunkSize, BodyError::ChunkEnd),
            State::Trailers => self.trailer(rest),
            State::Done => Ok(Step::Wait),
        }
    }

    fn take_payload(&mut self, rest: &[u8], left: u64) -> (usize, u64) {
        let count = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        self.payload += count as u64;
        (count, left - count as u64)
    }

    fn crlf(&mut self, rest: &[u8], next: State, error: BodyError) -> Result<Step, BodyError> {
        match rest {
            [b'\r', b'\n', ..] => {
                self.state = next;
                Ok(Step::Take(2))
            }
            [b'\r'] => Ok(Step::Wait),
            _ => Err(error),
        }
    }

    /// `SIZE[;EXTENSION] CRLF`.
    fn chunk_size(&mut self, rest: &[u8]) -> Result<Step, BodyError> {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, after) = rest.split_at_checked(digits).ok_or(BodyError::ChunkSize)?;
        if digits.len() > 16 {
            return Err(BodyError::ChunkSize);
        }
        match after {
            [] | [b'\r'] if !digits.is_empty() || after.is_empty() => Ok(Step::Wait),
            [b'\r', b'\n', ..] if !digits.is_empty() => {
                self.state = after_size(hexadecimal(digits)?);
                Ok(Step::Take(digits.len() + 2))
            }
            [b';' | b' ' | b'\t', ..] if !digits.is_empty() => self.extension(digits, after),
            _ => Err(BodyError::ChunkSize),
        }
    }

    /// `;EXTENSION CRLF`, with whitespace before the semicolon.
    fn extension(&mut self, digits: &[u8], after: &[u8]) -> Result<Step, BodyError> {
        let Some(extension) = line(after, BodyError::Extension, BodyError::ChunkSize)? else {
            return Ok(Step::Wait);
        };
        if extension.trim_ascii_start().first() != Some(&b';') {
            return Err(BodyError::ChunkSize);
        }
        if !is_text(extension) {
            return Err(BodyError::Extension);
        }
        self.state = State::Extension { left: extension.len(), size: hexadecimal(digits)? };
        Ok(Step::Take(digits.len()))
    }

    /// `NAME: VALUE CRLF`, or the empty line that ends the body.
    fn trailer(&mut self, rest: &[u8]) -> Result<Step, BodyError> {
        let Some(line) = line(rest, BodyError::TooLarge, BodyError::Trailer)? else {
            return Ok(Step::Wait);
        };
        let length = line.len() + 2;
        if line.is_empty() {
            self.state = State::Done;
            return Ok(Step::Take(length));
        }
        self.trailer_bytes += length;
        if self.trailer_bytes > Self::MAX_TRAILERS {
            return Err(BodyError::TooLarge);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(BodyError::Trailer)?;
        let (name, value) = line.split_at_checked(colon).ok_or(BodyError::Trailer)?;
        if !is_token(name) || !is_text(value) {
            return Err(BodyError::Trailer);
        }
        let harmless = matches!(Name::of(name), Name::Other | Name::GrpcStatus | Name::GrpcMessage);
        Ok(match self.trailers {
            Trailers::Forward if harmless => Step::Take(length),
            Trailers::Forward | Trailers::Drop => Step::Skip(length),
        })
    }
}

/// The line that `rest` begins with, without its CRLF, if it is there in full.
fn line(
    rest: &[u8],
    too_long: BodyError,
    malformed: BodyError,
) -> Result<Option<&[u8]>, BodyError> {
    let window = rest.get(..BodyReader::MAX_LINE).unwrap_or(rest);
    match memchr::memchr(b'\n', window) {
        Some(end) => match window.get(..end) {
            Some([line @ .., b'\r']) => Ok(Some(line)),
            _ => Err(malformed),
        },
        None if rest.len() >= BodyReader::MAX_LINE => Err(too_long),
        None => Ok(None),
    }
}

fn after_size(size: u64) -> State {
    match size {
        0 => State::Trailers,
        left => State::ChunkData { left },
    }
}

/// The number that at most 16 hexadecimal digits stand for, if it fits any peer's signed 64 bits.
fn hexadecimal(digits: &[u8]) -> Result<u64, BodyError> {
    let number = digits.iter().fold(0, |number: u64, digit| {
        let value = if digit.is_ascii_digit() { digit - b'0' } else { (digit | 0x20) - b'a' + 10 };
        number << 4 | u64::from(value)
    });
    i64::try_from(number).map(|_| number).map_err(|_| BodyError::ChunkSize)
}

/// No control character but the tab.
fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\t' | b' '..=0x7e | 0x80..))
}

fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}
