//! Addresses of pods: handed out in turn, so that one is not used again soon.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use palisade_net::POD_CIDR;
use parking_lot::Mutex;

/// The addresses of this node's pods. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    pool: Arc<Mutex<Pool>>,
}

#[derive(Debug, Default)]
struct Pool {
    taken: BTreeSet<u32>,
    last: u32,
}

/// An address that is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Address {
    ip: Ipv4Addr,
    offset: u32,
    pool: Arc<Mutex<Pool>>,
}

impl Addresses {
    /// The next free address, `wanted` if that is free; none when all are taken.
    pub(crate) fn take(&self, wanted: Option<Ipv4Addr>) -> Option<Address> {
        let mut pool = self.pool.lock();
        let base = POD_CIDR.0.to_bits();
        let wanted = wanted.map(|ip| ip.to_bits().wrapping_sub(base));
        let wanted = wanted.filter(|offset| (FIRST..END).contains(offset));
        let last = pool.last;
        let next = (FIRST..END).map(|step| {
            let offset = last.max(FIRST - 1) + step - FIRST + 1;
            if offset < END { offset } else { offset - END + FIRST }
        });
        let offset = wanted.into_iter().chain(next).find(|offset| !pool.taken.contains(offset))?;
        pool.taken.insert(offset);
        if wanted != Some(offset) {
            pool.last = offset;
        }
        Some(Address { ip: Ipv4Addr::from_bits(base + offset), offset, pool: self.pool.clone() })
    }
}

impl Address {
    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.ip
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        self.pool.lock().taken.remove(&self.offset);
    }
}

/// After the network's and the node's own.
const FIRST: u32 = 2;

/// The broadcast address of the network.
const END: u32 = 0xffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unique_and_rest_before_they_are_used_again() {
        let addresses = Addresses::default();
        let ip = |address: &Address| address.ip().to_string();
        let first = addresses.take(None).unwrap();
        let second = addresses.take(None).unwrap();
        assert_eq!((ip(&first), ip(&second)), ("10.244.0.2".into(), "10.244.0.3".into()));
        drop(first);
        assert_eq!(ip(&addresses.take(None).unwrap()), "10.244.0.4");
        assert_eq!(ip(&addresses.take(Some([10, 244, 0, 2].into())).unwrap()), "10.244.0.2");
        assert_eq!(ip(&addresses.take(Some(second.ip())).unwrap()), "10.244.0.5");
        assert_eq!(ip(&addresses.take(Some([192, 0, 2, 1].into())).unwrap()), "10.244.0.6");
    }

    #[test]
    fn all_can_be_taken_and_no_more() {
        let addresses = Addresses::default();
        let all: Vec<_> = std::iter::from_fn(|| addresses.take(None)).collect();
        assert_eq!(all.len(), 0xffff - 2);
        drop(all);
        assert!(addresses.take(None).is_some());
    }
}
