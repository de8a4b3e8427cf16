//! One watch per kind, all as one stream of changes.

use std::time::Duration;

use futures::{
    Stream, StreamExt,
    stream::{BoxStream, SelectAll, select_all},
};
use kube::{
    Api, Client,
    core::{DynamicObject, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};

use crate::{objects::Kind, world::Change};

/// All changes of all kinds; never ends.
pub(crate) fn changes(client: &Client) -> SelectAll<BoxStream<'static, Change>> {
    select_all(Kind::ALL.map(|kind| changes_of(client, kind)))
}

fn changes_of(client: &Client, kind: Kind) -> BoxStream<'static, Change> {
    let (resource, config) = (kind.resource(), watcher::Config::default());
    if kind.is_metadata_only() {
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &resource);
        return read(kind, watcher(api, config), |found| DynamicObject {
            types: None,
            metadata: found.metadata,
            data: serde_json::Value::Null,
        });
    }
    read(kind, watcher(Api::all_with(client.clone(), &resource), config), |found| found)
}

fn read<K: Send + 'static>(
    kind: Kind,
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    document: fn(K) -> DynamicObject,
) -> BoxStream<'static, Change> {
    events
        .backoff(Retry::default())
        .filter_map(move |event| {
            let event = event.inspect_err(|error| {
                tracing::warn!(?kind, %error, "a watch failed and starts over");
            });
            std::future::ready(event.ok().map(|event| change(kind, event, document)))
        })
        .boxed()
}

fn change<K>(kind: Kind, event: Event<K>, document: fn(K) -> DynamicObject) -> Change {
    match event {
        Event::Init => Change::Restarted(kind),
        Event::InitDone => Change::Complete(kind),
        Event::InitApply(found) | Event::Apply(found) => {
            Change::Applied(kind, Box::new(document(found)))
        }
        Event::Delete(found) => Change::Deleted(kind, Box::new(document(found).metadata)),
    }
}

/// Soon at first: on one machine the API server is most often just starting.
#[derive(Debug)]
struct Retry(Duration);

impl Default for Retry {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = self.0;
        self.0 = (delay * 2).min(LAST);
        Some(delay)
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

const FIRST: Duration = Duration::from_millis(10);

const LAST: Duration = Duration::from_secs(2);
