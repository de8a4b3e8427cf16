//! A client that can have any address and certificate, and tells what it hears. It keeps connections
//! open and uses them again.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::Certificates;
use crate::conformance::Tls;

/// Whom a client talks to, and as whom.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Target {
    pub(crate) ends: Ends,
    /// Plaintext without.
    pub(crate) tls: Option<Tls>,
    /// Connections of different groups are not shared; says which ports they are made from, if that
    /// counts.
    pub(crate) from_ports: Option<(u16, u16)>,
}

/// The addresses of a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Ends {
    pub(crate) source: IpAddr,
    pub(crate) destination: SocketAddr,
}

/// What came back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    /// An answer to a request.
    Response(Response),
    /// Bytes that are no answer, or none, until the end.
    Bytes(Vec<u8>),
    /// The connection was reset.
    Reset,
    /// The handshake was refused.
    HandshakeRefused(String),
}

/// An answer of HTTP/1.1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Response {
    /// Status line and header fields, each with its line end, and the empty line.
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn status(&self) -> Option<u16> {
        self.text().get(9..12)?.parse().ok()
    }

    /// The value of a header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.text().split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let mut of_name = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        of_name.next().map(|(_, value)| value.trim())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.head).unwrap_or_default()
    }
}

/// The client.
pub(crate) struct Caller {
    certificates: Certificates,
    configs: HashMap<Tls, Arc<ClientConfig>>,
    open: HashMap<Target, Line>,
    next_ports: HashMap<(u16, u16), u16>,
}

enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Caller {
    pub(crate) fn new(certificates: Certificates) -> Self {
        Self {
            certificates,
            configs: HashMap::new(),
            open: HashMap::new(),
            next_ports: HashMap::new(),
        }
    }

    /// Sends a request and reads its answer, on a connection that may have been used before.
    pub(crate) fn request(&mut self, target: &Target, bytes: &[u8]) -> anyhow::Result<Heard> {
        let head_only = bytes.starts_with(b"HEAD ");
        let tunnel = bytes.starts_with(b"CONNECT ");
        if let Some(mut line) = self.open.remove(target)
            && line.write_all(bytes).is_ok()
            && let Ok(Heard::Response(response)) = response(&mut line, head_only)
        {
            self.keep(target, line, &response, tunnel);
            return Ok(Heard::Response(response));
        }
        let mut line = self.connect(target)?;
        let heard = match line.write_all(bytes).and_then(|()| response(&mut line, head_only)) {
            Ok(heard) => heard,
            Err(error) => failure(&error)?,
        };
        if let Heard::Response(response) = &heard {
            self.keep(target, line, response, tunnel);
        }
        Ok(heard)
    }

    fn keep(&mut self, target: &Target, line: Line, response: &Response, tunnel: bool) {
        let closed = response.field("connection").is_some_and(|value| value == "close");
        if !closed && !tunnel {
            self.open.insert(target.clone(), line);
        }
    }

    /// Sends bytes on a connection of their own; what comes back at once, or all until the end.
    pub(crate) fn send(&mut self, target: &Target, bytes: &[u8]) -> anyhow::Result<Heard> {
        let mut line = self.connect(target)?;
        let mut answer = vec![0; 4096];
        let heard = line.write_all(bytes).and_then(|()| line.read(&mut answer));
        line.abort();
        Ok(match heard {
            Ok(length) => {
                answer.truncate(length);
                Heard::Bytes(answer)
            }
            Err(error) => failure(&error)?,
        })
    }

    /// Forgets the connections that are open.
    pub(crate) fn hang_up(&mut self) {
        self.open.clear();
    }

    fn connect(&mut self, target: &Target) -> anyhow::Result<Line> {
        let tcp = self.dial(target)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let Some(tls) = &target.tls else { return Ok(Line::Plain(tcp)) };
        let config = self.config(tls)?;
        // An address is never named in the handshake.
        let name = if tls.sni.is_empty() {
            ServerName::from(target.ends.destination.ip())
        } else {
            ServerName::try_from(tls.sni.clone()).context("a server name")?
        };
        let session = ClientConnection::new(config, name).context("begin TLS")?;
        Ok(Line::Tls(Box::new(StreamOwned::new(session, tcp))))
    }

    fn dial(&mut self, target: &Target) -> anyhow::Result<TcpStream> {
        let Ends { source, destination } = target.ends;
        let mut tries = 0;
        loop {
            let port = target.from_ports.map_or(0, |(first, last)| {
                let next = self.next_ports.entry((first, last)).or_insert(first);
                let port = *next;
                *next = if port == last { first } else { port + 1 };
                port
            });
            let socket =
                Socket::new(Domain::for_address(destination), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            let dialled = socket
                .bind(&SocketAddr::new(source, port).into())
                .and_then(|()| socket.connect(&destination.into()));
            tries += 1;
            match dialled {
                Ok(()) => return Ok(socket.into()),
                // A connection of the same ends is still open, or not yet forgotten.
                Err(error) if port > 0 && tries < 64 && is_taken(&error) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("from {source} to {destination}"));
                }
            }
        }
    }

    fn config(&mut self, tls: &Tls) -> anyhow::Result<Arc<ClientConfig>> {
        let key = Tls { sni: String::new(), ..tls.clone() };
        if let Some(config) = self.configs.get(&key) {
            return Ok(Arc::clone(config));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
        let mut config = match &tls.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let issued = self.certificates.issue(&certificate.sans, certificate.chain)?;
                builder.with_client_auth_cert(issued.chain.clone(), issued.key())?
            }
        };
        config.alpn_protocols = tls.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        config.resumption = Resumption::disabled();
        let config = Arc::new(config);
        self.configs.insert(key, Arc::clone(&config));
        Ok(config)
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable)
}

/// What the end of a connection says.
fn failure(error: &io::Error) -> anyhow::Result<Heard> {
    match error.kind() {
        ErrorKind::InvalidData => Ok(Heard::HandshakeRefused(error.to_string())),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(Heard::Reset),
        ErrorKind::UnexpectedEof => Ok(Heard::Bytes(Vec::new())),
        _ => Err(io::Error::new(error.kind(), error.to_string())).context("waiting for an answer"),
    }
}

/// Reads one answer; bytes that are none are given as they are.
fn response(line: &mut Line, head_only: bool) -> io::Result<Heard> {
    let mut received = Vec::with_capacity(512);
    let mut chunk = [0; 4096];
    loop {
        if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = received.split_off(at + 4);
            let mut response = Response { head: received, body };
            let length = response.field("content-length").and_then(|length| length.parse().ok());
            let length = if head_only { 0 } else { length.unwrap_or(0) };
            while response.body.len() < length {
                let read = line.read(&mut chunk)?;
                if read == 0 {
                    break;
                }
                response.body.extend_from_slice(&chunk[..read]);
            }
            return Ok(Heard::Response(response));
        }
        let read = line.read(&mut chunk)?;
        if read == 0 {
            return Ok(Heard::Bytes(received));
        }
        received.extend_from_slice(&chunk[..read]);
    }
}

impl Line {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
        }
    }

    /// Leaves nothing behind that would keep its ends from being used again.
    fn abort(self) {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => stream.sock,
        };
        // A connection that is gone needs no end.
        let _ = socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO));
    }
}

/// Takes any server: whom a client reaches is the network's matter here.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
