//! The way out of the mesh, when there is one: which addresses pods may reach through the host.
//!
//! There is no link to the host's network. A connection to an address outside ends at a listener
//! in the infrastructure namespace, and a [`Forwarder`] in the host's namespace makes the
//! connection outside for it; a [`Resolver`] asks the host's name servers. Only TCP and DNS leave.
//! A [`Dialer`] does the same for the mesh's own processes.

mod dialer;
mod forwarder;
mod relay;
mod resolver;
mod route;

use std::net::Ipv4Addr;

use crate::fabric::{POD_CIDR, SERVICE_CIDR, is_inside};

pub use dialer::{Dialer, dial};
pub use forwarder::Forwarder;
pub use resolver::Resolver;
pub(crate) use resolver::{over_tcp, over_udp};

/// Whether pods reach addresses outside the mesh.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Egress {
    /// They do not.
    Refused,
    /// Through the host.
    Host,
}

/// Addresses that pods never reach through the host, and what they are: the host's own places, and
/// those where clouds hand credentials to whoever asks from a machine of theirs.
pub(crate) const CLOSED: [(Ipv4Addr, u8, &str); 10] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "the host's loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local, with the metadata of clouds"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments, with the metadata of Oracle Cloud"),
    (Ipv4Addr::new(100, 100, 100, 200), 32, "the metadata of Alibaba Cloud"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "the metadata of Azure"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
    (POD_CIDR.0, POD_CIDR.1, "pods"),
    (SERVICE_CIDR.0, SERVICE_CIDR.1, "services"),
];

/// Why an address is never reached through the host; none if it may be.
fn closed(address: Ipv4Addr) -> Option<&'static str> {
    let found = CLOSED.iter().find(|(network, bits, _)| is_inside(address, (*network, *bits)));
    found.map(|(_, _, what)| *what)
}

/// Port of the node's address at which connections to the outside end. Pods reach it only by a
/// translated connection.
pub(crate) const PORT: u16 = 15030;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_belongs_to_the_host_or_hands_out_credentials_is_closed() {
        for (address, open) in [
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("1.0.0.0", true),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("128.0.0.1", true),
            ("169.253.255.255", true),
            ("169.254.0.0", false),
            ("169.254.169.254", false),
            ("169.255.0.0", true),
            ("100.100.100.199", true),
            ("100.100.100.200", false),
            ("168.63.129.16", false),
            ("192.0.0.192", false),
            ("192.0.2.1", true),
            ("10.244.0.1", false),
            ("10.244.255.255", false),
            ("10.245.0.0", true),
            ("10.96.0.1", false),
            ("10.0.0.1", true),
            ("192.168.1.1", true),
            ("223.255.255.255", true),
            ("224.0.0.1", false),
            ("240.240.0.1", false),
            ("255.255.255.255", false),
        ] {
            let found = closed(address.parse().unwrap());
            assert_eq!(found.is_none(), open, "{address}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_closed_exactly_within_a_listed_network(bits in any::<u32>()) {
            let address = Ipv4Addr::from_bits(bits);
            let listed = CLOSED.iter().any(|(network, length, _)| {
                let host_bits = 32 - u32::from(*length);
                u64::from(bits) >> host_bits == u64::from(network.to_bits()) >> host_bits
            });
            prop_assert_eq!(closed(address).is_some(), listed);
        }
    }
}
