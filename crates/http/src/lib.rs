//! HTTP/1.1 as a sidecar needs it, without IO: bytes in, decisions and bytes out.
//!
//! The caller owns the buffers. A head is parsed in place ([`RequestHead::parse`], [`ResponseHead::parse`])
//! into positions, so that it can be kept across awaits beside its buffer, and is passed on with edits
//! ([`Edits`], [`RequestHead::encode`]) by copying runs of lines. A body is measured
//! ([`BodyReader::advance`]) and passed on from the buffer that it was read into.
//!
//! The codec is a security boundary: what two implementations could read differently is refused
//! (RFC 9112, and where Envoy is stricter, Envoy). Refusing is the only thing that it does about a
//! message; authorization, routing and timeouts are elsewhere.
//!
//! ```
//! use palisade_http::{BodyReader, Edits, Limits, Name, RequestHead, Trailers};
//!
//! let buf = b"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
//! let mut head = RequestHead::default();
//! let len = head.parse(buf, Limits::default())?.expect("complete");
//!
//! let mut edits = Edits::new();
//! edits.set(Name::XRequestId, b"1");
//! let mut out = Vec::new();
//! head.encode(buf, &edits, &mut out);
//!
//! let mut body = BodyReader::new(head.framing(), Trailers::Drop);
//! let step = body.advance(&buf[len..])?;
//! out.extend_from_slice(&buf[len..len + step.forward]);
//!
//! assert!(body.is_done() && !head.keep_alive());
//! assert_eq!(out, b"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\nx-request-id: 1\r\n\r\nhi");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod encode;
mod error;
mod fields;
mod framing;
pub mod grpc;
mod limits;
mod method;
mod name;
pub mod normalize;
mod part;
mod persistence;
pub mod refusal;
mod reply;
mod request;
mod response;
mod scan;
mod sniff;
mod target;
pub mod trace;
mod version;

pub use body::{Advance, BodyReader, Piece, Trailers};
pub use encode::{CONTINUE, Edits, LAST_CHUNK, write_chunk};
pub use error::{BodyError, Malformed, RequestError, ResponseError};
pub use framing::Framing;
pub use limits::Limits;
pub use method::Method;
pub use name::{Name, NameSet};
pub use persistence::Persistence;
pub use reply::{DateLine, LocalReply, ReplyTo, SERVER_INBOUND, SERVER_OUTBOUND, reason};
pub use request::{Pseudo, RequestHead};
pub use response::{Asked, ResponseHead};
pub use sniff::{Sniffed, sniff};
pub use version::Version;
