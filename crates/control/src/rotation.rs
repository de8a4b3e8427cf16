//! Rotating the mesh's root, one step at a time: the status that people see, and the next step once every
//! sidecar has confirmed the one before with the certificate and the roots that it really uses.

use std::{sync::Arc, time::Duration};

use axum::{Json, body::Bytes, extract::State, http::StatusCode};
use jiff::Timestamp;
use palisade_pki::{AuthorityFiles, CertificateDer, CertificateFacts, fingerprint_text};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    authority::{Held, Rotation},
    ca::{self, Authorities, CaError, Teller},
    fleet::SidecarStatus,
    index::Published,
    monitoring::Monitoring,
};

/// The authority, its roots, and who has not confirmed them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CaStatus {
    /// `settled`, or the step of the rotation.
    step: &'static str,
    signer: Certificate,
    /// The roots that are trusted.
    roots: Vec<Certificate>,
    /// SHA-256 of all of them, as sidecars tell it.
    roots_fingerprint: String,
    confirmed: usize,
    total: usize,
    /// Pods with a sidecar of somebody else, which follow the roots in their own way.
    foreign: Vec<String>,
    /// Who has not confirmed that.
    waiting: Vec<Waiting>,
}

/// Whether a step was taken, and how things are now.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Turned {
    taken: bool,
    #[serde(flatten)]
    status: CaStatus,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    subject: String,
    serial: String,
    not_before: String,
    not_after: String,
    fingerprint: String,
}

/// Somebody who has not confirmed, and why.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
struct Waiting {
    who: String,
    reason: String,
}

/// The authority to rotate to, with Istio's files; without one, that of Secret `cacerts` if it is another than
/// ours, else a new one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Brought {
    certificate: String,
    key: String,
    roots: String,
    #[serde(default)]
    chain: String,
}

pub(crate) async fn on_status(State(monitoring): State<Monitoring>) -> Json<CaStatus> {
    Json(status(&monitoring))
}

/// Takes the next step, unless somebody has not confirmed the one before. Whoever asks may go: a step that has
/// begun is taken to its end.
pub(crate) async fn on_rotate(
    State(monitoring): State<Monitoring>,
    body: Bytes,
) -> Result<Json<Turned>, (StatusCode, String)> {
    let broken = |error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
    tokio::spawn(async move { turn(&monitoring, &body).await }).await.map_err(broken)?
}

async fn turn(monitoring: &Monitoring, body: &[u8]) -> Result<Json<Turned>, (StatusCode, String)> {
    let _one_at_a_time = monitoring.ca.turning.lock().await;
    let before = status(monitoring);
    if !before.waiting.is_empty() {
        return Ok(Json(Turned { taken: false, status: before }));
    }
    let Authorities { own, rotation } = monitoring.ca.now().as_ref().clone();
    let to = match rotation {
        Rotation::Settled => {
            let next = next(monitoring, &own, body).await?;
            Authorities { own, rotation: Rotation::Trusting(next) }
        }
        Rotation::Trusting(next) => {
            Authorities { own: next, rotation: Rotation::Signing(own.roots) }
        }
        Rotation::Signing(_) => {
            sleep(UNDER_WAY).await;
            Authorities { own, rotation: Rotation::Leaving }
        }
        Rotation::Leaving => Authorities { own, rotation: Rotation::Settled },
    };
    let failed = |error: crate::authority::AuthorityFilesError| {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
    };
    monitoring.ca.turn(to).await.map_err(failed)?;
    Ok(Json(Turned { taken: true, status: status(monitoring) }))
}

/// The authority that is to come.
async fn next(
    monitoring: &Monitoring,
    own: &Held,
    body: &[u8],
) -> Result<Held, (StatusCode, String)> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, format!("{why}\n"));
    let now = Timestamp::now();
    let next = if body.is_empty() {
        let found = match &monitoring.client {
            Some(client) => ca::brought(client, &monitoring.namespace).await,
            None => Ok(None),
        };
        match found.map_err(|error: CaError| bad(error.to_string()))? {
            Some(brought) if brought.authority.fingerprint() != own.authority.fingerprint() => {
                Ok(brought)
            }
            _ => Held::generate(now),
        }
    } else {
        let Brought { certificate, key, roots, chain } =
            serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
        let files =
            AuthorityFiles { certificate: &certificate, key: &key, roots: &roots, chain: &chain };
        Held::from_files(files, now)
    };
    let next = next.map_err(|error| bad(error.to_string()))?;
    if next.authority.fingerprint() == own.authority.fingerprint() {
        return Err(bad("this authority signs already".to_owned()));
    }
    Ok(next)
}

