//! The certificate authority at work: who signs, whom workloads trust, and how far a rotation of the root is.
//! Replaced as a whole; everything that signs or tells of roots follows it.
//!
//! A rotation has three steps, none of which makes a certificate worthless that somebody still presents:
//! both roots are trusted and the old one signs; the new one signs and all certificates are renewed; the old
//! one is not trusted any more. Whether a step may be taken is decided in `rotation`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use palisade_model::Trust;
use palisade_pki::{AuthorityError, AuthorityFiles, TrustBundle};
use parking_lot::Mutex;
use serde_json::Value;
use thiserror::Error;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    authority::{AuthorityFilesError, Held, Rotation, Store},
    kinds, kubernetes,
};

/// The Secret with an authority that somebody brings, in the control plane's namespace.
const SECRET: &str = "cacerts";
/// How long an API that does not answer is asked for it.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no authority.
#[derive(Debug, Error)]
pub enum CaError {
    /// Its files can't be used or written.
    #[error(transparent)]
    Files(#[from] AuthorityFilesError),
    /// The Secret can't be read.
    #[error("cannot read Secret {namespace}/{SECRET}: {}", kubernetes::said(source))]
    Secret {
        /// Where.
        namespace: String,
        /// What went wrong.
        source: kube::Error,
    },
    /// The Secret holds no authority.
    #[error("cannot use Secret {namespace}/{SECRET}: {reason}")]
    Unusable {
        /// Where.
        namespace: String,
        /// What is wrong.
        reason: String,
    },
    /// A new authority can't be made, or one that was brought can't be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// Who signs and whom workloads trust.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    /// Who signs.
    pub(crate) own: Held,
    pub(crate) rotation: Rotation,
}

impl Authorities {
    /// The roots that workloads trust.
    pub(crate) fn bundle(&self) -> TrustBundle {
        match &self.rotation {
            Rotation::Settled | Rotation::Leaving => self.own.roots.clone(),
            Rotation::Trusting(next) => self.own.roots.and(&next.roots),
            Rotation::Signing(old) => self.own.roots.and(old),
        }
    }

    /// What sidecars are told.
    pub(crate) fn trust(&self) -> Trust {
        Trust { roots: self.bundle().to_pem(), issuer: self.own.authority.fingerprint() }
    }
}

/// Who tells others of the roots.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Teller {
    /// The ConfigMap of every namespace.
    ConfigMaps,
    /// The webhooks' registrations.
    Webhooks,
}

/// The authority of the mesh.
#[derive(Debug)]
pub(crate) struct Ca {
    store: Store,
    current: watch::Sender<Arc<Authorities>>,
    told: Mutex<BTreeMap<Teller, String>>,
    /// Held by whoever takes a step.
    pub(crate) turning: tokio::sync::Mutex<()>,
}

impl Ca {
    /// The authority that is kept, or the one that somebody brought, or a new one. One with another root than
    /// the one that is kept does not take its place at once, which would cut sidecars off: a rotation begins.
    pub(crate) async fn open(
        store: Store,
        brought: Option<Held>,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        let (own, rotation) = store.open(brought.as_ref(), now).await?;
        let current = watch::Sender::new(Arc::new(Authorities { own, rotation }));
        let ca = Self { store, current, told: Mutex::default(), turning: Default::default() };
        if let Some(brought) = brought {
            ca.take_in(brought).await?;
        }
        let ends = ca.now().own.authority.facts().not_after;
        if ends < now + SOON {
            tracing::warn!(%ends, "the mesh's authority expires soon: `palisade ca rotate` makes the next one");
        }
        Ok(ca)
    }

    /// Who signs and whom workloads trust now.
    pub(crate) fn now(&self) -> Arc<Authorities> {
        Arc::clone(&self.current.borrow())
    }

    /// Changes with every step.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Authorities>> {
        self.current.subscribe()
    }

    /// Puts a step of a rotation in force, first where the authority is kept. Not to be given up half way: it
    /// would be there only.
    pub(crate) async fn turn(&self, to: Authorities) -> Result<(), AuthorityFilesError> {
        self.store.turn(&to.rotation).await?;
        tracing::info!(
            step = to.rotation.step().unwrap_or("settled"),
            signer = to.own.authority.facts().serial,
            roots = to.bundle().roots().len(),
            "the mesh's roots are rotated"
        );
        self.current.send_replace(Arc::new(to));
        Ok(())
    }

    /// Notes that these roots were told.
    pub(crate) fn told(&self, teller: Teller, roots_pem: &str) {
        self.told.lock().insert(teller, roots_pem.to_owned());
    }

    /// Whether somebody has told of the roots that are trusted now.
    pub(crate) fn has_told(&self, teller: Teller) -> bool {
        let wanted = self.now().bundle().to_pem();
        self.told.lock().get(&teller).is_some_and(|told| *told == wanted)
    }

    /// An authority that somebody brought, beside the one in force.
    async fn take_in(&self, brought: Held) -> Result<(), CaError> {
        let Authorities { own, rotation } = self.now().as_ref().clone();
        let fingerprint = brought.authority.fingerprint();
        if fingerprint == own.authority.fingerprint() || rotation.step().is_some() {
            return Ok(());
        }
        if brought.authority.root_pem() == own.authority.root_pem() {
            self.store.replace(&brought).await?;
            self.current.send_replace(Arc::new(Authorities { own: brought, rotation }));
            tracing::info!(
                "Secret {SECRET} has another authority of the same root, which signs now"
            );
            return Ok(());
        }
        tracing::warn!(
            "Secret {SECRET} has an authority with another root: it is trusted from now on, \
             `palisade ca rotate` lets it sign"
        );
        Ok(self.turn(Authorities { own, rotation: Rotation::Trusting(brought) }).await?)
    }
}

