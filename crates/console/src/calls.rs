//! Single calls as sidecars tell of them: the last ones, and then each as it comes.

use axum::{
    Extension,
    extract::{Query, State},
    response::sse::Event,
};
use palisade_telemetry::{
    ReportingWorkload,
    history::{Directory, Place, RecordedCall},
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    server::App,
    stream::{Events, until_shutdown},
};

/// Where to begin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallsParameters {
    /// Calls after the one of this number.
    #[serde(default)]
    after: u64,
}

/// A call with the names of who took part.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallView {
    #[serde(flatten)]
    call: RecordedCall,
    /// The workload that called; none if it is not known.
    source: Option<Party>,
    /// The workload that was called.
    target: Option<Party>,
}

/// A workload by its names.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Party {
    namespace: String,
    workload: String,
    app: String,
    version: String,
}

impl Party {
    fn new(place: &Place) -> Self {
        let Place { namespace, workload, app, version, .. } = place.clone();
        Self { namespace, workload, app, version }
    }

    /// Whose address it is.
    pub(crate) fn at(address: &str, directory: &Directory) -> Option<Self> {
        Some(Self::new(directory.addresses.get(&address.parse().ok()?)?))
    }

    pub(crate) fn of(pod: &ReportingWorkload, directory: &Directory) -> Option<Self> {
        Some(Self::new(directory.pods.get(pod)?))
    }
}

pub(crate) async fn on_calls(
    State(app): State<App>,
    Extension(shutdown): Extension<CancellationToken>,
    Query(parameters): Query<CallsParameters>,
) -> Events {
    let tap = Tap { reports: app.reports(), app, after: parameters.after, begun: false };
    let events = futures::stream::unfold(tap, async |mut tap| {
        let calls = tap.next().await?;
        Some((Event::default().event("calls").json_data(calls).unwrap_or_default(), tap))
    });
    until_shutdown(events, shutdown)
}

struct Tap {
    app: App,
    reports: tokio::sync::watch::Receiver<u64>,
    after: u64,
    begun: bool,
}

impl Tap {
    /// The next calls, oldest first; the first answer may have none. None once the console ends.
    async fn next(&mut self) -> Option<Vec<CallView>> {
        loop {
            if self.begun {
                self.reports.changed().await.ok()?;
            }
            let calls: Vec<RecordedCall> = {
                let history = self.app.history().lock();
                let newest = history.calls(self.after).rev().take(AT_ONCE);
                newest.cloned().collect()
            };
            if calls.is_empty() && self.begun {
                continue;
            }
            self.begun = true;
            self.after = calls.first().map_or(self.after, |newest| newest.number);
            let directory = self.app.directory().await;
            let view = |call: RecordedCall| CallView {
                source: Party::at(&call.call.source.address, &directory),
                target: Party::of(&call.pod, &directory),
                call,
            };
            return Some(calls.into_iter().rev().map(view).collect());
        }
    }
}

/// Calls in an event; of more, the newest.
const AT_ONCE: usize = 500;
