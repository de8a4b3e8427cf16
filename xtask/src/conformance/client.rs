//! A client's connection, up to where its bytes are understood as HTTP or not.

use palisade_http::{Sniffed, sniff};
use palisade_policy::inbound::{Admission, Hello, Speech, admit};
use palisade_types::{Mesh, MtlsMode, Protocol};

/// What a client sends.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Plaintext without.
    pub(crate) tls: Option<Tls>,
    /// Inside TLS, if it is there.
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Tls {
    pub(crate) alpn: Vec<String>,
    pub(crate) sni: String,
    pub(crate) certificate: Option<Certificate>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Certificate {
    pub(crate) sans: Vec<String>,
    pub(crate) chain: Chain,
}

/// Whether a certificate is valid and of a mesh root.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Chain {
    Trusted,
    Expired,
    Foreign,
}

/// What became of the connection.
#[derive(Debug)]
pub(crate) enum Connection {
    Reset,
    /// By a deviation, if it is not what Istio does.
    HandshakeRefused(Option<&'static str>),
    /// TLS bytes go to the application as they are.
    HandedOn {
        sni: String,
    },
    Served(Served),
}

/// A connection whose bytes are served.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) identities: Vec<String>,
    pub(crate) sni: String,
    pub(crate) scheme: &'static str,
    pub(crate) layer: Layer,
    /// What is served: the ClientHello itself, if TLS is not opened.
    pub(crate) bytes: Vec<u8>,
}

/// How the bytes are understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Layer {
    Http,
    Tcp,
}

/// What happens at the port, as the sidecar does it.
pub(crate) fn connect(
    mode: MtlsMode,
    protocol: Protocol,
    mesh: &Mesh,
    client: &Client,
) -> Connection {
    let alpn: Vec<&[u8]> =
        client.tls.iter().flat_map(|tls| &tls.alpn).map(String::as_bytes).collect();
    let hello = if client.tls.is_some() { Hello::Tls { alpn: &alpn } } else { Hello::Plaintext };
    match (admit(mode, protocol, hello), &client.tls) {
        (Admission::Reset, _) | (Admission::MutualTls(_) | Admission::HandOn, None) => {
            Connection::Reset
        }
        (Admission::Plain(speech), tls) => {
            let bytes = if tls.is_some() { CLIENT_HELLO } else { &client.bytes };
            Connection::Served(Served {
                identities: Vec::new(),
                sni: String::new(),
                scheme: "http",
                layer: layer(speech, bytes),
                bytes: bytes.to_vec(),
            })
        }
        (Admission::MutualTls(speech), Some(tls)) => match accept(tls, mesh) {
            Ok(identities) => Connection::Served(Served {
                identities,
                sni: tls.sni.to_ascii_lowercase(),
                scheme: "https",
                layer: layer(speech, &client.bytes),
                bytes: client.bytes.clone(),
            }),
            Err(deviation) => Connection::HandshakeRefused(deviation),
        },
        (Admission::HandOn, Some(tls)) => {
            Connection::HandedOn { sni: tls.sni.to_ascii_lowercase() }
        }
    }
}

/// What crates/tls demands of a certificate: a chain to the mesh, and one identity, of the mesh.
fn accept(tls: &Tls, mesh: &Mesh) -> Result<Vec<String>, Option<&'static str>> {
    let certificate = tls.certificate.as_ref().ok_or(None)?;
    let of_mesh = |identity: &String| {
        let name = identity.strip_prefix("spiffe://").and_then(|name| name.split_once('/'));
        name.is_some_and(|(domain, _)| mesh.trust_domains().any(|own| own.as_str() == domain))
    };
    if certificate.chain != Chain::Trusted || !certificate.sans.iter().any(of_mesh) {
        return Err(None);
    }
    match certificate.sans.as_slice() {
        [_] => Ok(certificate.sans.clone()),
        _ => Err(Some("several-uri-sans")),
    }
}

fn layer(speech: Speech, bytes: &[u8]) -> Layer {
    match (speech, sniff(bytes)) {
        (Speech::Http, _) | (Speech::Sniffed, Sniffed::Http1 | Sniffed::Http2) => Layer::Http,
        (Speech::Tcp, _) | (Speech::Sniffed, Sniffed::NeedMore | Sniffed::Opaque) => Layer::Tcp,
    }
}

/// How a ClientHello begins.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";
