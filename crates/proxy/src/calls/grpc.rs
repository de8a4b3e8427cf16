//! Unary gRPC: the frame of a message, and what comes back.

use ::http::{HeaderMap, Request, request::Builder};
use bytes::{BufMut as _, Bytes, BytesMut};
use palisade_wire::otlp::Message;

use super::{Answer, CallError};

/// A call of `method` at a host, to which fields may be added.
pub(crate) fn request(host: &str, method: &str) -> Builder {
    Request::post(format!("http://{host}{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// A message with gRPC's prefix: not compressed, and its length.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(length + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // There is room for it.
    let _ = message.encode(&mut frame);
    frame.freeze()
}

/// The message of a call that went well.
pub(crate) fn unframed<M: Message + Default>(answer: Answer) -> Result<M, CallError> {
    let (head, body) = answer.into_parts();
    if head.status != 200 {
        return Err(CallError::Status(head.status.as_u16()));
    }
    let status = |fields: &HeaderMap| -> Option<String> {
        Some(fields.get("grpc-status")?.to_str().unwrap_or("unreadable").to_owned())
    };
    let ended = status(&head.headers).or_else(|| body.trailers().and_then(status));
    match ended.as_deref() {
        Some("0") => {}
        other => return Err(CallError::Grpc(other.unwrap_or("none").to_owned())),
    }
    let frame = body.to_bytes();
    let unreadable = || CallError::Exchange("an unreadable answer".to_owned());
    let [0, a, b, c, d, message @ ..] = &frame[..] else { return Err(unreadable()) };
    if u32::from_be_bytes([*a, *b, *c, *d]) as usize != message.len() {
        return Err(unreadable());
    }
    M::decode(message).map_err(|_| unreadable())
}