fn status(monitoring: &Monitoring) -> CaStatus {
    let authorities = monitoring.ca.now();
    let published = monitoring.published();
    let sidecars = monitoring.fleet.status(&published);
    let waiting = waiting(&authorities, &published, &sidecars);
    let confirmed = sidecars.len() - waiting.len();
    let tellers = [
        (Teller::ConfigMaps, "ConfigMaps istio-ca-root-cert"),
        (Teller::Webhooks, "registrations of webhooks"),
    ];
    let silent = tellers.into_iter().filter(|(teller, _)| !monitoring.ca.has_told(*teller));
    let silent = silent.map(|(_, who)| Waiting {
        who: who.to_owned(),
        reason: "the roots are not written yet".to_owned(),
    });
    let authority = &authorities.own.authority;
    let roots = authorities.bundle();
    CaStatus {
        step: authorities.rotation.step().unwrap_or("settled"),
        signer: certificate(authority.facts(), authority.fingerprint()),
        roots: roots.roots().iter().filter_map(root).collect(),
        roots_fingerprint: roots.fingerprint(),
        confirmed,
        total: sidecars.len(),
        foreign: monitoring.fleet.foreign(&published),
        waiting: silent.chain(waiting).collect(),
    }
}

fn root(der: &CertificateDer<'static>) -> Option<Certificate> {
    let facts = CertificateFacts::from_der(der).ok()?;
    Some(certificate(&facts, fingerprint_text(der)))
}

fn certificate(facts: &CertificateFacts, fingerprint: String) -> Certificate {
    let names = facts.organizations.iter().map(|it| format!("O={it}"));
    let names = names.chain(facts.common_names.iter().map(|it| format!("CN={it}")));
    Certificate {
        subject: names.collect::<Vec<_>>().join(", "),
        serial: facts.serial.clone(),
        not_before: facts.not_before.to_string(),
        not_after: facts.not_after.to_string(),
        fingerprint,
    }
}

/// The sidecars that do not use what the authority wants to be used.
fn waiting(
    authorities: &Authorities,
    published: &Arc<Published>,
    sidecars: &[SidecarStatus],
) -> Vec<Waiting> {
    let trust = authorities.trust();
    let roots = authorities.bundle().fingerprint();
    let is_published = published.snapshot.trust() == Some(&trust);
    let reason = |sidecar: &SidecarStatus| -> Option<String> {
        let credential = &sidecar.credential;
        let failed = credential.as_ref().map(|it| it.error.as_str()).unwrap_or_default();
        let because = if failed.is_empty() { String::new() } else { format!(": {failed}") };
        if !is_published {
            return Some("the roots are being put in its configuration".to_owned());
        }
        if !sidecar.is_synced() {
            let why = sidecar.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            return Some(format!("{}{why}", sidecar.waiting_for()));
        }
        match credential {
            None => Some("the sidecar has not said which certificate it uses".to_owned()),
            Some(it) if it.serial.is_empty() => Some(format!("it has no certificate{because}")),
            Some(it) if it.roots != roots => Some("it trusts other roots".to_owned()),
            Some(it) if it.issuer != trust.issuer => {
                Some(format!("its certificate is still of the authority before{because}"))
            }
            Some(_) => None,
        }
    };
    let waiting = |sidecar: &SidecarStatus| {
        Some(Waiting { who: sidecar.workload.to_string(), reason: reason(sidecar)? })
    };
    sidecars.iter().filter_map(waiting).collect()
}

/// How long a handshake may be under way with a certificate that has just been replaced.
const UNDER_WAY: Duration = Duration::from_secs(1);
