//! Pods and Jobs from beginning to end, as kubectl and `status` show them.

use std::{path::Path, time::Duration};

use palisade_testkit::{Mesh, Run, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const SOON: Duration = Duration::from_secs(60);

/// A namespace whose pods have sidecars.
const NAMESPACE: &str = "apiVersion: v1
kind: Namespace
metadata: {name: work, labels: {istio-injection: enabled}}
";

fn mesh() -> Mesh {
    let mesh = Mesh::with(BINARY).start();
    mesh.kubectl_apply(NAMESPACE).ok();
    mesh
}

fn pod(name: &str, more: &str, script: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: work, labels: {{sidecar.istio.io/inject: 'false'}}}}
spec:
  restartPolicy: Never
  containers:
  - name: app
    image: busybox
    command: [sh, -c, '{script}']
{more}"
    )
}

#[test]
fn jobs_end_though_their_pods_have_sidecars() {
    let mesh = mesh();
    let job = |name: &str, more: &str, script: &str| {
        format!(
            "apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, namespace: work}}
spec:
{more}
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: app, image: busybox, command: [sh, -c, '{script}']}}]
"
        )
    };
    let work = |args: &[&str]| mesh.kubectl(&[&["-n", "work"], args].concat());
    mesh.kubectl_apply(&job("greet", "  completions: 3\n  parallelism: 2", "echo hello")).ok();
    mesh.kubectl_apply(&job("fail", "  backoffLimit: 0", "exit 3")).ok();
    mesh.kubectl_apply(&job("late", "  activeDeadlineSeconds: 1", "exec sleep 600")).ok();
    work(&["create", "job", "once", "--image=busybox", "--", "true"]).ok();
    for name in ["greet", "once"] {
        work(&["wait", "--for=condition=complete", &format!("job/{name}"), "--timeout=60s"]).ok();
    }
    for name in ["fail", "late"] {
        work(&["wait", "--for=condition=failed", &format!("job/{name}"), "--timeout=60s"]).ok();
    }
    let jobs = work(&["get", "jobs", "--no-headers"]).ok();
    let rows: Vec<String> = jobs
        .lines()
        .map(|row| row.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        rows,
        ["fail Failed 0/1", "greet Complete 3/3", "late Failed 0/1", "once Complete 1/1"]
    );
    let proxies = "jsonpath={.items[*].spec.initContainers[*].name}";
    assert_eq!(
        work(&["get", "pods", "-l", "job-name=greet", "-o", proxies])
            .ok()
            .matches("istio-proxy")
            .count(),
        3
    );
    let phases = "jsonpath={.items[*].status.phase}";
    assert_eq!(
        work(&["get", "pods", "-l", "job-name=greet", "-o", phases]).ok(),
        "Succeeded Succeeded Succeeded"
    );
    assert_eq!(work(&["logs", "job/once", "-c", "once"]).ok(), "");
    for (name, told) in [
        ("greet", "Job completed"),
        ("fail", "Job has reached the specified backoff limit"),
        ("late", "Job was active longer than specified deadline"),
    ] {
        let described = work(&["describe", "job", name]).ok();
        assert!(described.contains(told) && described.contains("SuccessfulCreate"), "{described}");
    }
    work(&["delete", "job", "--all", "--timeout=60s"]).ok();
    eventually("the pods of jobs are gone", SOON, || {
        let pods = work(&["get", "pods", "--no-headers"]).ok();
        if pods.is_empty() { Ok(()) } else { Err(pods) }
    });
}

#[test]
fn a_crash_loop_is_seen_by_everybody() {
    let mesh = mesh();
    let crash = pod("crash", "", "exit 3").replace("Never", "Always");
    mesh.kubectl_apply(&crash).ok();
    eventually("status shows the loop", SOON, || {
        let status = mesh.palisade(&["status"]).ok();
        let words =
            ["work/crash", "CrashLoopBackOff", "3 (Error)", "back-off 10s restarting failed"];
        if words.iter().all(|word| status.contains(word)) { Ok(()) } else { Err(status) }
    });
    eventually("kubectl shows the same event once, counted", SOON, || {
        let described = mesh.kubectl(&["-n", "work", "describe", "pod", "crash"]).ok();
        let started: Vec<&str> =
            described.lines().filter(|line| line.contains("Container started")).collect();
        let backs_off = described.contains("Back-off restarting failed container app in pod crash");
        let is_counted = matches!(started.as_slice(), [line] if line.contains("(x"));
        if backs_off && is_counted { Ok(()) } else { Err(described) }
    });
}

