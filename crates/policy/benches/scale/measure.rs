//! Time and memory. Time is what the processor spent on this thread, so that other work on the machine
//! counts as little as possible.

use std::{alloc::System, hint::black_box};

use cpu_time::ThreadTime;
use stats_alloc::{Region, StatsAlloc};

/// Nanoseconds of one call, from the best of several rounds of several calls; giving up what they make
/// does not count.
#[expect(clippy::cast_precision_loss, reason = "counts of calls")]
pub(crate) fn nanoseconds<T>(rounds: usize, calls: usize, call: impl Fn() -> T) -> f64 {
    let round = |_| {
        let started = ThreadTime::now();
        let made: Vec<T> = (0..calls).map(|_| black_box(call())).collect();
        let elapsed = started.elapsed();
        drop(made);
        elapsed.as_secs_f64() * 1e9 / calls as f64
    };
    (0..rounds).map(round).fold(f64::INFINITY, f64::min)
}

/// What a call makes, and how many bytes of it stay.
pub(crate) fn kept<T>(memory: &'static StatsAlloc<System>, call: impl Fn() -> T) -> (T, usize) {
    let region = Region::new(memory);
    let made = call();
    let change = region.change();
    (made, change.bytes_allocated - change.bytes_deallocated)
}
