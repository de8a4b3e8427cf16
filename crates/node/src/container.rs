//! The life of one container: started, probed, started again after a growing pause, stopped.

mod hooks;
mod instance;
mod prepare;
mod stop;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    context::{Context, identity},
    events::Kind,
    sandbox::Sandbox,
    state::{ContainerState, Phase, Place, PodState, Termination},
    volumes::Volumes,
};

pub(crate) use {
    instance::Ended,
    stop::{Stop, Turn},
};

/// What runs one container of a pod.
pub(crate) struct ContainerWorker {
    pub context: Arc<Context>,
    pub pod: watch::Receiver<Arc<Pod>>,
    pub place: Place,
    pub state: Arc<watch::Sender<PodState>>,
    pub sandbox: Arc<Sandbox>,
    pub volumes: Arc<Volumes>,
    pub stop: watch::Receiver<Option<Stop>>,
    /// Cancelled once the first attempt to start it is over, its first hook included.
    pub begun: CancellationToken,
}

/// The pod's end of a [`ContainerWorker`].
#[derive(Debug)]
pub(crate) struct Handle {
    pub place: Place,
    stop: watch::Sender<Option<Stop>>,
    begun: CancellationToken,
    finished: CancellationToken,
}

impl Handle {
    /// Starts a worker; `stop` is its channel's other end.
    pub(crate) fn start(worker: ContainerWorker, stop: watch::Sender<Option<Stop>>) -> Self {
        let finished = CancellationToken::new();
        let guard = finished.clone().drop_guard();
        let (place, begun) = (worker.place, worker.begun.clone());
        tokio::spawn(async move {
            worker.run().await;
            drop(guard);
        });
        Self { place, stop, begun, finished }
    }

    /// Tells the container to stop, or to stop sooner than it was told before.
    pub(crate) fn stop(&self, stop: Stop) {
        self.stop.send_modify(|current| {
            *current = Some(current.map_or(stop, |before| before.and(stop)));
        });
    }

    /// Waits until the first attempt to start it is over, its `postStart` hook included.
    pub(crate) async fn begun(&self) {
        tokio::select! {
            () = self.begun.cancelled() => {}
            () = self.finished.cancelled() => {}
        }
    }

    /// Waits until it has ended and will not be started again.
    pub(crate) async fn finished(&self) {
        self.finished.cancelled().await;
    }
}

impl ContainerWorker {
    async fn run(mut self) {
        let mut pause = Pause::default();
        loop {
            if !self.wait(pause.take()).await {
                return self.never_started();
            }
            let began = Instant::now();
            let outcome = self.attempt().await;
            self.begun.cancel();
            match outcome {
                Ok(ended) => {
                    let stopping = self.stop.borrow().is_some();
                    let code = ended.exit_code;
                    self.record(ended);
                    if stopping || !self.restarts_after(code) {
                        return;
                    }
                    pause.after_run(began.elapsed());
                    self.announce_pause(pause.next());
                }
                Err(problem) => {
                    pause.after_problem(problem.retry);
                    self.announce_problem(&problem);
                    if problem.reason == PULL_FAILED {
                        if !self.wait(PULL_FAILURE_SHOWN).await {
                            return self.never_started();
                        }
                        self.announce_pull_pause(&problem);
                    }
                }
            }
        }
    }

    /// Waits before the next attempt; false when told to stop.
    async fn wait(&mut self, pause: Duration) -> bool {
        if self.stop.borrow().is_some() {
            return false;
        }
        tokio::select! {
            () = sleep_until(Instant::now() + pause) => true,
            _ = self.stop.wait_for(Option::is_some) => false,
        }
    }

    async fn attempt(&mut self) -> Result<Ended, Problem> {
        let prepared = self.prepare().await?;
        self.run_instance(prepared).await
    }

    fn restarts_after(&self, code: i32) -> bool {
        restarts(&self.pod.borrow(), self.place, code)
    }

    fn update(&self, change: impl FnOnce(&mut ContainerState)) {
        self.state.send_if_modified(|state| {
            let Some(container) = state.container_mut(self.place) else { return false };
            let before = container.clone();
            change(container);
            *container != before
        });
    }

    fn record(&self, ended: Ended) {
        self.update(|container| {
            let termination = Termination {
                exit_code: ended.exit_code,
                reason: ended.reason().to_owned(),
                message: ended.message,
                started_at: ended.started_at,
                finished_at: Timestamp::now(),
                id: container.id.clone(),
            };
            container.phase = Phase::Terminated(termination);
            (container.started, container.ready) = (false, false);
        });
    }

    /// A pod that ends before a container began has that container as one that failed.
    fn never_started(&self) {
        self.update(|container| {
            if let Phase::Waiting { .. } = container.phase {
                let now = Timestamp::now();
                container.phase = Phase::Terminated(container.last.take().unwrap_or(Termination {
                    exit_code: 137,
                    reason: "ContainerStatusUnknown".to_owned(),
                    message: Some("The container was stopped before it started".to_owned()),
                    started_at: now,
                    finished_at: now,
                    id: None,
                }));
            }
        });
    }

    fn announce_pause(&self, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        let pod = self.pod.borrow().clone();
        let (namespace, name, uid) = identity(&pod);
        let container = self.name();
        let message = format!(
            "back-off {} restarting failed container={container} pod={name}_{namespace}({uid})",
            duration(pause)
        );
        self.update(|container| {
            if let Phase::Terminated(termination) = container.phase.clone() {
                container.last = Some(termination);
                container.phase = Phase::Waiting { reason: "CrashLoopBackOff".to_owned(), message };
            }
        });
        let message = format!(
            "Back-off restarting failed container {container} in pod {name}_{namespace}({uid})"
        );
        self.event(Kind::Warning, "BackOff", message);
    }

