//! The workload's certificate: a fresh key every time, asked for at half the life of the one before. The key
//! never leaves this process.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use palisade_tls::{Generation, PendingError, PendingIdentity};
use palisade_wire::ca::{IstioCertificateRequest, IstioCertificateServiceClient};
use thiserror::Error;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::{Backoff, ControlError, authorized, connect, random_fraction};
use crate::{ControlPlane, shared::Shared};

/// How long asking may take in all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest wait between attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(15);

/// How often the clock is looked at while waiting for the time to renew: it may be set.
const LOOK: Duration = Duration::from_secs(5);

/// Certificates are never asked for more often.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Over how long all sidecars ask when there is another issuer.
const SPREAD: Duration = Duration::from_secs(1);

/// Istio's jitter: one hundredth of the certificate's life, either way.
const JITTER: f64 = 0.01;

/// Why there is no new certificate.
#[derive(Debug, Error)]
enum CertificateError {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("the operating system gives no key: {0}")]
    Key(String),
    #[error(transparent)]
    Answer(PendingError),
    #[error("the control plane does not answer")]
    Timeout,
}

/// Gets a certificate, and the next one in time, for ever.
pub(crate) async fn keep_certificate(control: ControlPlane, shared: Arc<Shared>) {
    let mut backoff = Backoff::up_to(LONGEST_BACKOFF);
    loop {
        let asked = timeout(PATIENCE, certificate(&control, &shared)).await;
        match asked.unwrap_or(Err(CertificateError::Timeout)) {
            Ok(generation) => {
                let not_after = generation.svid().facts.not_after;
                let renewal = renewal(not_after, Timestamp::now(), random_fraction());
                shared.renew(generation);
                backoff.reset();
                tokio::select! {
                    () = wait_until(renewal) => {}
                    () = another_issuer(&shared) => {}
                }
            }
            Err(error) => {
                let in_force = shared.credentials.load().map(|it| it.svid().facts.not_after);
                warn!(%error, valid_until = ?in_force.map(|it| it.to_string()),
                    "no new certificate, will ask again");
                shared.not_renewed(error.to_string());
                sleep(backoff.step()).await;
            }
        }
    }
}

async fn certificate(
    control: &ControlPlane,
    shared: &Shared,
) -> Result<Generation, CertificateError> {
    let pending = PendingIdentity::generate(&control.identity)
        .map_err(|error| CertificateError::Key(error.to_string()))?;
    let request = authorized(
        control,
        IstioCertificateRequest {
            csr: pending.csr_pem().to_owned(),
            validity_duration: i64::try_from(control.ttl.as_secs()).unwrap_or(i64::MAX),
            metadata: None,
        },
    )?;
    let mut client = IstioCertificateServiceClient::new(connect(control, shared).await?);
    let answer = client.create_certificate(request).await.map_err(ControlError::from)?;
    let settings = shared.settings(control.identity.trust_domain());
    pending.complete(&answer.get_ref().cert_chain, settings).map_err(CertificateError::Answer)
}

/// When to ask for the next certificate: when half of what is left now has passed. Certificates are dated
/// back, so half of their whole life may have passed before they come. `random` is from 0 to 1.
fn renewal(not_after: Timestamp, now: Timestamp, random: f64) -> Timestamp {
    let left = Duration::try_from(not_after.duration_since(now)).unwrap_or_default();
    let wait = left.mul_f64(0.5 + JITTER * (2.0 * random - 1.0)).max(SHORTEST_WAIT);
    now.checked_add(wait).unwrap_or(now)
}

/// Waits until somebody else signs than has signed the certificate in force, and then for a moment that is
/// not every sidecar's.
async fn another_issuer(shared: &Shared) {
    let mut generations = shared.generations();
    while !shared.has_another_issuer() {
        // The sender lives as long as `shared`.
        if generations.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
    sleep(SPREAD.mul_f64(0.25 + random_fraction())).await;
}

async fn wait_until(time: Timestamp) {
    loop {
        let left = time.duration_since(Timestamp::now());
        match Duration::try_from(left) {
            Ok(left) if !left.is_zero() => sleep(left.min(LOOK)).await,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_at_half_of_what_is_left() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (left, random, wait) in [
            (86_400, 0.5, 43_200),
            (86_400, 0.0, 42_336),
            (86_400, 1.0, 44_064),
            (60, 0.5, 30),
            (1, 0.5, 1),
            (-5, 0.5, 1),
        ] {
            let not_after = Timestamp::from_second(1_000_000 + left).unwrap();
            let at = renewal(not_after, now, random).as_second();
            assert_eq!(at - 1_000_000, wait, "{left} {random}");
        }
    }
}
