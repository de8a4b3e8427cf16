//! Tells the control plane what happened: every second, and soon after something was refused. What can't be
//! told waits, is added up, and is told when there is a connection again.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use palisade_telemetry::{CertificateState, InForce, Reports, UnixMillis};
use palisade_wire::telemetry::{Ack, Batch, TelemetryServiceClient};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};
use tracing::{debug, warn};

use super::{Backoff, ControlError, authorized};
use crate::{ControlPlane, active::Active, shared::Shared};

/// How often is reported while there is something to tell.
const PERIOD: Duration = Duration::from_secs(1);

/// How long a refusal waits for others, so that a flood of them makes few reports.
const GATHER: Duration = Duration::from_millis(100);

/// How long an acknowledgement may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest wait between attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(15);

/// Why reports are not taken.
#[derive(Debug, Error)]
enum ReportError {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("the control plane refuses it: {}", .0.message())]
    Refused(Box<Status>),
    #[error("the report can't be written: {0}")]
    Unwritable(#[from] serde_json::Error),
    #[error("the stream of reports has ended")]
    Ended,
    #[error("no acknowledgement came")]
    Timeout,
}

impl From<Status> for ReportError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// Reports of this sidecar, whatever connection they go out on.
#[derive(Debug)]
pub(super) struct Reporter {
    control: ControlPlane,
    shared: Arc<Shared>,
    reports: Reports,
}

/// One stream of reports.
struct Line {
    say: mpsc::Sender<Batch>,
    hear: Streaming<Ack>,
}

impl Reporter {
    pub(super) fn new(control: ControlPlane, shared: Arc<Shared>) -> Self {
        let reports = Reports::new(Arc::clone(&shared.metrics), &shared.decisions, now());
        Self { control, shared, reports }
    }

    /// Reports on this connection until it is dropped, which loses nothing: what was not acknowledged is
    /// told again on the next one.
    pub(super) async fn report(&mut self, channel: &Channel) -> Infallible {
        let mut backoff = Backoff::up_to(LONGEST_BACKOFF);
        loop {
            let Err(error) = self.stream(channel, &mut backoff).await;
            if is_about_the_report(&error) {
                warn!(%error, "a report is lost: the control plane can't take it");
                self.reports.give_up();
            } else {
                debug!(%error, "no reports, trying again");
            }
            sleep(backoff.step()).await;
        }
    }

    async fn stream(
        &mut self,
        channel: &Channel,
        backoff: &mut Backoff,
    ) -> Result<Infallible, ReportError> {
        let (say, batches) = mpsc::channel(1);
        let request = authorized(&self.control, ReceiverStream::new(batches))?;
        let mut client = TelemetryServiceClient::new(channel.clone());
        let hear = client.report(request).await.map_err(ControlError::from)?.into_inner();
        let mut line = Line { say, hear };
        let mut periods = interval(PERIOD);
        periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = periods.tick() => {}
                () = self.reports.urgent() => sleep(GATHER).await,
                // Between reports nothing is to come but the end.
                ended = line.hear.message() => {
                    ended?;
                    return Err(ReportError::Ended);
                }
            }
            while self.tell(&mut line).await? {}
            backoff.reset();
        }
    }

    /// Sends what there is to tell and waits until it is taken. Whether there is more.
    async fn tell(&mut self, line: &mut Line) -> Result<bool, ReportError> {
        let in_force = in_force(&self.shared);
        let Some(report) = self.reports.next(now(), &in_force) else { return Ok(false) };
        let report = serde_json::to_vec(report).map(|json| (report.sequence, json))?;
        let (sequence, report) = (report.0, report.1.into());
        // A stream that has ended says why when it is listened to.
        let _ = line.say.send(Batch { sequence, report }).await;
        let answer = timeout(PATIENCE, line.hear.message()).await;
        let ack = answer.map_err(|_| ReportError::Timeout)??.ok_or(ReportError::Ended)?;
        Ok(self.reports.acknowledge(ack.sequence))
    }
}

/// Whether the same report would be refused for ever.
fn is_about_the_report(error: &ReportError) -> bool {
    match error {
        ReportError::Unwritable(_) => true,
        ReportError::Refused(status) => matches!(
            status.code(),
            Code::InvalidArgument | Code::OutOfRange | Code::ResourceExhausted
        ),
        ReportError::Control(_) | ReportError::Ended | ReportError::Timeout => false,
    }
}

fn in_force(shared: &Shared) -> InForce {
    InForce {
        generation: shared.active().as_deref().map_or(0, Active::generation),
        certificate: shared.credentials.load().map(|generation| {
            let facts = &generation.svid().facts;
            CertificateState {
                serial: facts.serial.clone(),
                not_before: facts.not_before.as_second(),
                not_after: facts.not_after.as_second(),
            }
        }),
    }
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
