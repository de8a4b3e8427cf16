//! What the control plane says of itself, and the events of the mesh, for whoever watches both.

use std::cmp::Reverse;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::ListParams};
use serde::Serialize;
use serde_json::Value;

use crate::{CliError, Mesh, error::During};

/// The control plane, in its own words.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    /// Its version.
    pub version: String,
    /// Generation, and what is wrong with objects (`/debug/generation`).
    pub published: Value,
    /// Signer, roots and the step of their rotation (`/debug/ca`).
    pub authority: Value,
}

/// Something that happened to an object (`v1/Event`).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Happened {
    /// When, the last time (RFC 3339).
    pub time: String,
    /// Whether somebody should look at it.
    pub warning: bool,
    /// `KIND/NAME.NAMESPACE`.
    pub object: String,
    /// Why, in one word.
    pub reason: String,
    /// What, in a sentence.
    pub message: String,
    /// How often.
    pub count: i32,
}

/// Asks the control plane about itself.
///
/// # Errors
/// When API or control plane can't be reached or answer with an error.
pub async fn control_plane(mesh: &Mesh) -> Result<ControlPlane, CliError> {
    let (version, published, authority) = tokio::try_join!(
        mesh.control_version(),
        mesh.control("debug/generation"),
        mesh.control("debug/ca"),
    )?;
    Ok(ControlPlane { version: version.trim().to_owned(), published, authority })
}

/// The last events of all namespaces, so many at most, newest first.
///
/// # Errors
/// When the API can't be asked.
pub async fn events(mesh: &Mesh, most: usize) -> Result<Vec<Happened>, CliError> {
    let listed = Api::<Event>::all(mesh.client()).list(&ListParams::default()).await;
    let events = newest_first(listed.during("list events")?.items);
    Ok(events.into_iter().take(most).map(|(time, event)| happened(time, event)).collect())
}

/// Events whose time is known, newest first. Times are whole seconds; of one second, the one that was written last
/// comes first, and then it goes by name.
fn newest_first(events: Vec<Event>) -> Vec<(Timestamp, Event)> {
    let mut timed: Vec<_> =
        events.into_iter().filter_map(|event| Some((last_time(&event)?, event))).collect();
    timed.sort_by_cached_key(|(time, event)| {
        let version =
            event.metadata.resource_version.as_ref().and_then(|it| it.parse::<u64>().ok());
        let name = event.metadata.name.clone();
        (Reverse(*time), Reverse(version), event.metadata.namespace.clone(), name)
    });
    timed
}

fn last_time(event: &Event) -> Option<Timestamp> {
    let told = event.last_timestamp.as_ref().or(event.first_timestamp.as_ref()).map(|it| it.0);
    let told = told.or(event.event_time.as_ref().map(|it| it.0));
    told.or(event.metadata.creation_timestamp.as_ref().map(|it| it.0))
}

fn happened(time: Timestamp, event: Event) -> Happened {
    let of = event.involved_object;
    let name = [of.name, of.namespace].into_iter().flatten().collect::<Vec<_>>().join(".");
    Happened {
        time: time.to_string(),
        warning: event.type_.as_deref() == Some("Warning"),
        object: format!("{}/{name}", of.kind.unwrap_or_default()),
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
        count: event.count.unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn an_event_tells_when_it_last_happened_and_to_what() {
        let event = |more: Value| {
            let mut event = json!({
                "metadata": {"creationTimestamp": "2026-11-22T10:00:00Z"}, "type": "Warning",
                "involvedObject": {"kind": "Pod", "name": "api", "namespace": "shop"},
                "reason": "Unhealthy", "message": "no answer",
            });
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let event: Event = from_value(event).unwrap();
            happened(last_time(&event).unwrap(), event)
        };
        let last = event(json!({"count": 3, "lastTimestamp": "2026-11-22T10:05:00Z"}));
        assert_eq!((last.time.as_str(), last.count), ("2026-11-22T10:05:00Z", 3));
        assert_eq!((last.object.as_str(), last.warning), ("Pod/api.shop", true));
        let once = event(json!({"type": "Normal", "eventTime": "2026-11-22T10:01:00.000000Z"}));
        assert_eq!((once.time.as_str(), once.count), ("2026-11-22T10:01:00Z", 1));
        assert!(!once.warning);
        assert_eq!(event(json!({})).time, "2026-11-22T10:00:00Z");
    }

    #[test]
    fn events_of_one_second_have_one_order() {
        let event = |name: &str, time: &str, version: &str| -> Event {
            from_value(json!({
                "metadata": {"name": name, "resourceVersion": version},
                "lastTimestamp": time, "involvedObject": {},
            }))
            .unwrap()
        };
        let (early, late) = ("2026-11-22T10:05:00Z", "2026-11-22T10:06:00Z");
        let mut events = vec![
            event("last", late, "5"),
            event("later", early, "12"),
            event("earlier", early, "9"),
            event("a", early, ""),
            event("b", early, ""),
        ];
        let names = |events: Vec<Event>| -> Vec<String> {
            let ordered = newest_first(events).into_iter();
            ordered.filter_map(|(_, event)| event.metadata.name).collect()
        };
        let expected = ["last", "later", "earlier", "a", "b"];
        assert_eq!(names(events.clone()), expected);
        events.reverse();
        assert_eq!(names(events), expected);
    }
}
