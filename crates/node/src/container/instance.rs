//! One instance of a container, from its start to its end.

use std::{convert::Infallible, future::pending, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::time::{Instant, sleep};

use super::{ContainerWorker, Problem, Retry, prepare::Prepared};
use crate::{
    context::identity,
    events::Kind,
    launch::{self, LaunchError, Running},
    live::{ContainerKey, LiveContainer, Pump},
    probe::{self, Schedule, Tally, Target, Verdict},
    spec::ProcessSpec,
    state::Phase,
};

/// How an instance ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub exit_code: i32,
    pub started_at: Timestamp,
    pub message: Option<String>,
    /// Whether it was killed since it used more memory than it may.
    pub out_of_memory: bool,
}

impl Ended {
    pub(super) fn reason(&self) -> &'static str {
        match self.exit_code {
            0 => "Completed",
            _ if self.out_of_memory => "OOMKilled",
            _ => "Error",
        }
    }
}

impl ContainerWorker {
    /// Starts an instance and stays with it until it has ended.
    pub(super) async fn run_instance(&mut self, prepared: Prepared) -> Result<Ended, Problem> {
        let Prepared { spec, streams, container, cgroups, message } = prepared;
        let killed = cgroups.killed();
        let pod = self.pod.borrow().clone();
        let (namespace, name, _) = identity(&pod);
        let key = (namespace.to_owned(), name.to_owned(), container.name.clone());
        let started = launch::container(&self.context.program, &spec, streams).await;
        let mut running = started.map_err(|error| not_started(&error))?;
        self.event(Kind::Normal, "Created", "Container created".to_owned());
        let started_at = Timestamp::now();
        let instance = self.announce_running(&container, running.pid(), started_at);
        let pump = self.pump(&mut running, instance, &key, &container, &spec.process)?;
        self.event(Kind::Normal, "Started", "Container started".to_owned());
        tracing::debug!(pod = name, container = container.name, "started");
        let exit_code = self.attend(&mut running, &container, &spec.process).await;
        self.context.live.remove(&key);
        pump.finish().await;
        let out_of_memory = cgroups.killed() > killed;
        let log = self.context.log_directory(&pod, &container.name).file(instance);
        let message = message.read(exit_code, &log);
        Ok(Ended { exit_code, started_at, message, out_of_memory })
    }

    /// Notes that an instance runs; its number.
    fn announce_running(&self, container: &Container, pid: i32, since: Timestamp) -> i32 {
        let mut instance = 0;
        let name = &container.name;
        self.update(|state| {
            if state.id.is_some() {
                state.restarts += 1;
            }
            if let Phase::Terminated(termination) = &state.phase {
                state.last = Some(termination.clone());
            }
            instance = state.restarts;
            state.id = Some(format!("palisade://{name}-{pid}-{:x}", since.as_microsecond()));
            state.phase = Phase::Running { since };
            state.started = container.startup_probe.is_none() && !has_post_start(container);
            state.ready = state.started && container.readiness_probe.is_none();
        });
        instance
    }

    fn pump(
        &self,
        running: &mut Running,
        instance: i32,
        key: &ContainerKey,
        container: &Container,
        process: &ProcessSpec,
    ) -> Result<Pump, Problem> {
        let failed = |message: String| Problem {
            reason: "RunContainerError",
            message,
            retry: Retry::BackOff,
        };
        let pod = self.pod.borrow().clone();
        let log = self.context.log_directory(&pod, &container.name).begin(instance);
        let log = log.map_err(|error| failed(format!("can't write its log: {error}")))?;
        let growth = log.growth();
        let streams = running.streams.take().ok_or_else(|| failed("no streams".to_owned()))?;
        let pump = Pump::start(streams, log).map_err(|error| failed(error.to_string()))?;
        let live = LiveContainer {
            pid: running.pid(),
            process: process.clone(),
            output: pump.output.clone(),
            input: pump.input.clone().filter(|_| container.stdin == Some(true)),
            input_ends_with_first: container.stdin_once == Some(true),
            terminal: pump.terminal.clone(),
            log: growth,
        };
        self.context.live.insert(key.clone(), live);
        Ok(pump)
    }

    /// Probes, waits for the end and brings it about when asked; the exit code.
    async fn attend(
        &mut self,
        running: &mut Running,
        container: &Container,
        process: &ProcessSpec,
    ) -> i32 {
        let pid = running.pid();
        let mut stop = self.stop.clone();
        let deadline = tokio::select! {
            code = running.wait() => return code.unwrap_or(255),
            Ok(stop) = stop.wait_for(Option::is_some) => {
                let message = format!("Stopping container {}", container.name);
                self.event(Kind::Normal, "Killing", message);
                stop.map_or_else(Instant::now, |stop| stop.deadline)
            }
            unfit = self.watch_over(container, pid, process) => {
                self.event(Kind::Normal, "Killing", unfit.message(&container.name));
                Instant::now() + unfit.grace(container).unwrap_or_else(|| self.grace())
            }
        };
        self.update(|state| state.ready = false);
        self.end(running, (container, process), deadline).await
    }