/// The authority in Istio's Secret, if there is one. An API that does not answer is asked again for a while.
pub(crate) async fn brought(client: &Client, namespace: &str) -> Result<Option<Held>, CaError> {
    let deadline = Instant::now() + PATIENCE;
    let secret = loop {
        match kubernetes::find(client, &kinds::secrets(), Some(namespace), SECRET).await {
            Ok(secret) => break secret,
            Err(source) if Instant::now() > deadline => {
                return Err(CaError::Secret { namespace: namespace.to_owned(), source });
            }
            Err(_) => sleep(PAUSE).await,
        }
    };
    let Some(secret) = secret else { return Ok(None) };
    let unusable = |reason: String| CaError::Unusable { namespace: namespace.to_owned(), reason };
    held_of(&secret, Timestamp::now()).map(Some).map_err(unusable)
}

/// The authority of a Secret's data, with Istio's names.
fn held_of(secret: &Value, now: Timestamp) -> Result<Held, String> {
    let entry = |name: &str| kubernetes::secret_entry(secret, name);
    let needed = |name: &str| entry(name)?.ok_or_else(|| format!("`{name}` is missing in it"));
    let (certificate, key, roots) =
        (needed("ca-cert.pem")?, needed("ca-key.pem")?, needed("root-cert.pem")?);
    let chain = entry("cert-chain.pem")?.unwrap_or_default();
    let files =
        AuthorityFiles { certificate: &certificate, key: &key, roots: &roots, chain: &chain };
    Held::from_files(files, now).map_err(|error| error.to_string())
}

/// When a warning is due: people need time to bring the next authority.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde_json::json;

    use super::*;
    use crate::authority::Folder;

    fn held() -> Held {
        Held::generate(Timestamp::now()).unwrap()
    }

    async fn open(folder: &std::path::Path, brought: Option<&Held>) -> Ca {
        let store = Store::Folder(Folder::new(folder));
        Ca::open(store, brought.cloned(), Timestamp::now()).await.unwrap()
    }

    #[tokio::test]
    async fn who_is_brought_first_signs_and_who_is_brought_later_is_trusted_first() {
        let state = tempfile::tempdir().unwrap();
        let (first, second) = (held(), held());
        let ca = open(state.path(), Some(&first)).await;
        assert_eq!(ca.now().own.authority.fingerprint(), first.authority.fingerprint());
        let ca = open(state.path(), Some(&first)).await;
        assert_eq!(ca.now().rotation.step(), None, "the same again changes nothing");
        for _ in 0..2 {
            let now = open(state.path(), Some(&second)).await.now();
            assert_eq!(now.own.authority.fingerprint(), first.authority.fingerprint());
            assert_eq!(now.rotation.step(), Some("trusting"));
            assert_eq!(now.bundle(), first.roots.and(&second.roots));
        }
    }

    #[test]
    fn a_secret_is_istios_or_the_reason_why_not() {
        let (one, other) = (held(), held());
        let secret = |certificate: &str, key: &str| {
            json!({"data": {
                "ca-cert.pem": BASE64_STANDARD.encode(certificate),
                "ca-key.pem": BASE64_STANDARD.encode(key),
                "root-cert.pem": BASE64_STANDARD.encode(one.roots.to_pem()),
            }})
        };
        let (certificate, key) = (one.authority.chain_pem(), one.authority.key_pem());
        let found = held_of(&secret(&certificate, &key), Timestamp::now()).unwrap();
        assert_eq!(found.authority.fingerprint(), one.authority.fingerprint());
        for (secret, reason) in [
            (json!({}), "`ca-cert.pem` is missing"),
            (json!({"data": {"ca-cert.pem": "?"}}), "`ca-cert.pem` is not base64"),
            (secret(&certificate, &other.authority.key_pem()), "key does not belong"),
            (
                secret(&other.authority.chain_pem(), &other.authority.key_pem()),
                "nothing leads from",
            ),
        ] {
            let error = held_of(&secret, Timestamp::now()).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
