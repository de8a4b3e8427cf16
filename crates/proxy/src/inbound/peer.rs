//! Who is at the other end of a connection to the workload.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use palisade_policy::{Attributes, Http};
use palisade_telemetry::{RefusedCaller, ResponseFlags};
use palisade_tls::{Generation, HandshakeReason, Peer};
use palisade_types::MtlsMode;
use tokio::net::TcpStream;
use tracing::{debug, info};

use crate::{
    active::Active, buffer::Buffer, denials::Denial, io::Stream, report, socket, worker::Worker,
};

/// A connection to the workload and who has made it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The client's address.
    pub(crate) source: SocketAddr,
    /// Where it was going.
    pub(crate) destination: SocketAddr,
    /// Our certificate that it was made under; none for plaintext.
    pub(crate) under: Option<Arc<Generation>>,
    /// Verified identities; none for plaintext.
    pub(crate) identities: Vec<String>,
    /// SNI.
    pub(crate) server_name: String,
    /// What `x-forwarded-client-cert` says about the client; empty for plaintext.
    pub(crate) client_certificate: String,
    /// Istio's name of the workload's port.
    pub(crate) cluster: String,
}

impl Connection {
    /// A connection of which no more is known than its ends.
    pub(crate) fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            source,
            destination,
            under: None,
            identities: Vec::new(),
            server_name: String::new(),
            client_certificate: String::new(),
            cluster: format!("inbound|{}||", destination.port()),
        }
    }

    /// The client's verified identity.
    pub(crate) fn principal(&self) -> Option<&str> {
        self.identities.first().map(String::as_str)
    }

    /// Whether it would still be accepted.
    pub(crate) fn is_admitted(&self, active: &Active) -> bool {
        !self.identities.is_empty() || active.mode(self.destination.port()) != MtlsMode::Strict
    }

    /// What policies look at.
    pub(crate) fn attributes<'a>(
        &'a self,
        remote_ip: IpAddr,
        http: Option<Http<'a>>,
    ) -> Attributes<'a> {
        Attributes {
            identities: &self.identities,
            source_ip: self.source.ip(),
            remote_ip,
            destination_ip: self.destination.ip(),
            destination_port: self.destination.port(),
            sni: &self.server_name,
            http,
        }
    }

    /// A denial of the connection.
    pub(crate) fn denial(&self, active: &Arc<Active>) -> Denial {
        Denial {
            active: Arc::clone(active),
            request_id: String::new(),
            identities: self.identities.clone(),
            source: self.source,
            destination: self.destination,
            server_name: self.server_name.clone(),
            request: None,
        }
    }

    /// Resets a connection that no filter chain of Istio's would take, for a reason in one word.
    pub(crate) fn refuse(&self, worker: &Worker, tcp: &TcpStream, reason: &'static str) {
        socket::reset(tcp);
        self.refused(worker, reason);
    }

    /// Tells that the connection was refused so.
    pub(crate) fn refused(&self, worker: &Worker, reason: &'static str) {
        let since = report::Since::now();
        self.tell_refused(worker, since, reason);
        worker.tell_connection(&report::Connection {
            since,
            source: self.source,
            destination: self.destination,
            server_name: &self.server_name,
            cluster: "",
            upstream: None,
            flags: ResponseFlags::NO_ROUTE,
            details: "filter_chain_not_found",
            termination: "",
            upstream_failure: "",
            bytes: (0, 0),
        });
    }

    fn tell_refused(&self, worker: &Worker, since: report::Since, reason: &'static str) {
        worker.shared.metrics.caller_refused(&RefusedCaller {
            time: since.time,
            source: self.source,
            destination: self.destination,
            reason,
        });
    }

    fn authenticated(&mut self, peer: Peer, generation: &Arc<Generation>) {
        self.under = Some(Arc::clone(generation));
        let own = &generation.svid().id;
        let mut hash = String::with_capacity(64);
        for byte in peer.certificate_sha256 {
            // Writing to a String does not fail.
            let _ = write!(hash, "{byte:02x}");
        }
        let identity = peer.identities.first().map_or("", String::as_str);
        self.client_certificate = format!("By={own};Hash={hash};Subject=\"\";URI={identity}");
        self.server_name = peer.sni.unwrap_or_default();
        self.identities = peer.identities;
    }
}

/// Why a caller without TLS is refused.
pub(crate) const PLAINTEXT: &str = "plaintext";

/// Why a caller is refused whose TLS is not the mesh's.
pub(crate) const FOREIGN_TLS: &str = "foreign_tls";

/// The mTLS handshake, which only a client of the mesh survives. `received` begins with its ClientHello.
pub(crate) async fn handshake(
    worker: &Worker,
    tcp: TcpStream,
    received: &mut Buffer,
    connection: &mut Connection,
) -> Option<Stream> {
    let Some(generation) = worker.shared.credentials.load() else {
        socket::reset(&tcp);
        return None;
    };
    let accepted = Box::pin(generation.accept(tcp, received.bytes())).await;
    received.release(&worker.buffers);
    match accepted {
        Ok((stream, peer)) => {
            connection.authenticated(peer, &generation);
            Some(Stream::Tls(Box::new(stream)))
        }
        Err(error) => {
            connection.tell_refused(worker, report::Since::now(), error.reason.as_str());
            let source = connection.source;
            if error.reason == HandshakeReason::Io {
                debug!(%source, %error, "handshake broke off");
            } else {
                info!(%source, %error, "handshake refused");
            }
            None
        }
    }
}
