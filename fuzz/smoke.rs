//! Tries a check on a corpus and on what comes of changing its inputs. The changes are the same in every run, so
//! that a failure stays; `PALISADE_FUZZ_ROUNDS` asks for another number of them. A fuzzer that is led by coverage
//! (`fuzz/fuzz_targets`) finds more, and what it finds belongs into the corpus.

use std::{env, fs, panic::catch_unwind, path::Path};

/// Runs `check` on all files of `fuzz/corpus/TARGET`, and on so many inputs that are made of them.
pub(crate) fn smoke(target: &str, rounds: u64, check: fn(&[u8])) {
    let seeds = corpus(target);
    let asked = env::var("PALISADE_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok());
    let try_on = |input: &[u8], from: &dyn std::fmt::Display| {
        let held = catch_unwind(|| check(input)).is_ok();
        assert!(held, "{target}, {from}: {}", input.escape_ascii());
    };
    for (name, seed) in &seeds {
        try_on(seed, name);
    }
    for round in 0..asked.unwrap_or(rounds) {
        try_on(&Changes(round).of(&seeds), &round);
    }
}

/// The names and bytes of a corpus, in the order of their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).map(|files| files.flatten().map(|file| file.path()));
    let mut seeds: Vec<_> = files
        .into_iter()
        .flatten()
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), fs::read(&path).ok()?)))
        .collect();
    assert!(!seeds.is_empty(), "no corpus in {}", folder.display());
    seeds.sort();
    seeds
}

/// Changes that follow from a number (SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014).
struct Changes(u64);

impl Changes {
    /// An input that is near to one of the seeds, or to two of them.
    fn of(&mut self, seeds: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut input = self.pick(seeds).1.clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input, seeds);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[(String, Vec<u8>)]) {
        let (start, end) = self.range(input.len());
        match self.below(6) {
            0 => drop(input.drain(start..end)),
            1 => {
                let copy = input[start..end].to_vec();
                drop(input.splice(start..start, copy));
            }
            2 => {
                let (_, other) = self.pick(seeds);
                let (from, to) = self.range(other.len());
                drop(input.splice(start..end, other[from..to].iter().copied()));
            }
            3 => {
                let token = *self.pick(TOKENS);
                drop(input.splice(start..start, token.iter().copied()));
            }
            4 if start < input.len() => input[start] ^= 1 << self.below(8),
            _ if start < input.len() => {
                input[start] = u8::try_from(self.below(256)).unwrap_or_default();
            }
            _ => {}
        }
    }

    /// A part of so many bytes, mostly a short one.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let start = self.below(length + 1);
        let most = if self.below(4) == 0 { length - start } else { (length - start).min(8) };
        (start, start + self.below(most + 1))
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// What parsers stumble over.
const TOKENS: &[&[u8]] = &[
    b"\0",
    b"\r\n",
    b"\n",
    b"\t",
    b" ",
    b"\"",
    b"'",
    b"\\",
    b"/",
    b"//",
    b"..",
    b"%2e",
    b"%",
    b"*",
    b"{*}",
    b"{**}",
    b":",
    b",",
    b";",
    b"=",
    b"-",
    b"- ",
    b"---\n",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!binary ",
    b"|\n",
    b"[",
    b"]",
    b"{",
    b"}",
    b"[[[[[[[[[[[[[[[[",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e999",
    b"18446744073709551616",
    b"\xff",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x80\0\0\0",
    b"\xc0\x0c",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\xf0\x9f\x98\x80",
    b"\xc3",
];

/// Inputs are cut here.
const LONGEST: usize = 64 * 1024;