/// As root; `scripts/test-cgroup2` tries it as a user in a group that was given to them, too.
#[test]
fn pods_are_held_to_their_limits() {
    let mesh = mesh();
    if !rustix::process::geteuid().is_root() {
        assert!(mesh.printed().contains("limits     "), "{}", mesh.printed());
        return;
    }
    assert!(mesh.printed().contains("held to their limits"), "{}", mesh.printed());
    let limits = "    resources: {limits: {memory: 32Mi, cpu: 500m}}\n";
    let greedy = pod("greedy", limits, "exec tail /dev/zero").replace("Never", "Always");
    let greedy = mesh.kubectl_apply(&greedy.replace("inject: 'false'", "inject: 'true'"));
    assert_eq!(greedy.stderr, "", "limits are honoured, so nothing warns");
    greedy.ok();
    let bomb = "n=0; while sleep 300 & do n=$((n+1)); echo $n; done";
    mesh.kubectl_apply(&pod("bomb", "", bomb)).ok();
    mesh.kubectl_apply(&pod("calm", "", "echo calm")).ok();
    // Little enough to be reached where everybody else is busy, too.
    let slow = limits.replace("500m", "50m");
    mesh.kubectl_apply(&pod("busy", &slow, "while :; do :; done")).ok();
    let of = |name: &str, path: &str| {
        eventually(&format!("{name} has {path}"), SOON, || {
            let path = format!("jsonpath={{.status.{path}}}");
            let run = mesh.kubectl(&["-n", "work", "get", "pod", name, "-o", &path]).ok();
            if run.is_empty() { Err(run) } else { Ok(run) }
        })
    };
    assert_eq!(of("greedy", "containerStatuses[0].lastState.terminated.reason"), "OOMKilled");
    let sidecar = ["restartCount", "state.running.startedAt"];
    let sidecar = sidecar.map(|field| of("greedy", &format!("initContainerStatuses[0].{field}")));
    assert_eq!(sidecar[0], "0", "the sidecar lives on, since {}", sidecar[1]);
    assert_eq!(of("bomb", "containerStatuses[0].state.terminated.reason"), "Error");
    assert_eq!(of("calm", "containerStatuses[0].state.terminated.reason"), "Completed");
    let started = mesh.kubectl(&["-n", "work", "logs", "bomb", "--tail=20"]).ok();
    let started: u32 = started.lines().filter_map(|line| line.parse().ok()).max().unwrap();
    assert!((900..1024).contains(&started), "{started}");
    let uid =
        mesh.kubectl(&["-n", "work", "get", "pod", "busy", "-o", "jsonpath={.metadata.uid}"]).ok();
    eventually("a busy container is slowed down", SOON, || throttled(mesh.state(), &uid));
}

/// Whether the kernel has kept the container `app` of a pod from running since it used up its time.
fn throttled(state: &Path, uid: &str) -> Result<(), String> {
    let roots = std::fs::read_to_string(state.join("run/cgroups")).unwrap_or_default();
    let files = roots.lines().map(|root| Path::new(root).join(uid).join("app/cpu.stat"));
    let text: String = files.filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    let count = text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse().ok());
    if count.is_some_and(|count: u64| count > 0) { Ok(()) } else { Err(text) }
}

