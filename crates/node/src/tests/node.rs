//! Pods from the API server's objects to their end, with a real API server.

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{AttachParams, DeleteParams, LogParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::machine::{object, on_machine, shell};

#[test]
fn a_pod_serves_is_probed_and_deleted() {
    on_machine("node", "a_pod_serves_is_probed_and_deleted", async |machine| {
        let started = Instant::now();
        machine
            .create("echo", json!({ "containers": [{
                "name": "echo", "image": "mendhak/http-https-echo:34",
                "env": [
                    { "name": "HTTP_PORT", "value": "80" },
                    { "name": "WHO", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                    { "name": "HELLO", "value": "hello $(WHO)" },
                ],
                "ports": [{ "name": "web", "containerPort": 80 }],
                "readinessProbe": { "httpGet": { "path": "/", "port": "web" } },
            }] }))
            .await;
        let pod = machine.wait_ready("echo").await;
        eprintln!("ready after {:?}", started.elapsed());
        let ip = pod["status"]["podIP"].as_str().unwrap().to_owned();
        assert_eq!(pod["spec"]["nodeName"], "palisade");

        machine
            .create(
                "client",
                json!({ "containers": [{
            "name": "c", "image": "curlimages/curl", "command": ["sleep", "infinity"],
        }] }),
            )
            .await;
        machine.wait_ready("client").await;
        let url = format!("http://{ip}/x?y=1");
        let (code, body) = machine.exec("client", &["curl", "-s", &url]).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (code.as_str(), &body["path"], &body["query"]["y"]),
            ("0", &json!("/x"), &json!("1"))
        );
        assert_eq!(body["os"]["hostname"], "echo");
        assert_eq!(machine.exec("client", &["sh", "-c", "exit 7"]).await.0, "7");
        let env = machine.exec("echo", &["sh", "-c", "echo $HELLO; id -u; cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; ls /var/run/secrets/kubernetes.io/serviceaccount"]).await.1;
        assert!(
            env.starts_with("hello echo\n") && env.contains("default") && env.contains("token"),
            "{env}"
        );
        let log = machine.logs("echo", &LogParams::default()).await;
        assert!(log.starts_with("Listening on port 80"), "{log}");

        let before = Instant::now();
        machine.pods().delete("echo", &DeleteParams::default()).await.unwrap();
        machine.wait_gone("echo").await;
        assert!(
            before.elapsed() < Duration::from_secs(25),
            "it has a handler, and the grace period is 30 s: {:?}",
            before.elapsed()
        );
        let (code, _) = machine.exec("client", &["curl", "-s", "-m", "5", &url]).await;
        assert_ne!(code, "0");
        machine.stop().await;
    });
}

#[test]
fn init_containers_sidecars_and_applications_keep_their_order() {
    on_machine(
        "node",
        "init_containers_sidecars_and_applications_keep_their_order",
        async |machine| {
            let mut setup = shell("setup", "echo setup >> /shared/order");
            let mut sidecar = shell(
                "side",
                "trap 'echo side stops >> /shared/order; sleep 0.3; exit 0' TERM; sleep 0.2; \
             echo side >> /shared/order; touch /tmp/up; while :; do sleep 0.05; done",
            );
            sidecar["restartPolicy"] = json!("Always");
            sidecar["startupProbe"] =
                json!({ "exec": { "command": ["test", "-e", "/tmp/up"] }, "periodSeconds": 1 });
            let mut app = shell(
                "app",
                "trap 'sleep 0.2; echo app stops >> /shared/order; exit 0' TERM; \
             echo app >> /shared/order; while :; do sleep 0.05; done",
            );
            for container in [&mut setup, &mut sidecar, &mut app] {
                container["volumeMounts"] = json!([{ "name": "shared", "mountPath": "/shared" }]);
            }
            machine
                .create(
                    "ordered",
                    json!({
                        "volumes": [{ "name": "shared", "emptyDir": {} }],
                        "initContainers": [setup, sidecar],
                        "containers": [app],
                    }),
                )
                .await;
            let pod = machine.wait_ready("ordered").await;
            assert_eq!(
                pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"],
                "Completed"
            );
            assert_eq!(pod["status"]["initContainerStatuses"][1]["started"], true);
            let follow = LogParams { container: Some("app".into()), ..LogParams::default() };
            assert_eq!(machine.logs("ordered", &follow).await, "");
            let read =
                async { machine.exec("ordered", &["sh", "-c", "cat /shared/order"]).await.1 };
            let ready = tokio::time::timeout(Duration::from_secs(60), read).await.unwrap();
            assert_eq!(ready.lines().take(2).collect::<Vec<_>>(), ["setup", "side"]);
            // `exec` of a process that reads the file until the pod ends.
            let parameters = AttachParams::default().container("side").stderr(false);
            let command = ["sh", "-c", "tail -n +1 -f /shared/order"];
            let mut tail = machine.pods().exec("ordered", command, &parameters).await.unwrap();
            machine.pods().delete("ordered", &DeleteParams::default()).await.unwrap();
            let mut seen = String::new();
            let _ = tail.stdout().unwrap().read_to_string(&mut seen).await;
            machine.wait_gone("ordered").await;
            assert_eq!(seen, "setup\nside\napp\napp stops\nside stops\n");
            machine.stop().await;
        },
    );
}

#[test]
fn what_ends_is_restarted_as_its_policy_says() {
    on_machine("node", "what_ends_is_restarted_as_its_policy_says", async |machine| {
        machine.create("crash", json!({ "containers": [shell("c", "echo run; exit 3")] })).await;
        let pod = machine
            .wait("crash", "backing off", |pod| {
                pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
                    == "CrashLoopBackOff"
            })
            .await;
        let status = &pod["status"]["containerStatuses"][0];
        assert_eq!(
            (&status["restartCount"], &pod["status"]["phase"]),
            (&json!(1), &json!("Running"))
        );
        assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
        let previous = LogParams { previous: true, ..LogParams::default() };
        assert_eq!(machine.logs("crash", &previous).await, "run\n");

        let once =
            |script: &str| json!({ "restartPolicy": "Never", "containers": [shell("c", script)] });
        machine.create("good", once("echo done")).await;
        machine.create("bad", once("echo oh >&2; exit 4")).await;
        machine.wait_phase("good", "Succeeded").await;
        let bad = machine.wait_phase("bad", "Failed").await;
        assert_eq!(bad["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 4);
        assert_eq!(machine.logs("good", &LogParams::default()).await, "done\n");
        let mut init = json!({ "containers": [shell("c", "sleep 60")], "restartPolicy": "Never" });
        init["initContainers"] = json!([shell("setup", "exit 9")]);
        machine.create("init", init).await;
        machine.wait_phase("init", "Failed").await;
        for name in ["good", "bad", "init", "crash"] {
            machine.pods().delete(name, &DeleteParams::default()).await.unwrap();
            machine.wait_gone(name).await;
        }
        machine.stop().await;
    });
}

#[test]
fn what_can_not_run_says_why() {
    on_machine("node", "what_can_not_run_says_why", async |machine| {
        let waiting =
            |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"].clone();
        machine
            .create("image", json!({ "containers": [{ "name": "c", "image": "nginx:1" }] }))
            .await;
        let pod =
            machine.wait("image", "refused", |pod| waiting(pod)["reason"] == "ErrImagePull").await;
        assert!(waiting(&pod)["message"].as_str().unwrap().contains("palisade.dev/command"));
        let pod = machine
            .wait("image", "backing off", |pod| waiting(pod)["reason"] == "ImagePullBackOff")
            .await;
        let message = waiting(&pod)["message"].as_str().unwrap().to_owned();
        let told = "Back-off pulling image \"nginx:1\": ErrImagePull: ";
        assert!(message.starts_with(told) && message.contains("mendhak"), "{message}");
        let mut container = shell("c", "echo $X; sleep 60");
        container["env"] = json!([{ "name": "X", "valueFrom": { "configMapKeyRef": { "name": "m", "key": "k" } } }]);
        machine.create("config", json!({ "containers": [container] })).await;
        let pod = machine
            .wait("config", "refused", |pod| waiting(pod)["reason"] == "CreateContainerConfigError")
            .await;
        assert_eq!(waiting(&pod)["message"], "configmap \"m\" not found");
        let maps = Api::<ConfigMap>::namespaced(machine.client.clone(), "default");
        let map = json!({ "metadata": { "name": "m" }, "data": { "k": "v" } });
        maps.create(&PostParams::default(), &object(map)).await.unwrap();
        machine.wait_ready("config").await;
        assert_eq!(machine.logs("config", &LogParams::default()).await, "v\n");
        machine.stop().await;
    });
}

#[test]
fn config_maps_change_in_place() {
    on_machine("node", "config_maps_change_in_place", async |machine| {
        let maps = Api::<ConfigMap>::namespaced(machine.client.clone(), "default");
        let map = json!({ "metadata": { "name": "m" }, "data": { "k": "old" } });
        maps.create(&PostParams::default(), &object(map)).await.unwrap();
        let mut container = shell("c", "until grep new /etc/m/k; do sleep 0.05; done; sleep 60");
        container["volumeMounts"] = json!([{ "name": "m", "mountPath": "/etc/m" }]);
        machine
            .create(
                "reader",
                json!({
                    "volumes": [{ "name": "m", "configMap": { "name": "m" } }],
                    "containers": [container],
                }),
            )
            .await;
        machine.wait_ready("reader").await;
        let log = LogParams { follow: true, ..LogParams::default() };
        let pods = machine.pods();
        let mut lines = Box::pin(pods.log_stream("reader", &log).await.unwrap());
        let patch = json!({ "data": { "k": "new" } });
        maps.patch("m", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        let mut line = [0; 4];
        let read = futures::AsyncReadExt::read_exact(&mut lines, &mut line);
        tokio::time::timeout(Duration::from_secs(60), read).await.unwrap().unwrap();
        assert_eq!(&line, b"new\n");
        drop(lines);
        machine.stop().await;
    });
}

#[test]
fn input_goes_to_the_process_and_ends() {
    on_machine("node", "input_goes_to_the_process_and_ends", async |machine| {
        let mut container = shell("c", "cat; echo ended; exit 6");
        (container["stdin"], container["stdinOnce"]) = (json!(true), json!(true));
        let spec = json!({ "restartPolicy": "Never", "containers": [container] });
        machine.create("cat", spec).await;
        machine.wait_ready("cat").await;
        let parameters = AttachParams::default().stdin(true).stderr(false);
        let mut process = machine.pods().exec("cat", ["cat"], &parameters).await.unwrap();
        assert_eq!(talk(&mut process).await, "hello\n");
        assert_eq!(process.take_status().unwrap().await.unwrap().status.unwrap(), "Success");
        let mut attached = machine.pods().attach("cat", &parameters).await.unwrap();
        assert_eq!(talk(&mut attached).await, "hello\nended\n");
        let pod = machine.wait_phase("cat", "Failed").await;
        let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(state["exitCode"], 6);
        machine.stop().await;
    });
}

/// Says hello and no more; what comes back.
async fn talk(process: &mut kube::api::AttachedProcess) -> String {
    let mut input = process.stdin().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut input, b"hello\n").await.unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut input).await.unwrap();
    drop(input);
    let mut output = String::new();
    let mut stdout = process.stdout().unwrap();
    let read = stdout.read_to_string(&mut output);
    tokio::time::timeout(Duration::from_secs(60), read).await.unwrap().unwrap();
    output
}

#[test]
fn a_terminal_can_be_attached_to() {
    on_machine("node", "a_terminal_can_be_attached_to", async |machine| {
        machine
            .create(
                "it",
                json!({ "restartPolicy": "Never", "containers": [{
            "name": "it", "image": "curlimages/curl", "args": ["/bin/sh"],
            "stdin": true, "stdinOnce": true, "tty": true,
        }] }),
            )
            .await;
        machine.wait_ready("it").await;
        let parameters = AttachParams::default().stdin(true).tty(true).stderr(false);
        let mut attached = machine.pods().attach("it", &parameters).await.unwrap();
        let mut input = attached.stdin().unwrap();
        let mut output = tokio_util::io::ReaderStream::new(attached.stdout().unwrap());
        tokio::io::AsyncWriteExt::write_all(&mut input, b"echo $((6*7)); tty; exit 5\n")
            .await
            .unwrap();
        let mut seen = String::new();
        while let Some(Ok(bytes)) = output.next().await {
            seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        assert!(seen.contains("\n42\r\n"), "{seen:?}");
        let pod = machine.wait_phase("it", "Failed").await;
        let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(state["exitCode"], 5);
        machine.stop().await;
    });
}

#[test]
fn a_probe_that_takes_too_long_leaves_nothing() {
    on_machine("node", "a_probe_that_takes_too_long_leaves_nothing", async |machine| {
        let mut container = shell("c", "sleep 600");
        container["readinessProbe"] =
            json!({ "exec": { "command": ["sleep", "60"] }, "periodSeconds": 1 });
        machine.create("slow", json!({ "containers": [container] })).await;
        machine.wait_phase("slow", "Running").await;
        let sleepers = || {
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            let names = processes
                .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
            names.filter(|stat| stat.contains("(sleep)") || stat.contains(") Z ")).count()
        };
        let give_up = Instant::now() + Duration::from_secs(60);
        let mut probed = 0;
        let mut last = 1;
        // The application, and now and then a probe.
        while probed < 3 {
            let now = sleepers();
            assert!(now <= 2 && Instant::now() < give_up, "{now} processes");
            probed += usize::from(now == 1 && last == 2);
            last = now;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        machine.stop().await;
    });
}
