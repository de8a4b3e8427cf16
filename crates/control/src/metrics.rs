//! What the control plane counts, and how Prometheus reads it. Names are Istio's where Istio has one
//! (`pilot/pkg/xds/monitoring.go`, `security/pkg/server/ca/monitoring.go`).

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) pushes: Counter,
    pub(crate) refused_configs: Counter,
    pub(crate) certificate_requests: Counter,
    pub(crate) certificates_issued: Counter,
    pub(crate) authentication_failures: Counter,
    pub(crate) injections: Counter,
    pub(crate) refused_objects: Counter,
    pub(crate) key_fetches: Counter,
    pub(crate) failed_key_fetches: Counter,
    pub(crate) reports: Counter,
    pub(crate) refused_reports: Counter,
    convergence: [Counter; BOUNDS.len()],
    convergence_count: Counter,
    convergence_micros: Counter,
}

/// What is measured when it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) connected: usize,
    pub(crate) synced: usize,
    pub(crate) workloads: usize,
    pub(crate) services: usize,
    pub(crate) generation: u64,
    pub(crate) unusable_objects: usize,
}

impl Metrics {
    /// A sidecar has put a config in force this long after it was made.
    pub(crate) fn converged(&self, after: Duration) {
        let seconds = after.as_secs_f64();
        for (bound, bucket) in BOUNDS.iter().zip(&self.convergence) {
            if seconds <= *bound {
                bucket.add(1);
            }
        }
        self.convergence_count.add(1);
        self.convergence_micros.add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
    }

    /// Everything in Prometheus' text format.
    pub(crate) fn render(&self, gauges: Gauges) -> String {
        let mut out = String::new();
        let version = env!("CARGO_PKG_VERSION");
        family(&mut out, "pilot_info", "gauge", "Version of the control plane.");
        line(&mut out, "pilot_info", &format!("{{version=\"{version}\"}}"), "1");
        family(&mut out, "pilot_xds", "gauge", "Sidecars connected.");
        line(&mut out, "pilot_xds", &format!("{{version=\"{version}\"}}"), gauges.connected);
        for (name, help, value) in [
            ("pilot_services", "Services known.", gauges.services),
            ("palisade_sidecars", "Workloads with a sidecar.", gauges.workloads),
            ("palisade_sidecars_synced", "Sidecars whose config is in force.", gauges.synced),
            (
                "palisade_unusable_objects",
                "Stored objects that can't be used.",
                gauges.unusable_objects,
            ),
        ] {
            family(&mut out, name, "gauge", help);
            line(&mut out, name, "", value);
        }
        family(&mut out, "palisade_generation", "gauge", "Generation of the mesh.");
        line(&mut out, "palisade_generation", "", gauges.generation);
        family(&mut out, "pilot_xds_pushes", "counter", "Configs sent.");
        line(&mut out, "pilot_xds_pushes", "{type=\"config\"}", self.pushes.value());
        for (name, help, counter) in [
            ("pilot_total_xds_rejects", "Configs that a sidecar refused.", &self.refused_configs),
            ("citadel_server_csr_count", "Signing requests.", &self.certificate_requests),
            (
                "citadel_server_success_cert_issuance_count",
                "Certificates issued.",
                &self.certificates_issued,
            ),
            (
                "citadel_server_authentication_failure_count",
                "Callers refused.",
                &self.authentication_failures,
            ),
            ("sidecar_injection_success_total", "Pods injected.", &self.injections),
            ("galley_validation_failed", "Objects refused at admission.", &self.refused_objects),
            (
                "pilot_jwks_resolver_network_fetch_success_total",
                "Key sets fetched.",
                &self.key_fetches,
            ),
            (
                "pilot_jwks_resolver_network_fetch_fail_total",
                "Key sets that could not be fetched.",
                &self.failed_key_fetches,
            ),
            ("palisade_reports_total", "Reports of sidecars.", &self.reports),
            ("palisade_reports_refused_total", "Reports refused.", &self.refused_reports),
        ] {
            family(&mut out, name, "counter", help);
            line(&mut out, name, "", counter.value());
        }
        self.render_convergence(&mut out);
        out
    }

    fn render_convergence(&self, out: &mut String) {
        let name = "pilot_proxy_convergence_time";
        family(out, name, "histogram", "Seconds from a new config to its being in force.");
        for (bound, bucket) in BOUNDS.iter().zip(&self.convergence) {
            let labels = format!("{{le=\"{bound}\"}}");
            line(out, &format!("{name}_bucket"), &labels, bucket.value());
        }
        let count = self.convergence_count.value();
        line(out, &format!("{name}_bucket"), "{le=\"+Inf\"}", count);
        let micros = Duration::from_micros(self.convergence_micros.value());
        line(out, &format!("{name}_sum"), "", micros.as_secs_f64());
        line(out, &format!("{name}_count"), "", count);
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{name}{labels} {value}");
}

/// Upper bounds of the convergence histogram, in seconds.
const BOUNDS: [f64; 8] = [0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_reads_what_was_counted() {
        let metrics = Metrics::default();
        metrics.pushes.add(3);
        metrics.converged(Duration::from_millis(30));
        metrics.converged(Duration::from_secs(9));
        let gauges = Gauges {
            connected: 2,
            synced: 1,
            workloads: 3,
            services: 4,
            generation: 5,
            unusable_objects: 0,
        };
        insta::assert_snapshot!("metrics", metrics.render(gauges));
    }
}
