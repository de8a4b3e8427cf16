//! Where a sidecar keeps its current generation: read without waiting, replaced as a whole.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use crate::Generation;

/// The current generation, none before the first certificate has come.
#[derive(Debug)]
pub struct CredentialStore {
    current: ArcSwapOption<Generation>,
    count: watch::Sender<u64>,
}

impl Default for CredentialStore {
    fn default() -> Self {
        Self { current: ArcSwapOption::empty(), count: watch::Sender::new(0) }
    }
}

impl CredentialStore {
    /// A store without generation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the generation. Connections made under the former one keep it; new ones do not see it.
    pub fn publish(&self, generation: Arc<Generation>) {
        self.current.store(Some(generation));
        self.count.send_modify(|count| *count += 1);
    }

    /// The current generation, without waiting; keep it for the length of one handshake.
    #[must_use]
    pub fn load(&self) -> Option<Arc<Generation>> {
        self.current.load_full()
    }

    /// Whether a connection that was made under a generation has the certificate, the roots and the trust
    /// domains that are in force; without waiting.
    #[must_use]
    pub fn is_current(&self, generation: &Arc<Generation>) -> bool {
        let current = self.current.load();
        current
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(it, generation) || it.trusts_and_presents_as(generation))
    }

    /// Counts the generations: changes when one has been published.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// Waits for the first generation.
    pub async fn first(&self) -> Arc<Generation> {
        let mut changes = self.changes();
        loop {
            if let Some(generation) = self.load() {
                return generation;
            }
            // The sender lives as long as `self`.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
