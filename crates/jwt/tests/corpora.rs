//! What must hold for any input, tried on the fuzzers' corpora and on what is near to them.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../../../fuzz/checks/jwt.rs"]
mod checks;
#[path = "../../../fuzz/smoke.rs"]
mod smoke;

#[test]
fn the_corpora_hold() {
    smoke::smoke("jwt", 2_000, checks::token);
    smoke::smoke("jwks", 2_000, checks::keys);
}
