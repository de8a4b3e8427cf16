//! Endpoints that are known by name: looked up when they are needed, and again when the answer is old.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use palisade_model::NamedEndpoint;
use tokio::{net::lookup_host, sync::Mutex, time::Instant};

/// A name and what it last stood for.
#[derive(Debug)]
pub(super) struct Name {
    endpoint: NamedEndpoint,
    /// Held while it is looked up, so that a burst of connections asks once.
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    addresses: Vec<SocketAddr>,
    asked: Instant,
}

impl Name {
    pub(super) fn new(endpoint: NamedEndpoint) -> Self {
        Self { endpoint, known: Mutex::default() }
    }

    /// One of its addresses, by `turn`. What it stood for before is kept while it can't be looked up.
    pub(super) async fn address(&self, turn: usize) -> Option<SocketAddr> {
        let mut known = self.known.lock().await;
        if known.as_ref().is_none_or(|known| known.asked.elapsed() > FRESH) {
            let name = absolute(&self.endpoint.name);
            let found = lookup_host((name.as_str(), self.endpoint.port)).await;
            let addresses: Vec<SocketAddr> = found.into_iter().flatten().collect();
            match known.as_mut() {
                Some(known) if addresses.is_empty() => known.asked = Instant::now(),
                _ => *known = Some(Known { addresses, asked: Instant::now() }),
            }
        }
        let addresses = &known.as_ref()?.addresses;
        addresses.get(turn.checked_rem(addresses.len())?).copied()
    }
}

/// A name that no search path is applied to.
fn absolute(name: &str) -> String {
    let is_address = name.parse::<IpAddr>().is_ok();
    if is_address || name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

/// As long as the DNS of pods says that its answers hold.
const FRESH: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        Name::new(NamedEndpoint { name: name.to_owned(), port: 80 })
    }

    #[tokio::test]
    async fn an_address_stands_for_itself_and_an_unknown_name_for_nothing() {
        assert_eq!(name("192.0.2.1").address(7).await, Some("192.0.2.1:80".parse().unwrap()));
        assert_eq!(name("absent.invalid").address(0).await, None);
    }

    #[tokio::test]
    async fn what_was_known_outlives_a_failure() {
        let name = name("absent.invalid");
        let before: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let asked = Instant::now().checked_sub(FRESH * 2).unwrap();
        let known = Known { addresses: vec![before], asked };
        *name.known.lock().await = Some(known);
        assert_eq!(name.address(0).await, Some(before));
    }
}
