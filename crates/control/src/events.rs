//! Events of pods and of objects that can't be used, for `kubectl describe` and `kubectl get events`. The same event again raises the count of
//! the first. Nothing depends on events: the queue is bounded, and one that can't be written is let go.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use jiff::Timestamp;
use kube::{Client, core::ApiResource};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

use crate::{kinds, kubernetes};

/// Something about an object that somebody may want to look at.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Warning {
    pub(crate) kind: ApiResource,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Where events are told.
#[derive(Clone, Debug)]
pub(crate) struct Events(mpsc::Sender<Warning>);

impl Events {
    /// A queue, and its other end.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Warning>) {
        let (sender, warnings) = mpsc::channel(QUEUE);
        (Self(sender), warnings)
    }

    /// Tells of something, unless too much is being told already; the log has it in any case.
    pub(crate) fn warn(&self, warning: Warning) {
        if self.0.try_send(warning).is_err() {
            tracing::debug!("an event was let go");
        }
    }
}

/// Writes what is told, for ever.
pub(crate) async fn write(client: Client, mut warnings: mpsc::Receiver<Warning>) {
    let mut told = Told::default();
    while let Some(warning) = warnings.recv().await {
        let Some(event) = told.event(&warning, Instant::now(), Timestamp::now()) else { continue };
        if let Err(error) = kubernetes::ensure(&client, &kinds::events(), event).await {
            tracing::debug!(%error, ?warning, "an event could not be written");
        }
    }
}

/// What has been told lately.
#[derive(Debug, Default)]
struct Told(HashMap<Warning, Count>);

#[derive(Debug)]
struct Count {
    since: Timestamp,
    number: u64,
    written: Instant,
}

impl Told {
    /// The event to write, if any: a repeated one is written now and then only.
    fn event(&mut self, warning: &Warning, now: Instant, time: Timestamp) -> Option<Value> {
        if self.0.len() >= REMEMBERED && !self.0.contains_key(warning) {
            self.0.clear();
        }
        let known = self.0.contains_key(warning);
        let count =
            self.0.entry(warning.clone()).or_insert(Count { since: time, number: 0, written: now });
        count.number += 1;
        if known && now.saturating_duration_since(count.written) < PAUSE {
            return None;
        }
        count.written = now;
        Some(event(warning, count, time))
    }
}

fn event(warning: &Warning, count: &Count, time: Timestamp) -> Value {
    let Warning { kind, namespace, name: about, uid, reason, message } = warning;
    let mut hasher = DefaultHasher::new();
    (warning, count.since).hash(&mut hasher);
    let name = format!("{about}.{:016x}", hasher.finish());
    let second = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": kind.api_version, "kind": kind.kind, "name": about, "namespace": namespace,
            "uid": uid,
        },
        "type": "Warning",
        "reason": reason,
        "message": message,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": "",
        "firstTimestamp": second(count.since),
        "lastTimestamp": second(time),
        "count": count.number,
    })
}

const COMPONENT: &str = "palisade-control";
/// Events that wait to be written.
const QUEUE: usize = 64;
/// Events whose repetitions are counted; beyond, counting begins again.
const REMEMBERED: usize = 1024;
/// How long a repeated event is only counted.
const PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_event_is_one_with_a_count_and_not_written_every_time() {
        let (mut told, start, time) = (Told::default(), Instant::now(), Timestamp::UNIX_EPOCH);
        let warning = Warning {
            kind: kinds::of(palisade_model::Kind::Pod),
            namespace: "shop".to_owned(),
            name: "web-1".to_owned(),
            uid: "u1".to_owned(),
            reason: "IdentityRefused",
            message: "no".to_owned(),
        };
        let first = told.event(&warning, start, time).unwrap();
        assert_eq!(first["count"], 1);
        assert!((0..98).all(|_| told.event(&warning, start, time).is_none()));
        let later = told.event(&warning, start + PAUSE, time).unwrap();
        assert_eq!(later["count"], 100);
        assert_eq!(first["metadata"], later["metadata"]);
        let other = Warning { message: "never".to_owned(), ..warning };
        let other = told.event(&other, start, time).unwrap();
        assert_ne!(first["metadata"], other["metadata"]);
    }
}
