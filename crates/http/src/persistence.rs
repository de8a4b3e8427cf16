//! Whether a connection takes another request. Only when both sides want it and nothing of the last
//! exchange is left on the wire: bytes of an unread body must never be taken for a request.

use crate::{body::BodyReader, request::RequestHead, response::ResponseHead};

/// What becomes of a connection after an exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Persistence {
    /// It takes another request.
    KeepAlive,
    /// It is closed.
    Close,
}

impl Persistence {
    /// Of the client's connection, when the answer begins: an answer that comes before the request's body
    /// was read in full closes it.
    #[must_use]
    pub fn of_client(request: &RequestHead, body: &BodyReader) -> Self {
        Self::keep_if(request.keep_alive() && body.is_done())
    }

    /// Of the upstream's connection, after the response: both bodies must be through.
    #[must_use]
    pub fn of_upstream(
        response: &ResponseHead,
        request_body: &BodyReader,
        response_body: &BodyReader,
    ) -> Self {
        Self::keep_if(response.keep_alive() && request_body.is_done() && response_body.is_done())
    }

    fn keep_if(keep: bool) -> Self {
        if keep { Self::KeepAlive } else { Self::Close }
    }
}
