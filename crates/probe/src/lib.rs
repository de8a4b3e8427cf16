//! What probes ask of an application over a connection: HTTP, HTTPS and gRPC's health.
//!
//! The node asks as the kubelet does, and a sidecar asks in its place for pods of the mesh. Nothing
//! is proved about the other end, as with the kubelet, and nothing is told to it but the question.
//! How the connection is made, and how long all may take, is the caller's business.
//!
//! Source: Kubernetes `pkg/probe/{http,grpc}`.

mod get;
mod health;
mod redirect;

pub use get::{Answer, Get, Scheme};
pub use health::health;

use thiserror::Error;

/// Why a probe failed, in the kubelet's words where it has some.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// It speaks no TLS that could be agreed on.
    #[error("TLS handshake: {0}")]
    Tls(palisade_tls::HandshakeError),
    /// Its answer is not HTTP.
    #[error("{0}{cause}", cause = cause(.0))]
    Http(hyper::Error),
    /// The question is no valid request.
    #[error("the probe is no valid request: {0}")]
    Request(http::Error),
    /// It sends the client to what is no URL that a probe can ask.
    #[error("failed to follow the redirect to {0:?}")]
    Location(String),
    /// It sends the client round in circles.
    #[error("stopped after 10 redirects")]
    Redirects,
    /// It answers gRPC, but nobody asks for its health.
    #[error(
        "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
    )]
    Unimplemented,
    /// The call failed.
    #[error("error: health rpc probe failed: {0}")]
    Rpc(String),
    /// It says that it is not well.
    #[error("service unhealthy (responded with \"{0}\")")]
    Unhealthy(&'static str),
}

/// Hyper's errors say what failed; their cause, why.
fn cause(error: &hyper::Error) -> String {
    std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
