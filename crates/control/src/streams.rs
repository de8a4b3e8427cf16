//! Configuration streams: each sidecar is sent the whole config of its pod when it changes, the
//! newest only, and says what it made of it.
//!
//! Per stream: who is it (token), which pod (the one that the token is bound to), then nothing but
//! waiting for a change, room to send, and answers.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use palisade_types::WorkloadRef;
use palisade_wire::config::{
    Acknowledge, ClientMessage, Config, ConfigService, Message, Subscribe,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    authenticate::Caller,
    fleet::{Connection, Fleet},
    gate::{Gate, Wanted},
    index::{Feed, Published},
    metrics::Metrics,
};

/// The configuration service; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    pub(crate) gate: Gate,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) published: watch::Receiver<Arc<Published>>,
    pub(crate) feed: mpsc::Sender<Feed>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl ConfigService for Streams {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<Config, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let caller = self.gate.caller(&request, Wanted::Configuration).await?;
        let (send, configs) = mpsc::channel(1);
        let streams = self.clone();
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            let serving = streams.serve(&caller, request.into_inner(), &send);
            let end = shutdown.run_until_cancelled(serving).await;
            let status = match end {
                Some(Ok(())) => return,
                Some(Err(status)) => status,
                None => Status::unavailable("the control plane stops"),
            };
            tracing::info!(
                namespace = caller.namespace,
                pod = caller.pod,
                reason = status.message(),
                "stream ended"
            );
            // A client that does not read learns it from the closed stream.
            let _ = timeout(FAREWELL, send.send(Err(status))).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(configs))))
    }
}

impl Streams {
    /// Serves one stream until its client, its age or a newer stream ends it.
    async fn serve(
        &self,
        caller: &Caller,
        mut messages: Streaming<ClientMessage>,
        configs: &mpsc::Sender<Result<Config, Status>>,
    ) -> Result<(), Status> {
        let subscribe = first_message(&mut messages).await?;
        let workload = subscribed(caller, &subscribe)?;
        self.outgrow(subscribe.generation).await;
        let connection =
            self.fleet.connect(&workload, subscribe.version.clone(), subscribe.generation);
        tracing::info!(%workload, version = subscribe.version, generation = subscribe.generation, "sidecar connected");
        let one = One { streams: self, caller, workload, connection };
        let end = one.run(messages, configs).await;
        self.fleet.disconnect(&one.connection);
        end
    }

    /// Waits until generations are greater than one of an earlier life of the control plane, so that
    /// they only grow in the sidecar's eyes.
    async fn outgrow(&self, generation: u64) {
        let mut published = self.published.clone();
        let grown = |it: &Arc<Published>| it.snapshot.generation() >= generation;
        if !grown(&published.borrow()) && self.feed.send(Feed::Generation(generation)).await.is_ok()
        {
            // A number that nobody can have been given is not waited for.
            let _ = timeout(OUTGROW, published.wait_for(grown)).await;
        }
    }
}

/// One stream.
struct One<'a> {
    streams: &'a Streams,
    caller: &'a Caller,
    workload: WorkloadRef,
    connection: Connection,
}

