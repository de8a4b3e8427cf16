//! Startup, liveness and readiness probes, made from the node's own network.
//!
//! Counting is Kubernetes's. In a container's first seconds, an http or tcp probe that has not
//! succeeded yet is tried every 50 ms instead of once a period; such extra failures count for
//! nothing, so thresholds mean what they mean on a cluster.

mod check;

use std::{net::Ipv4Addr, time::Duration};

use k8s_openapi::{
    api::core::v1::{
        Container, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use palisade_probe::Scheme;
use tokio::time::Instant;

pub(crate) use check::check;

/// When a probe is made and what its results mean.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    delay: Duration,
    period: Duration,
    timeout: Duration,
    success_threshold: u32,
    failure_threshold: u32,
    hurry: Hurry,
}

/// Whether a probe is tried more often while a container starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hurry {
    AtFirst,
    Never,
}

/// What results so far mean.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// Enough successes in a row.
    Success,
    /// Enough failures in a row.
    Failure,
}

/// Counts results.
#[derive(Debug)]
pub(crate) struct Tally {
    schedule: Schedule,
    started: Instant,
    successes: u32,
    failures: u32,
    last_counted_failure: Option<Instant>,
    has_succeeded: bool,
}

impl Schedule {
    /// The schedule of a probe; `at_start` for those that a pod's start waits for.
    pub(crate) fn new(probe: &Probe, at_start: bool) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            let value = value.and_then(|value| u64::try_from(value).ok());
            Duration::from_secs(value.filter(|&value| value > 0).unwrap_or(default))
        };
        let times = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|&n| n > 0).unwrap_or(default)
        };
        Self {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            success_threshold: times(probe.success_threshold, 1),
            failure_threshold: times(probe.failure_threshold, 3),
            hurry: if at_start && probe.exec.is_none() { Hurry::AtFirst } else { Hurry::Never },
        }
    }

    /// How long a single try may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl Tally {
    /// No results yet.
    pub(crate) fn new(schedule: Schedule, now: Instant) -> Self {
        Self {
            schedule,
            started: now,
            successes: 0,
            failures: 0,
            last_counted_failure: None,
            has_succeeded: false,
        }
    }

    /// How long to wait before the first try.
    pub(crate) fn delay(&self) -> Duration {
        self.schedule.delay
    }

    /// How long to wait before the next try.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        if self.schedule.hurry == Hurry::Never || self.has_succeeded {
            return self.schedule.period;
        }
        let age = now.duration_since(self.started);
        let hurry = HURRY.iter().find(|(until, _)| age < *until).map(|(_, pause)| *pause);
        hurry.unwrap_or(self.schedule.period).min(self.schedule.period)
    }

    /// Whether the result taken at `now` was a failure that counts, and not one of haste.
    pub(crate) fn just_counted(&self, now: Instant) -> bool {
        self.last_counted_failure == Some(now)
            && (self.has_succeeded || self.failures > 1 || { self.schedule.hurry == Hurry::Never })
    }

    /// Takes a result; what all results mean now, if that is decided.
    pub(crate) fn count(&mut self, success: bool, now: Instant) -> Option<Verdict> {
        if success {
            self.has_succeeded = true;
            self.failures = 0;
            self.successes += 1;
            return (self.successes >= self.schedule.success_threshold).then_some(Verdict::Success);
        }
        self.successes = 0;
        let due = self.last_counted_failure.is_none_or(|last| {
            // A period, less what a timer may be off.
            now.duration_since(last) + Duration::from_millis(20) >= self.schedule.period
        });
        if due {
            self.last_counted_failure = Some(now);
            self.failures += 1;
        }
        (self.failures >= self.schedule.failure_threshold).then_some(Verdict::Failure)
    }
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// A GET that must be answered with 200 to 399.
    Http { scheme: Scheme, address: (Ipv4Addr, u16), path: String, headers: Vec<(String, String)> },
    /// A gRPC server that says of a service, or of itself, that it is well.
    Grpc { address: (Ipv4Addr, u16), service: String },
    /// A connection that must be accepted.
    Tcp { address: (Ipv4Addr, u16) },
    /// A command in the container that must exit with 0.
    Exec { command: Vec<String> },
    /// Something that is not offered here; fails with the reason.
    Unsupported { what: String },
}

impl Target {
    /// What a probe of a container looks at.
    pub(crate) fn new(probe: &Probe, container: &Container, ip: Ipv4Addr) -> Self {
        let target = Self::of(
            (probe.exec.as_ref(), probe.http_get.as_ref(), probe.tcp_socket.as_ref()),
            container,
            ip,
        );
        let target = target.or_else(|| Self::of_grpc(probe.grpc.as_ref()?, ip));
        target.unwrap_or_else(|| {
            Self::unsupported("a probe is one of `exec`, `httpGet`, `tcpSocket` and `grpc`")
        })
    }

    /// What a hook of a container asks.
    pub(crate) fn of_hook(hook: &LifecycleHandler, container: &Container, ip: Ipv4Addr) -> Self {
        let target = Self::of((hook.exec.as_ref(), hook.http_get.as_ref(), None), container, ip);
        target
            .unwrap_or_else(|| Self::unsupported("a hook is one of `exec`, `httpGet` and `sleep`"))
    }

