//! What must hold for any input, tried on the fuzzers' corpora and on what is near to them.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../../../fuzz/checks/types.rs"]
mod checks;
#[path = "../../../fuzz/smoke.rs"]
mod smoke;

#[test]
fn the_corpora_hold() {
    smoke::smoke("identity", 2_000, checks::identity);
    smoke::smoke("pattern", 2_000, checks::pattern);
    smoke::smoke("ip_block", 2_000, checks::ip_block);
}
