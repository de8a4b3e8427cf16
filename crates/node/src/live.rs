//! Streams of containers that run: to the log, and to whoever is attached.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::unix::pipe,
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
};

use crate::{
    launch::RunningStreams,
    logs::{LogWriter, Stream},
    spec::ProcessSpec,
};

/// Namespace, pod and container.
pub(crate) type ContainerKey = (String, String, String);

/// All containers that run, for exec, attach and logs.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveContainers {
    by_key: Arc<Mutex<HashMap<ContainerKey, Arc<LiveContainer>>>>,
}

/// A container that runs.
#[derive(Debug)]
pub(crate) struct LiveContainer {
    /// Its first process, as the node sees it.
    pub pid: i32,
    /// How further processes are started in it.
    pub process: ProcessSpec,
    /// What it says; ends when it does.
    pub output: broadcast::WeakSender<(Stream, Bytes)>,
    /// Where what it is told goes; none when nobody may tell it anything.
    pub input: Option<mpsc::Sender<Input>>,
    /// Whether its input ends with the first who was attached.
    pub input_ends_with_first: bool,
    /// Its terminal, to change the size of.
    pub terminal: Option<Arc<Terminal>>,
    /// Tells when its log has grown.
    pub log: watch::Receiver<u64>,
}

/// What is done to a container's standard input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Input {
    /// Bytes are written.
    Bytes(Bytes),
    /// It is closed.
    End,
}

impl LiveContainers {
    /// A container that runs now.
    pub(crate) fn find(&self, key: &ContainerKey) -> Option<Arc<LiveContainer>> {
        self.by_key.lock().get(key).cloned()
    }

    pub(crate) fn insert(&self, key: ContainerKey, container: LiveContainer) {
        self.by_key.lock().insert(key, Arc::new(container));
    }

    pub(crate) fn remove(&self, key: &ContainerKey) {
        self.by_key.lock().remove(key);
    }
}

/// A container's streams, while they are moved.
#[derive(Debug)]
pub(crate) struct Pump {
    tasks: JoinSet<()>,
    log: mpsc::Sender<(Stream, Bytes)>,
    /// For those who attach.
    pub output: broadcast::WeakSender<(Stream, Bytes)>,
    /// For those who attach.
    pub input: Option<mpsc::Sender<Input>>,
    /// The terminal, if there is one.
    pub terminal: Option<Arc<Terminal>>,
}

impl Pump {
    /// Moves what a container says to its log and to listeners, and what it is told to it.
    pub(crate) fn start(streams: RunningStreams, log: LogWriter) -> io::Result<Self> {
        let (output, _) = broadcast::channel(LISTENER_BACKLOG);
        let weak = output.downgrade();
        let (lines, queue) = mpsc::channel(LOG_BACKLOG);
        let mut tasks = JoinSet::new();
        tasks.spawn(write_log(log, queue));
        let mut terminal = None;
        let input = match streams {
            RunningStreams::Pipes { stdin, stdout, stderr } => {
                tasks.spawn(listen(stdout, Stream::Out, lines.clone(), output.clone()));
                tasks.spawn(listen(stderr, Stream::Err, lines.clone(), output));
                stdin.map(|stdin| feed(stdin, &mut tasks))
            }
            RunningStreams::Terminal(controller) => {
                let shared = Arc::new(Terminal::new(controller)?);
                tasks.spawn(listen(shared.reader()?, Stream::Out, lines.clone(), output));
                let input = feed(shared.writer()?, &mut tasks);
                terminal = Some(shared);
                Some(input)
            }
        };
        Ok(Self { tasks, log: lines, output: weak, input, terminal })
    }

    /// Waits until all that the container has said is written. It has ended, so this is short.
    pub(crate) async fn finish(self) {
        let Self { mut tasks, log, input, .. } = self;
        drop((log, input));
        let all = async { while tasks.join_next().await.is_some() {} };
        // A process that escaped with a stream can't exist; a listener that stalls could.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), all).await;
    }
}

async fn write_log(mut log: LogWriter, mut queue: mpsc::Receiver<(Stream, Bytes)>) {
    while let Some((stream, bytes)) = queue.recv().await {
        log.write(stream, &bytes);
    }
    log.finish();
}

async fn listen(
    mut from: impl AsyncRead + Unpin,
    stream: Stream,
    log: mpsc::Sender<(Stream, Bytes)>,
    listeners: broadcast::Sender<(Stream, Bytes)>,
) {
    let mut buffer = vec![0; CHUNK];
    // A terminal whose last program has ended gives an error.
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        let _ = listeners.send((stream, bytes.clone()));
        if log.send((stream, bytes)).await.is_err() {
            return;
        }
    }
}

fn feed(
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    tasks: &mut JoinSet<()>,
) -> mpsc::Sender<Input> {
    let (sender, mut queue) = mpsc::channel(INPUT_BACKLOG);
    tasks.spawn(async move {
        while let Some(Input::Bytes(bytes)) = queue.recv().await {
            if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
    });
    sender
}

/// The controlling end of a pseudo-terminal.
#[derive(Debug)]
pub(crate) struct Terminal(OwnedFd);

impl Terminal {
    pub(crate) fn new(controller: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&controller, true)?;
        Ok(Self(controller))
    }

    /// What its programs say. To the runtime, a terminal is as good as a pipe.
    pub(crate) fn reader(&self) -> io::Result<pipe::Receiver> {
        pipe::Receiver::from_owned_fd_unchecked(self.0.try_clone()?)
    }

    /// What its programs are told.
    pub(crate) fn writer(&self) -> io::Result<pipe::Sender> {
        pipe::Sender::from_owned_fd_unchecked(self.0.try_clone()?)
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let _ = palisade_sys::pty::resize(self.0.as_fd(), columns, rows);
    }
}

const CHUNK: usize = 16 << 10;

/// Listeners that fall behind by more lose output; the log has it.
const LISTENER_BACKLOG: usize = 256;
const LOG_BACKLOG: usize = 64;
const INPUT_BACKLOG: usize = 16;
