//! `internal supervisor`: process 1 of the sandbox. It holds the API, the controllers and the node, and
//! starts the control plane. Whatever ends it, the kernel ends everything below it.
//!
//! Its main thread stays in the host's network namespace, where the API listens on loopback for people.
//! The mesh thread has entered the mesh's own, and all else lives there.

use std::{
    ffi::OsString,
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use palisade_cli::{CliError, StateDir};
use palisade_kubeapi::{ApiOptions, ApiServer, ApiUser, Ids};
use palisade_net::{
    Fabric, GATEWAY,
    egress::{Dialer, Egress, Resolver},
};
use palisade_node::{Cgroups, NodeOptions};
use tokio_util::sync::CancellationToken;

use crate::{
    console,
    control::{end_on_signal, log_to},
    metrics,
    prometheus::Prometheus,
    stage::{Stage, StageSender},
};

/// Name of this entry point.
pub(crate) const ENTRY: &str = "supervisor";

/// What `up` tells its supervisor.
#[derive(Clone, Debug, Parser)]
#[command(name = "supervisor")]
pub(crate) struct SupervisorArgs {
    /// State directory.
    #[arg(long)]
    pub(crate) state_dir: PathBuf,
    /// Socket on which stages are reported.
    #[arg(long)]
    pub(crate) stages: PathBuf,
    /// Port of the API on the host's loopback; without it 6443, or a free one if that is taken.
    #[arg(long)]
    pub(crate) api_port: Option<u16>,
    /// Port of the metrics on the host's loopback; without it 15020, or a free one if that is taken.
    #[arg(long)]
    pub(crate) metrics_port: Option<u16>,
    /// Port of the console on the host's loopback; without it 20001, or a free one if that is taken.
    #[arg(long)]
    pub(crate) console_port: Option<u16>,
    /// Whether the console refuses to change the mesh.
    #[arg(long)]
    pub(crate) console_read_only: bool,
    /// Prometheus that the console asks about what it does not remember.
    #[arg(long)]
    pub(crate) prometheus: Option<hyper::Uri>,
    /// Lifetime of workload certificates in seconds.
    #[arg(long)]
    pub(crate) svid_ttl: u64,
    /// Whether pods reach addresses outside the mesh.
    #[arg(long, value_enum)]
    pub(crate) egress: palisade_cli::Egress,
    /// Where events are logged.
    #[arg(long)]
    pub(crate) log: PathBuf,
    /// Control groups to hold containers to their limits in.
    #[arg(long)]
    pub(crate) cgroup: Vec<PathBuf>,
    /// Log more.
    #[arg(long)]
    pub(crate) verbose: bool,
}

impl SupervisorArgs {
    /// The command line that this is parsed from.
    pub(crate) fn to_command_line(&self) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec!["internal".into(), ENTRY.into()];
        let mut option = |name: &str, value: OsString| line.extend([name.into(), value]);
        option("--state-dir", self.state_dir.clone().into());
        option("--stages", self.stages.clone().into());
        option("--svid-ttl", self.svid_ttl.to_string().into());
        let egress = match self.egress {
            palisade_cli::Egress::None => "none",
            palisade_cli::Egress::Host => "host",
        };
        option("--egress", egress.into());
        option("--log", self.log.clone().into());
        for cgroup in &self.cgroup {
            option("--cgroup", cgroup.into());
        }
        if let Some(port) = self.api_port {
            option("--api-port", port.to_string().into());
        }
        if let Some(port) = self.metrics_port {
            option("--metrics-port", port.to_string().into());
        }
        if let Some(port) = self.console_port {
            option("--console-port", port.to_string().into());
        }
        if let Some(url) = &self.prometheus {
            option("--prometheus", url.to_string().into());
        }
        if self.console_read_only {
            line.push("--console-read-only".into());
        }
        if self.verbose {
            line.push("--verbose".into());
        }
        line
    }
}

/// Runs the mesh until SIGTERM or SIGINT.
pub(crate) fn run(args: &[OsString]) -> ExitCode {
    let args =
        SupervisorArgs::parse_from(std::iter::once(ENTRY.into()).chain(args.iter().cloned()));
    let mut stages = match StageSender::connect(&args.stages) {
        Ok(stages) => stages,
        Err(error) => {
            return crate::conclude(Err(CliError::Trouble(format!("reach `up`: {error}"))));
        }
    };
    let logging = File::options().create(true).append(true).open(&args.log).map(|log| {
        log_to(std::sync::Mutex::new(log), args.verbose);
    });
    let done = logging.context("open the log").and_then(|()| supervise(&args, &mut stages));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            stages.failed(&format!("{error:#}"));
            crate::conclude(Err(CliError::Trouble(format!("{error:#}"))))
        }
    }
}

