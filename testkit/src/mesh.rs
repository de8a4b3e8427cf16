//! A mesh of a test's own: `palisade up` with a state directory of its own, stopped when it is dropped.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Run, command::tool};

/// A running mesh.
#[derive(Debug)]
pub struct Mesh {
    binary: PathBuf,
    state: PathBuf,
    up: Option<Child>,
    printed: String,
    /// Deletes the state directory once the mesh has ended; absent if the test owns it.
    _directory: Option<TempDir>,
}

/// A mesh that is to be started.
#[derive(Debug)]
pub struct Starting {
    binary: PathBuf,
    state: Option<PathBuf>,
    through: Vec<String>,
    args: Vec<String>,
    rootless: bool,
}

impl Starting {
    /// Arguments of `up`.
    #[must_use]
    pub fn args<S: AsRef<str>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// As a user without privileges, whoever runs the test.
    #[must_use]
    pub fn rootless(mut self) -> Self {
        self.rootless = true;
        self
    }

    /// A state directory that outlives the mesh.
    #[must_use]
    pub fn state(mut self, directory: &Path) -> Self {
        self.state = Some(directory.to_owned());
        self
    }

    /// A program and its arguments that `up` is started by, such as `setpriv --reuid 12345`.
    #[must_use]
    pub fn through<S: AsRef<str>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.through.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Starts it, and waits until all that was applied runs and the suite has been sent.
    ///
    /// # Panics
    /// When it ends instead; shows what it printed and its logs.
    #[must_use]
    pub fn start(self) -> Mesh {
        let directory = self.state.is_none().then(|| TempDir::with_prefix("palisade-").unwrap());
        let state = self
            .state
            .unwrap_or_else(|| directory.as_ref().map(|d| d.path().join("state")).unwrap());
        let mut line = self.through;
        // A root that is alone in its user namespace is an unprivileged user already.
        let root = rustix::process::getuid().is_root() && palisade_sys::privilege::has_many_ids();
        if self.rootless && root {
            if let Some(directory) = &directory {
                chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            }
            let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
            line.push("setpriv".to_owned());
            line.extend(ids);
            line.extend(["--clear-groups", "--inh-caps=-all"].map(str::to_owned));
        }
        line.push(self.binary.display().to_string());
        let mut up = Command::new(&line[0])
            .args(&line[1..])
            .args(["--state-dir", &state.display().to_string(), "up"])
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines_of(&mut up);
        let mut mesh = Mesh {
            binary: self.binary,
            state,
            up: Some(up),
            printed: String::new(),
            _directory: directory,
        };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    mesh.printed.push_str(&line);
                    mesh.printed.push('\n');
                    if line.starts_with("The mesh runs until") {
                        return mesh;
                    }
                }
                Err(_) => panic!("the mesh did not start\n{}", mesh.evidence()),
            }
        }
    }
}

impl Mesh {
    /// A mesh to start with the binary under test (`env!("CARGO_BIN_EXE_palisade")`).
    #[must_use]
    pub fn with(binary: &str) -> Starting {
        Starting {
            binary: PathBuf::from(binary),
            state: None,
            through: Vec::new(),
            args: Vec::new(),
            rootless: false,
        }
    }

    /// What `up` has printed until it was ready.
    #[must_use]
    pub fn printed(&self) -> &str {
        &self.printed
    }

