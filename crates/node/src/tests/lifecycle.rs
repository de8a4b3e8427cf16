//! Hooks, grace periods, deadlines and the order of ends, with real processes.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Event;
use kube::{
    Api,
    api::{AttachParams, DeleteParams, ListParams},
};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::machine::{Machine, on_machine, shell};

/// A container that writes what happens to it to a file that its pod shares.
fn teller(name: &str, script: &str, lifecycle: Value) -> Value {
    let mut container = shell(name, script);
    container["volumeMounts"] = json!([{ "name": "shared", "mountPath": "/shared" }]);
    container["lifecycle"] = lifecycle;
    container
}

/// On SIGTERM says so and ends.
fn says_goodbye(name: &str) -> String {
    format!(
        "trap 'echo {name} TERM >> /shared/told; exit 0' TERM; touch /tmp/trapped; \
         echo {name} >> /shared/told; while :; do sleep 0.05; done"
    )
}

/// Asks whether a container's script has come so far that it hears SIGTERM.
fn has_trapped() -> Value {
    json!({ "exec": { "command": ["test", "-e", "/tmp/trapped"] },
            "periodSeconds": 1, "failureThreshold": 60 })
}

/// A sidecar that is there to the end, and until what the others told has been read in it.
fn witness() -> Value {
    let stays = "trap 'touch /shared/over' TERM; until test -e /shared/read; do sleep 0.05; done";
    let mut witness = teller("witness", stays, json!(null));
    witness["restartPolicy"] = json!("Always");
    witness
}

fn tells(line: &str) -> Value {
    json!({ "exec": { "command": ["sh", "-c", format!("echo {line} >> /shared/told")] } })
}

impl Machine {
    /// What the pod's containers have told by the time it is gone.
    async fn told_until_gone(&self, name: &str) -> String {
        let parameters = AttachParams::default().container("witness").stderr(false);
        let reads = "until test -e /shared/over; do sleep 0.05; done; \
                     cat /shared/told; touch /shared/read";
        let mut reader = self.pods().exec(name, ["sh", "-c", reads], &parameters).await.unwrap();
        self.pods().delete(name, &DeleteParams::default()).await.unwrap();
        let mut told = String::new();
        let _ = reader.stdout().unwrap().read_to_string(&mut told).await;
        self.wait_gone(name).await;
        told
    }

    /// Messages of a pod's events of a reason.
    async fn events(&self, pod: &str, reason: &str) -> Vec<String> {
        let selector = format!("involvedObject.name={pod},reason={reason}");
        let api = Api::<Event>::namespaced(self.client.clone(), "default");
        let list = api.list(&ListParams::default().fields(&selector)).await.unwrap();
        list.items.into_iter().filter_map(|event| event.message).collect()
    }

