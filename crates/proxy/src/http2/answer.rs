//! Answers that the sidecar gives itself, on a stream: the same as in HTTP/1.1, without what HTTP/2 has no
//! need of.

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use palisade_http::{Limits, Name, Persistence, RequestHead, ResponseHead};

use crate::{
    answer::{Answer, Circumstances},
    forward::{After, Ended},
    signature::now,
    worker::Worker,
};

/// Answers the request whose head was parsed from `received`.
pub(super) fn answer(
    worker: &Worker,
    respond: &mut SendResponse<Bytes>,
    (head, received): (&RequestHead, &[u8]),
    answer: &Answer,
    server: &'static str,
) -> Ended {
    let to = Circumstances {
        head,
        received,
        server,
        persistence: Persistence::KeepAlive,
        second: now(),
    };
    let mut text = Vec::with_capacity(512);
    let written = answer.encode(&to, &mut worker.date.borrow_mut(), &mut text);
    let mut reply = ResponseHead::default();
    // It was written a moment ago: it reads as an answer.
    let length = match reply.parse(&text, head.asked(), Limits::default()) {
        Ok(length) => length.unwrap_or_default(),
        Err(_) => return Ended::answered(answer, written, After::Cut),
    };
    let body = text.get(length..).unwrap_or_default();
    let response = response(&reply, &text, body.is_empty());
    let sent = respond.send_response(response, body.is_empty()).and_then(|mut stream| match body {
        [] => Ok(()),
        body => stream.send_data(Bytes::copy_from_slice(body), true),
    });
    let after = if sent.is_ok() { After::KeepAlive } else { After::Cut };
    Ended::answered(answer, written, after)
}

/// The head of a response in HTTP/1.1, in HTTP/2. A length of nothing is said by ending the stream, if it does.
pub(super) fn response(head: &ResponseHead, received: &[u8], ends: bool) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in head.fields(received) {
        let about_framing = match Name::of(name.as_bytes()) {
            Name::TransferEncoding => true,
            Name::ContentLength => ends && value == b"0",
            _ => false,
        };
        let field = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value));
        if let (Ok(name), Ok(value), false) = (field.0, field.1, about_framing) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
