//! `httpGet`, in the clear or over TLS.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version, header};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use palisade_tls::Alpn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use crate::ProbeError;

/// How a request is carried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// HTTP/1.1 in the clear.
    Http,
    /// HTTP/1.1 or 2 over TLS, whoever answers.
    Https,
}

impl Scheme {
    /// `httpGet.scheme` of a probe, whose default is HTTP.
    #[must_use]
    pub fn of(text: Option<&str>) -> Self {
        match text {
            Some(text) if text.eq_ignore_ascii_case("https") => Self::Https,
            _ => Self::Http,
        }
    }
}

/// A request of a probe.
#[derive(Clone, Copy, Debug)]
pub struct Get<'a> {
    /// How it is carried.
    pub scheme: Scheme,
    /// Whom it asks.
    pub address: SocketAddr,
    /// Path and query; a slash at the beginning may be missing.
    pub path: &'a str,
    /// Header fields that the probe asks for; they come before the usual ones.
    pub headers: &'a [(String, String)],
    /// Who asks.
    pub user_agent: Option<&'a HeaderValue>,
}

impl Get<'_> {
    /// Asks over this connection; the answer's status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send<IO>(&self, io: IO) -> Result<StatusCode, ProbeError>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if self.scheme == Scheme::Http {
            return self.over_http1(io).await;
        }
        let (stream, alpn) = palisade_tls::connect_unverified(io, self.address.ip())
            .await
            .map_err(ProbeError::Tls)?;
        if alpn == Alpn::Http2 {
            self.over_http2(stream).await
        } else {
            self.over_http1(stream).await
        }
    }

    async fn over_http1<IO>(&self, io: IO) -> Result<StatusCode, ProbeError>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let request = self.request(Version::HTTP_11).map_err(ProbeError::Request)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(io)).await.map_err(ProbeError::Http)?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
        Ok(sender.send_request(request).await.map_err(ProbeError::Http)?.status())
    }

    async fn over_http2<IO>(&self, io: IO) -> Result<StatusCode, ProbeError>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let request = self.request(Version::HTTP_2).map_err(ProbeError::Request)?;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
            .await
            .map_err(ProbeError::Http)?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
        Ok(sender.send_request(request).await.map_err(ProbeError::Http)?.status())
    }

    fn request(&self, version: Version) -> Result<Request<Empty<Bytes>>, http::Error> {
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        let path = format!("{slash}{}", self.path);
        let mut fields = HeaderMap::new();
        for (name, value) in self.headers {
            fields.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        if let (Some(agent), false) = (self.user_agent, fields.contains_key(header::USER_AGENT)) {
            fields.insert(header::USER_AGENT, agent.clone());
        }
        if !fields.contains_key(header::ACCEPT) {
            fields.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        }
        let host = match fields.remove(header::HOST) {
            Some(host) => host,
            None => HeaderValue::try_from(self.address.to_string())?,
        };
        let mut request = Request::get(path).body(Empty::new())?;
        if version == Version::HTTP_2 {
            let parts = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let uri = http::Uri::builder().scheme("https").authority(host.as_bytes());
            *request.uri_mut() = uri.path_and_query(parts).build()?;
        } else {
            fields.insert(header::HOST, host);
            fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        *request.headers_mut() = fields;
        Ok(request)
    }
}
