//! One request of a client, on a stream of its own.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, Request, Response, StatusCode, request::Parts, uri::Authority};
use palisade_http::{Edits, Limits, Pseudo, RequestError, RequestHead, Version};

use super::{body::Body, fields};
use crate::{answer::Answer, http1::Upload};

/// A request, and the two ways of its stream.
#[derive(Debug)]
pub(crate) struct Call {
    parts: Parts,
    /// The ways of its stream.
    pub(crate) ways: Ways,
}

/// A request as it is passed on.
#[derive(Debug)]
pub(crate) enum Rewritten {
    /// In HTTP/1.1.
    Http1(Upload),
    /// In HTTP/2.
    Http2(Request<()>),
}

/// The two ways of a client's stream.
#[derive(Debug)]
pub(crate) struct Ways {
    /// What the client still sends.
    pub(super) body: Body,
    /// Where the answer goes.
    pub(super) respond: SendResponse<Bytes>,
    /// Whether the client was told to go on with its body.
    invited: bool,
}

impl Ways {
    /// Tells a client that waits for it to go on with its body, once.
    pub(crate) fn invite(&mut self, head: &RequestHead) {
        if head.expects_continue() && !std::mem::replace(&mut self.invited, true) {
            let mut go_on = Response::new(());
            *go_on.status_mut() = StatusCode::CONTINUE;
            // A client that does not get it is gone, which is noticed next.
            let _ = self.respond.send_informational(go_on);
        }
    }

    /// Reads more of the body and keeps it for when the request is passed on; none at its end.
    pub(crate) async fn read_ahead(&mut self) -> Option<Result<Bytes, h2::Error>> {
        poll_fn(|cx| self.body.poll_ahead(cx)).await
    }

    /// Whether all of the body was read ahead.
    pub(crate) fn is_read(&self) -> bool {
        self.body.is_read()
    }
}

impl Call {
    pub(super) fn new(request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        Self { parts, ways: Ways { body: body.into(), respond, invited: false } }
    }

    /// Reads the request into `head`, with `text` as its buffer.
    pub(crate) fn read(
        &self,
        head: &mut RequestHead,
        text: &mut Vec<u8>,
    ) -> Result<(), RequestError> {
        let Parts { method, uri, headers, .. } = &self.parts;
        let pseudo = Pseudo {
            method: method.as_str(),
            path: uri.path_and_query().map(http::uri::PathAndQuery::as_str),
            authority: uri.authority().map(Authority::as_str),
            ends: self.ways.body.is_end_stream(),
        };
        let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        head.read_http2(pseudo, fields, Limits::default(), text)
    }

    /// The request as it is passed on to a server that speaks this version. Its fields are used up.
    pub(crate) fn rewrite(
        &mut self,
        (head, text): (&RequestHead, &[u8]),
        edits: &Edits<'_>,
        version: Version,
    ) -> Result<Rewritten, Answer> {
        if version == Version::Http1 {
            let upload = Upload::new(head, text, edits, Vec::new());
            return upload.map(Rewritten::Http1).map_err(|_| Answer::BadBody);
        }
        let uri = fields::uri(head, text, edits, Some(&self.parts.uri))?;
        let mut headers: HeaderMap = std::mem::take(&mut self.parts.headers);
        fields::edit(&mut headers, head, edits)?;
        let mut request = Request::new(());
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(Rewritten::Http2(request))
    }
}
