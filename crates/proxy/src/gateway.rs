//! The pod's default gateway, from what the kernel shows of its routes. Behind a bridge or a router of a
//! cluster's network plugin, the kubelet's packets have that address and not the node's.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The gateway of the family of `pod`, if the pod has one.
pub(crate) fn default_gateway(pod: IpAddr) -> Option<IpAddr> {
    match pod {
        IpAddr::V4(_) => v4(&fs::read_to_string("/proc/net/route").ok()?).map(IpAddr::V4),
        IpAddr::V6(_) => v6(&fs::read_to_string("/proc/net/ipv6_route").ok()?).map(IpAddr::V6),
    }
}

/// From `/proc/net/route`: interface, destination, gateway, flags, references, uses, metric, mask; addresses
/// as the machine has them in memory.
fn v4(routes: &str) -> Option<Ipv4Addr> {
    let gateway = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "00000000", gateway, flags, _, _, metric, "00000000", ..] = *fields else {
            return None;
        };
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        is_used(flags).then(|| Some((metric.parse().ok()?, gateway.to_ne_bytes().into())))?
    };
    nearest(routes.lines().filter_map(gateway))
}

/// From `/proc/net/ipv6_route`: destination and length, source and length, next hop, metric, references,
/// uses, flags, interface; all but the last in hexadecimal digits.
fn v6(routes: &str) -> Option<Ipv6Addr> {
    let gateway = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [ANY_V6, "00", ANY_V6, "00", hop, metric, _, _, flags, _] = *fields else {
            return None;
        };
        let hop = u128::from_str_radix(hop, 16).ok()?;
        let metric = u32::from_str_radix(metric, 16).ok()?;
        is_used(flags).then(|| (metric, hop.into()))
    };
    nearest(routes.lines().filter_map(gateway))
}

/// Whether a route is up and leads over a gateway (`linux/route.h`).
fn is_used(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & UP_BY_GATEWAY == UP_BY_GATEWAY)
}

/// The one with the lowest metric, which the kernel takes.
fn nearest<T>(gateways: impl Iterator<Item = (u32, T)>) -> Option<T> {
    gateways.min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

/// `RTF_UP` and `RTF_GATEWAY`.
const UP_BY_GATEWAY: u32 = 0x3;
const ANY_V6: &str = "00000000000000000000000000000000";

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    #[test]
    fn the_gateway_of_the_nearest_default_route_is_found() {
        let network = "eth0\t0000F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let over = |gateway, flags, metric, mask| {
            let gateway = u32::from_ne_bytes(gateway);
            format!("eth0\t00000000\t{gateway:08X}\t{flags}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n")
        };
        let bridge = over([10, 244, 0, 1], "0003", 0, "00000000");
        let farther = over([10, 244, 0, 9], "0003", 100, "00000000");
        let down = over([10, 244, 0, 8], "0002", 0, "00000000");
        let half = over([10, 244, 0, 7], "0003", 0, "00000080");
        let found = Some(Ipv4Addr::new(10, 244, 0, 1));
        for (routes, expected) in [
            (format!("{HEAD}{bridge}{network}"), found),
            (format!("{HEAD}{farther}{down}{half}{bridge}"), found),
            (format!("{HEAD}{network}{down}{half}"), None),
            (HEAD.to_owned(), None),
            ("eth0 00000000 nonsense 0003 0 0 0 00000000".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(v4(&routes), expected, "{routes}");
        }
    }

    #[test]
    fn so_it_is_of_ipv6() {
        let any = ANY_V6;
        let hop = "fd000000000000000000000000000001";
        let line = |hop, metric, flags, device| {
            format!("{any} 00 {any} 00 {hop} {metric} 00000001 00000000 {flags}     {device}\n")
        };
        // What the kernel says where there is no way out.
        let nowhere = line(any, "ffffffff", "00200200", "lo");
        let found = line(hop, "00000400", "00000003", "eth0");
        let network = format!(
            "fd000000000000000000000000000000 40 {any} 00 {any} 00000100 00000001 00000000 00000001 eth0\n"
        );
        assert_eq!(v6(&format!("{network}{found}{nowhere}")), "fd00::1".parse().ok());
        assert_eq!(v6(&format!("{network}{nowhere}")), None);
        assert_eq!(v6("no route"), None);
    }
}
