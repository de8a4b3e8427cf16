//! Which addresses are never asked for keys. Whoever may write a RequestAuthentication could make the
//! control plane ask for anything that it reaches: its own machine, and the places where clouds hand out
//! credentials to whoever asks from there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether loopback addresses may be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Loopback {
    /// As in tests.
    Allowed,
    /// As everywhere else.
    Refused,
}

/// Why an address is not asked; none if it may be.
pub(super) fn closed(address: IpAddr, loopback: Loopback) -> Option<&'static str> {
    let address = match address {
        IpAddr::V6(v6) => embedded(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    if address.is_loopback() {
        return (loopback == Loopback::Refused).then_some("it is loopback");
    }
    match address {
        IpAddr::V4(v4) => closed_v4(v4),
        IpAddr::V6(v6) => closed_v6(v6),
    }
}

fn closed_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("it is no address of a server"),
        [169, 254, ..] => Some("it is link-local, where clouds have their metadata"),
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => {
            Some("a cloud has its metadata there")
        }
        [224..=255, ..] => Some("it is multicast or reserved"),
        _ => None,
    }
}

fn closed_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("it is no address of a server"),
        [0xfe80..=0xfebf, ..] => Some("it is link-local"),
        [0xfd00, 0x0ec2, ..] => Some("a cloud has its metadata there"),
        [0xff00..=0xffff, ..] => Some("it is multicast"),
        _ => None,
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped (RFC 4291), compatible, NAT64 (RFC 6052) or
/// 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(join(high, low))
        }
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_of_this_machine_or_of_a_clouds_metadata_is_asked() {
        for (address, open) in [
            ("127.0.0.1", false),
            ("127.9.9.9", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("2002:7f00:1::", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("::", false),
            ("169.254.169.254", false),
            ("::ffff:169.254.169.254", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("100.100.100.200", false),
            ("168.63.129.16", false),
            ("192.0.0.192", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("ff02::1", false),
            ("10.96.0.10", true),
            ("192.168.1.1", true),
            ("203.0.113.7", true),
            ("::ffff:203.0.113.7", true),
            ("2001:db8::1", true),
            ("fd00::1", true),
        ] {
            let found = closed(address.parse().unwrap(), Loopback::Refused);
            assert_eq!(found.is_none(), open, "{address}: {found:?}");
        }
        assert_eq!(closed("127.0.0.1".parse().unwrap(), Loopback::Allowed), None);
        assert!(closed("169.254.169.254".parse().unwrap(), Loopback::Allowed).is_some());
    }
}
