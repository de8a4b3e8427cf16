//! What must hold for any input, tried on the fuzzers' corpora and on what is near to them.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../../../fuzz/checks/dns.rs"]
mod checks;
#[path = "../../../fuzz/smoke.rs"]
mod smoke;

#[test]
fn the_corpora_hold() {
    smoke::smoke("dns", 2_000, checks::query);
}
