//! TLS to whoever answers, for probes: the kubelet asks applications whose certificates it can't
//! know. It keeps nothing secret and proves nothing.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{TIMEOUT, names};
use crate::{
    Alpn, HandshakeError, HandshakeReason, KeyExchange, TlsStream, ahead::ReadAhead,
    generation::timed, provider::provider,
};

/// The client's side of a handshake with any server, over HTTP/2 if it can, within ten seconds.
///
/// For probes only, which tell the server no more than it may be asked by anyone.
///
/// # Errors
/// When no version, cipher or protocol can be agreed on.
pub async fn connect_unverified<IO>(
    io: IO,
    server: IpAddr,
) -> Result<(TlsStream<IO>, Alpn), HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let provider = provider(KeyExchange::default());
    let anyone = Arc::new(Anyone(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| HandshakeError::new(HandshakeReason::Protocol, error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(anyone)
        .with_no_client_auth();
    config.alpn_protocols = names(&["h2", "http/1.1"]);
    let connecting =
        TlsConnector::from(Arc::new(config)).connect(ServerName::from(server), ReadAhead::new(io));
    let stream =
        timed(TIMEOUT, async { connecting.await.map_err(|error| HandshakeError::from_io(&error)) })
            .await?;
    let stream = TlsStream::new(stream);
    let alpn = stream.alpn();
    Ok((stream, alpn))
}

/// Takes any certificate for good.
#[derive(Debug)]
pub(crate) struct Anyone(pub(crate) Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
