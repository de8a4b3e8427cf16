//! What becomes of a connection to a workload port: mTLS mode, the port's protocol and the client's
//! first bytes decide before any policy is asked.
//!
//! Source: Istio `pilot/pkg/networking/core/filterchain_options.go:38-216`; `peer-authentication.json`
//! of the conformance corpus has what a real Envoy did.

use palisade_types::{MtlsMode, Protocol};

/// What a client sent first.
#[derive(Clone, Copy, Debug)]
pub enum Hello<'a> {
    /// Bytes that are no TLS ClientHello.
    Plaintext,
    /// A TLS ClientHello with these application protocols, in the order offered.
    Tls {
        /// ALPN, possibly empty.
        alpn: &'a [&'a [u8]],
    },
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// Close it without an answer (RST); [`RESET_FLAGS`] and [`RESET_DETAILS`] go to the access log.
    Reset,
    /// Serve the bytes as they come; the client has no identity.
    Plain(Speech),
    /// Demand a mesh certificate; refuse the handshake without one. Then serve what is inside.
    MutualTls(Speech),
    /// Hand the TLS bytes to the application unopened, under the TCP rules; no identity.
    HandOn,
}

/// `RESPONSE_FLAGS` of a connection that is reset.
pub const RESET_FLAGS: &str = "NR";

/// `RESPONSE_CODE_DETAILS` of a connection that is reset.
pub const RESET_DETAILS: &str = "filter_chain_not_found";

/// How the bytes of a connection are understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speech {
    /// As HTTP; anything else is answered 400.
    Http,
    /// As opaque bytes.
    Tcp,
    /// By their beginning: HTTP/1.1 or the HTTP/2 preface, else opaque.
    Sniffed,
}

/// Decides over a connection.
#[must_use]
pub fn admit(mode: MtlsMode, protocol: Protocol, hello: Hello<'_>) -> Admission {
    match (hello, mode) {
        (Hello::Plaintext, MtlsMode::Strict) => Admission::Reset,
        (Hello::Plaintext, MtlsMode::Permissive | MtlsMode::Disable) => {
            Admission::Plain(plaintext(protocol))
        }
        (Hello::Tls { .. }, MtlsMode::Disable) if protocol.is_http() => {
            Admission::Plain(Speech::Http)
        }
        (Hello::Tls { .. }, MtlsMode::Disable) => Admission::HandOn,
        (Hello::Tls { alpn }, MtlsMode::Strict) => {
            let http = alpn.iter().any(|offered| MESH_HTTP.contains(offered));
            Admission::MutualTls(inside(protocol, http))
        }
        (Hello::Tls { alpn }, MtlsMode::Permissive) => {
            let mut of_mesh = alpn
                .iter()
                .filter(|offered| MESH_HTTP.contains(*offered) || MESH_TCP.contains(*offered));
            match of_mesh.next() {
                Some(first) => Admission::MutualTls(inside(protocol, MESH_HTTP.contains(first))),
                None if protocol.is_http() => Admission::Reset,
                None => Admission::HandOn,
            }
        }
    }
}

fn plaintext(protocol: Protocol) -> Speech {
    match protocol {
        Protocol::Auto => Speech::Sniffed,
        Protocol::Tcp => Speech::Tcp,
        Protocol::Http | Protocol::Http2 | Protocol::Grpc => Speech::Http,
    }
}

/// Over mTLS the client says in its ALPN what an undeclared port is to be.
fn inside(protocol: Protocol, http_offered: bool) -> Speech {
    match plaintext(protocol) {
        Speech::Sniffed if http_offered => Speech::Http,
        Speech::Sniffed => Speech::Tcp,
        declared => declared,
    }
}

const MESH_HTTP: [&[u8]; 3] = [b"istio-http/1.0", b"istio-http/1.1", b"istio-h2"];
const MESH_TCP: [&[u8]; 2] = [b"istio", b"istio-peer-exchange"];

#[cfg(test)]
mod tests {
    use super::*;

    fn row(protocol: Protocol, mode: MtlsMode) -> String {
        let clients: [Hello<'_>; 6] = [
            Hello::Plaintext,
            Hello::Tls { alpn: &[] },
            Hello::Tls { alpn: &[b"h2", b"http/1.1"] },
            Hello::Tls { alpn: &[b"istio-http/1.1", b"istio", b"http/1.1"] },
            Hello::Tls { alpn: &[b"istio-peer-exchange", b"istio"] },
            Hello::Tls { alpn: &[b"istio", b"istio-h2"] },
        ];
        let admitted = clients.map(|hello| format!("{:?}", admit(mode, protocol, hello)));
        format!("{protocol:?} {mode}: {}", admitted.join(", "))
    }

    #[test]
    fn mode_protocol_and_first_bytes_decide() {
        use MtlsMode::{Disable, Permissive, Strict};
        let rows: Vec<String> = [Protocol::Http, Protocol::Tcp, Protocol::Auto]
            .into_iter()
            .flat_map(|protocol| [Strict, Permissive, Disable].map(|mode| row(protocol, mode)))
            .collect();
        insta::assert_snapshot!(rows.join("\n"));
    }
}
