//! Measurement only.
use std::path::Path;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let file = args.last().unwrap();
    let options = palisade_proxy::SidecarOptions::from_bootstrap(Path::new(file)).unwrap();
    palisade_proxy::run_sidecar(options).unwrap();
}
