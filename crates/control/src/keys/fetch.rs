//! One fetch: an HTTP GET that ends in a key set, with everything about it bounded.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::http::{
    Request, StatusCode, Uri,
    header::{ACCEPT, HOST, LOCATION, USER_AGENT},
    uri::Scheme,
};
use futures::future::{Either, select};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{Response, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use palisade_model::KeySource;
use palisade_tls::HttpsConnector;
use parking_lot::Mutex;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::address::{Loopback, closed};
use crate::network::{ConnectError, Network, connect};

/// Why there are no keys.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    /// It is no address of a key set.
    #[error("`{0}` is no address to fetch from")]
    Address(String),
    /// The address is never asked.
    #[error("`{host}` is at {address}, which is not asked: {why}")]
    Closed {
        /// The name.
        host: String,
        /// Its address.
        address: IpAddr,
        /// What it is.
        why: &'static str,
    },
    /// There is no connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The answer is not the document.
    #[error("`{url}` answered {status}")]
    Status {
        /// What was asked for.
        url: Uri,
        /// What came.
        status: StatusCode,
    },
    /// Too many redirections, or one that is not followed.
    #[error("the redirection to `{0}` is not followed")]
    Redirection(String),
    /// More than a key set has.
    #[error("the answer has more than {MAX_BODY} bytes")]
    Size,
    /// The answer is not what it should be.
    #[error("the answer is no {0}")]
    Form(&'static str),
}

/// A connection, with TLS or without.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Fetches key sets.
#[derive(Debug)]
pub(super) struct Fetcher {
    pub(super) network: Arc<dyn Network>,
    pub(super) loopback: Loopback,
}

impl Fetcher {
    /// The key set of a source, each request within `limit`.
    pub(super) async fn keys(
        &self,
        source: &KeySource,
        limit: Duration,
    ) -> Result<String, FetchError> {
        let uri = match source {
            KeySource::Uri(uri) => uri.clone(),
            KeySource::Issuer(issuer) => {
                let at =
                    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
                let document = self.document(&at, limit).await?;
                let named = document.get("jwks_uri").and_then(Value::as_str);
                named.ok_or(FetchError::Form("discovery document with `jwks_uri`"))?.to_owned()
            }
        };
        key_set(self.document(&uri, limit).await?)
    }

    async fn document(&self, at: &str, limit: Duration) -> Result<Value, FetchError> {
        let body = timeout(limit, self.get(at)).await.unwrap_or(Err(FetchError::Late(limit)))?;
        serde_json::from_slice(&body).map_err(|_| FetchError::Form("JSON"))
    }

    async fn get(&self, at: &str) -> Result<Bytes, FetchError> {
        let mut url = parse(at)?;
        for _ in 0..=MAX_REDIRECTIONS {
            let io = self.connect(&url).await?;
            let answer = exchange(io, &url).await?;
            match answer {
                Answer::Document(body) => return Ok(body),
                Answer::Elsewhere(location) => {
                    let next = join(&url, &location)?;
                    if url.scheme() == Some(&Scheme::HTTPS) && next.scheme() != Some(&Scheme::HTTPS)
                    {
                        return Err(FetchError::Redirection(location));
                    }
                    url = next;
                }
            }
        }
        Err(FetchError::Redirection(url.to_string()))
    }

    /// A connection to an address that may be asked.
    async fn connect(&self, url: &Uri) -> Result<Box<dyn Io>, FetchError> {
        let https = url.scheme() == Some(&Scheme::HTTPS);
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
        let mut refused = None;
        let connecting = {
            let refused = Mutex::new(&mut refused);
            connect(&*self.network, host, port, |address| {
                let why = closed(address, self.loopback);
                if let Some(why) = why {
                    **refused.lock() = Some((address, why));
                }
                why.is_none()
            })
            .await
        };
        match (connecting, refused) {
            (Ok(stream), _) if https => secure(stream, host).await,
            (Ok(stream), _) => Ok(Box::new(stream)),
            (Err(ConnectError::Forbidden { .. }), Some((address, why))) => {
                Err(FetchError::Closed { host: host.to_owned(), address, why })
            }
            (Err(error), _) => Err(FetchError::Connection(error.to_string())),
        }
    }
}

async fn secure(io: TcpStream, host: &str) -> Result<Box<dyn Io>, FetchError> {
    let failed = |error: &dyn std::fmt::Display| FetchError::Connection(format!("TLS: {error}"));
    let connector = tokio::task::spawn_blocking(|| HttpsConnector::of_system(&["http/1.1"])).await;
    let connector = connector.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let stream = connector.connect(io, host).await.map_err(|error| failed(&error))?;
    Ok(Box::new(stream))
}

/// What came of one request.
enum Answer {
    Document(Bytes),
    Elsewhere(String),
}

async fn exchange(io: Box<dyn Io>, url: &Uri) -> Result<Answer, FetchError> {
    let broken = |error: hyper::Error| FetchError::Connection(format!("`{url}`: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(broken)?;
    let target = url.path_and_query().map_or("/", |it| it.as_str());
    let request = Request::get(target)
        .header(HOST, url.authority().map_or("", |it| it.as_str()))
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("palisade/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Address(url.to_string()))?;
    let exchange = std::pin::pin!(async {
        let response = sender.send_request(request).await.map_err(broken)?;
        read(response, url).await
    });
    match select(exchange, std::pin::pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // The connection is over, and what came on it is still to be read.
        Either::Right((_, exchange)) => exchange.await,
    }
}

async fn read(response: Response<hyper::body::Incoming>, url: &Uri) -> Result<Answer, FetchError> {
    let status = response.status();
    if status.is_redirection()
        && let Some(location) = response.headers().get(LOCATION)
    {
        let location = location.to_str().map_err(|_| FetchError::Form("redirection"))?;
        return Ok(Answer::Elsewhere(location.to_owned()));
    }
    if !status.is_success() {
        return Err(FetchError::Status { url: url.clone(), status });
    }
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            FetchError::Size
        } else {
            FetchError::Connection(format!("`{url}`: {error}"))
        }
    })?;
    Ok(Answer::Document(body.to_bytes()))
}

fn parse(text: &str) -> Result<Uri, FetchError> {
    let wrong = || FetchError::Address(text.to_owned());
    let url: Uri = text.split('#').next().unwrap_or_default().parse().map_err(|_| wrong())?;
    let fetchable = url.scheme() == Some(&Scheme::HTTP) || url.scheme() == Some(&Scheme::HTTPS);
    let authority = url.authority().ok_or_else(wrong)?;
    if fetchable && !authority.host().is_empty() && !authority.as_str().contains('@') {
        Ok(url)
    } else {
        Err(wrong())
    }
}

/// Where a redirection leads: another address, or another path of the same server.
fn join(url: &Uri, location: &str) -> Result<Uri, FetchError> {
    let (scheme, authority) = (url.scheme_str().unwrap_or_default(), url.authority());
    if let Some(rest) = location.strip_prefix("//") {
        return parse(&format!("{scheme}://{rest}"));
    }
    if !location.starts_with('/') {
        return parse(location);
    }
    parse(&format!("{scheme}://{}{location}", authority.map_or("", |it| it.as_str())))
}

/// The keys of a set and nothing else, in an order of their own, so that the same keys are the same text.
fn key_set(document: Value) -> Result<String, FetchError> {
    let form = || FetchError::Form("JSON Web Key Set");
    let mut keys = match document {
        Value::Object(mut set) => match set.remove("keys") {
            Some(Value::Array(keys)) if keys.iter().all(Value::is_object) => keys,
            _ => return Err(form()),
        },
        _ => return Err(form()),
    };
    keys.sort_by_cached_key(Value::to_string);
    Ok(json!({ "keys": keys }).to_string())
}

/// Bytes of an answer: a large key set with certificates has a tenth.
const MAX_BODY: usize = 256 << 10;
const MAX_REDIRECTIONS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_web_servers_are_fetched_from() {
        for (text, good) in [
            ("https://a.example/keys", true),
            ("http://a.example:8080", true),
            ("http://[2001:db8::1]:80/x?y#z", true),
            ("ftp://a.example", false),
            ("https://user@a.example/", false),
            ("https:///keys", false),
            ("/keys", false),
            ("keys", false),
            ("", false),
        ] {
            assert_eq!(parse(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_redirection_leads_to_another_server_or_another_path() {
        let from = parse("https://a.example:444/x/y?z").unwrap();
        for (location, to) in [
            ("/keys?a", Some("https://a.example:444/keys?a")),
            ("//b.example/keys", Some("https://b.example/keys")),
            ("http://b.example/keys", Some("http://b.example/keys")),
            ("file:///etc/passwd", None),
            ("keys", None),
        ] {
            assert_eq!(join(&from, location).ok().map(|url| url.to_string()).as_deref(), to);
        }
    }

    #[test]
    fn the_same_keys_are_the_same_text() {
        let one = key_set(json!({"x": 1, "keys": [{"kid": "b"}, {"kid": "a"}]})).unwrap();
        let other = key_set(json!({"keys": [{"kid": "a"}, {"kid": "b"}]})).unwrap();
        assert_eq!(one, other);
        assert_eq!(one, r#"{"keys":[{"kid":"a"},{"kid":"b"}]}"#);
        for wrong in [json!([]), json!({}), json!({"keys": {}}), json!({"keys": [1]})] {
            assert!(key_set(wrong).is_err());
        }
        assert_eq!(key_set(json!({"keys": []})).unwrap(), r#"{"keys":[]}"#, "all are revoked");
    }
}
