//! Tests with real containers, run in the sandbox.

mod containers;
mod lifecycle;
mod machine;
mod node;

use std::path::PathBuf;

/// The stand-in for the palisade program, which cargo puts beside the tests.
pub(crate) fn program() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("palisade-internal");
    assert!(path.exists(), "`{}` is missing: cargo build -p palisade-node", path.display());
    path
}

/// Runs a future on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