fn supervise(args: &SupervisorArgs, stages: &mut StageSender) -> Result<()> {
    palisade_sys::enter_supervisor()?;
    let host = listen_on_host(args.api_port, DEFAULT_API_PORT, "--api-port")?;
    let metrics = metrics::listen(args.metrics_port)?;
    let console = console::listen(args.console_port, "--console-port")?;
    let egress = match args.egress {
        palisade_cli::Egress::None => Egress::Refused,
        palisade_cli::Egress::Host => Egress::Host,
    };
    let fabric = Fabric::create(egress)?;
    stages.reached(Stage::Sandbox)?;

    let shutdown = CancellationToken::new();
    let runtime = crate::runtime()?;
    let resolver = match egress {
        Egress::Refused => None,
        Egress::Host => Some(way_out(&fabric, args, &runtime)?),
    };
    runtime.block_on(async { end_on_signal(shutdown.clone()) })?;
    let (done, ended) = tokio::sync::oneshot::channel();
    let (args, shutdown) = (args.clone(), shutdown.clone());
    let prometheus = args.prometheus.clone();
    let prometheus = prometheus.map(|url| Prometheus::new(url, runtime.handle().clone()));
    let mesh = Mesh { args, fabric, resolver, host, metrics, console, prometheus, shutdown };
    let stages = stages.try_clone()?;
    std::thread::Builder::new().name("mesh".to_owned()).spawn(move || {
        // The receiver waits for as long as this thread lives.
        drop(done.send(mesh.run(stages)));
    })?;
    runtime.block_on(ended).context("the mesh thread panicked")?
}

/// Lets pods and the control plane out through `host`, the runtime of the main thread.
fn way_out(
    fabric: &Fabric,
    args: &SupervisorArgs,
    host: &tokio::runtime::Runtime,
) -> Result<Resolver> {
    let forwarder = fabric.forwarder()?;
    let socket = StateDir::new(Some(&args.state_dir)).dialer_socket();
    let dialer = host.block_on(async { Dialer::listen(&socket) });
    host.spawn(dialer.with_context(|| format!("listen on `{}`", socket.display()))?.serve());
    host.spawn(async move {
        if let Err(error) = forwarder.serve().await {
            tracing::error!(%error, "the way out of the mesh has ended");
        }
    });
    Ok(Resolver::new(host.handle().clone()))
}

/// What runs in the mesh's own network.
struct Mesh {
    args: SupervisorArgs,
    fabric: Fabric,
    resolver: Option<Resolver>,
    host: TcpListener,
    metrics: TcpListener,
    console: TcpListener,
    prometheus: Option<Prometheus>,
    shutdown: CancellationToken,
}

impl Mesh {
    fn run(self, stages: StageSender) -> Result<()> {
        self.fabric.enter_current_thread()?;
        crate::runtime()?.block_on(self.serve(stages))
    }

    async fn serve(self, mut stages: StageSender) -> Result<()> {
        let state = StateDir::new(Some(&self.args.state_dir));
        let port = self.host.local_addr()?.port();
        let inside = TcpListener::bind(INSIDE).context("listen in the mesh's network")?;
        let mut options = ApiOptions::new(state.api(), state.kubelet_socket());
        if !palisade_sys::privilege::has_many_ids() {
            options.ids = Ids::One;
        }
        let api = ApiServer::open(options)?;
        let inside_url = format!("https://{INSIDE}");
        let users = [
            (ApiUser::Admin, state.kubeconfig(), format!("https://127.0.0.1:{port}")),
            (ApiUser::ControlPlane, state.component_kubeconfig("control"), inside_url.clone()),
            (ApiUser::Controllers, state.component_kubeconfig("controllers"), inside_url.clone()),
            (ApiUser::Node, state.component_kubeconfig("node"), inside_url.clone()),
            (ApiUser::Console, state.component_kubeconfig("console"), inside_url),
        ];
        for (user, path, url) in &users {
            write_private(path, &api.kubeconfig(*user, url)?)?;
        }
        // The API outlives the others, since they say good-bye through it.
        let api_shutdown = CancellationToken::new();
        let (listeners, until) = (vec![self.host, inside], api_shutdown.clone());
        let serving = tokio::spawn(async move { api.serve(listeners, until).await });
        metrics::serve(self.metrics, &state, self.shutdown.clone())?;
        stages.reached(Stage::Api(port))?;
        let changes = match self.args.console_read_only {
            true => palisade_console::Changes::Refused,
            false => palisade_console::Changes::Allowed,
        };
        let console = console::start(
            self.console,
            &state,
            (changes, self.prometheus),
            self.shutdown.clone(),
        )?;

        let controllers = state.component_kubeconfig("controllers");
        let controllers_shutdown = self.shutdown.clone();
        let controllers = tokio::spawn(async move {
            palisade_controllers::run(&controllers, controllers_shutdown).await
        });
        let node = NodeOptions {
            kubeconfig: state.component_kubeconfig("node"),
            state_dir: state.path().to_owned(),
            kubelet_socket: state.kubelet_socket(),
            self_exe: std::env::current_exe()?,
            name: "palisade".to_owned(),
            fabric: self.fabric,
            cgroups: (!self.args.cgroup.is_empty()).then(|| Cgroups::at(self.args.cgroup.clone())),
            resolver: self.resolver,
        };
        let node = tokio::spawn(palisade_node::run(node, self.shutdown.clone()));
        let control_shutdown = CancellationToken::new();
        let control =
            tokio::spawn(keep_control_running(self.args, state, control_shutdown.clone()));
        control_ready(&self.shutdown).await?;
        stages.reached(Stage::Control)?;

        // Whichever ends first, by the signal or by failing, ends the others; pods first.
        let first = tokio::select! {
            () = self.shutdown.cancelled() => Ok(()),
            ended = serving_ended(&serving) => Err(ended),
        };
        self.shutdown.cancel();
        drop(tokio::task::spawn_blocking(move || console.join()).await);
        let node = node.await.context("the node panicked")?.context("node");
        let controllers =
            controllers.await.context("the controllers panicked")?.context("controllers");
        control_shutdown.cancel();
        control.await.context("the control plane's keeper panicked")?.context("control plane")?;
        api_shutdown.cancel();
        let api = serving.await.context("the API panicked")?.context("API");
        first.and(node).and(controllers).and(api)
    }
}

