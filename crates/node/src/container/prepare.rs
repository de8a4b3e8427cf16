//! What a container needs before it can be started: its image, environment, user and mounts.

use k8s_openapi::api::core::v1::{Container, Pod};
use palisade_sys::privilege::has_many_ids;

use super::{ContainerWorker, PULL_FAILED, Problem, Retry};
use crate::{
    cgroup::ContainerCgroups,
    env,
    events::Kind,
    image::{self, NOBODY, Resolved, Wanted},
    launch::Streams,
    limits::Limits,
    sandbox::SIDECAR,
    spec::{ContainerSpec, Privilege, ProcessSpec, RootSpec, Terminal},
    termination::TerminationMessage,
};

/// A container, ready to be started.
pub(crate) struct Prepared {
    pub spec: ContainerSpec,
    pub streams: Streams,
    pub container: Container,
    pub cgroups: ContainerCgroups,
    pub message: TerminationMessage,
}

impl ContainerWorker {
    pub(super) async fn prepare(&self) -> Result<Prepared, Problem> {
        let pod = self.pod.borrow().clone();
        let Some(container) = self.place.of(&pod).cloned() else {
            return Err(self.config_error("the container is not in the pod".to_owned()));
        };
        let variables = env::environment(&self.context, &pod, &container, self.sandbox.ip())
            .await
            .map_err(|error| self.config_error(error.to_string()))?;
        let resolved = self.resolve(&pod, &container, &variables)?;
        self.update(|state| state.image_id = resolved.id.to_owned());
        let image = container.image.as_deref().unwrap_or_default();
        let message = format!("Container image \"{image}\" already present on machine");
        self.event(Kind::Normal, "Pulled", message);
        let identity = has_many_ids()
            .then(|| user(&pod, &container, resolved.user))
            .transpose()
            .map_err(|message| self.config_error(message))?;
        let terminal = container.tty == Some(true);
        let cgroups = self.cgroups(&container)?;
        let process = ProcessSpec {
            command: resolved.command,
            env: self.whole_environment(variables.clone(), terminal),
            directory: container.working_dir.clone().unwrap_or_default().into(),
            identity,
            privilege: privilege(&container, resolved.id),
            terminal: if terminal { Terminal::Controlling } else { Terminal::None },
            cgroups: cgroups.doors(),
        };
        let declared = container.volume_mounts.as_deref().unwrap_or_default();
        let volumes = self.volumes.mounts(&pod, declared, &variables);
        let message = TerminationMessage::create(&self.context.pod_directory(&pod), &container)
            .map_err(|error| create_error(format!("can't make its termination log: {error}")))?;
        let said_in = message.mount_beside(&volumes);
        let spec = ContainerSpec {
            namespaces: self.sandbox.namespaces(),
            root: RootSpec {
                masked: vec![self.context.state_dir.clone()],
                mounts: self.sandbox.mounts().chain(said_in).chain(volumes).collect(),
                program: self.context.program.clone(),
            },
            process,
        };
        let streams = match (terminal, container.stdin == Some(true)) {
            (true, _) => Streams::Terminal,
            (false, true) => Streams::InputAndOutput,
            (false, false) => Streams::Output,
        };
        Ok(Prepared { spec, streams, container, cgroups, message })
    }

    fn cgroups(&self, container: &Container) -> Result<ContainerCgroups, Problem> {
        let Some(pod) = self.sandbox.cgroups() else { return Ok(ContainerCgroups::default()) };
        let made = pod.container(&container.name, Limits::of(container));
        made.map_err(|error| create_error(error.to_string()))
    }

    fn resolve(
        &self,
        pod: &Pod,
        container: &Container,
        variables: &[(String, String)],
    ) -> Result<Resolved, Problem> {
        let expand = |words: &Option<Vec<String>>| -> Vec<String> {
            let words = words.iter().flatten();
            words.map(|word| env::expand(word, variables)).collect()
        };
        let (command, args) = (expand(&container.command), expand(&container.args));
        let annotation = |key: &str| pod.metadata.annotations.as_ref()?.get(key);
        let own = annotation(&format!("{COMMAND}.{}", container.name));
        let first = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let is_first = first.is_some_and(|first| first.name == container.name);
        let wanted = Wanted {
            image: container.image.as_deref().unwrap_or_default(),
            command: &command,
            args: &args,
            override_with: own
                .or_else(|| annotation(COMMAND).filter(|_| is_first))
                .map(String::as_str),
        };
        image::resolve(wanted).map_err(|error| Problem {
            reason: PULL_FAILED,
            message: error.to_string(),
            retry: Retry::BackOff,
        })
    }

