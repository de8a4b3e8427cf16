//! What all workers share: the configuration in force, the certificate, and where telemetry goes.
//! Replaced as a whole by the control tasks; read by workers without waiting.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::{ArcSwapOption, Guard};
use bytes::Bytes;
use jiff::Timestamp;
use palisade_model::ProxyConfig;
use palisade_telemetry::{
    AccessLogSender, DecisionLog, DecisionRecord, Exposition, MetricLimits, Metrics, write_process,
};
use palisade_tls::{
    BundleError, CertificateDer, CertificateFacts, CredentialStore, Generation, GenerationError,
    Settings, TrustBundle, fingerprint_text,
};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::{net::TcpStream, sync::watch};
use tracing::info;

use crate::{
    active::{Active, Targets},
    denials::Denials,
    log::{AccessLog, LogError},
    options::{Listen, OriginalDestination},
    socket,
};

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Our certificate.
    pub(crate) credentials: CredentialStore,
    /// All metrics.
    pub(crate) metrics: Arc<Metrics>,
    /// The last decisions.
    pub(crate) decisions: DecisionLog,
    /// Why requests were denied.
    pub(crate) denials: Denials,
    active: ArcSwapOption<Active>,
    generations: watch::Sender<u64>,
    renewal: watch::Sender<Option<String>>,
    targets: Mutex<Targets>,
    log: Mutex<AccessLog>,
    listen: Listen,
    original_destination: OriginalDestination,
}

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub(crate) enum ApplyError {
    /// The certificate is not one of this mesh.
    #[error("the certificate in use does not fit the mesh's trust domains and roots: {0}")]
    Trust(GenerationError),
    /// The roots can't be read.
    #[error("the mesh's roots can't be used: {0}")]
    Roots(BundleError),
    /// The access log can't be opened.
    #[error(transparent)]
    Log(LogError),
}

impl Shared {
    /// Nothing yet, for so many workers.
    pub(crate) fn new(
        workers: usize,
        listen: Listen,
        original_destination: OriginalDestination,
    ) -> Self {
        let metrics = Metrics::new(MetricLimits::default());
        let capacity = DecisionLog::DEFAULT_CAPACITY;
        let decisions = DecisionLog::new(workers, capacity, &metrics.dropped());
        Self {
            credentials: CredentialStore::new(),
            metrics,
            decisions,
            denials: Denials::default(),
            active: ArcSwapOption::empty(),
            generations: watch::Sender::new(0),
            renewal: watch::Sender::new(None),
            targets: Mutex::default(),
            log: Mutex::default(),
            listen,
            original_destination,
        }
    }

    /// The configuration in force, without waiting. Not to be kept across an await.
    pub(crate) fn active(&self) -> Guard<Option<Arc<Active>>> {
        self.active.load()
    }

    /// Changes with every configuration.
    pub(crate) fn generations(&self) -> watch::Receiver<u64> {
        self.generations.subscribe()
    }

    /// Puts a configuration in force: all of it, or nothing.
    ///
    /// # Errors
    /// When it can't be used. The one before it stays in force.
    pub(crate) fn apply(&self, config: ProxyConfig) -> Result<(), ApplyError> {
        let realigned = self.realigned(&config)?;
        self.log.lock().switch_to(&config.mesh.access_log_file).map_err(ApplyError::Log)?;
        let generation = config.generation;
        let before = self.active.load_full();
        let active = Active::compile(config, &mut self.targets.lock(), before.as_deref());
        if let Some(credentials) = realigned {
            self.credentials.publish(Arc::new(credentials));
        }
        self.active.store(Some(Arc::new(active)));
        self.metrics.set_config_generation(generation);
        self.generations.send_modify(|changes| *changes += 1);
        info!(generation, "configuration in force");
        Ok(())
    }

    /// Our certificate as `config` wants it used, if that is otherwise than now: under other trust domains or
    /// roots, or with no session to resume, since none outlives the rules that it was made under.
    fn realigned(&self, config: &ProxyConfig) -> Result<Option<Generation>, ApplyError> {
        let roots = roots(config).map_err(ApplyError::Roots)?;
        let Some(current) = self.credentials.load() else { return Ok(None) };
        let same_roots = roots.as_ref().is_none_or(|roots| roots == current.bundle());
        let trust_domains: Vec<_> = config.mesh.trust_domains().cloned().collect();
        let same_trust = same_roots && current.settings().trust_domains == trust_domains;
        let active = self.active();
        let same_rules = active.as_deref().is_none_or(|it| it.config.inbound == config.inbound);
        if same_trust && same_rules {
            return Ok(None);
        }
        let settings = Settings { trust_domains, roots, ..current.settings().clone() };
        match current.with_settings(settings) {
            Ok(realigned) => Ok(Some(realigned)),
            // No reason to refuse new rules: it opens nothing, resumed or not.
            Err(_) if same_trust || current.svid().facts.not_after <= Timestamp::now() => Ok(None),
            Err(error) => Err(ApplyError::Trust(error)),
        }
    }

    /// Puts a certificate in force.
    pub(crate) fn renew(&self, generation: Generation) {
        let facts = &generation.svid().facts;
        let expiry = u64::try_from(facts.not_after.as_second()).unwrap_or_default();
        self.metrics.set_certificate_expiry(expiry);
        info!(identity = %generation.svid().id, serial = facts.serial,
            not_after = %facts.not_after, "certificate in force");
        self.credentials.publish(Arc::new(generation));
        self.renewal.send_replace(None);
    }