    fn grace(&self) -> Duration {
        let pod = self.pod.borrow();
        let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        Duration::from_secs(seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(30))
    }

    /// Runs the first hook and then all probes; returns why the container must be ended.
    async fn watch_over(&self, container: &Container, pid: i32, process: &ProcessSpec) -> Unfit {
        if !self.post_start(container, (pid, process)).await {
            return Unfit::PostStart;
        }
        self.begun.cancel();
        self.probe(container, pid, process).await
    }

    /// Makes all probes; returns which one says that the container must be started again.
    async fn probe(&self, container: &Container, pid: i32, process: &ProcessSpec) -> Unfit {
        let prober = Prober { worker: self, container, pid, process };
        if let Some(startup) = &container.startup_probe {
            if prober.until_decided(startup, "Startup").await == Verdict::Failure {
                return Unfit::Startup;
            }
            let no_readiness = container.readiness_probe.is_none();
            self.update(|state| (state.started, state.ready) = (true, no_readiness));
            tracing::debug!(container = self.name(), "startup probe succeeded");
        }
        tokio::select! {
            () = prober.liveness(container.liveness_probe.as_ref()) => Unfit::Liveness,
            never = prober.readiness(container.readiness_probe.as_ref()) => match never {},
        }
    }
}

/// Why a container that runs is ended though nobody asked for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unfit {
    Liveness,
    PostStart,
    Startup,
}

impl Unfit {
    fn message(self, name: &str) -> String {
        match self {
            Self::Liveness => format!("Container {name} failed liveness probe, will be restarted"),
            Self::PostStart => "FailedPostStartHook".to_owned(),
            Self::Startup => format!("Container {name} failed startup probe, will be restarted"),
        }
    }

    /// How long the container has to end, if the probe says so itself.
    fn grace(self, container: &Container) -> Option<Duration> {
        let probe = match self {
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::PostStart => None,
            Self::Startup => container.startup_probe.as_ref(),
        };
        let seconds = probe?.termination_grace_period_seconds?;
        Some(Duration::from_secs(u64::try_from(seconds).ok()?))
    }
}

fn has_post_start(container: &Container) -> bool {
    container.lifecycle.as_ref().is_some_and(|hooks| hooks.post_start.is_some())
}

struct Prober<'a> {
    worker: &'a ContainerWorker,
    container: &'a Container,
    pid: i32,
    process: &'a ProcessSpec,
}

impl Prober<'_> {
    async fn until_decided(&self, probe: &Probe, kind: &str) -> Verdict {
        let mut verdict = None;
        self.each(probe, kind, true, |result| {
            verdict = result;
            result.is_none()
        })
        .await;
        verdict.unwrap_or(Verdict::Failure)
    }

    /// Returns when the container is found dead.
    async fn liveness(&self, probe: Option<&Probe>) {
        let Some(probe) = probe else { return pending().await };
        self.each(probe, "Liveness", false, |verdict| verdict != Some(Verdict::Failure)).await;
    }

    async fn readiness(&self, probe: Option<&Probe>) -> Infallible {
        let Some(probe) = probe else { return pending().await };
        self.each(probe, "Readiness", true, |verdict| {
            if let Some(verdict) = verdict {
                self.worker.update(|state| state.ready = verdict == Verdict::Success);
            }
            true
        })
        .await;
        pending().await
    }

    /// Probes until `go_on` says no.
    async fn each(
        &self,
        probe: &Probe,
        kind: &str,
        at_start: bool,
        mut go_on: impl FnMut(Option<Verdict>) -> bool,
    ) {
        let schedule = Schedule::new(probe, at_start);
        let limit = schedule.timeout();
        let target = Target::new(probe, self.container, self.worker.sandbox.ip());
        let mut tally = Tally::new(schedule, Instant::now());
        sleep(tally.delay()).await;
        loop {
            let program = &self.worker.context.program;
            let result = probe::check(&target, limit, program, (self.pid, self.process)).await;
            let now = Instant::now();
            let counted = tally.count(result.is_ok(), now);
            let event = |reason, message| self.worker.event(Kind::Warning, reason, message);
            match result {
                Err(seen) if tally.just_counted(now) => {
                    event("Unhealthy", format!("{kind} probe failed: {seen}"));
                }
                Ok(Some(odd)) => event("ProbeWarning", format!("{kind} probe warning: {odd}")),
                Ok(None) | Err(_) => {}
            }
            if !go_on(counted) {
                return;
            }
            sleep(tally.pause(now)).await;
        }
    }
}

fn not_started(error: &LaunchError) -> Problem {
    Problem { reason: "RunContainerError", message: error.to_string(), retry: Retry::BackOff }
}
