//! `grpc`: one call of `grpc.health.v1.Health/Check`, in the clear.
//!
//! Source: <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use crate::ProbeError;

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Asks the server at `address` over `io` whether `service` is well; an empty name means the
/// whole server.
///
/// # Errors
/// When it is not, or does not say so.
pub async fn health<IO>(
    io: IO,
    address: SocketAddr,
    service: &str,
    user_agent: Option<&HeaderValue>,
) -> Result<(), ProbeError>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let request = request(address, service, user_agent).map_err(ProbeError::Request)?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.map_err(ProbeError::Http)?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = sender.send_request(request).await.map_err(ProbeError::Http)?;
    let (head, body) = answer.into_parts();
    if head.status != StatusCode::OK {
        return Err(ProbeError::Rpc(format!(
            "the server answered with HTTP status {}",
            head.status
        )));
    }
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let body = body.map_err(|error| ProbeError::Rpc(error.to_string()))?;
    // A call that fails may have its end in the beginning.
    let end = body.trailers().unwrap_or(&head.headers).clone();
    succeeded(&end)?;
    verdict(&body.to_bytes())
}

fn request(
    address: SocketAddr,
    service: &str,
    user_agent: Option<&HeaderValue>,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let message = HealthCheckRequest { service: service.to_owned() };
    let length = message.encoded_len();
    let mut body = BytesMut::with_capacity(PREFIX + length);
    body.put_u8(NOT_COMPRESSED);
    body.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    body.put_slice(&message.encode_to_vec());
    let mut request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers");
    if let Some(agent) = user_agent {
        request = request.header(header::USER_AGENT, agent);
    }
    request.body(Full::new(body.freeze()))
}

fn succeeded(end: &HeaderMap) -> Result<(), ProbeError> {
    let text = |name: &str| end.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        Some("0") => Ok(()),
        Some(UNIMPLEMENTED) => Err(ProbeError::Unimplemented),
        Some(code) => {
            let message = readable(text("grpc-message").unwrap_or_default());
            Err(ProbeError::Rpc(format!("code = {code} desc = {message}")))
        }
        None => Err(ProbeError::Rpc("the answer has no gRPC status".to_owned())),
    }
}

/// Messages travel with `%XX` for what is no ordinary character.
fn readable(message: &str) -> String {
    let mut bytes = Vec::with_capacity(message.len());
    let mut rest = message.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped =
            after.split_at_checked(2).filter(|_| first == b'%').and_then(|(hex, after)| {
                let hex = std::str::from_utf8(hex).ok()?;
                Some((u8::from_str_radix(hex, 16).ok()?, after))
            });
        let (byte, left) = escaped.unwrap_or((first, after));
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn verdict(body: &[u8]) -> Result<(), ProbeError> {
    let message = match body.split_at_checked(PREFIX) {
        Some(([NOT_COMPRESSED, length @ ..], message))
            if length == u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes() =>
        {
            message
        }
        _ => return Err(ProbeError::Rpc("the answer is not one whole message".to_owned())),
    };
    let answer = HealthCheckResponse::decode(message);
    match answer.map_err(|error| ProbeError::Rpc(error.to_string()))?.status {
        1 => Ok(()),
        2 => Err(ProbeError::Unhealthy("NOT_SERVING")),
        3 => Err(ProbeError::Unhealthy("SERVICE_UNKNOWN")),
        _ => Err(ProbeError::Unhealthy("UNKNOWN")),
    }
}

/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
const NOT_COMPRESSED: u8 = 0;
/// gRPC's code for a method that a server lacks.
const UNIMPLEMENTED: &str = "12";
const MAX_ANSWER: usize = 4096;
