//! Starts containers and processes in them, by way of a shim, and holds on to what runs.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use palisade_sys::{process::ProcessHandle, pty::Pty};
use rustix::{fs::MemfdFlags, process::Signal};
use serde::Serialize;
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use crate::spec::{ContainerSpec, ExecSpec, ShimReport};

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// The shim could not be started or did not report.
    #[error("can't start the container's shim: {0}")]
    Shim(#[from] io::Error),
    /// The container could not be made or its program not run.
    #[error("{0}")]
    Refused(String),
}

/// What a process's standard streams are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Streams {
    /// Output only.
    Output,
    /// Input and output.
    InputAndOutput,
    /// One terminal for all three.
    Terminal,
}

/// A process that runs in a container.
#[derive(Debug)]
pub(crate) struct Running {
    shim: Child,
    pid: i32,
    /// None when it had ended before it could be held.
    process: Option<ProcessHandle>,
    /// Its standard streams; taken by those who use them.
    pub streams: Option<RunningStreams>,
}

/// The node's ends of standard streams.
#[derive(Debug)]
pub(crate) enum RunningStreams {
    /// Pipes.
    Pipes { stdin: Option<ChildStdin>, stdout: ChildStdout, stderr: ChildStderr },
    /// A terminal.
    Terminal(OwnedFd),
}

/// Starts a container's first process.
pub(crate) async fn container(
    program: &Path,
    spec: &ContainerSpec,
    streams: Streams,
) -> Result<Running, LaunchError> {
    launch(program, "container", spec, streams).await
}

/// Starts a further process in a container.
pub(crate) async fn exec(
    program: &Path,
    spec: &ExecSpec,
    streams: Streams,
) -> Result<Running, LaunchError> {
    launch(program, "exec", spec, streams).await
}

impl Running {
    /// Process id as the node sees it.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for the end; the exit code, 128 and more for a signal.
    pub(crate) async fn wait(&mut self) -> io::Result<i32> {
        Ok(exit_code(self.shim.wait().await?))
    }

    /// Asks the process to end. A first process that has no handler for SIGTERM ignores it by the
    /// kernel's rule for pid 1, so waiting would be for nothing and it is killed at once.
    pub(crate) fn terminate(&self) {
        if let Some(process) = &self.process {
            let signal = if process.catches(Signal::TERM) { Signal::TERM } else { Signal::KILL };
            let _ = process.signal(signal);
        }
    }

    /// Ends the process, and with a first process all of its container.
    pub(crate) fn kill(&self) {
        if let Some(process) = &self.process {
            let _ = process.signal(Signal::KILL);
        }
    }
}

/// Whoever does not wait for a process any more wants it ended. The shim lives on for a moment to
/// take its exit code, and the runtime takes the shim's.
impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A shim that has not reported yet; killed if nobody waits for that any more.
struct Starting(Option<Child>);

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(shim) = &mut self.0 {
            let _ = shim.start_kill();
        }
    }
}

async fn launch(
    program: &Path,
    subcommand: &str,
    spec: &impl Serialize,
    streams: Streams,
) -> Result<Running, LaunchError> {
    let spec = unnamed_file(&serde_json::to_vec(spec).map_err(io::Error::from)?)?;
    let (report, reporter) = io::pipe()?;
    let mut report = pipe::Receiver::from_owned_fd(report.into())?;
    let mut command = Command::new(program);
    command.args(["internal", subcommand]).arg(own_path(&spec)).arg(own_path(&reporter));
    // Variables of the node's own environment are nobody's business.
    command.env_clear().current_dir("/");
    let terminal = attach_streams(&mut command, streams)?;
    let mut starting = Starting(Some(command.spawn()?));
    let Starting(Some(shim)) = &mut starting else {
        return Err(io::Error::other("the shim is gone").into());
    };
    // The command holds the terminal's other end until it is dropped.
    drop(command);
    // Taken before waiting, which would close the input.
    let (stdin, stdout, stderr) = (shim.stdin.take(), shim.stdout.take(), shim.stderr.take());
    let mut buffer = vec![0; MAX_REPORT];
    let length = tokio::select! {
        biased;
        length = report.read(&mut buffer) => length?,
        status = shim.wait() => return Err(no_report(stderr, status?).await),
    };
    let reported = serde_json::from_slice(buffer.get(..length).unwrap_or_default());
    let pid = match reported.map_err(io::Error::from)? {
        ShimReport::Started(pid) => pid,
        ShimReport::Failed(reason) => return Err(LaunchError::Refused(reason)),
    };
    let process = ProcessHandle::open(pid).ok();
    let streams = match terminal {
        Some(controller) => Some(RunningStreams::Terminal(controller)),
        None => stdout.zip(stderr).map(|(stdout, stderr)| RunningStreams::Pipes {
            stdin,
            stdout,
            stderr,
        }),
    };
    let shim = starting.0.take().ok_or_else(|| io::Error::other("the shim is gone"))?;
    Ok(Running { shim, pid, process, streams })
}

fn attach_streams(command: &mut Command, streams: Streams) -> io::Result<Option<OwnedFd>> {
    if streams == Streams::Terminal {
        let Pty { controller, terminal } = Pty::open(Path::new("/dev/ptmx"))?;
        command.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal);
        return Ok(Some(controller));
    }
    let stdin = if streams == Streams::InputAndOutput { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(None)
}

/// The shim ended before the container began; its last words tell why.
async fn no_report(stderr: Option<ChildStderr>, status: ExitStatus) -> LaunchError {
    let mut words = Vec::new();
    if let Some(stderr) = stderr {
        let _ = stderr.take(4096).read_to_end(&mut words).await;
    }
    let words = String::from_utf8_lossy(&words);
    LaunchError::Shim(io::Error::other(format!("{status}: {}", words.trim())))
}

fn unnamed_file(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("palisade-spec", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    Ok(file)
}

/// Path by which another process of this pid namespace can open one of this process's files.
pub(crate) fn own_path(file: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}

fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// A report is one short JSON document, written at once.
const MAX_REPORT: usize = 4096;
