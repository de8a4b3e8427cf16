//! `up`: starts the mesh of this machine in a sandbox, applies manifests to it as any client would, and
//! runs a suite. It holds the state directory's lock; its end, however it comes, ends the mesh.

use std::{
    fs::{self, DirBuilder, File},
    io::{Seek, Write},
    os::{
        fd::AsFd,
        unix::{
            fs::{DirBuilderExt, OpenOptionsExt},
            process::ExitStatusExt,
        },
    },
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use palisade_cli::{CliError, Egress, Mesh, StateDir, Style, Target, UpArgs};
use palisade_node::Cgroups;
use palisade_sys::Supervisor;
use rustix::{
    fs::{FlockOperation, flock},
    process::Signal,
};
use tokio_util::sync::CancellationToken;

use crate::{
    format, groups, machine,
    stage::{Stage, StageReceiver},
    supervisor::SupervisorArgs,
};

/// Runs until SIGINT or SIGTERM, or with `--exit` until the suite has run.
pub(crate) fn run(target: &Target, args: &UpArgs) -> ExitCode {
    crate::conclude(start(target, args))
}

fn start(target: &Target, args: &UpArgs) -> Result<(), CliError> {
    if target.kubeconfig.is_some() {
        return Err(trouble("start a mesh")("--kubeconfig names a cluster; leave it out"));
    }
    let begin = Instant::now();
    let objects = if args.manifests.is_empty() {
        Vec::new()
    } else {
        palisade_cli::read_manifests(&args.manifests, &mut anstream::stderr())?
    };
    machine::require("nft", "redirects connections into sidecars", "nftables")?;
    machine::allow_open_files()?;
    let state = StateDir::new(target.state_dir.as_deref());
    format::check(&state)?;
    let _lock = lock(&state)?;
    format::write(&state)?;
    if let Some(own) = &args.ca_dir {
        palisade_control::bring_authority(own, &state.ca())
            .map_err(trouble("bring a certificate authority"))?;
    }
    private_dir(&state.path().join("run"))?;
    let cgroups = groups::create(&state)?;
    let runtime = crate::runtime()?;
    let (supervisor, stages) = runtime.block_on(async { launch(&state, args, &cgroups) })?;
    let stopping = CancellationToken::new();
    let outcome = runtime.block_on(async {
        crate::control::end_on_signal(stopping.clone())?;
        tokio::select! {
            () = stopping.cancelled() => Ok(()),
            done = live(args, &state, &objects, stages, Clock::start(begin), &cgroups) => done,
        }
    });
    let ended = supervisor.end(STOP_TIMEOUT).map_err(trouble("wait for the supervisor"))?;
    groups::remove_left(&state, &groups::left(&state));
    let killed = ended.signal() == Some(Signal::KILL.as_raw());
    match (outcome, ended.success() || stopping.is_cancelled() && !killed) {
        (Ok(()), false) => Err(trouble("stop the mesh")(format!(
            "the supervisor ended with {ended}: see {}",
            state.path().join(SUPERVISOR_LOG).display()
        ))),
        (outcome, _) => outcome,
    }
}

/// From the start of the supervisor to the end of what was asked for.
async fn live(
    args: &UpArgs,
    state: &StateDir,
    objects: &[palisade_cli::Manifest],
    mut stages: StageReceiver,
    mut clock: Clock,
    cgroups: &Result<Cgroups, String>,
) -> Result<(), CliError> {
    let mut out = anstream::stdout();
    let port = started(&mut stages, &mut clock, args.timeout, state).await?;
    say(&mut out, &format!("API        https://127.0.0.1:{port}"))?;
    say(&mut out, &format!("kubeconfig {}", state.kubeconfig().display()))?;
    let metrics = fs::read_to_string(state.metrics_url()).unwrap_or_default();
    say(&mut out, &format!("metrics    {metrics} (see `palisade prometheus-config`)"))?;
    if let Ok(link) = palisade_cli::console_link(state) {
        say(&mut out, &format!("console    {link}"))?;
    }
    say(&mut out, &format!("limits     {}", machine::limits(cgroups)))?;
    if args.egress == Egress::Host {
        say(&mut out, &format!("egress     {}", Style::Warning.paint(EGRESS_NOTICE)))?;
    }
    say(&mut out, "")?;

    let target = Target { state_dir: Some(state.path().to_owned()), kubeconfig: None };
    let mesh = Mesh::connect(&target).await?;
    let work = async {
        if !objects.is_empty() {
            let applied = palisade_cli::apply_manifests(&mesh, objects, &mut out).await?;
            clock.lap("manifests applied");
            palisade_cli::ready(&mesh, &applied, args.timeout).await?;
            clock.lap("pods ready, policies in force");
        }
        let Some(suite) = &args.test else { return Ok(true) };
        say(&mut out, "")?;
        let suites = std::slice::from_ref(suite);
        let passed = palisade_cli::run_suites(&mesh, suites, PROBE_TIMEOUT, &mut out).await?;
        clock.lap("probes answered");
        Ok(passed)
    };
    let passed = tokio::select! {
        passed = work => passed?,
        why = failed(&mut stages) => return Err(trouble("run the mesh")(why)),
    };
    say(&mut out, &format!("\n{}", clock.breakdown()))?;
    if !args.exit {
        let hint = format!(
            "The mesh runs until Ctrl-C. In another terminal:\n  export KUBECONFIG={}\n  kubectl get pods -A",
            state.kubeconfig().display()
        );
        say(&mut out, &format!("\n{hint}"))?;
        let why = failed(&mut stages).await;
        return Err(trouble("run the mesh")(why));
    }
    if passed { Ok(()) } else { Err(CliError::Reported) }
}

/// Waits for all stages of the start; the API's port.
async fn started(
    stages: &mut StageReceiver,
    clock: &mut Clock,
    timeout: Duration,
    state: &StateDir,
) -> Result<u16, CliError> {
    let mut port = 0;
    let log = state.path().join(SUPERVISOR_LOG);
    loop {
        let next = tokio::time::timeout(timeout, stages.next()).await;
        let next = next.map_err(|_| {
            trouble("start the mesh")(format!(
                "not ready after {} s: see {}",
                timeout.as_secs(),
                log.display()
            ))
        })?;
        let next = next.map_err(|why| match clock.laps.is_empty() {
            true => format!("{why}; `palisade doctor` shows what this machine lacks"),
            false => why,
        });
        match next.map_err(trouble("start the mesh"))? {
            Stage::Sandbox => clock.lap("sandbox"),
            Stage::Api(listening) => {
                port = listening;
                clock.lap("API");
            }
            Stage::Control => {
                clock.lap("control plane");
                return Ok(port);
            }
        }
    }
}

/// Why the supervisor has ended, once it has.
async fn failed(stages: &mut StageReceiver) -> String {
    loop {
        if let Err(why) = stages.next().await {
            return why;
        }
    }
}

fn launch(
    state: &StateDir,
    args: &UpArgs,
    cgroups: &Result<Cgroups, String>,
) -> Result<(Supervisor, StageReceiver), CliError> {
    let socket = state.path().join("run").join("up.sock");
    let stages = StageReceiver::listen(socket.clone()).map_err(|e| trouble("start the mesh")(e))?;
    let supervisor = SupervisorArgs {
        state_dir: state.path().to_owned(),
        stages: socket,
        api_port: args.api_port,
        metrics_port: args.metrics_port,
        console_port: args.console_port,
        console_read_only: args.console_read_only,
        prometheus: args.prometheus.clone(),
        svid_ttl: args.svid_ttl.as_secs(),
        egress: args.egress,
        verbose: args.verbose,
        log: state.path().join(SUPERVISOR_LOG),
        cgroup: cgroups.iter().flat_map(Cgroups::roots).cloned().collect(),
    };
    let exe = std::env::current_exe().map_err(|e| trouble("find this program")(e))?;
    let supervisor =
        palisade_sys::spawn_supervisor(&exe, &supervisor.to_command_line(), std::env::vars_os())
            .map_err(|e| trouble("start the mesh")(e))?;
    Ok((supervisor, stages))
}

/// Takes the state directory for this process, for as long as the file is open here or in the
/// supervisor; waits for a mesh that is just ending.
fn lock(state: &StateDir) -> Result<File, CliError> {
    private_dir(state.path())?;
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(state.lock())
        .map_err(trouble("lock the state directory"))?;
    let deadline = Instant::now() + ENDING_TIMEOUT;
    while flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive).is_err() {
        let holder = fs::read_to_string(state.lock()).unwrap_or_default();
        let holder = holder.trim();
        if Path::new("/proc").join(holder).exists() || Instant::now() > deadline {
            return Err(trouble("start a mesh")(format!(
                "one runs in `{}` already (process {holder}): use it, stop it with \
                 `palisade down`, or start another with --state-dir",
                state.path().display()
            )));
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|e| trouble("lock the state directory")(e))?;
    Ok(file)
}

/// Makes a directory that only its owner enters, and those above it.
pub(crate) fn private_dir(path: &Path) -> Result<(), CliError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| trouble(&format!("create `{}`", path.display()))(e))
}