#[test]
fn containers_learn_their_surroundings_and_say_why_they_end() {
    let mesh = mesh();
    let service = "apiVersion: v1
kind: Service
metadata: {name: my-db, namespace: work}
spec: {selector: {app: none}, clusterIP: 10.96.7.7, ports: [{name: sql, port: 5432}]}
";
    mesh.kubectl_apply(service).ok();
    let more = "    terminationMessagePolicy: FallbackToLogsOnError
    resources: {requests: {cpu: 250m}, limits: {cpu: 500m, memory: 64Mi}}
    env:
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
    - {name: WHERE, value: $(MY_DB_PORT_5432_TCP)}
    - {name: MY_DB_SERVICE_HOST, value: mine}
    volumeMounts: [{name: about, mountPath: /about}]
  volumes:
  - name: about
    downwardAPI:
      items:
      - {path: memory, resourceFieldRef: {
          containerName: app, resource: limits.memory, divisor: 1Mi}}
";
    let told = "$CPU $(cat /about/memory) $WHERE $MY_DB_SERVICE_HOST ${MY_DB_PORT-none}";
    let script = format!("echo {told} > /dev/termination-log");
    let applied = mesh.kubectl_apply(&pod("linked", more, &script));
    assert_eq!(applied.stderr, "", "nothing is ignored");
    applied.ok();
    let alone = format!("{more}  enableServiceLinks: false\n");
    mesh.kubectl_apply(&pod("alone", &alone, &script)).ok();
    mesh.kubectl_apply(&pod("logs", more, "echo out of luck; exit 3")).ok();
    let said = |name: &str| {
        eventually(&format!("{name} has ended"), SOON, || {
            let path = "jsonpath={.status.containerStatuses[0].state.terminated.message}";
            let said = mesh.kubectl(&["-n", "work", "get", "pod", name, "-o", path]).ok();
            if said.is_empty() { Err(said) } else { Ok(said) }
        })
    };
    let url = "tcp://10.96.7.7:5432";
    assert_eq!(said("linked").trim(), format!("250 64 {url} mine {url}"));
    assert_eq!(said("alone").trim(), "250 64 $(MY_DB_PORT_5432_TCP) mine none");
    assert_eq!(said("logs").trim(), "out of luck");
}

#[test]
fn an_image_that_can_not_be_had_backs_off() {
    let mesh = mesh();
    mesh.kubectl_apply(&pod("image", "", "true").replace("busybox", "nginx:1.27")).ok();
    eventually("the pod backs off", SOON, || {
        let pods = mesh.kubectl(&["-n", "work", "get", "pod", "image"]).ok();
        if pods.contains("ImagePullBackOff") { Ok(()) } else { Err(pods) }
    });
    eventually("events name the images that there are", SOON, || {
        let told = mesh.kubectl(&["-n", "work", "describe", "pod", "image"]).ok();
        let words = ["Back-off pulling image \"nginx:1.27\"", "mendhak/http-https-echo"];
        if words.iter().all(|word| told.contains(word)) { Ok(()) } else { Err(told) }
    });
}

#[test]
fn a_user_that_there_is_not_is_refused_by_name() {
    if !(palisade_sys::privilege::has_many_ids() && rustix::process::geteuid().is_root()) {
        // Then there is one user, whatever is asked for: see below.
        return;
    }
    let mesh = mesh();
    let applied = mesh.apply(&pod("high", "  securityContext: {runAsUser: 70000}\n", "id -u"));
    assert!(!applied.stderr.contains("no effect"), "{applied}");
    eventually("it does not start", SOON, || {
        let status = mesh.palisade(&["status"]).ok();
        let words = ["CreateContainerConfigError", "runAsUser 70000 is not on this machine"];
        if words.iter().all(|word| status.contains(word)) { Ok(()) } else { Err(status) }
    });
}

#[test]
fn where_there_is_one_user_pods_that_ask_for_others_are_told() {
    let mesh = Mesh::with(BINARY).rootless().start();
    mesh.kubectl_apply(NAMESPACE).ok();
    let asks = |name: &str| pod(name, "  securityContext: {runAsUser: 70000}\n", "id -u");
    let warning = "spec.securityContext.runAsUser: no effect: a mesh without root has one user id";
    let applied = mesh.apply(&asks("told"));
    assert!(applied.stderr.contains(warning), "{applied}");
    let again = mesh.kubectl_apply(&asks("again"));
    assert!(again.stderr.contains(&format!("Warning: {warning}")), "{again}");
    eventually("pod, event and status say it", SOON, || {
        let told = mesh.kubectl(&["-n", "work", "describe", "pod", "told"]).ok();
        let status = mesh.palisade(&["status"]).ok();
        let message = mesh.kubectl(&["-n", "work", "get", "pod", "told", "-o", ONE_ID]).ok();
        let is_told = told.contains("OneUserId") && told.contains(warning);
        let all = is_told && message.starts_with(warning) && status.contains(warning);
        if all { Ok(()) } else { Err(format!("{told}\n{message}\n{status}")) }
    });
    eventually("it runs all the same", SOON, || {
        let log = mesh.kubectl(&["-n", "work", "logs", "told"]);
        if log.code == 0 && log.stdout == "0\n" { Ok(()) } else { Err(log.to_string()) }
    });
}

const ONE_ID: &str = "jsonpath={.status.conditions[?(@.type=='palisade.dev/UserIds')].message}";