    /// The binary under test.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Process id of `up`.
    ///
    /// # Panics
    /// When it was stopped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.up.as_ref().unwrap().id()
    }

    /// Runs the binary under test on this mesh.
    #[must_use]
    pub fn palisade(&self, args: &[&str]) -> Run {
        Run::new(Command::new(&self.binary).arg("--state-dir").arg(&self.state).args(args))
    }

    /// Runs the real kubectl on this mesh.
    #[must_use]
    pub fn kubectl(&self, args: &[&str]) -> Run {
        Run::new(self.kubectl_command().args(args))
    }

    /// kubectl, to be given arguments and streams.
    #[must_use]
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(tool("kubectl"));
        command.env("KUBECONFIG", self.state.join("kubeconfig"));
        command.env("KUBECACHEDIR", self.state.join("kubectl-cache"));
        command
    }

    /// Applies YAML with kubectl.
    ///
    /// # Panics
    /// When kubectl can't be run.
    #[must_use]
    pub fn kubectl_apply(&self, yaml: &str) -> Run {
        Run::with_input(self.kubectl_command().args(["apply", "-f", "-"]), yaml)
    }

    /// Applies YAML and returns when every sidecar has it in force.
    ///
    /// # Panics
    /// When the binary can't be run.
    #[must_use]
    pub fn apply(&self, yaml: &str) -> Run {
        let mut command = Command::new(&self.binary);
        command.arg("--state-dir").arg(&self.state).args(["apply", "--wait", "-f", "-"]);
        Run::with_input(&mut command, yaml)
    }

    /// Runs a Python program in a container (`POD`, or `POD -c CONTAINER`), and gives what it printed.
    ///
    /// # Panics
    /// When it can't be run or fails.
    #[must_use]
    pub fn python(&self, target: &str, program: &str, args: &[String]) -> String {
        let mut command = Command::new(&self.binary);
        command.arg("--state-dir").arg(&self.state).args(["exec", "-i"]);
        command.args(target.split(' ')).args(["--", PYTHON, "-"]).args(args);
        Run::with_input(&mut command, program).ok()
    }

    /// What the sidecar of a pod answers on its admin port, such as `deploy/backend.poc-mesh` to
    /// `stats/prometheus`.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn sidecar(&self, pod: &str, path: &str) -> String {
        let request =
            ["exec", pod, "-c", "istio-proxy", "--", "palisade", "internal", "request", path];
        self.palisade(&request).ok()
    }

    /// Runs curl in a pod, and gives its exit code and the HTTP status (`000` if none).
    pub fn curl(&self, from: &str, args: &[&str]) -> (i32, String) {
        let mut line = vec!["exec", from, "--", "curl", "-s", "-m", "10", "-o", "/dev/null"];
        line.extend(["-w", "%{http_code}"]);
        line.extend(args);
        let run = self.palisade(&line);
        (run.code, run.stdout)
    }

    /// Kills `up` as hard as possible, and waits until it is gone.
    ///
    /// # Panics
    /// When it was stopped.
    pub fn kill(&mut self) {
        let mut up = self.up.take().unwrap();
        up.kill().unwrap();
        up.wait().unwrap();
    }

    /// Asks `up` to end, and waits; its exit code.
    ///
    /// # Panics
    /// When it was stopped before.
    pub fn stop(&mut self) -> i32 {
        let mut up = self.up.take().unwrap();
        let pid = Pid::from_raw(i32::try_from(up.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        up.wait().unwrap().code().unwrap_or(-1)
    }

    /// What it printed and logged, for a test that fails.
    #[must_use]
    pub fn evidence(&self) -> String {
        let log = |name: &str| fs::read_to_string(self.state.join(name)).unwrap_or_default();
        format!(
            "--- up\n{}\n--- supervisor.log\n{}\n--- control.log\n{}",
            self.printed,
            log("supervisor.log"),
            log("control.log")
        )
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if self.up.is_some() {
            self.stop();
        }
    }
}

/// The lines of both streams, as they come.
fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|stream| Box::new(stream) as _),
        child.stderr.take().map(|stream| Box::new(stream) as _),
    ];
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    // Reading on keeps the writer from blocking.
                    continue;
                }
            }
        });
    }
    receiver
}

/// An id that is mapped in every sandbox with many ids, and owns nothing.
const NOBODY: u32 = 61_234;

/// The system's own, which containers see too.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

const START_TIMEOUT: Duration = Duration::from_secs(90);