pub(crate) fn trouble<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> CliError {
    let what = what.to_owned();
    move |error| CliError::Trouble(format!("{what}: {error}"))
}

fn say(out: &mut impl Write, line: &str) -> Result<(), CliError> {
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .or_else(|error| crate::broken_pipe_is_fine(&error))
}

/// How long each part of a start took.
struct Clock {
    begin: Instant,
    last: Instant,
    laps: Vec<(&'static str, Duration)>,
}

impl Clock {
    fn start(begin: Instant) -> Self {
        Self { begin, last: begin, laps: Vec::new() }
    }

    fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        self.laps.push((name, now - self.last));
        self.last = now;
    }

    fn breakdown(&self) -> String {
        let mut lines: Vec<String> = self
            .laps
            .iter()
            .map(|(name, took)| format!("{:>6} ms  {name}", took.as_millis()))
            .collect();
        let total = (self.last - self.begin).as_millis();
        lines.push(Style::Good.paint(&format!("{total:>6} ms  in all")));
        lines.join("\n")
    }
}

const EGRESS_NOTICE: &str =
    "pods can connect to whatever this machine can reach, but for itself (--egress host)";
const SUPERVISOR_LOG: &str = "supervisor.log";
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// What the supervisor has to end: more than its pods and the control plane take together.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a mesh whose `up` was killed may take to vanish.
const ENDING_TIMEOUT: Duration = Duration::from_secs(5);