    /// Notes why there is no newer certificate.
    pub(crate) fn not_renewed(&self, why: String) {
        self.metrics.renewal_failed();
        self.renewal.send_replace(Some(why));
    }

    /// Why the last attempt to get a certificate failed, if it did; changes with every attempt.
    pub(crate) fn renewal(&self) -> watch::Receiver<Option<String>> {
        self.renewal.subscribe()
    }

    /// How a certificate is to be used.
    pub(crate) fn settings(&self, own: &palisade_types::TrustDomain) -> Settings {
        match self.active().as_deref() {
            Some(active) => Settings {
                // They were read when the configuration was put in force.
                roots: roots(&active.config).unwrap_or_default(),
                ..Settings::new(active.config.mesh.trust_domains().cloned().collect())
            },
            None => Settings::new(vec![own.clone()]),
        }
    }

    /// The roots that the configuration in force names, as PEM.
    pub(crate) fn roots_pem(&self) -> String {
        let active = self.active();
        let trust = active.as_deref().and_then(|active| active.config.trust.as_ref());
        trust.map(|trust| trust.roots.clone()).unwrap_or_default()
    }

    /// Whether somebody else signs certificates now than has signed ours.
    pub(crate) fn has_another_issuer(&self) -> bool {
        let (active, credentials) = (self.active(), self.credentials.load());
        let wanted = active.as_deref().and_then(|it| it.config.trust.as_ref());
        wanted.zip(credentials).is_some_and(|(wanted, it)| wanted.issuer != it.svid().issuer)
    }

    /// Whether there is all that is needed to carry traffic.
    pub(crate) fn is_ready(&self) -> bool {
        self.active().is_some() && self.credentials.load().is_some()
    }

    /// Where a worker's log lines go, if anywhere.
    pub(crate) fn log_sender(&self) -> Option<AccessLogSender> {
        self.log.lock().sender(self.metrics.dropped())
    }

    /// Where a connection to the workload was going; none if it was not redirected to us.
    pub(crate) fn inbound_destination(&self, stream: &TcpStream) -> Option<SocketAddr> {
        match self.original_destination {
            OriginalDestination::Redirect => captured(stream, self.listen.inbound),
            OriginalDestination::Fixed { inbound, .. } => Some(inbound),
        }
    }

    /// Where a connection of the workload was going; none if it was not redirected to us.
    pub(crate) fn outbound_destination(&self, stream: &TcpStream) -> Option<SocketAddr> {
        match self.original_destination {
            OriginalDestination::Redirect => captured(stream, self.listen.outbound),
            OriginalDestination::Fixed { outbound, .. } => Some(outbound),
        }
    }

    /// All metrics as text.
    pub(crate) fn metrics_text(&self) -> Bytes {
        let mut out = Exposition::default();
        self.metrics.write(&mut out);
        write_process(&mut out);
        out.finish().into()
    }

    /// The configuration and the certificate in force.
    pub(crate) fn dump(&self) -> serde_json::Value {
        let active = self.active();
        let certificate = self.credentials.load().map(|generation| {
            let svid = generation.svid();
            serde_json::json!({
                "identity": svid.id.to_string(),
                "serial": svid.facts.serial,
                "notBefore": svid.facts.not_before.to_string(),
                "notAfter": svid.facts.not_after.to_string(),
                "issuer": svid.issuer,
                "chain": generation.chain_pem(),
                "roots": generation.bundle().roots().iter().map(root).collect::<Vec<_>>(),
                "rootsFingerprint": generation.bundle().fingerprint(),
            })
        });
        serde_json::json!({
            "certificate": certificate,
            "renewalError": *self.renewal.borrow(),
            "config": active.as_deref().map(|active| &active.config),
        })
    }

    /// What was decided about a request, and why it was denied.
    pub(crate) fn decisions(&self, request_id: Option<&str>) -> serde_json::Value {
        let explained = |record: &DecisionRecord| {
            let denied = record.verdict == "deny";
            let explanation = self.denials.find(&record.request_id, &record.source.address);
            let mut record = serde_json::json!(record);
            if let Some(explanation) = explanation.filter(|_| denied) {
                record["explanation"] = explanation;
            }
            record
        };
        self.decisions.find(request_id).iter().map(explained).collect()
    }
}

/// What a root says.
fn root(certificate: &CertificateDer<'_>) -> serde_json::Value {
    let fingerprint = fingerprint_text(certificate);
    let Ok(facts) = CertificateFacts::from_der(certificate) else {
        return serde_json::json!({"fingerprint": fingerprint});
    };
    serde_json::json!({
        "fingerprint": fingerprint,
        "serial": facts.serial,
        "notBefore": facts.not_before.to_string(),
        "notAfter": facts.not_after.to_string(),
    })
}

/// The roots that a configuration names, if it does.
fn roots(config: &ProxyConfig) -> Result<Option<TrustBundle>, BundleError> {
    config.trust.as_ref().map(|trust| TrustBundle::from_pem(&trust.roots)).transpose()
}

/// The original destination. A connection to the capture port itself was not redirected, and
/// following it would lead back here, for ever.
fn captured(stream: &TcpStream, port: u16) -> Option<SocketAddr> {
    socket::original_destination(stream).ok().filter(|destination| destination.port() != port)
}
