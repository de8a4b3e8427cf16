//! A pod's status, derived from what the node knows. Pure.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated,
        ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
        VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use palisade_net::GATEWAY;

use crate::state::{ContainerState, Phase, PodState, Termination};

/// The status to report; transition times are kept from `previous` where nothing changed.
pub(crate) fn status(
    pod: &Pod,
    state: &PodState,
    previous: &PodStatus,
    now: Timestamp,
) -> PodStatus {
    let spec = pod.spec.as_ref();
    let main = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let ip = |ip: Ipv4Addr| ip.to_string();
    PodStatus {
        phase: Some(phase(pod, state).to_owned()),
        reason: state.failure.as_ref().map(|failure| failure.reason.clone()),
        message: state.failure.as_ref().map(|failure| failure.message.clone()),
        host_ip: Some(ip(GATEWAY)),
        host_ips: Some(vec![HostIP { ip: ip(GATEWAY) }]),
        pod_ip: state.ip.map(ip),
        pod_ips: state.ip.map(|address| vec![PodIP { ip: ip(address) }]),
        start_time: Some(Time(state.started_at)),
        conditions: Some(conditions(pod, state, previous, now)),
        container_statuses: Some(containers(main, &state.main)),
        init_container_statuses: (!init.is_empty()).then(|| containers(init, &state.init)),
        qos_class: previous.qos_class.clone().or_else(|| Some("BestEffort".to_owned())),
        observed_generation: pod.metadata.generation,
        ..PodStatus::default()
    }
}

fn phase(pod: &Pod, state: &PodState) -> &'static str {
    if state.failure.is_some() {
        return "Failed";
    }
    if state.is_over {
        let failed = state.main.iter().chain(state.init.iter().filter(|init| !init.is_sidecar));
        let failed = failed.filter_map(ContainerState::termination).any(|end| end.exit_code != 0);
        return if failed { "Failed" } else { "Succeeded" };
    }
    let was_running = |container: &ContainerState| {
        !matches!(container.phase, Phase::Waiting { .. }) || container.last.is_some()
    };
    let one_main = state.main.iter().any(was_running);
    // Once all init containers are done, a pod runs even while a container backs off.
    let initialized = is_initialized(state) && pod.spec.is_some();
    if one_main && initialized { "Running" } else { "Pending" }
}

fn is_initialized(state: &PodState) -> bool {
    state.init.iter().all(|init| {
        if init.is_sidecar {
            init.started
        } else {
            init.termination().is_some_and(|end| end.exit_code == 0)
        }
    })
}

fn conditions(
    pod: &Pod,
    state: &PodState,
    previous: &PodStatus,
    now: Timestamp,
) -> Vec<PodCondition> {
    let unready = |containers: &[ContainerState]| -> Vec<String> {
        let unready = containers.iter().filter(|container| !container.ready);
        unready.map(|container| container.name.clone()).collect()
    };
    let sidecars: Vec<_> = state.init.iter().filter(|init| init.is_sidecar).cloned().collect();
    let uninitialized: Vec<_> = state
        .init
        .iter()
        .filter(|init| if init.is_sidecar { !init.started } else { init.termination().is_none() })
        .map(|init| init.name.clone())
        .collect();
    let waiting = [unready(&sidecars), unready(&state.main)].concat();
    let initialized = if state.is_over || is_initialized(state) {
        Verdict::True
    } else {
        Verdict::incomplete("ContainersNotInitialized", "incomplete", &uninitialized)
    };
    let ready = match (state.is_over, waiting.is_empty()) {
        (true, _) => Verdict::False { reason: "PodCompleted", message: None },
        (false, true) => Verdict::True,
        (false, false) => Verdict::incomplete("ContainersNotReady", "unready", &waiting),
    };
    let on_network = if state.ip.is_some() {
        Verdict::True
    } else {
        Verdict::False { reason: "", message: None }
    };
    let all = [
        ("PodReadyToStartContainers", on_network),
        ("Initialized", initialized),
        ("Ready", ready.clone()),
        ("ContainersReady", ready),
        ("PodScheduled", Verdict::True),
    ];
    let ids = state
        .one_id
        .clone()
        .map(|message| (USER_IDS, Verdict::False { reason: "OneUserId", message: Some(message) }));
    let condition = |(kind, verdict)| condition(kind, verdict, pod, previous, now);
    all.into_iter().chain(ids).map(condition).collect()
}

#[derive(Clone)]
enum Verdict {
    True,
    False { reason: &'static str, message: Option<String> },
}

impl Verdict {
    fn incomplete(reason: &'static str, what: &str, names: &[String]) -> Self {
        let message = format!("containers with {what} status: [{}]", names.join(" "));
        Self::False { reason, message: Some(message) }
    }
}

fn condition(
    kind: &str,
    verdict: Verdict,
    pod: &Pod,
    previous: &PodStatus,
    now: Timestamp,
) -> PodCondition {
    let (status, reason, message) = match verdict {
        Verdict::True => ("True", "", None),
        Verdict::False { reason, message } => ("False", reason, message),
    };
    let before = previous.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    let unchanged = before.filter(|before| before.status == status);
    let since = unchanged.and_then(|before| before.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
        message,
        last_transition_time: Some(since.unwrap_or(Time(now))),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    }
}

fn containers(specs: &[Container], states: &[ContainerState]) -> Vec<ContainerStatus> {
    let pairs = specs.iter().zip(states);
    pairs.map(|(spec, state)| container(spec, state)).collect()
}

fn container(spec: &Container, state: &ContainerState) -> ContainerStatus {
    let is_running = matches!(state.phase, Phase::Running { .. });
    let mounts = spec.volume_mounts.iter().flatten().map(|mount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: mount.read_only.filter(|&only| only).map(|_| "Disabled".to_owned()),
    });
    ContainerStatus {
        name: state.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        image_id: state.image_id.clone(),
        container_id: state.id.clone(),
        ready: state.ready,
        started: Some(is_running && state.started),
        restart_count: state.restarts,
        state: Some(api_state(&state.phase)),
        last_state: Some(state.last.as_ref().map(terminated).unwrap_or_default()),
        resources: spec.resources.clone(),
        volume_mounts: Some(mounts.collect()),
        ..ContainerStatus::default()
    }
}

fn api_state(phase: &Phase) -> ApiState {
    let mut state = ApiState::default();
    match phase {
        Phase::Waiting { reason, message } => {
            state.waiting = Some(ContainerStateWaiting {
                reason: Some(reason.clone()),
                message: (!message.is_empty()).then(|| message.clone()),
            });
        }
        Phase::Running { since } => {
            state.running = Some(ContainerStateRunning { started_at: Some(Time(*since)) });
        }
        Phase::Terminated(end) => return terminated(end),
    }
    state
}

fn terminated(end: &Termination) -> ApiState {
    ApiState {
        terminated: Some(ContainerStateTerminated {
            exit_code: end.exit_code,
            reason: Some(end.reason.clone()),
            message: end.message.clone(),
            started_at: Some(Time(end.started_at)),
            finished_at: Some(Time(end.finished_at)),
            container_id: end.id.clone(),
            ..ContainerStateTerminated::default()
        }),
        ..ApiState::default()
    }
}

/// Condition of a pod that asks for users where there is one; others have none of it.
const USER_IDS: &str = "palisade.dev/UserIds";

#[cfg(test)]
mod tests;