    fn whole_environment(
        &self,
        variables: Vec<(String, String)>,
        terminal: bool,
    ) -> Vec<(String, String)> {
        let default = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut all: Vec<_> = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/.palisade"),
            ("HOSTNAME", self.sandbox.hostname.as_str()),
            ("HOME", "/tmp"),
        ]
        .into_iter()
        .chain(terminal.then_some(("TERM", "xterm")))
        .map(default)
        .collect();
        all.retain(|(name, _)| !variables.iter().any(|(set, _)| set == name));
        all.extend(variables);
        all
    }

    fn config_error(&self, message: String) -> Problem {
        Problem { reason: "CreateContainerConfigError", message, retry: Retry::Soon }
    }
}

fn create_error(message: String) -> Problem {
    Problem { reason: "CreateContainerError", message, retry: Retry::BackOff }
}

/// User and group: the container's wish, the pod's, the image's. Root of a container is nobody
/// here, because the files it sees are the host's. What is not mapped is refused by name.
fn user(pod: &Pod, container: &Container, image: u32) -> Result<(u32, u32), String> {
    let of_container = container.security_context.as_ref();
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let uid = of_container
        .and_then(|context| context.run_as_user)
        .or_else(|| of_pod.and_then(|context| context.run_as_user));
    let gid = of_container
        .and_then(|context| context.run_as_group)
        .or_else(|| of_pod.and_then(|context| context.run_as_group));
    let uid = mapped("runAsUser", uid, image)?;
    Ok((uid, mapped("runAsGroup", gid, uid)?))
}

fn mapped(field: &str, id: Option<i64>, default: u32) -> Result<u32, String> {
    match id.map_or(Ok(default), u32::try_from) {
        Ok(0) => Ok(NOBODY),
        Ok(id) if id <= NOBODY => Ok(id),
        _ => Err(format!(
            "{field} {} is not on this machine: its containers have the ids up to {NOBODY}",
            id.unwrap_or_default()
        )),
    }
}

/// Only the sidecar's own program may set marks, not whatever calls itself that.
fn privilege(container: &Container, image: &str) -> Privilege {
    let own_program = image == image::PROXY && container.command.is_none();
    if container.name == SIDECAR && own_program { Privilege::NetworkAdmin } else { Privilege::None }
}

/// Annotation that names a program of this machine, for the first container or, with `.NAME`
/// appended, for the one of that name.
const COMMAND: &str = "palisade.dev/command";

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::state::Place;

    #[test]
    fn users_are_the_containers_or_the_pods_or_refused() {
        for (of_pod, of_container, expected) in [
            (json!({}), json!({}), Ok((7, 7))),
            (json!({"runAsUser": 1000}), json!({}), Ok((1000, 1000))),
            (json!({"runAsUser": 1000, "runAsGroup": 5}), json!({"runAsUser": 8}), Ok((8, 5))),
            (json!({"runAsUser": 0}), json!({"runAsGroup": 0}), Ok((NOBODY, NOBODY))),
            (json!({"runAsUser": 65534}), json!({}), Ok((NOBODY, NOBODY))),
            (json!({"runAsUser": 65535}), json!({}), Err("runAsUser 65535 is not on this machine")),
            (
                json!({}),
                json!({"runAsGroup": 1_000_680_000}),
                Err("runAsGroup 1000680000 is not on this machine"),
            ),
            (json!({}), json!({"runAsUser": -1}), Err("runAsUser -1 is not on this machine")),
        ] {
            let container = json!({"name": "c", "securityContext": of_container});
            let pod = json!({"spec": {"securityContext": of_pod, "containers": [container]}});
            let pod: Pod = from_value(pod).unwrap();
            let found = user(&pod, Place::Main(0).of(&pod).unwrap(), 7);
            match expected {
                Ok(ids) => assert_eq!(found, Ok(ids)),
                Err(start) => assert!(found.clone().unwrap_err().starts_with(start), "{found:?}"),
            }
        }
    }
}
