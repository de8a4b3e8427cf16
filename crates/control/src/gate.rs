//! Who may talk to the control plane: a sidecar with a token of its pod, from its pod's address. A token that
//! was stolen is worth nothing elsewhere.
//!
//! A refusal is told in the log, and in an event of the pod that it came from. Callers learn no more than
//! they may know. Who is refused again and again is not looked at for a while.

use std::{net::IpAddr, sync::Arc, time::Duration};

use palisade_types::WorkloadRef;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tonic::{Request, Status};

use crate::{
    authenticate::{AuthenticationError, Authenticator, Caller},
    events::{Events, Warning},
    index::Published,
    metrics::Metrics,
    rate::Rate,
};

/// Lets callers in; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    authenticator: Authenticator,
    published: watch::Receiver<Arc<Published>>,
    events: Events,
    metrics: Arc<Metrics>,
    refused: Arc<Mutex<Rate>>,
}

impl Gate {
    pub(crate) fn new(
        authenticator: Authenticator,
        published: watch::Receiver<Arc<Published>>,
        events: Events,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { authenticator, published, events, metrics, refused: Arc::default() }
    }

    /// The caller behind a request for `what`, a certificate or a configuration.
    ///
    /// # Errors
    /// When he does not prove to be a pod's sidecar; it has been told.
    pub(crate) async fn caller<T>(
        &self,
        request: &Request<T>,
        what: &'static str,
    ) -> Result<Caller, Status> {
        let from = address(request);
        let who = from.map(|from| from.to_string()).unwrap_or_default();
        if self.refused.lock().is_exhausted(&who, Instant::now()) {
            return Err(Status::resource_exhausted("refused too often: try later"));
        }
        let caller = async {
            let caller = self.authenticator.caller(request.metadata()).await?;
            self.check_address(&caller, from).await?;
            Ok(caller)
        };
        caller.await.map_err(|error: AuthenticationError| {
            self.metrics.authentication_failures.add(1);
            if !matches!(error, AuthenticationError::Unavailable(_)) {
                self.refused.lock().admits(&who, Instant::now());
            }
            self.tell(from, what, &error.to_string());
            Status::from(&error)
        })
    }

    /// Tells that somebody was refused, and why.
    pub(crate) fn tell(&self, from: Option<IpAddr>, what: &'static str, reason: &str) {
        let published = Arc::clone(&self.published.borrow());
        let found = published.pods.iter().find(|(_, pod)| Some(pod.address) == from);
        let pod = found.map(|(workload, _)| tracing::field::display(workload));
        tracing::warn!(from = from.map(tracing::field::display), pod, reason, "no {what}");
        let Some((workload, pod)) = found else { return };
        self.events.warn(Warning {
            namespace: workload.namespace.clone(),
            pod: workload.name.clone(),
            uid: pod.uid.clone(),
            reason: "IdentityRefused",
            message: format!("The control plane gave no {what}: {reason}"),
        });
    }

    /// Only the pod that a token is bound to may show it. A pod's address may become known a moment after
    /// its sidecar has started.
    async fn check_address(
        &self,
        caller: &Caller,
        from: Option<IpAddr>,
    ) -> Result<(), AuthenticationError> {
        let Some(bound) = &caller.pod else { return Ok(()) };
        let pod = WorkloadRef::new(&caller.namespace, bound);
        let mut published = self.published.clone();
        let known = published.wait_for(|mesh| mesh.pods.contains_key(&pod));
        let address = match timeout(UNKNOWN, known).await {
            Ok(Ok(mesh)) => mesh.pods.get(&pod).map(|pod| pod.address),
            Ok(Err(_)) | Err(_) => None,
        };
        match address {
            None => {
                let why = format!("the address of pod `{pod}` is not known yet");
                Err(AuthenticationError::Unavailable(why))
            }
            address if address == from => Ok(()),
            Some(address) => Err(AuthenticationError::Elsewhere { pod: pod.to_string(), address }),
        }
    }
}

/// The caller's address.
pub(crate) fn address<T>(request: &Request<T>) -> Option<IpAddr> {
    request.remote_addr().map(|peer| peer.ip().to_canonical())
}

/// How long a pod's address is waited for.
const UNKNOWN: Duration = Duration::from_secs(5);
