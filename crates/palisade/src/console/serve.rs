//! Serves the console: of the mesh of this machine from a thread of its supervisor, which lives in the mesh's own
//! network; of any other from a process of its own. Either asks the API as any client does, and listens on
//! loopback.

use std::{
    io::{self, Write},
    net::TcpListener,
    os::unix::net::{UnixListener, UnixStream},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use palisade_cli::{CliError, ConsoleArgs, Mesh, StateDir, Target};
use palisade_console::{Changes, Console, Links};
use palisade_telemetry::FeedLine;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::View;
use crate::{
    control::{end_on_signal, log_to},
    prometheus::Prometheus,
    supervisor::listen_on_host,
    up::{private_dir, trouble},
};

/// Takes the console's port of the host's loopback; `option` chooses it.
pub(crate) fn listen(port: Option<u16>, option: &str) -> Result<TcpListener> {
    listen_on_host(port, palisade_console::DEFAULT_PORT, option)
}

/// Serves the console from a thread in the calling thread's network. What goes wrong is logged: the mesh does
/// not need a console.
pub(crate) fn start(
    listener: TcpListener,
    state: &StateDir,
    (changes, prometheus): (Changes, Option<Prometheus>),
    shutdown: CancellationToken,
) -> Result<JoinHandle<()>> {
    let socket = links_socket(state).context("listen for `palisade console`")?;
    let target = Target {
        state_dir: Some(state.path().to_owned()),
        kubeconfig: Some(state.component_kubeconfig("console")),
    };
    let service = Service { listener, socket, target, changes, prometheus };
    let serve = move || -> Result<()> { crate::runtime()?.block_on(service.serve(shutdown)) };
    let thread = std::thread::Builder::new().name("console".to_owned()).spawn(move || {
        if let Err(error) = serve() {
            tracing::error!("the console has ended: {error:#}");
        }
    })?;
    Ok(thread)
}

/// `console --serve`: serves the console until SIGTERM or SIGINT.
pub(crate) fn run(target: &Target, args: &ConsoleArgs) -> Result<(), CliError> {
    log_to(io::stderr, false);
    let state = StateDir::new(target.state_dir.as_deref());
    let runtime = crate::runtime()?;
    let done = runtime.block_on(serve_here(target, &state, args));
    // A look-up of a name that hangs is no reason to stay.
    runtime.shutdown_background();
    done.map_err(|error| trouble("serve the console")(format!("{error:#}")))
}

async fn serve_here(target: &Target, state: &StateDir, args: &ConsoleArgs) -> Result<()> {
    let shutdown = CancellationToken::new();
    end_on_signal(shutdown.clone())?;
    if let Some(run) = state.console_socket().parent() {
        private_dir(run)?;
    }
    let host = tokio::runtime::Handle::current();
    let service = Service {
        socket: links_socket(state)?,
        listener: listen(args.port, "--port")?,
        target: target.clone(),
        changes: if args.own.read_only { Changes::Refused } else { Changes::Allowed },
        prometheus: args.own.prometheus.clone().map(|url| Prometheus::new(url, host)),
    };
    let (address, place) = (service.listener.local_addr()?, state.path().display());
    let said = writeln!(
        io::stdout(),
        "The console is at http://{address}. A link that logs in, once:\n  palisade console --state-dir {place}"
    );
    said.or_else(|error| crate::broken_pipe_is_fine(&error))?;
    service.serve(shutdown).await
}

/// A console that is to be served.
struct Service {
    listener: TcpListener,
    /// Gives login links.
    socket: UnixListener,
    target: Target,
    changes: Changes,
    prometheus: Option<Prometheus>,
}

impl Service {
    /// Serves until it is told to stop. Neither API nor control plane need be there: pages say what is missing.
    async fn serve(self, shutdown: CancellationToken) -> Result<()> {
        let mesh = Mesh::connect(&self.target).await?;
        let console = Console::new(self.listener, View(mesh.clone()), self.changes)?;
        let console = match self.prometheus {
            Some(prometheus) => console.with_long_history(prometheus),
            None => console,
        };
        let (links, feed) = (console.links(), console.feed());
        let stop = shutdown.clone();
        tokio::select! {
            done = console.serve(shutdown) => Ok(done?),
            failed = give_links(self.socket, &links) => Ok(failed?),
            () = follow(&mesh, feed) => Ok(()),
            () = async { stop.cancelled().await; sleep(GRACE).await } => Ok(()),
        }
    }
}

/// The socket on which this console gives links, unless another one does: who asks should not get now the one's,
/// now the other's.
fn links_socket(state: &StateDir) -> Result<UnixListener> {
    let path = state.console_socket();
    if UnixStream::connect(&path).is_ok() {
        bail!(
            "a console is served in `{}` already: log in to it with `palisade console`, or name another \
             directory with --state-dir",
            state.path().display()
        );
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let socket =
        UnixListener::bind(&path).with_context(|| format!("listen on `{}`", path.display()))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Answers whoever connects: the socket is in a directory of its owner.
async fn give_links(socket: UnixListener, links: &Links) -> io::Result<()> {
    let socket = tokio::net::UnixListener::from_std(socket)?;
    loop {
        let (stream, _) = socket.accept().await?;
        let links = links.clone();
        tokio::spawn(async move {
            // Whoever asked may be gone again; then an answer is of no use to anybody.
            drop(timeout(SOCKET_PATIENCE, answer(stream, &links)).await);
        });
    }
}

/// A login link to `link`; to `ready` the same word, since a probe should not use up links.
async fn answer(mut stream: tokio::net::UnixStream, links: &Links) -> io::Result<()> {
    let mut asked = String::new();
    BufReader::new((&mut stream).take(MAX_QUESTION)).read_line(&mut asked).await?;
    let answer = match asked.trim_end() {
        "link" => links.mint()?.to_string(),
        "ready" => "ready".to_owned(),
        _ => return Ok(()),
    };
    stream.write_all(format!("{answer}\n").as_bytes()).await
}

/// Takes in what sidecars report; connects again whenever the control plane comes back, and when nothing was
/// heard for long: a connection whose other end has vanished does not say so.
async fn follow(mesh: &Mesh, feed: impl Fn(FeedLine)) {
    let heard = Notify::new();
    let mut said = String::new();
    loop {
        let silence = async { while timeout(SILENCE, heard.notified()).await.is_ok() {} };
        let reports = mesh.follow_telemetry(|line| {
            heard.notify_one();
            feed(serde_json::from_str(line).map_err(|error| error.to_string())?);
            Ok(())
        });
        let ended = tokio::select! {
            ended = reports => ended,
            () = silence => continue,
        };
        let why = ended.err().map_or_else(String::new, |error| error.to_string());
        if !why.is_empty() && why != said {
            tracing::warn!("no reports of sidecars for now: {why}");
        }
        said = why;
        sleep(PAUSE).await;
    }
}

/// How long the answers that are under way at the end may still take.
const GRACE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_secs(1);
/// After this long without a report the connection is made anew.
const SILENCE: Duration = Duration::from_secs(60);
const SOCKET_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of what may be asked for on the socket.
const MAX_QUESTION: u64 = 16;
