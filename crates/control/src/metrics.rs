//! What the control plane counts, and how Prometheus reads it. Names are Istio's where Istio has one
//! (`pilot/pkg/xds/monitoring.go`, `security/pkg/server/ca/monitoring.go`).

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::{
    certificates::{BAD_REQUEST, NOT_SIGNED, TOO_LONG},
    gate::Wanted,
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
    pub(crate) failed_own_renewals: Counter,
    own_expiry: AtomicI64,
    refusals: Mutex<BTreeMap<(Wanted, &'static str), u64>>,
    convergence: [Counter; BOUNDS.len()],
    convergence_count: Counter,
    convergence_micros: Counter,
}

/// What is measured when it is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauges {
    pub(crate) now: Timestamp,
    /// When the first of the trusted roots expires.
    pub(crate) root_expiry: Option<Timestamp>,
    /// When the authority that signs expires.
    pub(crate) signer_expiry: Timestamp,
    /// When the first certificate of a connected sidecar expires.
    pub(crate) sidecar_expiry: Option<Timestamp>,
    /// Connected sidecars that could not renew their certificate when they tried last.
    pub(crate) not_renewed: usize,
    pub(crate) connected: usize,
    pub(crate) synced: usize,
    pub(crate) workloads: usize,
    pub(crate) services: usize,
    pub(crate) generation: u64,
    pub(crate) unusable_objects: usize,
}

impl Metrics {
    /// Somebody does not get what he wants, for one of a fixed set of reasons.
    pub(crate) fn refused(&self, wanted: Wanted, reason: &'static str) {
        *self.refusals.lock().entry((wanted, reason)).or_default() += 1;
    }

    /// The servers' own certificate is a new one.
    pub(crate) fn own_certificate(&self, not_after: Timestamp) {
        self.own_expiry.store(not_after.as_second(), Ordering::Relaxed);
    }

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
            (
                "palisade_control_certificate_renewal_failures_total",
                "Failed attempts to renew the control plane's own certificate.",
                &self.failed_own_renewals,
            ),
        ] {
            family(&mut out, name, "counter", help);
            line(&mut out, name, "", counter.value());
        }
        self.render_refusals(&mut out);
        self.render_expiries(&mut out, gauges);
        self.render_convergence(&mut out);
        out
    }

    /// Everybody who was refused by reason, and Istio's two counters of some of them.
    fn render_refusals(&self, out: &mut String) {
        let refusals = self.refusals.lock();
        let name = "palisade_callers_refused_total";
        family(out, name, "counter", "Callers who did not get what they wanted.");
        for ((wanted, reason), count) in &*refusals {
            let labels = format!("{{wanted=\"{}\",reason=\"{reason}\"}}", wanted.as_str());
            line(out, name, &labels, count);
        }
        let of = |reason| refusals.get(&(Wanted::Certificate, reason)).copied().unwrap_or_default();
        let name = "citadel_server_csr_parsing_err_count";
        family(out, name, "counter", "Signing requests that could not be read.");
        line(out, name, "", of(BAD_REQUEST));
        let name = "citadel_server_csr_sign_err_count";
        family(
            out,
            name,
            "counter",
            "Signing requests that were not signed, with Istio's reasons.",
        );
        for (error, reason) in [("CERT_GEN_ERROR", NOT_SIGNED), ("TTL_ERROR", TOO_LONG)] {
            line(out, name, &format!("{{error=\"{error}\"}}"), of(reason));
        }
    }

    /// When what expires, in seconds of Unix time, and Istio's two also in seconds from now.
    fn render_expiries(&self, out: &mut String, gauges: Gauges) {
        let at = |time: Option<Timestamp>| time.map(Timestamp::as_second).unwrap_or_default();
        let left = |time: Option<Timestamp>| at(time) - gauges.now.as_second();
        let (root, signer) = (gauges.root_expiry, Some(gauges.signer_expiry));
        for (name, help, value) in [
            (
                "citadel_server_root_cert_expiry_timestamp",
                "When the first of the trusted roots expires.",
                at(root),
            ),
            ("citadel_server_root_cert_expiry_seconds", "The same from now.", left(root)),
            (
                "citadel_server_cert_chain_expiry_timestamp",
                "When the authority that signs expires.",
                at(signer),
            ),
            ("citadel_server_cert_chain_expiry_seconds", "The same from now.", left(signer)),
            (
                "palisade_control_certificate_expiry_timestamp_seconds",
                "When the control plane's own certificate expires.",
                self.own_expiry.load(Ordering::Relaxed),
            ),
            (
                "palisade_sidecars_certificate_expiry_timestamp_seconds",
                "When the first certificate of a connected sidecar expires; 0 without one.",
                at(gauges.sidecar_expiry),
            ),
            (
                "palisade_sidecars_not_renewed",
                "Connected sidecars whose last attempt to renew their certificate failed.",
                i64::try_from(gauges.not_renewed).unwrap_or(i64::MAX),
            ),
        ] {
            family(out, name, "gauge", help);
            line(out, name, "", value);
        }
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
        metrics.refused(Wanted::Certificate, TOO_LONG);
        metrics.refused(Wanted::Configuration, "no_token");
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        metrics.own_certificate(at(2_000_500));
        metrics.converged(Duration::from_millis(30));
        metrics.converged(Duration::from_secs(9));
        let gauges = Gauges {
            now: at(1_000_000),
            root_expiry: Some(at(3_000_000)),
            signer_expiry: at(2_000_000),
            sidecar_expiry: Some(at(1_000_060)),
            not_renewed: 1,
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
