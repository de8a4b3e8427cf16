//! An IP address or CIDR block of a policy.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use thiserror::Error;

/// Why a text is no address block.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{0}` is neither an IP address nor a CIDR block")]
pub struct IpBlockError(String);

/// Addresses that share a prefix; host bits do not count, and IPv4 and IPv6 never match each other.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IpBlock(IpNet);

impl IpBlock {
    /// Whether the address is in the block.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for IpBlock {
    type Err = IpBlockError;

    /// As Go's `netip.ParsePrefix`, by which Istio checks blocks: numbers have no leading zeros.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || IpBlockError(text.to_owned());
        let (start, bits) = match text.split_once('/') {
            Some((start, bits)) => (start, Some(bits)),
            None => (text, None),
        };
        let start: IpAddr = start.parse().map_err(|_| invalid())?;
        let Some(bits) = bits else { return Ok(Self(start.into())) };
        let plain = bits == "0" || !bits.starts_with(['0', '+']);
        let bits = bits.parse().ok().filter(|_| plain).ok_or_else(invalid)?;
        IpNet::new(start, bits).map(|block| Self(block.trunc())).map_err(|_| invalid())
    }
}

impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_its_own_family_and_ignores_host_bits() {
        for (block, address, expected) in [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1.0.0/16", "10.1.2.3", true),
            ("10.1.2.9/24", "10.1.2.3", true),
            ("10.1.2.9/24", "10.1.3.3", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "10.1.2.3", false),
            ("::/0", "fe80::1", true),
            ("2001:db8::1", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::ffff:10.1.2.3", "10.1.2.3", false),
        ] {
            let parsed: IpBlock = block.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), expected, "{block} {address}");
        }
    }

    #[test]
    fn other_texts_are_no_block() {
        for text in [
            "",
            "10",
            "10.1.2",
            "10.1.2.3/33",
            "10.1.2.3/",
            "a/b",
            "10.1.2.3:80",
            "::/129",
            "10.1.2.03/24",
            "010.1.2.3",
            "10.1.2.3/08",
            "10.1.2.3/+8",
        ] {
            assert!(text.parse::<IpBlock>().is_err(), "{text}");
        }
    }
}
