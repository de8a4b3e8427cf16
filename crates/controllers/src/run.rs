//! The loop: changes in, tasks out, a bounded number of them at a time.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::{
    action::Plan,
    execute::{Effect, Failure, Outcome, perform, words},
    objects::Kind,
    queue::Queue,
    task::{self, Task},
    watch,
    world::{Change, World},
};

/// Why the controllers cannot start.
#[derive(Debug, Error)]
pub enum RunError {
    /// The kubeconfig cannot be used.
    #[error("reading the kubeconfig `{path}`: {why}")]
    Kubeconfig {
        /// Its path.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Runs all controllers until `shutdown`.
///
/// # Errors
/// When the kubeconfig cannot be used. An API server that is away is waited for.
pub async fn run(kubeconfig: &Path, shutdown: CancellationToken) -> Result<(), RunError> {
    let client = client(kubeconfig).await?;
    let mut changes = watch::changes(&client);
    let mut controllers = Controllers::new(client);
    loop {
        let due = controllers.next_due();
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(change) = changes.next() => controllers.take(change),
            Some(done) = controllers.running.next() => controllers.finish(done),
            () = tokio::time::sleep_until(due.into()) => controllers.wake(),
        }
        controllers.start();
    }
}

async fn client(path: &Path) -> Result<Client, RunError> {
    let wrong = |why: String| RunError::Kubeconfig { path: path.to_owned(), why };
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| wrong(error.to_string()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| wrong(error.to_string()))?;
    Client::try_from(config).map_err(|error| wrong(error.to_string()))
}

/// A task that has been performed.
struct Done {
    task: Task,
    again: Option<Duration>,
    outcome: Outcome,
}

struct Controllers {
    client: Client,
    world: World,
    queue: Queue<Task>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    resync: Instant,
}

impl Controllers {
    fn new(client: Client) -> Self {
        Self {
            client,
            world: World::default(),
            queue: Queue::default(),
            running: FuturesUnordered::new(),
            resync: Instant::now() + RESYNC,
        }
    }

    fn take(&mut self, change: Change) {
        for task in self.world.take(change) {
            self.queue.add(task);
        }
    }

    fn next_due(&self) -> Instant {
        self.queue.next_due().map_or(self.resync, |due| due.min(self.resync))
    }

    /// A waiting task may be due; now and then everything is.
    fn wake(&mut self) {
        let now = Instant::now();
        if now >= self.resync {
            self.resync = now + RESYNC;
            for task in task::all(&self.world) {
                self.queue.add(task);
            }
        }
    }

    /// Starts what can be started.
    fn start(&mut self) {
        while self.world.is_complete() && self.running.len() < CONCURRENCY {
            let now = Instant::now();
            let Some(task) = self.queue.take(now) else { return };
            let Plan { actions, again } = task.plan(&self.world, Timestamp::now());
            if actions.is_empty() {
                self.queue.done(&task, again, now);
                continue;
            }
            let client = self.client.clone();
            self.running.push(Box::pin(async move {
                Done { task, again, outcome: perform(client, actions).await }
            }));
        }
    }

    fn finish(&mut self, done: Done) {
        let Done { task, again, outcome } = done;
        for effect in outcome.effects {
            let tasks = match effect {
                Effect::Applied(kind, object) => self.world.take(Change::Applied(kind, object)),
                Effect::Deleted(id, uid) => self.world.mark_deleted(&id, &uid, Timestamp::now()),
            };
            for task in tasks {
                self.queue.add(task);
            }
        }
        let now = Instant::now();
        self.note(&task, outcome.error.as_ref());
        match outcome.error {
            None => self.queue.done(&task, again, now),
            // What it waits for is watched, most likely.
            Some(Failure::Unfinished) => self.queue.done(&task, Some(UNFINISHED), now),
            Some(failure) => {
                log(&task, &failure);
                self.queue.failed(&task, now);
            }
        }
    }

    /// What keeps a ReplicaSet from its pods belongs into its status.
    fn note(&mut self, task: &Task, failure: Option<&Failure>) {
        let Task::ReplicaSet(id) = task else { return };
        match failure {
            Some(Failure::Create(Kind::Pod, error)) => {
                self.world.note_failure(id, Some(words(error)));
            }
            Some(_) => {}
            None => self.world.note_failure(id, None),
        }
    }
}

fn log(task: &Task, failure: &Failure) {
    match failure {
        Failure::Outdated | Failure::Unfinished => {
            tracing::debug!(?task, ?failure, "a task is tried again");
        }
        Failure::Create(_, error) | Failure::Other(error) => {
            tracing::warn!(?task, error = words(error), "a task failed and is tried again");
        }
    }
}

/// Tasks at a time: one that waits for a slow webhook must not hold up the others.
const CONCURRENCY: usize = 32;

/// How soon something unfinished is looked at without a cause.
const UNFINISHED: Duration = Duration::from_secs(1);

/// How often everything is looked at.
const RESYNC: Duration = Duration::from_secs(30);
