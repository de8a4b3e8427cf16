//! Who may talk to the control plane: a sidecar with a token of its pod, from its pod's address. A token that
//! was stolen is worth nothing elsewhere.
//!
//! A refusal is told in the log, and in an event of the pod that it came from. Callers learn no more than
//! they may know. Who is refused again and again is not looked at for a while.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use palisade_model::Kind;
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
    kinds,
    metrics::Metrics,
    rate::Rate,
};

/// What a caller wants.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Wanted {
    Certificate,
    Configuration,
    /// That his reports are heard.
    Reports,
    /// What the monitoring port tells.
    Monitoring,
}

impl Wanted {
    /// Its name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Configuration => "configuration",
            Self::Reports => "reports",
            Self::Monitoring => "monitoring",
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reports => "ear to reports",
            other => other.as_str(),
        })
    }
}

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

    /// The caller behind a request.
    ///
    /// # Errors
    /// When he does not prove to be a pod's sidecar; it has been told.
    pub(crate) async fn caller<T>(
        &self,
        request: &Request<T>,
        wanted: Wanted,
    ) -> Result<Caller, Status> {
        let from = address(request);
        if self.refused.lock().is_exhausted(&who(from), Instant::now()) {
            self.metrics.refused(wanted, "refused_too_often");
            return Err(Status::resource_exhausted("refused too often: try later"));
        }
        let caller = async {
            let caller = self.authenticator.caller(request.metadata()).await?;
            self.check_address(&caller, from).await?;
            Ok(caller)
        };
        caller.await.map_err(|error: AuthenticationError| {
            self.metrics.authentication_failures.add(1);
            if matches!(error, AuthenticationError::Unavailable(_)) {
                self.tell(from, wanted, error.reason(), &error.to_string());
            } else {
                self.refuse(from, wanted, error.reason(), &error.to_string());
            }
            Status::from(&error)
        })
    }

    /// Tells that somebody was refused, and why, and looks at him no more if that happens too often: what is told
    /// is bounded too.
    pub(crate) fn refuse(
        &self,
        from: Option<IpAddr>,
        wanted: Wanted,
        counted: &'static str,
        reason: &str,
    ) {
        self.refused.lock().admits(&who(from), Instant::now());
        self.tell(from, wanted, counted, reason);
    }

    /// Counts that somebody does not get what he wants, and tells why.
    fn tell(&self, from: Option<IpAddr>, wanted: Wanted, counted: &'static str, reason: &str) {
        self.metrics.refused(wanted, counted);
        let published = Arc::clone(&self.published.borrow());
        let found = published.pods.iter().find(|(_, pod)| Some(pod.address) == from);
        let pod = found.map(|(workload, _)| tracing::field::display(workload));
        tracing::warn!(from = from.map(tracing::field::display), pod, reason, "no {wanted}");
        let Some((workload, pod)) = found else { return };
        self.events.warn(Warning {
            kind: kinds::of(Kind::Pod),
            namespace: workload.namespace.clone(),
            name: workload.name.clone(),
            uid: pod.uid.clone(),
            reason: "IdentityRefused",
            message: format!("The control plane gave no {wanted}: {reason}"),
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

/// By what refusals are counted.
fn who(from: Option<IpAddr>) -> String {
    from.map(|from| from.to_string()).unwrap_or_default()
}

/// The caller's address.
pub(crate) fn address<T>(request: &Request<T>) -> Option<IpAddr> {
    request.remote_addr().map(|peer| peer.ip().to_canonical())
}

/// How long a pod's address is waited for.
const UNKNOWN: Duration = Duration::from_secs(5);
