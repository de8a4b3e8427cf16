//! Istio's certificate service: a certificate for the identity that the caller's token proves, and
//! for no other. Source: Istio `security/pkg/server/ca/server.go`.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use palisade_pki::{Csr, CsrError, IssueError, Lifetimes, MAX_LIFETIME, TooLong};
use palisade_types::{IdentityError, Mesh, SpiffeId};
use palisade_wire::ca::{
    IstioCertificateRequest, IstioCertificateResponse, IstioCertificateService,
};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::{sync::watch, time::Instant};
use tonic::{Code, Request, Response, Status};

use crate::{
    authenticate::Caller,
    ca::Authorities,
    gate::{self, Gate, Wanted},
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
    ) -> Result<Vec<String>, Refused> {
        let published = Arc::clone(&self.published.borrow());
        if !published.missing.is_empty() {
            return Err(Refused::NotReady);
        }
        let id = identity(caller, published.mesh())?;
        let who = format!("{id} {}", caller.pod.as_deref().unwrap_or_default());
        if !self.rate.lock().admits(&who, Instant::now()) {
            return Err(Refused::TooOften);
        }
        refuse_wishes(request)?;
        let csr = Csr::from_pem(&request.csr)?;
        if let Some(other) = csr.uris().iter().find(|uri| !is_own(uri, &id, published.mesh())) {
            return Err(Refused::SomebodyElse { asked: other.clone(), proven: id });
        }
        let lifetime = self.lifetimes.choose(request.validity_duration)?;
        let authorities = Arc::clone(&self.authorities.borrow());
        let authority = &authorities.own.authority;
        let issued = authority.issue(&csr, &id, lifetime, Timestamp::now())?;
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
        let caller = self.gate.caller(&request, Wanted::Certificate).await?;
        match self.issue(&caller, request.get_ref()) {
            Ok(cert_chain) => {
                self.metrics.certificates_issued.add(1);
                Ok(Response::new(IstioCertificateResponse { cert_chain }))
            }
            Err(refused) => {
                let (reason, why) = (refused.reason(), refused.to_string());
                self.gate.refuse(gate::address(&request), Wanted::Certificate, reason, &why);
                Err(Status::new(refused.code(), why))
            }
        }
    }
}

/// Why a caller who has proved who he is gets no certificate.
#[derive(Debug, Error)]
enum Refused {
    #[error("the mesh's settings are not known yet")]
    NotReady,
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error("too many requests for this identity")]
    TooOften,
    #[error("`{0}` is not supported")]
    Wish(String),
    #[error("{0}")]
    Csr(#[from] CsrError),
    #[error("the signing request names `{asked}`, the token proves `{proven}`")]
    SomebodyElse { asked: String, proven: SpiffeId },
    #[error("{0}")]
    Lifetime(#[from] TooLong),
    #[error("{0}")]
    Signing(#[from] IssueError),
}

impl Refused {
    /// A stable name for metrics.
    fn reason(&self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Identity(_) => "bad_identity",
            Self::TooOften => "too_often",
            Self::Wish(_) => "impersonation",
            Self::Csr(_) => BAD_REQUEST,
            Self::SomebodyElse { .. } => "other_identity",
            Self::Lifetime(_) => TOO_LONG,
            Self::Signing(_) => NOT_SIGNED,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::NotReady => Code::Unavailable,
            Self::TooOften => Code::ResourceExhausted,
            Self::Identity(_) | Self::Wish(_) | Self::SomebodyElse { .. } => Code::PermissionDenied,
            Self::Csr(_) | Self::Lifetime(_) => Code::InvalidArgument,
            Self::Signing(_) => Code::Internal,
        }
    }
}

/// Reasons that Istio counts on their own.
pub(crate) const BAD_REQUEST: &str = "bad_request";
pub(crate) const TOO_LONG: &str = "too_long";
pub(crate) const NOT_SIGNED: &str = "not_signed";

fn identity(caller: &Caller, mesh: &Mesh) -> Result<SpiffeId, IdentityError> {
    SpiffeId::new(mesh.trust_domain.clone(), &caller.namespace, &caller.service_account)
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
fn refuse_wishes(request: &IstioCertificateRequest) -> Result<(), Refused> {
    let fields = request.metadata.iter().flat_map(|metadata| metadata.fields.keys());
    match fields.into_iter().find(|field| field.as_str() != "CertSigner") {
        Some(field) => Err(Refused::Wish(field.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
