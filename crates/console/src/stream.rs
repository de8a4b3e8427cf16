//! Server-sent events that end when the console does.

use std::convert::Infallible;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream::BoxStream};
use tokio_util::sync::CancellationToken;

/// An answer of events.
pub(crate) type Events =
    Sse<axum::response::sse::KeepAliveStream<BoxStream<'static, Result<Event, Infallible>>>>;

pub(crate) fn until_shutdown(
    events: impl Stream<Item = Event> + Send + 'static,
    shutdown: CancellationToken,
) -> Events {
    let events = events.map(Ok).take_until(shutdown.cancelled_owned()).boxed();
    Sse::new(events).keep_alive(KeepAlive::default())
}
