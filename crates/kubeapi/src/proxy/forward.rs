//! Passing one HTTP/1.1 request on, with the connection itself if both sides upgrade it.

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{http_io::Answer, status::ApiError};

/// Where a request goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Upstream {
    /// `Host` header.
    pub(super) authority: String,
    /// Path and query.
    pub(super) path: String,
}

/// Headers that end at each hop, or that are the caller's secret.
const DROPPED: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
];

/// Sends a request over a fresh connection.
pub(super) async fn forward<IO>(
    io: IO,
    upstream: Upstream,
    mut request: Request<Incoming>,
) -> Result<Answer, ApiError>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let unreachable = |error: hyper::Error| {
        ApiError::unavailable(format!("error trying to reach service: {error}"))
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(unreachable)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection ended");
        }
    });
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let client = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let mut onward = Request::new(body);
    *onward.method_mut() = parts.method;
    *onward.uri_mut() = Uri::try_from(&upstream.path)
        .map_err(|_| ApiError::bad_request("the proxied path is malformed"))?;
    *onward.headers_mut() = onward_headers(parts.headers, upgrade.as_ref());
    let host = HeaderValue::from_str(&upstream.authority)
        .map_err(|_| ApiError::internal("the backend's name is no host"))?;
    onward.headers_mut().insert(header::HOST, host);
    let mut response = sender.send_request(onward).await.map_err(unreachable)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if upgrade.is_none() {
            return Err(ApiError::unavailable(
                "the backend switched protocols without being asked",
            ));
        }
        let server = hyper::upgrade::on(&mut response);
        tokio::spawn(join(client, server));
    }
    let (mut parts, body) = response.into_parts();
    if parts.status != StatusCode::SWITCHING_PROTOCOLS {
        for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
            parts.headers.remove(name);
        }
    }
    Ok(http::Response::from_parts(parts, body.map_err(Into::into).boxed_unsync()))
}

fn onward_headers(mut headers: HeaderMap, upgrade: Option<&HeaderValue>) -> HeaderMap {
    for name in DROPPED {
        headers.remove(name);
    }
    let impersonation: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in impersonation {
        headers.remove(name);
    }
    match upgrade {
        Some(_) => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        None => {
            headers.remove(header::UPGRADE);
        }
    }
    headers
}

async fn join(client: hyper::upgrade::OnUpgrade, server: hyper::upgrade::OnUpgrade) {
    let joined = async {
        let (client, server) = (client.await?, server.await?);
        let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
        Ok::<_, hyper::Error>(tokio::io::copy_bidirectional(&mut client, &mut server).await)
    };
    match joined.await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a proxied stream ended"),
        Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
    }
}
