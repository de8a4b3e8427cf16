//! What all workers share: the configuration in force, the certificate, and where telemetry goes.
//! Replaced as a whole by the control tasks; read by workers without waiting.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::{ArcSwapOption, Guard};
use bytes::Bytes;
use palisade_model::ProxyConfig;
use palisade_telemetry::{
    AccessLogSender, DecisionLog, DecisionRecord, Exposition, MetricLimits, Metrics, write_process,
};
use palisade_tls::{CredentialStore, Generation, GenerationError, Settings};
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
    targets: Mutex<Targets>,
    log: Mutex<AccessLog>,
    listen: Listen,
    original_destination: OriginalDestination,
}

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub(crate) enum ApplyError {
    /// The certificate is not one of this mesh.
    #[error("the certificate in use does not fit the mesh's trust domains: {0}")]
    TrustDomains(GenerationError),
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
        let realigned = self.realigned(&config).map_err(ApplyError::TrustDomains)?;
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

    /// Our certificate as `config` wants it used, if that is otherwise than now: under other trust domains,
    /// or with no session to resume, since none outlives the rules that it was made under.
    fn realigned(&self, config: &ProxyConfig) -> Result<Option<Generation>, GenerationError> {
        let Some(current) = self.credentials.load() else { return Ok(None) };
        let domains: Vec<_> = config.mesh.trust_domains().cloned().collect();
        if current.settings().trust_domains != domains {
            let settings = Settings { trust_domains: domains, ..current.settings().clone() };
            return current.with_settings(settings).map(Some);
        }
        let active = self.active();
        let same_rules = active.as_deref().is_none_or(|it| it.config.inbound == config.inbound);
        // An expired certificate is no reason to refuse new rules: it opens nothing, resumed or not.
        Ok(if same_rules { None } else { current.with_settings(current.settings().clone()).ok() })
    }

    /// Puts a certificate in force.
    pub(crate) fn renew(&self, generation: Generation) {
        let facts = &generation.svid().facts;
        let expiry = u64::try_from(facts.not_after.as_second()).unwrap_or_default();
        self.metrics.set_certificate_expiry(expiry);
        info!(identity = %generation.svid().id, serial = facts.serial,
            not_after = %facts.not_after, "certificate in force");
        self.credentials.publish(Arc::new(generation));
    }

    /// How a certificate is to be used.
    pub(crate) fn settings(&self, own: &palisade_types::TrustDomain) -> Settings {
        let active = self.active();
        Settings::new(match active.as_deref() {
            Some(active) => active.config.mesh.trust_domains().cloned().collect(),
            None => vec![own.clone()],
        })
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
            })
        });
        serde_json::json!({
            "certificate": certificate,
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

/// The original destination. A connection to the capture port itself was not redirected, and
/// following it would lead back here, for ever.
fn captured(stream: &TcpStream, port: u16) -> Option<SocketAddr> {
    socket::original_destination(stream).ok().filter(|destination| destination.port() != port)
}
