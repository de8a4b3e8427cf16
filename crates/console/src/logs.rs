//! What containers write, live.

use axum::{
    Extension,
    extract::{Query, State},
    response::sse::Event,
};
use futures::{StreamExt, future::ready};
use tokio_util::sync::CancellationToken;

use crate::{
    server::App,
    stream::{Events, until_shutdown},
    view::{Line, LogsOf, ViewError},
};

/// Events `line`; the last is `end`, with the cause. A log that can't be read ends at once: pages that follow events
/// see of an error no more than that there is one.
pub(crate) async fn on_logs(
    State(app): State<App>,
    Extension(shutdown): Extension<CancellationToken>,
    Query(of): Query<LogsOf>,
) -> Result<Events, ViewError> {
    let place = app.log_reader().ok_or_else(|| {
        ViewError::No("too many logs are read at once: close another page".to_owned())
    })?;
    let lines = match app.view().logs(&of).await {
        Ok(lines) => lines,
        Err(error) => futures::stream::iter([Err(error.into_text())]).boxed(),
    };
    let end = futures::stream::iter([Err("the container has ended".to_owned())]);
    let until_end = |ended: &mut bool, line: Line| {
        let shown = !*ended;
        *ended |= line.is_err();
        ready(shown.then_some(line))
    };
    let events = lines.chain(end).scan(false, until_end).map(move |line| {
        let _held = &place;
        event(line)
    });
    Ok(until_shutdown(events, shutdown))
}

fn event(line: Line) -> Event {
    match line {
        Ok(mut line) => {
            line.truncate(line.floor_char_boundary(MAX_LINE));
            Event::default().event("line").data(line.replace(['\r', '\n'], " "))
        }
        Err(why) => Event::default().event("end").data(why.replace(['\r', '\n'], " ")),
    }
}

/// Bytes of a line that are shown.
const MAX_LINE: usize = 8 * 1024;