impl One<'_> {
    async fn run(
        &self,
        mut messages: Streaming<ClientMessage>,
        configs: &mpsc::Sender<Result<Config, Status>>,
    ) -> Result<(), Status> {
        let mut published = self.streams.published.clone();
        let old = Instant::now() + MAX_AGE;
        let mut next = self.next(&published.borrow_and_update().clone())?;
        loop {
            // Every branch may be dropped half-way: each waits for one event and keeps no state.
            tokio::select! {
                () = self.connection.replaced.cancelled() => {
                    return Err(Status::aborted("a newer stream of the pod took this one's place"));
                }
                () = sleep_until(old) => {
                    return Err(Status::aborted("the stream is old: connect again with a fresh token"));
                }
                changed = published.changed() => {
                    changed.map_err(|_| Status::unavailable("the control plane stops"))?;
                    next = self.next(&published.borrow_and_update().clone())?;
                }
                room = configs.reserve(), if next.is_some() => {
                    let room = room.map_err(|_| Status::cancelled("the client is gone"))?;
                    if let Some(published) = next.take() {
                        room.send(Ok(self.config(&published)?));
                    }
                }
                message = messages.message() => match message? {
                    Some(message) => self.answer(message, &published.borrow().clone())?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// The mesh, if there is something to send of it.
    fn next(&self, published: &Arc<Published>) -> Result<Option<Arc<Published>>, Status> {
        let Some(sent) = self.streams.fleet.last_sent(&self.connection) else {
            return Ok(None);
        };
        match published.changed_in.get(&self.workload) {
            Some(changed) if *changed > sent => Ok(Some(Arc::clone(published))),
            None if sent > 0 => Err(Status::not_found("the pod is gone")),
            // Nothing new, or its pod was not seen yet.
            Some(_) | None => Ok(None),
        }
    }

    fn config(&self, published: &Published) -> Result<Config, Status> {
        let config = published
            .snapshot
            .proxy_config(&self.workload)
            .ok_or_else(|| Status::not_found("the pod is gone"))?;
        if config.workload.identity.service_account() != self.caller.service_account {
            let message = "the token is not of the pod's service account";
            return Err(Status::permission_denied(message));
        }
        let json = serde_json::to_vec(&config)
            .map_err(|error| Status::internal(format!("the config can't be written: {error}")))?;
        let hash = palisade_pki::sha256_text(&json);
        self.streams.fleet.sent(&self.connection, config.generation, hash);
        self.streams.metrics.pushes.add(1);
        tracing::debug!(workload = %self.workload, generation = config.generation, bytes = json.len(), "config sent");
        Ok(Config { generation: config.generation, proxy_config: json.into() })
    }

    fn answer(&self, message: ClientMessage, published: &Published) -> Result<(), Status> {
        let Acknowledge { generation, error } = match message.message {
            Some(Message::Acknowledge(acknowledge)) => acknowledge,
            Some(Message::Credential(credential)) => {
                self.streams.fleet.presents(&self.connection, credential);
                return Ok(());
            }
            Some(Message::Subscribe(_)) | None => {
                return Err(Status::invalid_argument("only the first message subscribes"));
            }
        };
        if !self.streams.fleet.answered(&self.connection, generation, &error) {
            return Err(Status::invalid_argument("acknowledges a config that was not sent"));
        }
        if error.is_empty() {
            let current = published.changed_in.get(&self.workload) == Some(&generation);
            if current && published.snapshot.generation() == generation {
                self.streams.metrics.converged(published.at.elapsed());
            }
            tracing::debug!(workload = %self.workload, generation, "config in force");
        } else {
            self.streams.metrics.refused_configs.add(1);
            tracing::error!(workload = %self.workload, generation, error, "the sidecar refused its config");
        }
        Ok(())
    }
}

async fn first_message(messages: &mut Streaming<ClientMessage>) -> Result<Subscribe, Status> {
    let first = timeout(PATIENCE, messages.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no subscription came"))??;
    match first.and_then(|message| message.message) {
        Some(Message::Subscribe(subscribe)) => Ok(subscribe),
        _ => Err(Status::invalid_argument("the first message must subscribe")),
    }
}

/// The pod that a sidecar asks for, if it is the one that its token is bound to.
fn subscribed(caller: &Caller, subscribe: &Subscribe) -> Result<WorkloadRef, Status> {
    let bound = caller.pod.as_deref().ok_or_else(|| {
        Status::permission_denied("the token is bound to no pod: use a projected token")
    })?;
    if subscribe.namespace != caller.namespace || subscribe.pod != bound {
        return Err(Status::permission_denied(format!(
            "the token is bound to pod `{bound}` of `{}`, the subscription names `{}` of `{}`",
            caller.namespace, subscribe.pod, subscribe.namespace
        )));
    }
    Ok(WorkloadRef::new(&subscribe.namespace, &subscribe.pod))
}

/// How long a client may take to subscribe.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of a stream waits for a client that does not read.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a first config waits for the generations to outgrow an earlier life's.
const OUTGROW: Duration = Duration::from_millis(500);
/// After this a client must show that its token is still good (Istio's connection age).
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests;
