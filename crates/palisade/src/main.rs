//! The one binary: it wires the shells together and nothing else.

fn main() {}
