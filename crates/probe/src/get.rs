//! `httpGet`, in the clear or over TLS, and the redirects that a probe follows.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use palisade_tls::Alpn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    ProbeError,
    redirect::{self, Place},
};

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

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What a server has answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The beginning of the body, if the status sends the client elsewhere.
    pub body: Bytes,
    /// Where to, if it says so.
    location: Option<String>,
}

/// A request of a probe.
#[derive(Clone, Copy, Debug)]
pub struct Get<'a> {
    /// How it is carried.
    pub scheme: Scheme,
    /// Whom it asks.
    pub address: SocketAddr,
    /// Path and query; [`Get::ask`] adds a slash at the beginning that is missing.
    pub path: &'a str,
    /// Header fields that the probe asks for; they come before the usual ones.
    pub headers: &'a [(String, String)],
    /// Who asks.
    pub user_agent: Option<&'a HeaderValue>,
}

impl Get<'_> {
    /// Asks, over connections that `connect` makes; follows redirects to the same host, as the
    /// kubelet does. One to another host is the answer, and so is one that does not say where.
    ///
    /// # Errors
    /// When there is no answer, when a redirect makes no sense, or too many follow each other.
    pub async fn ask<IO, E, F, C>(&self, connect: C) -> Result<Answer, E>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        E: From<ProbeError>,
        F: Future<Output = Result<IO, E>>,
        C: Fn(SocketAddr) -> F,
    {
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        let mut place = Place {
            scheme: self.scheme,
            host: self.address.ip().to_string(),
            port: self.address.port(),
            path: format!("{slash}{}", self.path),
        };
        let mut headers = self.headers.to_vec();
        for _ in 0..MOST_REQUESTS {
            let address = SocketAddr::new(self.address.ip(), place.port);
            let (scheme, path) = (place.scheme, place.path.as_str());
            let get = Get { scheme, address, path, headers: &headers, ..*self };
            let answer = get.send(connect(address).await?).await?;
            let Some(location) = &answer.location else { return Ok(answer) };
            let next = place.resolve(location);
            let next = next.ok_or_else(|| ProbeError::Location(location.clone()))?;
            if next.host != self.address.ip().to_string() {
                return Ok(answer);
            }
            if redirect::is_absolute(location) {
                headers.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
            }
            place = next;
        }
        Err(ProbeError::Redirects.into())
    }

    async fn send<IO>(&self, io: IO) -> Result<Answer, ProbeError>
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

    async fn over_http1<IO>(&self, io: IO) -> Result<Answer, ProbeError>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let request = self.request(Version::HTTP_11).map_err(ProbeError::Request)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(io)).await.map_err(ProbeError::Http)?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
        answer(sender.send_request(request).await.map_err(ProbeError::Http)?).await
    }

    async fn over_http2<IO>(&self, io: IO) -> Result<Answer, ProbeError>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let request = self.request(Version::HTTP_2).map_err(ProbeError::Request)?;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
            .await
            .map_err(ProbeError::Http)?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
        answer(sender.send_request(request).await.map_err(ProbeError::Http)?).await
    }

    fn request(&self, version: Version) -> Result<Request<Empty<Bytes>>, http::Error> {
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
        let mut request = Request::get(self.path).body(Empty::new())?;
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

/// The body is of interest only where it may say why a client is sent elsewhere.
async fn answer(response: Response<Incoming>) -> Result<Answer, ProbeError> {
    let (head, mut body) = response.into_parts();
    let status = head.status;
    let location = head.headers.get(header::LOCATION).filter(|_| redirect::redirects(status));
    let location = location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut said = BytesMut::new();
    while status.is_redirection()
        && said.len() < MOST_SAID
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(ProbeError::Http)?;
        said.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    said.truncate(MOST_SAID);
    let location = location.filter(|location| !location.is_empty());
    Ok(Answer { status, body: said.freeze(), location })
}

/// As many as the kubelet makes for one probe.
const MOST_REQUESTS: u32 = 10;
/// As much of an answer as the kubelet reads.
const MOST_SAID: usize = 10 << 10;
