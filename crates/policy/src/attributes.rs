//! What a decision looks at: borrowed from the connection and the request, so that deciding copies nothing.

use std::net::IpAddr;

/// Attributes of one connection and, on an HTTP port, of one request on it.
///
/// Addresses that sockets give as IPv4-mapped IPv6 must be given as IPv4 (`to_canonical`): a block of one
/// family never holds an address of the other.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// All URI SANs of the verified peer certificate, as text (`spiffe://…`); empty for plaintext.
    pub identities: &'a [String],
    /// Address of the TCP peer.
    pub source_ip: IpAddr,
    /// Client address (`remoteIpBlocks`): from X-Forwarded-For, else the peer's.
    pub remote_ip: IpAddr,
    /// Address the connection was made to, before any redirect.
    pub destination_ip: IpAddr,
    /// Port the connection was made to: the workload's port.
    pub destination_port: u16,
    /// SNI of the TLS handshake, lower case; `""` for plaintext.
    pub sni: &'a str,
    /// The request; absent on a TCP connection, where HTTP-only fields follow Istio's TCP rules.
    pub http: Option<Http<'a>>,
}

/// Attributes of an HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct Http<'a> {
    /// Method.
    pub method: &'a str,
    /// Normalised path with query; absent for CONNECT.
    pub path: Option<&'a str>,
    /// `Host` or `:authority`, as received.
    pub authority: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Header fields.
    pub headers: HeaderFields<'a>,
    /// Claims of a validated token, as a JSON object; absent without one.
    pub claims: Option<&'a serde_json::Value>,
}

/// Header fields in order, names in any case, values trimmed of optional whitespace.
#[derive(Clone, Copy, Debug)]
pub struct HeaderFields<'a>(pub &'a [(&'a str, &'a [u8])]);

impl<'a> HeaderFields<'a> {
    /// The values of all fields of a name, in order; case does not count.
    pub fn values<'n>(
        self,
        name: &'n str,
    ) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a, 'n> {
        self.0
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }
}