    async fn wait_event(&self, pod: &str, reason: &str) -> String {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(message) = self.events(pod, reason).await.pop() {
                return message;
            }
            assert!(Instant::now() < give_up, "{pod} never had the event {reason}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Seconds that no end takes on a busy machine, and all would that forgot their grace period: they
/// would wait for the default one, or for a hook that takes longer.
const SOON: f64 = 25.0;

#[test]
fn hooks_run_at_once_and_sidecars_end_last() {
    on_machine("lifecycle", "hooks_run_at_once_and_sidecars_end_last", async |machine| {
        let hooks = |name: &str| {
            json!({ "postStart": tells(&format!("{name} postStart")),
                    "preStop": tells(&format!("{name} preStop")) })
        };
        let side = |name: &str| {
            let mut side =
                teller(name, &says_goodbye(name), json!({ "preStop": tells("side preStop") }));
            side["restartPolicy"] = json!("Always");
            side
        };
        let mut app = teller("app", &says_goodbye("app"), hooks("app"));
        app["readinessProbe"] = has_trapped();
        let spec = json!({
            "volumes": [{ "name": "shared", "emptyDir": {} }],
            "initContainers": [witness(), side("first"), side("second")],
            "containers": [app],
        });
        machine.create("hooked", spec).await;
        machine.wait_ready("hooked").await;
        let told = machine.told_until_gone("hooked").await;
        let lines: Vec<&str> = told.lines().collect();
        let at = |line: &str| {
            lines.iter().position(|told| *told == line).unwrap_or_else(|| panic!("{line}: {told}"))
        };
        assert!(at("app preStop") < at("app TERM"), "{told}");
        assert!(at("app postStart") < at("app preStop"), "{told}");
        assert!(lines.iter().filter(|line| **line == "side preStop").count() == 2, "{told}");
        let ends: Vec<&str> = told.lines().filter(|line| line.ends_with("TERM")).collect();
        assert_eq!(ends, ["app TERM", "second TERM", "first TERM"], "{told}");
        machine.stop().await;
    });
}

#[test]
fn the_grace_period_covers_the_hook_and_then_ends() {
    on_machine("lifecycle", "the_grace_period_covers_the_hook_and_then_ends", async |machine| {
        let stubborn = "trap 'echo TERM >> /shared/told' TERM; touch /tmp/trapped; \
                        while :; do sleep 0.05; done";
        let pod = |grace: u32, pre_stop: Value| {
            let mut app = teller("app", stubborn, json!({ "preStop": pre_stop }));
            app["readinessProbe"] = has_trapped();
            json!({
                "terminationGracePeriodSeconds": grace,
                "volumes": [{ "name": "shared", "emptyDir": {} }],
                "initContainers": [witness()],
                "containers": [app],
            })
        };
        machine.create("stubborn", pod(1, json!({ "sleep": { "seconds": 0 } }))).await;
        machine.create("slow", pod(2, json!({ "sleep": { "seconds": 60 } }))).await;
        machine.create("forced", pod(60, json!({ "sleep": { "seconds": 60 } }))).await;
        let wrong = json!({ "httpGet": { "port": 1 } });
        machine.create("wrong", pod(1, wrong)).await;
        for (name, least) in [("stubborn", 1.0), ("slow", 3.9), ("wrong", 1.0)] {
            machine.wait_ready(name).await;
            let began = Instant::now();
            let told = machine.told_until_gone(name).await;
            let took = began.elapsed().as_secs_f64();
            assert!((least..SOON).contains(&took), "{name} took {took}");
            assert_eq!(told, "TERM\n", "{name}");
        }
        let failed = machine.wait_event("wrong", "FailedPreStopHook").await;
        assert!(failed.starts_with("PreStopHook failed: "), "{failed}");
        machine.wait_ready("forced").await;
        let began = Instant::now();
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        machine.pods().delete("forced", &now).await.unwrap();
        machine.wait_gone("forced").await;
        assert!(began.elapsed().as_secs_f64() < SOON, "{:?}", began.elapsed());
        machine.stop().await;
    });
}

#[test]
fn a_failed_start_hook_ends_the_container() {
    on_machine("lifecycle", "a_failed_start_hook_ends_the_container", async |machine| {
        let mut app = shell("app", "exec sleep 600");
        app["lifecycle"] =
            json!({ "postStart": { "exec": { "command": ["sh", "-c", "echo no >&2; exit 1"] } } });
        machine.create("unfit", json!({ "restartPolicy": "Never", "containers": [app] })).await;
        let pod = machine.wait_phase("unfit", "Failed").await;
        assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 137);
        assert_eq!(
            machine.wait_event("unfit", "FailedPostStartHook").await,
            "PostStartHook failed: no"
        );
        assert_eq!(machine.wait_event("unfit", "Killing").await, "FailedPostStartHook");
        machine.stop().await;
    });
}

#[test]
fn containers_start_one_after_the_other() {
    on_machine("lifecycle", "containers_start_one_after_the_other", async |machine| {
        let slow = json!({ "postStart": { "exec": { "command": [
            "sh", "-c", "sleep 1; echo first postStart >> /shared/told",
        ] } } });
        let unfit =
            json!({ "postStart": { "exec": { "command": ["sh", "-c", "sleep 1; exit 1"] } } });
        let says = |name: &str| format!("echo {name} >> /shared/told; exec sleep 600");
        let containers = [
            teller("first", &says("first"), slow),
            teller("second", "exec sleep 600", unfit),
            teller("third", &says("third"), json!(null)),
        ];
        let spec = json!({
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "volumes": [{ "name": "shared", "emptyDir": {} }],
            "initContainers": [witness()],
            "containers": containers,
        });
        machine.create("ordered", spec).await;
        let pod = machine
            .wait("ordered", "running", |pod| {
                pod["status"]["containerStatuses"][2]["ready"] == true
            })
            .await;
        let second = &pod["status"]["containerStatuses"][1]["state"]["terminated"];
        assert_ne!(second["exitCode"], 0, "killed before the third was started: {second}");
        assert_eq!(
            machine.wait_event("ordered", "FailedPostStartHook").await,
            "PostStartHook failed"
        );
        assert_eq!(machine.told_until_gone("ordered").await, "first\nfirst postStart\nthird\n");
        machine.stop().await;
    });
}

#[test]
fn pods_end_by_their_deadline_or_with_their_applications() {
    let name = "pods_end_by_their_deadline_or_with_their_applications";
    on_machine("lifecycle", name, async |machine| {
        let script = "trap 'exit 7' TERM; touch /tmp/trapped; while :; do sleep 0.05; done";
        let mut side = shell("side", script);
        side["restartPolicy"] = json!("Always");
        side["startupProbe"] = has_trapped();
        let spec = |script: &str, more: Value| {
            let mut spec = json!({
                "restartPolicy": "OnFailure",
                "initContainers": [side],
                "containers": [shell("app", script)],
            });
            for (key, value) in more.as_object().unwrap() {
                spec[key] = value.clone();
            }
            spec
        };
        machine.create("late", spec("exec sleep 600", json!({ "activeDeadlineSeconds": 1 }))).await;
        machine.create("done", spec("exit 0", json!({}))).await;
        let done = machine.wait_phase("done", "Succeeded").await;
        let side = &done["status"]["initContainerStatuses"][0]["state"]["terminated"];
        assert_eq!(side["exitCode"], 7, "the sidecar was stopped after the application: {done}");
        let late = machine.wait_phase("late", "Failed").await;
        assert_eq!(late["status"]["reason"], "DeadlineExceeded");
        machine.wait_event("late", "DeadlineExceeded").await;
        machine.stop().await;
    });
}

#[test]
fn a_probe_brings_its_own_grace_period() {
    on_machine("lifecycle", "a_probe_brings_its_own_grace_period", async |machine| {
        let probe = |grace: Option<u32>| {
            let mut app = shell("app", "trap 'echo asked' TERM; while :; do sleep 0.05; done");
            app["livenessProbe"] = json!({
                "exec": { "command": ["false"] }, "periodSeconds": 1, "failureThreshold": 1,
            });
            if let Some(grace) = grace {
                app["livenessProbe"]["terminationGracePeriodSeconds"] = json!(grace);
            }
            json!({ "restartPolicy": "Never", "terminationGracePeriodSeconds": 600, "containers": [app] })
        };
        machine.create("own", probe(Some(1))).await;
        let pod = machine.wait_phase("own", "Failed").await;
        assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 137);
        let killing = machine.wait_event("own", "Killing").await;
        assert_eq!(killing, "Container app failed liveness probe, will be restarted");
        let unhealthy = machine.wait_event("own", "Unhealthy").await;
        assert!(unhealthy.starts_with("Liveness probe failed"), "{unhealthy}");
        machine.stop().await;
    });
}

/// As the kernel does to processes when memory runs out.
fn kill_shim_of_exec() {
    let is_shim = |pid: &i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.windows(13).any(|part| part == b"internal\0exec")
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let shim = pids.find(is_shim).unwrap();
    let shim = palisade_sys::process::ProcessHandle::open(shim).unwrap();
    shim.signal(rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_container_ends_though_a_shim_was_killed() {
    on_machine("lifecycle", "a_container_ends_though_a_shim_was_killed", async |machine| {
        let app = shell("app", "until test -e /tmp/end; do sleep 0.05; done");
        machine.create("app", json!({ "restartPolicy": "Never", "containers": [app] })).await;
        machine.wait_ready("app").await;
        let parameters = AttachParams::default().stderr(false);
        let command = ["sh", "-c", "echo here; exec sleep 600"];
        let mut left = machine.pods().exec("app", command, &parameters).await.unwrap();
        let mut output = left.stdout().unwrap();
        output.read_exact(&mut [0; 5]).await.unwrap();
        kill_shim_of_exec();
        output.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(machine.exec("app", &["touch", "/tmp/end"]).await.0, "0");
        machine.wait_phase("app", "Succeeded").await;
        machine.stop().await;
    });
}
