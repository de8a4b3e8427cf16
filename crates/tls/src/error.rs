//! Why a handshake failed, as one closed list for metrics and logs.

use std::{fmt, io};

use rustls::{AlertDescription, CertificateError, Error as TlsError};
use thiserror::Error;

use crate::spiffe::Refusal;

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HandshakeReason {
    /// The peer's certificate is malformed or badly signed.
    BadCertificate,
    /// The peer's certificate may not be used for this side of a connection.
    BadUsage,
    /// The peer's certificate has expired.
    Expired,
    /// The peer's identity is of a trust domain that is not the mesh's.
    ForeignTrustDomain,
    /// The connection broke.
    Io,
    /// The peer's certificate has no SPIFFE identity.
    NoIdentity,
    /// The peer has no certificate.
    NoCertificate,
    /// The peer's certificate is not valid yet.
    NotYetValid,
    /// Our own certificate has expired.
    OwnCertificateExpired,
    /// The peer does not speak TLS as it should.
    Protocol,
    /// The peer refused us with an alert.
    Refused,
    /// The server is not the one that the service may be served by (secure naming).
    SecureNaming,
    /// The peer's certificate has several URI names.
    SeveralIdentities,
    /// The peer took too long.
    Timeout,
    /// The peer's certificate is of an authority that is not trusted.
    UnknownAuthority,
}

impl HandshakeReason {
    /// A stable name for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadCertificate => "bad_certificate",
            Self::BadUsage => "bad_usage",
            Self::Expired => "expired",
            Self::ForeignTrustDomain => "foreign_trust_domain",
            Self::Io => "io",
            Self::NoIdentity => "no_identity",
            Self::NoCertificate => "no_certificate",
            Self::NotYetValid => "not_yet_valid",
            Self::OwnCertificateExpired => "own_certificate_expired",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
            Self::SecureNaming => "secure_naming",
            Self::SeveralIdentities => "several_identities",
            Self::Timeout => "timeout",
            Self::UnknownAuthority => "unknown_authority",
        }
    }
}

impl fmt::Display for HandshakeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A handshake that failed. Nothing of the application's was sent or received.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{reason}: {detail}")]
pub struct HandshakeError {
    /// Why, for metrics.
    pub reason: HandshakeReason,
    /// Why, for people; with what the peer presented where that is known.
    pub detail: String,
}

impl HandshakeError {
    pub(crate) fn new(reason: HandshakeReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    pub(crate) fn from_io(error: &io::Error) -> Self {
        match tls_error(error) {
            Some(tls) => Self::from_tls(tls),
            None => Self::new(HandshakeReason::Io, error.to_string()),
        }
    }

    pub(crate) fn from_tls(error: &TlsError) -> Self {
        Self::new(reason_of_tls(error), detail_of_tls(error))
    }
}

/// Why a connection broke after its handshake, if TLS is the cause.
///
/// In TLS 1.3 a client is done before the server has seen its certificate: a server's refusal reaches
/// it with the first read.
#[must_use]
pub fn reason_of(error: &io::Error) -> Option<HandshakeReason> {
    tls_error(error).map(reason_of_tls)
}

fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn reason_of_tls(error: &TlsError) -> HandshakeReason {
    match error {
        TlsError::NoCertificatesPresented => HandshakeReason::NoCertificate,
        TlsError::InvalidCertificate(certificate) => reason_of_certificate(certificate),
        TlsError::AlertReceived(alert) => reason_of_alert(*alert),
        _ => HandshakeReason::Protocol,
    }
}

fn reason_of_certificate(error: &CertificateError) -> HandshakeReason {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            HandshakeReason::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            HandshakeReason::NotYetValid
        }
        // A root with another key but the same name: webpki tries it and fails on the signature.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            HandshakeReason::UnknownAuthority
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            HandshakeReason::BadUsage
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            HandshakeReason::SecureNaming
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.reason(),
            None => HandshakeReason::BadCertificate,
        },
        _ => HandshakeReason::BadCertificate,
    }
}

/// Every alert but a plain close is a refusal, whatever its name.
fn reason_of_alert(alert: AlertDescription) -> HandshakeReason {
    match alert {
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => HandshakeReason::Io,
        _ => HandshakeReason::Refused,
    }
}

fn detail_of_tls(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(CertificateError::Other(other)) => other.0.to_string(),
        other => other.to_string(),
    }
}
