//! The life of one pod: its sandbox and volumes, init containers in order with sidecars among
//! them, applications, and the end in the opposite order.

mod deadline;
mod refresh;
mod report;

use std::{future::pending, net::Ipv4Addr, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use palisade_sys::privilege::has_many_ids;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    address::Address,
    cluster::is_gone,
    container::{ContainerWorker, Handle, Stop, Turn},
    context::{Context, identity},
    events::Kind,
    sandbox::Sandbox,
    state::{Failure, Phase, Place, PodState, is_sidecar},
    volumes::Volumes,
};

/// What the node wants of a pod beyond what the object says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Order {
    /// That it runs.
    Run,
    /// That it ends soon, since the node ends. The object stays.
    Leave,
    /// That it is gone, as its object is.
    Vanish,
}

/// Why a pod ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// It is to end, and may take so long.
    Asked(Duration),
    /// All applications have ended for good.
    Done,
    /// It has run for longer than it may.
    Late,
}

/// What runs one pod.
pub(crate) struct PodWorker {
    context: Arc<Context>,
    pod: watch::Receiver<Arc<Pod>>,
    order: watch::Receiver<Order>,
    state: Arc<watch::Sender<PodState>>,
    containers: Vec<Handle>,
    sandbox: Option<Arc<Sandbox>>,
    tasks: JoinSet<()>,
}

impl PodWorker {
    pub(crate) fn new(
        context: Arc<Context>,
        pod: watch::Receiver<Arc<Pod>>,
        order: watch::Receiver<Order>,
    ) -> Self {
        let mut state = PodState::new(&pod.borrow(), Timestamp::now());
        state.one_id = (!has_many_ids()).then(|| one_id_warning(&pod.borrow())).flatten();
        Self {
            context,
            pod,
            order,
            state: Arc::new(watch::Sender::new(state)),
            containers: Vec::new(),
            sandbox: None,
            tasks: JoinSet::new(),
        }
    }

    /// Runs the pod until its object is to go or is gone, or the node ends.
    pub(crate) async fn run(mut self) {
        if has_ended(&self.pod.borrow()) {
            self.await_deletion().await;
            return self.remove_object().await;
        }
        let (context, pod) = (Arc::clone(&self.context), self.pod.clone());
        let reporter = report::Reporter::start(context, pod, self.state.subscribe());
        let (mut pod, mut order) = (self.pod.clone(), self.order.clone());
        let (mut limited, since) = (self.pod.clone(), self.state.borrow().started_at);
        let end = tokio::select! {
            grace = ending(&mut pod, &mut order) => End::Asked(grace),
            () = deadline::passed(&mut limited, since) => End::Late,
            () = self.live() => End::Done,
        };
        if let End::Asked(grace) = end {
            self.terminate(grace).await;
            self.tear_down().await;
        } else {
            let failure = (end == End::Late).then(|| self.exceed_deadline());
            self.terminate(self.own_grace()).await;
            self.state.send_modify(|state| (state.failure, state.is_over) = (failure, true));
            self.tear_down().await;
            self.await_deletion().await;
        }
        let order = *self.order.borrow();
        if order == Order::Run {
            self.state.send_modify(|state| state.is_over = true);
            reporter.finish().await;
            self.remove_object().await;
        }
        if order != Order::Leave {
            self.remove_logs();
        }
    }

    fn exceed_deadline(&self) -> Failure {
        let failure = Failure {
            reason: "DeadlineExceeded".to_owned(),
            message: "Pod was active on the node longer than the specified deadline".to_owned(),
        };
        let message = failure.message.clone();
        self.context.events.pod(&self.pod.borrow(), Kind::Normal, "DeadlineExceeded", message);
        failure
    }

    /// Starts everything and returns when all applications have ended for good.
    async fn live(&mut self) {
        self.warn_of_one_id();
        let address = self.take_address().await;
        let (sandbox, volumes) =
            tokio::join!(self.make_sandbox(&address), self.make_volumes(address.ip()));
        let (volumes, fresh) = volumes;
        let (sandbox, volumes) = (Arc::new(sandbox), Arc::new(volumes));
        self.sandbox = Some(Arc::clone(&sandbox));
        let (context, pod) = (Arc::clone(&self.context), self.pod.clone());
        self.tasks.spawn(refresh::keep_fresh(context, pod, Arc::clone(&volumes), fresh));
        if !self.initialize(&sandbox, &volumes).await {
            return;
        }
        let count = self.pod.borrow().spec.as_ref().map_or(0, |spec| spec.containers.len());
        self.update_waiting("ContainerCreating");
        for index in 0..count {
            // One after the other: whoever is listed first may prepare things for the next.
            self.start(Place::Main(index), &sandbox, &volumes).begun().await;
        }
        for container in &self.containers {
            if let Place::Main(_) = container.place {
                container.finished().await;
            }
        }
    }

