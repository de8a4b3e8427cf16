//! What is known of a pod that runs here. Its workers change it, the status is derived from it.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};

/// A pod, as the node sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PodState {
    /// When a node took it first.
    pub started_at: Timestamp,
    /// Its address, once it is on the network.
    pub ip: Option<Ipv4Addr>,
    /// Init containers and sidecars.
    pub init: Vec<ContainerState>,
    /// Application containers.
    pub main: Vec<ContainerState>,
    /// Set when the pod has ended for another reason than its containers.
    pub failure: Option<Failure>,
    /// What to say if the pod asks for users that this machine can't give it.
    pub one_id: Option<String>,
    /// Whether the pod has ended or will not run again.
    pub is_over: bool,
}

/// Why a pod failed as a whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    /// A word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// A container, as the node sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ContainerState {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub phase: Phase,
    /// How it ended before.
    pub last: Option<Termination>,
    /// Id of its newest instance.
    pub id: Option<String>,
    /// What its image stands for.
    pub image_id: String,
    /// How often it was started again.
    pub restarts: i32,
    /// Whether its startup probe has succeeded.
    pub started: bool,
    /// Whether its readiness probe succeeds.
    pub ready: bool,
    /// Whether it runs beside the application though it is listed among init containers.
    pub is_sidecar: bool,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    /// Nothing yet, or not again yet.
    Waiting {
        /// A word such as `CrashLoopBackOff`.
        reason: String,
        /// A sentence.
        message: String,
    },
    /// It runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// It has ended.
    Terminated(Termination),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Termination {
    /// Exit code, 128 and more for a signal.
    pub exit_code: i32,
    /// `Completed`, `Error` or another word.
    pub reason: String,
    /// What there is to say.
    pub message: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Which instance it was.
    pub id: Option<String>,
}

impl PodState {
    /// A pod of which nothing runs yet.
    pub(crate) fn new(pod: &Pod, now: Timestamp) -> Self {
        let spec = pod.spec.as_ref();
        let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
        let main = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let has_init = !init.is_empty();
        let status = pod.status.as_ref();
        let former = status.into_iter().flat_map(|status| {
            let init = status.init_container_statuses.iter().flatten();
            init.chain(status.container_statuses.iter().flatten())
        });
        let former: Vec<_> = former.collect();
        let waiting = |containers: &[Container]| -> Vec<_> {
            let reason = if has_init { "PodInitializing" } else { "ContainerCreating" };
            let state = |container: &Container| {
                let former = former.iter().find(|status| status.name == container.name);
                ContainerState::new(container, reason, former.copied())
            };
            containers.iter().map(state).collect()
        };
        let former_start = status.and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        Self {
            started_at: former_start.unwrap_or(now),
            ip: None,
            init: waiting(init),
            main: waiting(main),
            failure: None,
            one_id: None,
            is_over: false,
        }
    }

    /// A container by its kind and position.
    pub(crate) fn container_mut(&mut self, place: Place) -> Option<&mut ContainerState> {
        match place {
            Place::Init(index) => self.init.get_mut(index),
            Place::Main(index) => self.main.get_mut(index),
        }
    }

    /// A container by its kind and position.
    pub(crate) fn container(&self, place: Place) -> Option<&ContainerState> {
        match place {
            Place::Init(index) => self.init.get(index),
            Place::Main(index) => self.main.get(index),
        }
    }
}

/// Where a container stands in its pod.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Place {
    /// Among the init containers.
    Init(usize),
    /// Among the application containers.
    Main(usize),
}

impl Place {
    /// The container at this place of a pod.
    pub(crate) fn of(self, pod: &Pod) -> Option<&Container> {
        let spec = pod.spec.as_ref()?;
        match self {
            Self::Init(index) => spec.init_containers.as_ref()?.get(index),
            Self::Main(index) => spec.containers.get(index),
        }
    }
}

/// Whether a container is a sidecar: an init container that is always restarted.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

impl ContainerState {
    /// `former` is what an earlier node has reported; its instance ended with that node.
    fn new(container: &Container, reason: &str, former: Option<&ContainerStatus>) -> Self {
        Self {
            name: container.name.clone(),
            phase: Phase::Waiting { reason: reason.to_owned(), message: String::new() },
            last: None,
            id: former.and_then(|former| former.container_id.clone()),
            image_id: String::new(),
            restarts: former.map_or(0, |former| former.restart_count),
            started: false,
            ready: false,
            is_sidecar: is_sidecar(container),
        }
    }

    /// How it ended, if it has ended and not been started since.
    pub(crate) fn termination(&self) -> Option<&Termination> {
        match &self.phase {
            Phase::Terminated(termination) => Some(termination),
            Phase::Waiting { .. } | Phase::Running { .. } => None,
        }
    }
}