/// Waits for the API task to end by itself, which it does only when it fails.
async fn serving_ended<T>(serving: &tokio::task::JoinHandle<T>) -> anyhow::Error {
    while !serving.is_finished() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    anyhow!("the API ended")
}

/// Starts the control plane in the calling thread's network, and again if it ends.
async fn keep_control_running(
    args: SupervisorArgs,
    state: StateDir,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut pause = Duration::from_millis(100);
    loop {
        let mut child = start_control(&args, &state)?;
        let started = tokio::time::Instant::now();
        tokio::select! {
            () = shutdown.cancelled() => {
                terminate(&mut child).await;
                return Ok(());
            }
            ended = child.wait() => {
                tracing::error!("the control plane ended ({}); starting it again", ended?);
            }
        }
        if started.elapsed() > Duration::from_secs(10) {
            pause = Duration::from_millis(100);
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

fn start_control(args: &SupervisorArgs, state: &StateDir) -> Result<tokio::process::Child> {
    let log = File::options().create(true).append(true).open(state.control_log())?;
    let network = match args.egress {
        palisade_cli::Egress::None => "mesh".into(),
        palisade_cli::Egress::Host => state.dialer_socket(),
    };
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command
        .arg("control")
        .arg("--api")
        .arg(state.component_kubeconfig("control"))
        .arg("--ca-dir")
        .arg(state.ca())
        .arg("--history")
        .arg(state.history())
        .args(["--listen", &GATEWAY.to_string(), "--register-service"])
        .args(["--svid-ttl", &format!("{}s", args.svid_ttl)])
        .arg("--network")
        .arg(network)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    if args.verbose {
        command.arg("--verbose");
    }
    command.spawn().context("start the control plane")
}

async fn terminate(child: &mut tokio::process::Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        // A process that has just ended is as good as one that was asked to.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(Duration::from_secs(5), child.wait()).await.is_err() {
        drop(child.kill().await);
    }
}

/// Waits until the control plane says that it is ready.
async fn control_ready(shutdown: &CancellationToken) -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let ask = async || -> io::Result<bool> {
        let mut stream = tokio::net::TcpStream::connect((GATEWAY, MONITORING_PORT)).await?;
        stream
            .write_all(b"GET /ready HTTP/1.1\r\nhost: istiod\r\nconnection: close\r\n\r\n")
            .await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        Ok(&answer == b"HTTP/1.1 200")
    };
    let deadline = tokio::time::Instant::now() + CONTROL_TIMEOUT;
    while !ask().await.unwrap_or(false) {
        if shutdown.is_cancelled() {
            return Err(anyhow!("stopped before the control plane was ready"));
        }
        if tokio::time::Instant::now() > deadline {
            return Err(anyhow!(
                "the control plane is not ready after {} s: see control.log in the state directory",
                CONTROL_TIMEOUT.as_secs()
            ));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Listens on a port of the host's loopback, which `option` chooses: the one wanted, or the usual one, or any
/// if that is taken.
pub(crate) fn listen_on_host(wanted: Option<u16>, usual: u16, option: &str) -> Result<TcpListener> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = match wanted {
        Some(port) => bind(port).with_context(|| {
            format!("listen on 127.0.0.1:{port}: choose another port with {option}")
        })?,
        None => bind(usual).or_else(|_| bind(0)).context("listen on 127.0.0.1")?,
    };
    Ok(listener)
}

/// Writes credentials, readable by the owner alone, as a whole.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let fresh = path.with_extension("new");
    let write = || {
        let mut options = File::options();
        options.create(true).truncate(true).write(true).mode(0o600);
        options.open(&fresh)?.write_all(text.as_bytes())?;
        std::fs::rename(&fresh, path)
    };
    write().with_context(|| format!("write `{}`", path.display()))
}

/// The API's usual port.
pub(crate) const DEFAULT_API_PORT: u16 = 6443;
/// Port of the control plane's metrics and status.
pub(crate) const MONITORING_PORT: u16 = 15014;
const CONTROL_TIMEOUT: Duration = Duration::from_secs(60);
/// The API inside the mesh's own network: on loopback, which no pod can reach.
const INSIDE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_API_PORT);
