//! The client's address for `remoteIpBlocks`, taken from X-Forwarded-For as Envoy takes it.
//!
//! At a sidecar any client can forge it: it is no security boundary unless the client side is trusted.

use std::net::IpAddr;

/// Where X-Forwarded-For is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forwarding {
    /// At a sidecar: the last entry.
    Sidecar,
    /// At a gateway: the entry that the outermost trusted proxy wrote.
    Gateway {
        /// `numTrustedProxies`; with 0 the header does not count.
        trusted_proxies: usize,
    },
}

/// The client's address. `peer` is the TCP peer's, or the one that the PROXY protocol carries; it is
/// also the answer if the entry that counts is missing or not a bare address.
///
/// `forwarded_for` has the values of all X-Forwarded-For fields in order.
#[must_use]
pub fn client_address<'a>(
    peer: IpAddr,
    forwarding: Forwarding,
    forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> IpAddr {
    let from_the_right = match forwarding {
        Forwarding::Sidecar => 0,
        Forwarding::Gateway { trusted_proxies: 0 } => return peer,
        Forwarding::Gateway { trusted_proxies } => trusted_proxies - 1,
    };
    forwarded_for
        .rev()
        .flat_map(|value| value.rsplit(|byte| *byte == b','))
        .nth(from_the_right)
        .and_then(|entry| std::str::from_utf8(entry.trim_ascii()).ok()?.parse().ok())
        .unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_that_counts_depends_on_the_place() {
        let gateway = |trusted_proxies| Forwarding::Gateway { trusted_proxies };
        for (forwarding, fields, expected) in [
            (Forwarding::Sidecar, &[][..], "10.0.0.9"),
            (Forwarding::Sidecar, &["1.1.1.1"], "1.1.1.1"),
            (Forwarding::Sidecar, &["1.1.1.1, 3.3.3.3"], "3.3.3.3"),
            (Forwarding::Sidecar, &["1.1.1.1,2.2.2.2", "3.3.3.3"], "3.3.3.3"),
            (Forwarding::Sidecar, &["1.1.1.1, unknown"], "10.0.0.9"),
            (Forwarding::Sidecar, &["1.1.1.1:80"], "10.0.0.9"),
            (Forwarding::Sidecar, &["1.1.1.1,"], "10.0.0.9"),
            (Forwarding::Sidecar, &["2001:db8::1"], "2001:db8::1"),
            (gateway(0), &["1.1.1.1"], "10.0.0.9"),
            (gateway(1), &["1.1.1.1, 2.2.2.2"], "2.2.2.2"),
            (gateway(2), &["1.1.1.1, 2.2.2.2, 3.3.3.3"], "2.2.2.2"),
            (gateway(2), &["1.1.1.1, 2.2.2.2", "3.3.3.3"], "2.2.2.2"),
            (gateway(2), &["1.1.1.1"], "10.0.0.9"),
        ] {
            let values = fields.iter().map(|value| value.as_bytes());
            let got = client_address("10.0.0.9".parse().unwrap(), forwarding, values);
            assert_eq!(got.to_string(), expected, "{forwarding:?} {fields:?}");
        }
    }
}
