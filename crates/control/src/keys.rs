//! Keys of token issuers, for RequestAuthentications that say where they are and not what: fetched, kept,
//! and fetched again, so that a rotation at the issuer takes effect.
//!
//! As in Istio (`pilot/pkg/model/jwks_resolver.go`): every 20 minutes, sooner after a failure; keys that
//! can't be fetched again stay in use for seven days; with none at all, every token of the issuer is
//! refused. Stricter than there: a first failure is retried at once, an address of this machine is never
//! asked, and a redirection from HTTPS to plaintext is not followed.

mod address;
mod fetch;
mod register;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use palisade_model::KeySource;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use self::fetch::Fetcher;
pub(crate) use self::{address::Loopback, register::Register};
use crate::{index::Feed, metrics::Metrics, network::Network};

/// Whose keys are wanted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Wanted {
    /// Where from, and how long a request may take.
    pub(crate) sources: BTreeMap<KeySource, Duration>,
}

/// How an attempt to fetch keys went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fetched {
    /// The key set.
    Keys(String),
    /// There is none.
    Failed {
        /// For people.
        why: String,
        /// Whether keys that were fetched before stay in use.
        stale: bool,
    },
}

impl Fetched {
    /// What is wrong and what holds instead, if something is.
    pub(crate) fn trouble(&self, source: &KeySource) -> Option<String> {
        let Self::Failed { why, stale } = self else { return None };
        let instead = if *stale {
            "the keys fetched before stay in use"
        } else {
            "every token that they would verify is refused"
        };
        Some(format!("keys of {source} can't be fetched ({why}): {instead}"))
    }
}

/// How keys are fetched.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How often they are fetched again.
    pub(crate) refresh: Duration,
    /// Whether loopback addresses may be asked.
    pub(crate) loopback: Loopback,
    /// The way out.
    pub(crate) network: Arc<dyn Network>,
    /// Where it is noted what came of it.
    pub(crate) register: Register,
}

/// Fetches what is wanted, again and again, and tells the index.
pub(crate) async fn keep(
    settings: Settings,
    mut wanted: watch::Receiver<Wanted>,
    feed: mpsc::Sender<Feed>,
    metrics: Arc<Metrics>,
) {
    let shared = Arc::new(Shared {
        refresh: settings.refresh,
        register: settings.register,
        fetcher: Fetcher { network: settings.network, loopback: settings.loopback },
        wanted: wanted.clone(),
        feed,
        metrics,
        at_once: Semaphore::new(AT_ONCE),
    });
    let mut followed: BTreeMap<KeySource, JoinSet<()>> = BTreeMap::new();
    loop {
        let sources = wanted.borrow_and_update().sources.clone();
        // What is dropped is aborted.
        followed.retain(|source, _| sources.contains_key(source));
        shared.register.keep(|source| sources.contains_key(source));
        for source in sources.into_keys() {
            followed.entry(source).or_insert_with_key(|source| {
                let mut task = JoinSet::new();
                task.spawn(Arc::clone(&shared).follow(source.clone()));
                task
            });
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// What the tasks have in common.
#[derive(Debug)]
struct Shared {
    refresh: Duration,
    register: Register,
    fetcher: Fetcher,
    wanted: watch::Receiver<Wanted>,
    feed: mpsc::Sender<Feed>,
    metrics: Arc<Metrics>,
    at_once: Semaphore,
}

impl Shared {
    /// Keeps the keys of one source fresh for as long as they are wanted.
    async fn follow(self: Arc<Self>, source: KeySource) {
        let mut failures = 0;
        let mut last_good: Option<Instant> = None;
        let mut told = Told::default();
        loop {
            let (fetched, pause) = match self.fetch(&source).await {
                Ok(jwks) => {
                    self.metrics.key_fetches.add(1);
                    failures = 0;
                    last_good = Some(Instant::now());
                    (Fetched::Keys(jwks), self.refresh)
                }
                Err(why) => {
                    self.metrics.failed_key_fetches.add(1);
                    let stale = last_good.is_some_and(|at| at.elapsed() < OLDEST);
                    let pause = (FIRST_PAUSE * 2_u32.pow(failures)).min(LONGEST_PAUSE);
                    failures = (failures + 1).min(16);
                    (Fetched::Failed { why, stale }, pause.min(self.refresh))
                }
            };
            self.register.note(&source, &fetched, Timestamp::now());
            if told.is_news(&fetched) {
                match fetched.trouble(&source) {
                    Some(trouble) => tracing::warn!("{trouble}"),
                    None => tracing::info!("keys of {source} can be fetched again"),
                }
            }
            if self.feed.send(Feed::Keys(source.clone(), fetched)).await.is_err() {
                return;
            }
            sleep(pause).await;
        }
    }

    async fn fetch(&self, source: &KeySource) -> Result<String, String> {
        let _permit = self.at_once.acquire().await;
        let limit = self.wanted.borrow().sources.get(source).copied().unwrap_or_default();
        self.fetcher
            .keys(source, limit.min(LONGEST_REQUEST))
            .await
            .map_err(|error| error.to_string())
    }
}

/// What was said about a source last: each attempt says only what is new.
#[derive(Debug, Default)]
struct Told {
    /// Whether there were older keys, if the keys could not be fetched.
    failing: Option<bool>,
}

impl Told {
    fn is_news(&mut self, fetched: &Fetched) -> bool {
        let failing = match fetched {
            Fetched::Keys(_) => None,
            Fetched::Failed { stale, .. } => Some(*stale),
        };
        std::mem::replace(&mut self.failing, failing) != failing
    }
}

/// However long a rule lets a request take.
const LONGEST_REQUEST: Duration = Duration::from_secs(30);
/// Fetches at the same time.
const AT_ONCE: usize = 16;
/// Pauses after failures double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long keys that can't be fetched again stay in use (Istio's `JwtPubKeyEvictionDuration`).
const OLDEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests;