#[test]
fn a_volume_in_an_empty_one_is_shown() {
    let mesh = mesh();
    let settings = "apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: work}
data: {color: blue}
";
    mesh.kubectl_apply(settings).ok();
    let volumes = "    volumeMounts:
    - {name: settings, mountPath: /data/conf}
    - {name: settings, mountPath: /data/color, subPath: color}
    - {name: scratch, mountPath: /data}
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: settings, configMap: {name: settings}}
";
    let script = "cat /data/conf/color /data/color > /data/said; exec cat /data/said";
    mesh.kubectl_apply(&pod("nested", volumes, script)).ok();
    let said = eventually("the pod has ended", SOON, || {
        let phase = ["-n", "work", "get", "pod", "nested", "-o", "jsonpath={.status.phase}"];
        match mesh.kubectl(&phase).ok() {
            phase if phase == "Succeeded" => {
                Ok(mesh.kubectl(&["-n", "work", "logs", "nested"]).ok())
            }
            other => Err(format!("{other}: {}", mesh.palisade(&["status"]).ok())),
        }
    });
    assert_eq!(said, "blueblue");
}

#[test]
fn status_says_which_probe_keeps_a_pod_from_being_ready() {
    let mesh = mesh();
    let probe = "    readinessProbe: {httpGet: {port: 8080, path: PATH}, periodSeconds: 1, failureThreshold: 1}\n";
    let program = serde_json::to_string(REDIRECTS).unwrap();
    let command = format!("[/usr/bin/python3, -c, {program}]");
    let server = |name: &str, path: &str, inject: bool| {
        let pod = pod(name, &probe.replace("PATH", path), "SCRIPT")
            .replace("[sh, -c, 'SCRIPT']", &command);
        if inject { pod.replace("inject: 'false'", "inject: 'true'") } else { pod }
    };
    for (name, path, inject) in [
        ("local", "/local", false),
        ("away", "/away", false),
        ("beside", "/away", true),
        ("bad", "/bad", false),
    ] {
        mesh.kubectl_apply(&server(name, path, inject)).ok();
    }
    for name in ["local", "away", "beside"] {
        let ready = [
            "-n",
            "work",
            "wait",
            "--for=condition=Ready",
            &format!("pod/{name}"),
            "--timeout=60s",
        ];
        mesh.kubectl(&ready).ok();
    }
    let told = |name: &str| mesh.kubectl(&["-n", "work", "describe", "pod", name]).ok();
    for (name, said) in [("away", "gone away"), ("beside", "gone away")] {
        let warning =
            format!("Readiness probe warning: Probe terminated redirects, Response body: {said}");
        eventually(&format!("{name} is warned of"), SOON, || {
            let told = told(name);
            if told.contains("ProbeWarning") && told.contains(&warning) {
                Ok(())
            } else {
                Err(told)
            }
        });
    }
    assert!(!told("local").contains("ProbeWarning"));
    eventually("status says why the pod is not ready", SOON, || {
        let status = mesh.palisade(&["status"]).ok();
        let words = [
            "work/bad",
            "NotReady",
            "not ready for ",
            "Readiness probe failed: HTTP probe failed with statuscode: 503 (",
        ];
        if words.iter().all(|word| status.contains(word)) { Ok(()) } else { Err(status) }
    });
    let late = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let manifests = format!("{NAMESPACE}---\n{}", server("late", "/bad", false));
    std::fs::write(late.path(), manifests).unwrap();
    let state = tempfile::tempdir().unwrap();
    let up = Run::new(
        std::process::Command::new(BINARY)
            .arg("--state-dir")
            .arg(state.path().join("state"))
            .args(["up", "--exit", "--timeout", "5s"])
            .arg(late.path()),
    );
    let up = up.code(1);
    assert!(up.stderr.contains("`app` of `work/late`: NotReady: not ready for "), "{up}");
    assert!(up.stderr.contains("statuscode: 503"), "{up}");
}

/// Sends probes to itself, or elsewhere, or says that it is not well.
const REDIRECTS: &str = "
import http.server
class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        to = {'/local': '/well', '/away': 'http://elsewhere.example/'}.get(self.path)
        self.send_response(302 if to else 200 if self.path == '/well' else 503)
        if to: self.send_header('Location', to)
        self.end_headers()
        self.wfile.write(b'gone away')
    def log_message(self, *_): pass
http.server.HTTPServer(('', 8080), Server).serve_forever()
";