    fn announce_problem(&self, problem: &Problem) {
        self.update(|container| {
            container.phase = Phase::Waiting {
                reason: problem.reason.to_owned(),
                message: problem.message.clone(),
            };
        });
        self.event(Kind::Warning, "Failed", problem.message.clone());
    }

    /// The reason alternates, as on a cluster: why it failed, and that it will be tried again.
    fn announce_pull_pause(&self, problem: &Problem) {
        let image = self.place.of(&self.pod.borrow()).and_then(|own| own.image.clone());
        let pause = format!("Back-off pulling image \"{}\"", image.unwrap_or_default());
        self.update(|container| {
            container.phase = Phase::Waiting {
                reason: "ImagePullBackOff".to_owned(),
                message: format!("{pause}: {PULL_FAILED}: {}", problem.message),
            };
        });
        self.event(Kind::Normal, "BackOff", pause);
    }

    fn event(&self, kind: Kind, reason: &'static str, message: String) {
        let pod = self.pod.borrow().clone();
        let section = match self.place {
            Place::Init(_) => "initContainers",
            Place::Main(_) => "containers",
        };
        self.context.events.container(&pod, (section, &self.name()), kind, reason, message);
    }

    fn name(&self) -> String {
        let pod = self.pod.borrow();
        self.place.of(&pod).map(|container| container.name.clone()).unwrap_or_default()
    }
}

/// Whether a container is started again after it has ended with a code.
fn restarts(pod: &Pod, place: Place, code: i32) -> bool {
    let sidecar = place.of(pod).is_some_and(crate::state::is_sidecar);
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    match (policy.unwrap_or("Always"), place) {
        _ if sidecar => true,
        ("Never", _) => false,
        ("OnFailure", _) | (_, Place::Init(_)) => code != 0,
        _ => true,
    }
}

/// Why a container could not be started this time.
#[derive(Debug)]
pub(crate) struct Problem {
    reason: &'static str,
    message: String,
    retry: Retry,
}

/// How soon to try again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Retry {
    /// What is missing may appear any moment.
    Soon,
    /// As after a crash.
    BackOff,
}

/// Pauses before a container is started again: none the first time, then 10 s and twice as much
/// each time, up to 5 minutes, as on a cluster.
#[derive(Debug, Default)]
struct Pause {
    crashes: u32,
    problems: u32,
    next: Duration,
}

impl Pause {
    fn take(&mut self) -> Duration {
        std::mem::take(&mut self.next)
    }

    fn next(&self) -> Duration {
        self.next
    }

    fn after_run(&mut self, ran: Duration) {
        self.problems = 0;
        if ran >= FORGIVEN_AFTER {
            self.crashes = 0;
        }
        self.next = match self.crashes {
            0 => Duration::ZERO,
            crashes => (FIRST_PAUSE * 2_u32.saturating_pow(crashes - 1)).min(LONGEST_PAUSE),
        };
        self.crashes = (self.crashes + 1).min(16);
    }

    fn after_problem(&mut self, retry: Retry) {
        let first = if retry == Retry::Soon { Duration::from_millis(100) } else { FIRST_PAUSE };
        let longest = if retry == Retry::Soon { Duration::from_secs(5) } else { LONGEST_PAUSE };
        self.next = (first * 2_u32.saturating_pow(self.problems)).min(longest);
        self.problems = (self.problems + 1).min(16);
    }
}

/// As Go prints it: `10s`, `1m20s`.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

/// Reason of a container whose image can't be had.
const PULL_FAILED: &str = "ErrImagePull";

/// How long that reason is shown before the container is said to back off.
const PULL_FAILURE_SHOWN: Duration = Duration::from_secs(1);

const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_say_what_is_started_again() {
        let pod = |policy: &str| -> Pod {
            serde_json::from_value(serde_json::json!({"spec": {
                "restartPolicy": policy,
                "initContainers": [{"name": "setup"}, {"name": "side", "restartPolicy": "Always"}],
                "containers": [{"name": "app"}],
            }}))
            .unwrap()
        };
        let (setup, side, app) = (Place::Init(0), Place::Init(1), Place::Main(0));
        for (policy, place, after_success, after_failure) in [
            ("Always", app, true, true),
            ("OnFailure", app, false, true),
            ("Never", app, false, false),
            ("Always", setup, false, true),
            ("OnFailure", setup, false, true),
            ("Never", setup, false, false),
            ("Always", side, true, true),
            ("OnFailure", side, true, true),
            ("Never", side, true, true),
        ] {
            let pod = pod(policy);
            let found = (restarts(&pod, place, 0), restarts(&pod, place, 1));
            assert_eq!(found, (after_success, after_failure), "{policy} {place:?}");
        }
    }

    #[test]
    fn pauses_grow_as_on_a_cluster() {
        let mut pause = Pause::default();
        let mut seen = Vec::new();
        for ran in [1, 1, 1, 1, 1, 1, 1, 1, 700, 1] {
            pause.after_run(Duration::from_secs(ran));
            seen.push(duration(pause.take()));
        }
        assert_eq!(
            seen,
            ["0s", "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s", "0s", "10s"]
        );
        pause.after_problem(Retry::Soon);
        assert_eq!(pause.take(), Duration::from_millis(100));
        assert_eq!(pause.take(), Duration::ZERO);
    }
}
