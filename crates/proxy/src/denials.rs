//! Why requests and connections to the workload were denied: the explanation that `palisade explain`
//! gives, in the sidecar's log and on its admin port. Worked out on a thread of its own, for so many
//! denials a second and so much of a core that nobody can make it a burden; the rest is counted.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use palisade_policy::{Attributes, HeaderFields, Http, explain::Explanation};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tracing::{info, warn};

use crate::active::Active;

/// Denials that are explained in one second, and may wait.
const PER_SECOND: usize = 20;

/// The thread rests so many times as long as it worked: it takes a tenth of a core at most.
const REST: u32 = 9;

/// Explanations that are kept for the admin port.
const KEPT: usize = 256;

/// Longest text that is taken of a request, in bytes; what is longer is not explained.
const LONGEST: usize = 16 * 1024;

/// A denial, with all that an explanation needs.
#[derive(Debug)]
pub(crate) struct Denial {
    /// The configuration that it was made by.
    pub(crate) active: Arc<Active>,
    /// `x-request-id`; empty for a connection.
    pub(crate) request_id: String,
    /// The caller's verified identities.
    pub(crate) identities: Vec<String>,
    /// The caller.
    pub(crate) source: SocketAddr,
    /// Where the request was going.
    pub(crate) destination: SocketAddr,
    /// SNI.
    pub(crate) server_name: String,
    /// The request; none for a connection.
    pub(crate) request: Option<Request>,
}

/// A request that was denied.
#[derive(Debug)]
pub(crate) struct Request {
    /// Method.
    pub(crate) method: String,
    /// Path and query as received; none for CONNECT.
    pub(crate) path: Option<String>,
    /// Host.
    pub(crate) authority: String,
    /// Scheme.
    pub(crate) scheme: &'static str,
    /// Header fields that policies see.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// Claims of its token.
    pub(crate) claims: Option<Value>,
}

/// A denial as it is logged.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained {
    request_id: String,
    source: SocketAddr,
    destination: SocketAddr,
    generation: u64,
    #[serde(flatten)]
    explanation: Explanation,
}

/// Explains denials.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    budget: Mutex<Budget>,
    queue: OnceLock<Option<SyncSender<Denial>>>,
    kept: Arc<Mutex<VecDeque<Explained>>>,
}

/// What is left of a second.
#[derive(Debug, Default)]
struct Budget {
    since: Option<Instant>,
    taken: usize,
    /// Denials that were not explained since the last one that was.
    skipped: u64,
}

impl Denials {
    /// Has a denial explained, if there is time for it; `denial` is not asked for otherwise.
    pub(crate) fn explain(&self, denial: impl FnOnce() -> Denial) {
        let Some(skipped) = self.budget.lock().take(Instant::now()) else { return };
        if skipped > 0 {
            warn!(denials = skipped, "denials not explained, as there were too many");
        }
        let queue = self.queue.get_or_init(|| start(Arc::clone(&self.kept)).ok());
        // A full queue means that explaining takes long, so that it has to be rare.
        if queue.as_ref().is_some_and(|queue| queue.try_send(denial()).is_err()) {
            self.budget.lock().skipped += 1;
        }
    }

    /// The explanation of the last denial of a request.
    pub(crate) fn find(&self, request_id: &str, source: &str) -> Option<Value> {
        let kept = self.kept.lock();
        let found = kept.iter().rev().find(|explained| {
            explained.request_id == request_id && explained.source.ip().to_string() == source
        })?;
        serde_json::to_value(&found.explanation).ok()
    }
}

impl Budget {
    /// Takes one; how many were refused before it. None if nothing is left.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            (self.since, self.taken) = (Some(now), 0);
        }
        if self.taken >= PER_SECOND {
            self.skipped += 1;
            return None;
        }
        self.taken += 1;
        Some(std::mem::take(&mut self.skipped))
    }
}

impl Denial {
    fn explained(self) -> Option<Explained> {
        let request = self.request.as_ref();
        let fields: Vec<(&str, &[u8])> = request
            .iter()
            .flat_map(|request| &request.headers)
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let length = fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            + request.and_then(|request| request.path.as_ref()).map_or(0, String::len);
        if length > LONGEST {
            return None;
        }
        let attributes = Attributes {
            identities: &self.identities,
            source_ip: self.source.ip(),
            remote_ip: self.source.ip(),
            destination_ip: self.destination.ip(),
            destination_port: self.destination.port(),
            sni: &self.server_name,
            http: request.map(|request| Http {
                method: &request.method,
                path: request.path.as_deref(),
                authority: &request.authority,
                scheme: request.scheme,
                headers: HeaderFields(&fields),
                claims: request.claims.as_ref(),
            }),
        };
        let explanation = self.active.explain(attributes).without_secrets();
        Some(Explained {
            request_id: self.request_id,
            source: self.source,
            destination: self.destination,
            generation: self.active.generation(),
            explanation,
        })
    }
}

fn start(kept: Arc<Mutex<VecDeque<Explained>>>) -> io::Result<SyncSender<Denial>> {
    let (queue, denials) = sync_channel(PER_SECOND);
    thread::Builder::new().name("denials".to_owned()).spawn(move || run(&denials, &kept))?;
    Ok(queue)
}

fn run(denials: &Receiver<Denial>, kept: &Mutex<VecDeque<Explained>>) {
    for denial in denials {
        let started = Instant::now();
        let Some(explained) = denial.explained() else { continue };
        if let Ok(json) = serde_json::to_string(&explained) {
            info!("denied {json}");
        }
        let mut kept = kept.lock();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(explained);
        drop(kept);
        thread::park_timeout(started.elapsed() * REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_are_explained_and_the_others_counted() {
        let mut budget = Budget::default();
        let start = Instant::now();
        let taken = (0..100).filter(|_| budget.take(start) == Some(0)).count();
        assert_eq!(taken, PER_SECOND);
        assert_eq!(budget.take(start + Duration::from_millis(999)), None);
        assert_eq!(budget.take(start + Duration::from_secs(1)), Some(81));
        assert_eq!(budget.take(start + Duration::from_secs(1)), Some(0));
    }
}
