//! What telling costs per request: `cargo bench -p palisade-telemetry`. Prints nanoseconds, the best of
//! several rounds, because noise only ever adds.

use std::{
    hint::black_box,
    io::{self, Write},
    time::{Duration, Instant},
};

use palisade_telemetry::{
    AccessLogEntry, AccessLogWriter, Decided, DecisionLabels, DecisionLog, Direction, Edge,
    MetricLimits, Metrics, Mode, Outcome, Party, Reporter, RequestIds, RequestProtocol,
    RequestSize, ResponseFlags, Security, Service, UnixMillis, Verdict,
};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let metrics = Metrics::new(MetricLimits::default());
    let edge = metrics.shard().edge(&Edge {
        reporter: Reporter::Destination,
        source: Party::unknown(),
        destination: Party::unknown(),
        service: Service { host: "a.b".into(), name: "a".into(), namespace: "b".into() },
        security: Security::MutualTls,
    });
    let outcome = Outcome {
        protocol: RequestProtocol::Http,
        code: 200,
        flags: ResponseFlags::NONE,
        grpc_status: None,
    };
    let size = RequestSize {
        duration: Duration::from_micros(900),
        request_bytes: 600,
        response_bytes: 1200,
    };
    let labels = DecisionLabels {
        verdict: Verdict::Allow,
        mode: Mode::Enforced,
        reason: "allowed",
        policy_namespace: "bookinfo",
        policy: "productpage-viewer",
        rule: Some(0),
    };
    let entry = AccessLogEntry {
        start: UnixMillis(1_606_339_578_409),
        method: "GET",
        path: "/api/v1/products/42?fields=name,price",
        protocol: "HTTP/1.1",
        response_code: 200,
        details: "via_upstream",
        upstream_millis: Some(4),
        user_agent: "curl/7.73.0-DEV",
        request_id: "84961386-6d84-4929-98bd-c5aee93b5c88",
        authority: "productpage:9080",
        upstream_host: "10.244.0.9:9080".parse().ok(),
        upstream_cluster: "inbound|9080||",
        upstream_local: "127.0.0.6:41854".parse().ok(),
        downstream_local: "10.244.0.9:9080".parse().ok(),
        downstream_remote: "10.244.0.7:37652".parse().ok(),
        server_name: "outbound_.9080_._.productpage.bookinfo.svc.cluster.local",
        route: "default",
        ..AccessLogEntry::default()
    };
    let decided = Decided {
        request_id: entry.request_id,
        time: entry.start,
        direction: Direction::Inbound,
        principal: "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-gateway",
        source: ([10, 244, 0, 7], 37652).into(),
        destination: ([10, 244, 0, 9], 9080).into(),
        method: "GET",
        host: entry.authority,
        path: "/api/v1/products/42",
        verdict: "allow",
        reason: "allowed",
        policy: "ns[bookinfo]-policy[productpage-viewer]-rule[0]",
        generation: 7,
        response_code: 200,
    };
    let decisions = DecisionLog::new(1, DecisionLog::DEFAULT_CAPACITY, &metrics.dropped());
    let senders = decisions.senders();
    let writer = AccessLogWriter::start(io::sink(), AccessLogWriter::DEFAULT_CAPACITY)?;
    let mut log = writer.sender(metrics.dropped());
    let mut ids = RequestIds::new(1);

    writeln!(out, "count a request       {:5.0} ns", time(|| edge.request(outcome, size)))?;
    writeln!(out, "count a decision      {:5.0} ns", time(|| edge.decided(&labels)))?;
    writeln!(out, "log a line            {:5.0} ns", time(|| log.log(&entry)))?;
    writeln!(
        out,
        "record a decision     {:5.0} ns",
        time(|| senders.iter().for_each(|sender| sender.record(&decided)))
    )?;
    writeln!(out, "make a request id     {:5.0} ns", time(|| ids.make()))
}

/// Nanoseconds per call.
fn time<T>(mut call: impl FnMut() -> T) -> f64 {
    const CALLS: u32 = 20_000;
    const ROUNDS: usize = 25;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(call());
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
    }
    best
}