    fn warn_of_one_id(&self) {
        if let Some(message) = self.state.borrow().one_id.clone() {
            self.context.events.pod(&self.pod.borrow(), Kind::Warning, "OneUserId", message);
        }
    }

    /// A pod that is started again, after the supervisor was, keeps its address if it can.
    async fn take_address(&self) -> Arc<Address> {
        let pod = self.pod.borrow().clone();
        let former = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok());
        loop {
            if let Some(address) = self.context.addresses.take(former) {
                return Arc::new(address);
            }
            let message = "Failed to create pod sandbox: no address is free".to_owned();
            self.context.events.pod(&pod, Kind::Warning, "FailedCreatePodSandBox", message);
            sleep(LONGEST_PAUSE).await;
        }
    }

    async fn make_sandbox(&self, address: &Arc<Address>) -> Sandbox {
        let mut pause = Duration::from_millis(100);
        loop {
            let pod = self.pod.borrow().clone();
            let directory = self.context.pod_directory(&pod).join("etc");
            let fabric = self.context.fabric.clone();
            let make = Sandbox::create(
                fabric,
                Arc::clone(address),
                Arc::clone(&pod),
                directory,
                self.context.cgroups.clone(),
            );
            match make.await {
                Ok(sandbox) => {
                    self.state.send_modify(|state| state.ip = Some(sandbox.ip()));
                    tracing::debug!(pod = sandbox.hostname, ip = %sandbox.ip(), "on the network");
                    return sandbox;
                }
                Err(error) => {
                    let message = format!("Failed to create pod sandbox: {error}");
                    let events = &self.context.events;
                    events.pod(&pod, Kind::Warning, "FailedCreatePodSandBox", message);
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Volumes, and how long they are good for. What a pod refers to may be made just after it,
    /// so the first tries follow each other fast.
    async fn make_volumes(&self, ip: Ipv4Addr) -> (Volumes, Duration) {
        let mut pause = Duration::from_millis(25);
        let directory = self.context.pod_directory(&self.pod.borrow()).join("volumes");
        let volumes = Volumes::new(directory, ip);
        loop {
            let pod = self.pod.borrow().clone();
            match volumes.set_up(&self.context.cluster, &pod).await {
                Ok(fresh) => {
                    tracing::debug!(pod = pod.metadata.name, "volumes are there");
                    return (volumes, fresh);
                }
                Err(error) if pause >= Duration::from_millis(400) => {
                    let events = &self.context.events;
                    events.pod(&pod, Kind::Warning, "FailedMount", error.to_string());
                }
                Err(_) => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Runs init containers one after the other; a sidecar is left running once it has started.
    /// False when one has failed for good.
    async fn initialize(&mut self, sandbox: &Arc<Sandbox>, volumes: &Arc<Volumes>) -> bool {
        let pod = self.pod.borrow().clone();
        let init = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
        for (index, container) in init.into_iter().flatten().enumerate() {
            let place = Place::Init(index);
            let mut state = self.state.subscribe();
            let handle = self.start(place, sandbox, volumes);
            if is_sidecar(container) {
                let started = state.wait_for(|state| {
                    state.container(place).is_some_and(|container| {
                        container.started && matches!(container.phase, Phase::Running { .. })
                    })
                });
                // The sender lives as long as this.
                let _ = started.await;
                continue;
            }
            handle.finished().await;
            let state = state.borrow();
            let end = state.container(place).and_then(|container| container.termination());
            if end.is_none_or(|end| end.exit_code != 0) {
                return false;
            }
        }
        true
    }

    fn start(&mut self, place: Place, sandbox: &Arc<Sandbox>, volumes: &Arc<Volumes>) -> &Handle {
        let (sender, stop) = watch::channel(None);
        let worker = ContainerWorker {
            context: Arc::clone(&self.context),
            pod: self.pod.clone(),
            place,
            state: Arc::clone(&self.state),
            sandbox: Arc::clone(sandbox),
            volumes: Arc::clone(volumes),
            stop,
            begun: CancellationToken::new(),
        };
        self.containers.push_mut(Handle::start(worker, sender))
    }

    /// Ends applications first, then sidecars, the last one first. Hooks of all are run at once.
    async fn terminate(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        let (pod, mut order) = (self.pod.borrow().clone(), self.order.clone());
        let is_beside = |handle: &&Handle| {
            matches!(handle.place, Place::Init(_)) && handle.place.of(&pod).is_some_and(is_sidecar)
        };
        let (sidecars, applications): (Vec<_>, Vec<_>) =
            self.containers.iter().partition(|handle| is_beside(handle));
        let end = async {
            applications.iter().for_each(|app| app.stop(Stop { deadline, turn: Turn::Now }));
            sidecars.iter().for_each(|side| side.stop(Stop { deadline, turn: Turn::Later }));
            for container in &applications {
                container.finished().await;
            }
            for sidecar in sidecars.iter().rev() {
                sidecar.stop(Stop { deadline, turn: Turn::Now });
                sidecar.finished().await;
            }
        };
        // Whatever the pod was told before: should the node end, it is sooner.
        let hurry = async {
            let leave = order.wait_for(|order| *order != Order::Run).await.map(|order| *order);
            let is_gone = leave.is_ok_and(|order| order == Order::Vanish);
            let grace = if is_gone { Duration::ZERO } else { LEAVE_GRACE };
            let stop = Stop { deadline: Instant::now() + grace, turn: Turn::Later };
            self.containers.iter().for_each(|container| container.stop(stop));
            pending::<()>().await;
        };
        tokio::select! {
            () = end => {}
            () = hurry => {}
        }
    }

    /// Gives back what the pod had of the machine.
    async fn tear_down(&mut self) {
        self.tasks.shutdown().await;
        self.containers.clear();
        let sandbox = self.sandbox.take();
        let directory = self.context.pod_directory(&self.pod.borrow());
        let removed = tokio::task::spawn_blocking(move || {
            drop(sandbox);
            let _ = std::fs::remove_dir_all(directory);
        });
        let _ = removed.await;
    }

    async fn await_deletion(&mut self) {
        let (mut pod, mut order) = (self.pod.clone(), self.order.clone());
        ending(&mut pod, &mut order).await;
    }

    async fn remove_object(&self) {
        if *self.order.borrow() != Order::Run {
            return;
        }
        let pod = self.pod.borrow().clone();
        let mut pause = Duration::from_millis(50);
        // Until it is gone; the node may end meanwhile, and does it after its next start.
        while let Err(error) = self.context.cluster.remove(&pod).await {
            if is_gone(&error) || *self.order.borrow() != Order::Run {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn remove_logs(&self) {
        let pod = self.pod.borrow();
        let (namespace, name, uid) = identity(&pod);
        let logs = self.context.logs().join(format!("{namespace}_{name}_{uid}"));
        let _ = std::fs::remove_dir_all(logs);
    }

    fn own_grace(&self) -> Duration {
        let pod = self.pod.borrow();
        let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        Duration::from_secs(seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(30))
    }

    fn update_waiting(&self, word: &str) {
        self.state.send_modify(|state| {
            for container in &mut state.main {
                if let Phase::Waiting { reason, .. } = &mut container.phase {
                    word.clone_into(reason);
                }
            }
        });
    }
}

/// Waits until a pod is to end; how long it may take.
async fn ending(
    pod: &mut watch::Receiver<Arc<Pod>>,
    order: &mut watch::Receiver<Order>,
) -> Duration {
    let deleted = async {
        let deleted = pod.wait_for(|pod| pod.metadata.deletion_timestamp.is_some()).await;
        let seconds = deleted.map(|pod| pod.metadata.deletion_grace_period_seconds);
        match seconds {
            Ok(seconds) => {
                let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
                Duration::from_secs(seconds.unwrap_or(30))
            }
            // Nobody tells of the object any more.
            Err(_) => pending().await,
        }
    };
    let ordered = async {
        match order.wait_for(|order| *order != Order::Run).await.map(|order| *order) {
            Ok(Order::Leave) => LEAVE_GRACE,
            _ => Duration::ZERO,
        }
    };
    tokio::select! {
        biased;
        grace = ordered => grace,
        grace = deleted => grace,
    }
}

fn one_id_warning(pod: &Pod) -> Option<String> {
    palisade_manifest::one_id_warning(&serde_json::to_value(pod).ok()?)
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What containers have when the node ends.
const LEAVE_GRACE: Duration = Duration::from_millis(1500);
