//! A server in a temporary directory, and kubectl with its kubeconfig.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use palisade_kubeapi::{ApiOptions, ApiServer, ApiUser};
use tokio_util::sync::CancellationToken;

/// A running server; it stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) directory: Arc<tempfile::TempDir>,
    pub(crate) url: String,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// What kubectl said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()))
    }

    /// Starts on the state that another server left.
    pub(crate) fn start_in(directory: Arc<tempfile::TempDir>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let (ready, is_ready) = mpsc::channel();
        let thread = {
            let (shutdown, url, directory) =
                (shutdown.clone(), url.clone(), Arc::clone(&directory));
            std::thread::spawn(move || {
                let options = ApiOptions::new(
                    directory.path().join("state"),
                    directory.path().join("kubelet.sock"),
                );
                let server = ApiServer::open(options).unwrap();
                let kubeconfig = server.kubeconfig(ApiUser::Admin, &url).unwrap();
                std::fs::write(directory.path().join("kubeconfig"), kubeconfig).unwrap();
                ready.send(()).unwrap();
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(server.serve(vec![listener], shutdown)).unwrap();
            })
        };
        is_ready.recv().expect("the server opens");
        Self { directory, url, shutdown, thread: Some(thread) }
    }

    /// kubectl with the owner's kubeconfig.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(kubectl());
        command
            .env("KUBECONFIG", self.directory.path().join("kubeconfig"))
            .env("KUBECACHEDIR", self.directory.path().join("cache"))
            .env("HOME", self.directory.path())
            .args(arguments);
        command
    }

    /// Runs kubectl.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).stdin(Stdio::null()).output())
    }

    /// Runs kubectl with something on its standard input.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect(HINT);
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Said::of(child.wait_with_output())
    }

    /// Runs kubectl, which must succeed; returns what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let said = self.kubectl(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said.out
    }

    /// Applies a manifest, which must succeed.
    #[track_caller]
    pub(crate) fn apply(&self, manifest: &str) -> String {
        let said = self.kubectl_with(&["apply", "-f", "-"], manifest);
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    }

    /// A namespace with its service account, as the controllers would make it.
    pub(crate) fn namespace(&self, name: &str) {
        self.ok(&["create", "namespace", name]);
        self.ok(&["-n", name, "create", "serviceaccount", "default"]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the server ends without a panic");
            }
        }
    }
}

impl Said {
    fn of(output: std::io::Result<Output>) -> Self {
        let output = output.expect(HINT);
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

const HINT: &str = "kubectl runs: install it, or name it in the environment variable KUBECTL";

fn kubectl() -> PathBuf {
    std::env::var_os("KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from)
}
