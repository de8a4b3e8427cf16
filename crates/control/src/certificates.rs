//! Istio's certificate service: a certificate for the identity that the caller's token proves, and
//! for no other. Source: Istio `security/pkg/server/ca/server.go`.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use palisade_pki::{Csr, Lifetimes, MAX_LIFETIME};
use palisade_types::{Mesh, SpiffeId};
use palisade_wire::ca::{
    IstioCertificateRequest, IstioCertificateResponse, IstioCertificateService,
};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tonic::{Code, Request, Response, Status};

use crate::{
    authenticate::Caller,
    ca::Authorities,
    gate::{self, Gate},
    index::Published,
    metrics::Metrics,
    rate::Rate,
};

/// The certificate service.
#[derive(Debug)]
pub(crate) struct Certificates {
    authorities: watch::Receiver<Arc<Authorities>>,
    lifetimes: Lifetimes,
    gate: Gate,
    published: watch::Receiver<Arc<Published>>,
    rate: Mutex<Rate>,
    metrics: Arc<Metrics>,
}

impl Certificates {
    pub(crate) fn new(
        authorities: watch::Receiver<Arc<Authorities>>,
        default_lifetime: Duration,
        gate: Gate,
        published: watch::Receiver<Arc<Published>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let lifetimes = Lifetimes { default: default_lifetime, max: MAX_LIFETIME };
        let rate = Mutex::new(Rate::default());
        Self { authorities, lifetimes, gate, published, rate, metrics }
    }

    fn issue(
        &self,
        caller: &Caller,
        request: &IstioCertificateRequest,
    ) -> Result<Vec<String>, Status> {
        let published = Arc::clone(&self.published.borrow());
        if !published.missing.is_empty() {
            return Err(Status::unavailable("the mesh's settings are not known yet"));
        }
        let id = identity(caller, published.mesh())?;
        let who = format!("{id} {}", caller.pod.as_deref().unwrap_or_default());
        if !self.rate.lock().admits(&who, Instant::now()) {
            return Err(Status::resource_exhausted("too many requests for this identity"));
        }
        refuse_wishes(request)?;
        let csr = Csr::from_pem(&request.csr)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        if let Some(other) = csr.uris().iter().find(|uri| !is_own(uri, &id, published.mesh())) {
            return Err(Status::permission_denied(format!(
                "the signing request names `{other}`, the token proves `{id}`"
            )));
        }
        let lifetime = self
            .lifetimes
            .choose(request.validity_duration)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let authorities = Arc::clone(&self.authorities.borrow());
        let issued = authorities
            .own
            .authority
            .issue(&csr, &id, lifetime, Timestamp::now())
            .map_err(|error| Status::internal(error.to_string()))?;
        tracing::info!(%id, pod = caller.pod, not_after = %issued.facts.not_after, "certificate issued");
        let mut chain = issued.chain_pem;
        // What stands last is what the caller is to trust.
        if let Some(root) = chain.last_mut() {
            *root = authorities.bundle().to_pem();
        }
        Ok(chain)
    }
}

#[tonic::async_trait]
impl IstioCertificateService for Certificates {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.metrics.certificate_requests.add(1);
        let caller = self.gate.caller(&request, WHAT).await?;
        match self.issue(&caller, request.get_ref()) {
            Ok(cert_chain) => {
                self.metrics.certificates_issued.add(1);
                Ok(Response::new(IstioCertificateResponse { cert_chain }))
            }
            Err(status) => {
                self.gate.tell(gate::address(&request), WHAT, status.message());
                Err(status)
            }
        }
    }
}

/// What is asked for here.
const WHAT: &str = "certificate";

fn identity(caller: &Caller, mesh: &Mesh) -> Result<SpiffeId, Status> {
    SpiffeId::new(mesh.trust_domain.clone(), &caller.namespace, &caller.service_account)
        .map_err(|error| Status::new(Code::PermissionDenied, error.to_string()))
}

/// The caller's own identity; an old name of the mesh's trust domain names the same account.
fn is_own(uri: &str, id: &SpiffeId, mesh: &Mesh) -> bool {
    uri.parse::<SpiffeId>().is_ok_and(|asked| {
        asked.namespace() == id.namespace()
            && asked.service_account() == id.service_account()
            && mesh.trust_domains().any(|domain| domain == asked.trust_domain())
    })
}

/// To act for somebody else is what nobody may here; to be silent about it would look like a yes.
fn refuse_wishes(request: &IstioCertificateRequest) -> Result<(), Status> {
    let fields = request.metadata.iter().flat_map(|metadata| metadata.fields.keys());
    match fields.into_iter().find(|field| field.as_str() != "CertSigner") {
        Some(field) => Err(Status::permission_denied(format!("`{field}` is not supported"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
