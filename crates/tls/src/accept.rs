//! The server's side: TLS 1.2 and 1.3, a client certificate always demanded, and an application
//! protocol selected only among those of HTTP. Istio's names in a client's offer are labels and are
//! never selected; a client that offers nothing else gets none.

use std::{io, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{Acceptor as HelloAcceptor, ServerSessionMemoryCache},
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::{
    GenerationError, HandshakeError, TlsStream, ahead::ReadAhead, credentials::Credentials,
    spiffe::ClientVerifier,
};

/// The server's side of a generation.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// For clients that offer a protocol of HTTP.
    http: Arc<ServerConfig>,
    /// For all others: rustls refuses a client with whose offer it has nothing in common.
    opaque: Arc<ServerConfig>,
}

impl Acceptor {
    pub(crate) fn new(
        credentials: &Credentials,
        verifier: ClientVerifier,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, GenerationError> {
        let mut opaque = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| GenerationError::Config(error.to_string()))?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&credentials.key))));
        // Both configs have the same verifier, and so may share sessions.
        opaque.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        opaque.send_tls13_tickets = TICKETS;
        let mut http = opaque.clone();
        http.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { http: Arc::new(http), opaque: Arc::new(opaque) })
    }

    pub(crate) async fn handshake<IO>(
        &self,
        io: IO,
        already_read: &[u8],
    ) -> Result<TlsStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let (start, mut rest) = client_hello(ReadAhead::new(io), already_read).await?;
        let config = self.config(&start);
        let stream = start
            .into_stream_with(config, |connection| {
                // An error is kept by the connection and ends the handshake below.
                while !rest.is_empty() && connection.read_tls(&mut rest).is_ok() {
                    if connection.process_new_packets().is_err() {
                        break;
                    }
                }
            })
            .await
            .map_err(|error| HandshakeError::from_io(&error))?;
        Ok(TlsStream::new(stream))
    }

    fn config<IO>(&self, start: &StartHandshake<IO>) -> Arc<ServerConfig>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let speaks_http = start.client_hello().alpn().is_some_and(|mut offered| {
            offered.any(|name| self.http.alpn_protocols.iter().any(|known| known == name))
        });
        Arc::clone(if speaks_http { &self.http } else { &self.opaque })
    }
}

/// Reads a ClientHello, first from what was read before; gives back what of that is left.
async fn client_hello<IO>(
    mut io: IO,
    mut already_read: &[u8],
) -> Result<(StartHandshake<IO>, &[u8]), HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let from_io = |error: io::Error| HandshakeError::from_io(&error);
    let mut acceptor = HelloAcceptor::default();
    while !already_read.is_empty() {
        acceptor.read_tls(&mut already_read).map_err(from_io)?;
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                return Ok((StartHandshake::from_parts(accepted, io), already_read));
            }
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                if alert.write_all(&mut bytes).is_ok() {
                    // The handshake has failed already; that the peer does not hear why adds nothing.
                    let _ = io.write_all(&bytes).await;
                }
                return Err(HandshakeError::from_tls(&error));
            }
        }
    }
    let start = LazyConfigAcceptor::new(acceptor, io).await.map_err(from_io)?;
    Ok((start, already_read))
}

/// Sessions that a server remembers, about 1 KiB each; the oldest is forgotten.
const SESSIONS: usize = 256;

/// Tickets per handshake: pooled connections seldom need a second one, and each costs CPU.
const TICKETS: usize = 1;
