//! What must hold for any input, tried on the fuzzers' corpora and on what is near to them.

#![expect(clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../../../fuzz/checks/manifest.rs"]
mod checks;
#[path = "../../../fuzz/smoke.rs"]
mod smoke;

#[test]
fn the_corpora_hold() {
    smoke::smoke("manifest", 300, checks::manifest);
}
