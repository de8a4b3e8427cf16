//! Repository chores: `cargo xtask --help`.
fn main() {}