    fn of(
        (exec, get, tcp): (Option<&ExecAction>, Option<&HTTPGetAction>, Option<&TCPSocketAction>),
        container: &Container,
        ip: Ipv4Addr,
    ) -> Option<Self> {
        if let Some(exec) = exec {
            return Some(Self::Exec { command: exec.command.clone().unwrap_or_default() });
        }
        let address = |host: Option<&String>, port: &IntOrString| {
            let host = host.filter(|host| !host.is_empty());
            let ip = host.map_or(Some(ip), |host| host.parse().ok())?;
            Some((ip, resolve_port(port, container)?))
        };
        let unknown = || Self::unsupported("the probe's host or port is not known");
        if let Some(get) = get {
            let Some(address) = address(get.host.as_ref(), &get.port) else {
                return Some(unknown());
            };
            let path = get.path.clone().filter(|path| !path.is_empty());
            let headers = get.http_headers.iter().flatten();
            return Some(Self::Http {
                scheme: Scheme::of(get.scheme.as_deref()),
                address,
                path: path.unwrap_or_else(|| "/".to_owned()),
                headers: headers.map(|h| (h.name.clone(), h.value.clone())).collect(),
            });
        }
        let address = address(tcp?.host.as_ref(), &tcp?.port);
        Some(address.map_or_else(unknown, |address| Self::Tcp { address }))
    }

    fn of_grpc(grpc: &GRPCAction, ip: Ipv4Addr) -> Option<Self> {
        let port = u16::try_from(grpc.port).ok().filter(|&port| port > 0)?;
        Some(Self::Grpc { address: (ip, port), service: grpc.service.clone().unwrap_or_default() })
    }

    fn unsupported(what: &str) -> Self {
        Self::Unsupported { what: what.to_owned() }
    }
}

fn resolve_port(port: &IntOrString, container: &Container) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named = ports.into_iter().find(|port| port.name.as_ref() == Some(name));
            named.map_or_else(|| name.parse().ok(), |port| Some(port.container_port))?
        }
    };
    u16::try_from(number).ok().filter(|&port| port > 0)
}

/// Until which age, and how long between tries.
const HURRY: [(Duration, Duration); 2] = [
    (Duration::from_secs(3), Duration::from_millis(50)),
    (Duration::from_secs(10), Duration::from_millis(250)),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn probe(value: serde_json::Value) -> Probe {
        serde_json::from_value(value).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn hurried_failures_count_once_a_period() {
        let probe = probe(json!({"tcpSocket": {"port": 1}, "periodSeconds": 2}));
        let start = Instant::now();
        let mut tally = Tally::new(Schedule::new(&probe, true), start);
        let mut tries = 0;
        let failed = loop {
            let now = Instant::now();
            tries += 1;
            if let Some(verdict) = tally.count(false, now) {
                assert_eq!(verdict, Verdict::Failure);
                break now - start;
            }
            tokio::time::advance(tally.pause(now)).await;
        };
        assert!((3900..=4100).contains(&failed.as_millis()), "third counted: {failed:?}");
        assert!(tries > 40, "{tries}");
    }

    #[tokio::test(start_paused = true)]
    async fn thresholds_need_results_in_a_row() {
        let probe = probe(json!({"exec": {"command": ["x"]}, "successThreshold": 2}));
        let mut tally = Tally::new(Schedule::new(&probe, true), Instant::now());
        assert_eq!(tally.pause(Instant::now()), Duration::from_secs(10), "no hurry with commands");
        let mut verdicts = Vec::new();
        for success in [true, false, true, true, false, false, true, false, false, false] {
            verdicts.push(tally.count(success, Instant::now()));
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        let decided: Vec<_> =
            verdicts.iter().enumerate().filter_map(|(n, v)| Some((n, (*v)?))).collect();
        assert_eq!(decided, [(3, Verdict::Success), (9, Verdict::Failure)]);
    }

    #[test]
    fn targets_follow_names_and_defaults() {
        let container: Container = serde_json::from_value(json!({
            "name": "c", "ports": [{"name": "http", "containerPort": 8080}],
        }))
        .unwrap();
        let ip = Ipv4Addr::new(10, 244, 0, 9);
        let target = |value| Target::new(&probe(value), &container, ip);
        let http = |scheme, path: &str| Target::Http {
            scheme,
            address: (ip, 8080),
            path: path.into(),
            headers: vec![],
        };
        assert_eq!(target(json!({"httpGet": {"port": "http"}})), http(Scheme::Http, "/"));
        assert_eq!(
            target(json!({"httpGet": {"port": 8080, "path": "/x", "scheme": "HTTPS"}})),
            http(Scheme::Https, "/x")
        );
        for (service, expected) in [(json!(null), ""), (json!("a.b"), "a.b")] {
            assert_eq!(
                target(json!({"grpc": {"port": 8080, "service": service}})),
                Target::Grpc { address: (ip, 8080), service: expected.to_owned() }
            );
        }
        assert_eq!(
            target(json!({"tcpSocket": {"port": 8080}})),
            Target::Tcp { address: (ip, 8080) }
        );
        for wrong in [
            json!({"httpGet": {"port": "none"}}),
            json!({"grpc": {"port": 0}}),
            json!({}),
            json!({"tcpSocket": {"port": 70000}}),
        ] {
            assert!(matches!(target(wrong), Target::Unsupported { .. }));
        }
    }
}
