//! What it costs to answer a suite offline: `cargo bench -p palisade-model`. 500 requests against the
//! manifests of examples/poc-mesh, reading and compiling included; the goal is under 100 ms. Prints the best
//! of several rounds, because noise only ever adds.

use std::{
    hint::black_box,
    io::{self, Write},
    net::Ipv4Addr,
    time::Instant,
};

use palisade_manifest::study;
use palisade_model::{Call, Request, World};

const MANIFESTS: [&str; 4] = [
    include_str!("../../../examples/poc-mesh/manifests/00-namespace.yaml"),
    include_str!("../../../examples/poc-mesh/manifests/10-apps.yaml"),
    include_str!("../../../examples/poc-mesh/manifests/20-mtls.yaml"),
    include_str!("../../../examples/poc-mesh/manifests/30-authz.yaml"),
];

const CASES: usize = 500;

fn main() -> io::Result<()> {
    let best = (0..10).filter_map(|_| round()).min_by(f64::total_cmp).unwrap_or_default();
    writeln!(io::stdout(), "{CASES} cases offline: {best:.1} ms")
}

/// Milliseconds from text to answers.
fn round() -> Option<f64> {
    let started = Instant::now();
    let studies: Vec<_> = MANIFESTS.iter().map(|text| study("manifest", text)).collect();
    let world = World::of_manifests(&studies);
    let arrival = world.arrival(world.pod("backend", "poc-mesh")?);
    for case in 0..CASES {
        let account = ["frontend-sa", "payments-sa", "other"].get(case % 3)?;
        let call = Call {
            identities: vec![format!("spiffe://cluster.local/ns/poc-mesh/sa/{account}")],
            source_ip: Ipv4Addr::new(10, 244, 0, 7).into(),
            port: 8080,
            now: None,
            authorizer: None,
            request: Some(Request {
                method: "GET".to_owned(),
                path: format!("/api/orders/{}", case % 7),
                host: "backend.poc-mesh".to_owned(),
                ..Request::default()
            }),
        };
        black_box(arrival.explain(&call));
    }
    Some(started.elapsed().as_secs_f64() * 1000.0)
}
