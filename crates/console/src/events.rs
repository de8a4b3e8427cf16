//! A graph that stays up to date: the whole first, then what changed, as server-sent events.

use std::collections::HashMap;

use axum::{
    Extension,
    extract::{Query, State},
    response::sse::Event,
};
use palisade_telemetry::history::{Graph, GraphEdge, Node};
use serde::Serialize;
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    api::GraphParameters,
    server::App,
    stream::{Events, until_shutdown},
};

/// What changed since the event before.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    at_ms: u64,
    range_ms: u64,
    since_ms: u64,
    lost: u64,
    /// Whether all that was known before is to be forgotten.
    whole: bool,
    /// New or changed.
    nodes: Vec<Node>,
    /// New or changed.
    edges: Vec<GraphEdge>,
    /// Ids of nodes and edges that are gone.
    gone: Vec<String>,
}

pub(crate) async fn on_events(
    State(app): State<App>,
    Extension(shutdown): Extension<CancellationToken>,
    Query(parameters): Query<GraphParameters>,
) -> Events {
    let live = Live { reports: app.reports(), app, parameters, shown: None, last: Instant::now() };
    let changes = futures::stream::unfold(live, async |mut live| {
        let event = Event::default().event("graph").json_data(live.next().await);
        Some((event.unwrap_or_default(), live))
    });
    until_shutdown(changes, shutdown)
}

struct Live {
    app: App,
    parameters: GraphParameters,
    reports: tokio::sync::watch::Receiver<u64>,
    shown: Option<Graph>,
    last: Instant,
}

impl Live {
    /// The next change: soon after a report, not more often than [`SHORTEST`] nor later than [`LONGEST`].
    async fn next(&mut self) -> Change {
        if self.shown.is_some() {
            sleep_until(self.last + SHORTEST).await;
            // Nothing new within that time is a tick, for the range moves on.
            drop(timeout(LONGEST - SHORTEST, self.reports.changed()).await);
        }
        self.last = Instant::now();
        self.reports.borrow_and_update();
        let directory = self.app.directory().await;
        let graph = self.parameters.graph(&self.app, &directory);
        let change = change(self.shown.as_ref(), &graph);
        self.shown = Some(graph);
        change
    }
}

fn change(before: Option<&Graph>, now: &Graph) -> Change {
    let (at_ms, range_ms, since_ms, lost) = (now.at_ms, now.range_ms, now.since_ms, now.lost);
    let same = Change { at_ms, range_ms, since_ms, lost, ..Change::default() };
    let Some(before) = before else {
        return Change { whole: true, nodes: now.nodes.clone(), edges: now.edges.clone(), ..same };
    };
    let mut nodes: HashMap<&str, &Node> =
        before.nodes.iter().map(|it| (it.id.as_str(), it)).collect();
    let mut edges: HashMap<&str, &GraphEdge> =
        before.edges.iter().map(|it| (it.id.as_str(), it)).collect();
    let new_nodes =
        now.nodes.iter().filter(|it| nodes.remove(it.id.as_str()) != Some(*it)).cloned();
    let new_edges =
        now.edges.iter().filter(|it| edges.remove(it.id.as_str()) != Some(*it)).cloned();
    let (new_nodes, new_edges) = (new_nodes.collect(), new_edges.collect());
    let gone = nodes.keys().chain(edges.keys()).map(ToString::to_string).collect();
    Change { nodes: new_nodes, edges: new_edges, gone, ..same }
}

const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use palisade_telemetry::history::NodeKind;

    use super::*;

    fn node(name: &str, version: &str) -> Node {
        Node {
            id: name.to_owned(),
            kind: NodeKind::App,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            workload: String::new(),
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        let graph = |nodes: &[Node]| Graph { nodes: nodes.to_vec(), ..Graph::default() };
        let before = graph(&[node("a", "v1"), node("b", "v1"), node("c", "v1")]);
        assert!(change(None, &before).whole);
        let now = change(Some(&before), &graph(&[node("a", "v1"), node("b", "v2")]));
        assert_eq!(now.nodes, [node("b", "v2")]);
        assert_eq!(now.gone, ["c"]);
        assert!(!now.whole);
    }
}
