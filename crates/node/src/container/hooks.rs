//! `postStart` and `preStop`: what a container is told at its start and before its end.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use tokio::time::{Instant, sleep};

use super::ContainerWorker;
use crate::{
    events::Kind,
    probe::{self, Target},
    spec::ProcessSpec,
};

impl ContainerWorker {
    /// Runs the hook after a start, if there is one; false when it failed.
    pub(super) async fn post_start(
        &self,
        container: &Container,
        process: (i32, &ProcessSpec),
    ) -> bool {
        let hook = container.lifecycle.as_ref().and_then(|hooks| hooks.post_start.as_ref());
        let Some(hook) = hook else { return true };
        let outcome = self.run_hook(hook, container, process, NO_LIMIT).await;
        if let Err(why) = outcome {
            self.failed("FailedPostStartHook", "PostStartHook", &why);
            return false;
        }
        self.update(|state| {
            state.started = container.startup_probe.is_none();
            state.ready = state.started && container.readiness_probe.is_none();
        });
        true
    }

    /// Runs the hook before the end, if there is one, for as long as there is time.
    pub(super) async fn pre_stop(
        &self,
        container: &Container,
        process: (i32, &ProcessSpec),
        deadline: Instant,
    ) {
        let hook = container.lifecycle.as_ref().and_then(|hooks| hooks.pre_stop.as_ref());
        let Some(hook) = hook else { return };
        let limit = deadline.duration_since(Instant::now());
        if let Err(why) = self.run_hook(hook, container, process, limit).await {
            self.failed("FailedPreStopHook", "PreStopHook", &why);
        }
    }

    async fn run_hook(
        &self,
        hook: &LifecycleHandler,
        container: &Container,
        process: (i32, &ProcessSpec),
        limit: Duration,
    ) -> Result<(), String> {
        if let Some(pause) = &hook.sleep {
            sleep(Duration::from_secs(u64::try_from(pause.seconds).unwrap_or(0))).await;
            return Ok(());
        }
        let target = Target::of_hook(hook, container, self.sandbox.ip());
        probe::check(&target, limit, &self.context.program, process).await.map(drop)
    }

    fn failed(&self, reason: &'static str, hook: &str, why: &str) {
        let separator = if why.is_empty() { "" } else { ": " };
        self.event(Kind::Warning, reason, format!("{hook} failed{separator}{why}"));
    }
}

/// Only its container's end ends a hook after the start, as on a cluster.
const NO_LIMIT: Duration = Duration::from_secs(1 << 30);
