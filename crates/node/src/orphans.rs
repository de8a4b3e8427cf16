//! Waits for what shims that were killed have left in containers, which could not end otherwise.

use std::io;

use palisade_sys::process;
use tokio::signal::unix::{SignalKind, signal};

/// Runs as long as the node does.
pub(crate) async fn reap() {
    if let Err(error) = reap_at_each_end().await {
        tracing::error!(%error, "can't wait for orphaned processes of containers");
    }
}

async fn reap_at_each_end() -> io::Result<()> {
    let mut ended = signal(SignalKind::child())?;
    loop {
        process::reap_orphans()?;
        ended.recv().await;
    }
}
