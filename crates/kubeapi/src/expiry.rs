//! Events are kept for an hour, and so many at most: nobody deletes them.

use std::{cmp::Reverse, time::Duration};

use jiff::Timestamp;

use crate::{
    api::Api,
    object,
    store::{Key, Object},
};

/// How long an event is kept after it was written last; Kubernetes' default.
const KEPT: i64 = 3600;

/// Events that are kept at most; the oldest go first.
const MAX_EVENTS: usize = 4096;

/// How often old events are looked for.
pub(crate) const EVERY: Duration = Duration::from_secs(60);

/// Removes events that are old or too many.
pub(crate) fn sweep(api: &Api, now: Timestamp) {
    let (_, mut events) = api.store.list("events", None);
    events.sort_by_key(|event| Reverse(event.version));
    let oldest = now.as_second() - KEPT;
    for (index, event) in events.iter().enumerate() {
        if index < MAX_EVENTS && last_seen(event) >= oldest {
            continue;
        }
        let key = Key {
            resource: "events".to_owned(),
            namespace: object::namespace(&event.value).to_owned(),
            name: object::name(&event.value).to_owned(),
        };
        // One that was written meanwhile is not old.
        if let Err(error) = api.store.remove(&key, event.value.clone(), event.version) {
            tracing::debug!(?key, %error, "an old event stays");
        }
    }
}

fn last_seen(event: &Object) -> i64 {
    ["/series/lastObservedTime", "/lastTimestamp", "/metadata/creationTimestamp"]
        .iter()
        .filter_map(|pointer| object::text(&event.value, pointer).parse::<Timestamp>().ok())
        .map(Timestamp::as_second)
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::ServiceRange,
        store::{Expect, Store},
        tokens::Tokens,
    };

    #[test]
    fn old_events_go_and_young_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let tokens = Tokens::open(&dir.path().join("key")).unwrap();
        let range = ServiceRange { base: [10, 96, 0, 0].into(), prefix: 16 };
        let api = Api::new(store, tokens, range, (dir.path().join("socket"), crate::Ids::Many));
        let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        for (name, created, last) in [
            ("old", "2026-11-22T00:30:00Z", "2026-11-22T00:40:00Z"),
            ("repeated", "2026-11-22T00:30:00Z", "2026-11-22T01:30:00Z"),
            ("young", "2026-11-22T01:59:00Z", ""),
        ] {
            let key = Key {
                resource: "events".to_owned(),
                namespace: "a".to_owned(),
                name: name.to_owned(),
            };
            let event = json!({"metadata": {"name": name, "namespace": "a",
                "creationTimestamp": created}, "lastTimestamp": last});
            drop(api.store.put(&key, event, None, Expect::Absent).unwrap());
        }
        sweep(&api, now);
        let left: Vec<String> = api
            .store
            .list("events", None)
            .1
            .iter()
            .map(|event| object::name(&event.value).to_owned())
            .collect();
        assert_eq!(left, ["repeated", "young"]);
    }
}
