//! `doctor`: finds out what a mesh needs of this machine, most of it by trying. What it means is judged in
//! the command line's crate.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    net::{Ipv4Addr, TcpListener},
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use palisade_cli::{CliError, Facts, Format, StateDir, Target, Trial};
use palisade_net::{Fabric, Redirect, egress::Egress};
use palisade_node::Cgroups;
use palisade_sys::{mount, namespace::PodNamespaces};
use rustix::process::Resource;

/// Name of the entry point that tries things out in a sandbox.
pub(crate) const ENTRY: &str = "doctor";

/// Prints what was found; the answer is no when a mesh can't run.
pub(crate) fn run(target: &Target, format: Format) -> ExitCode {
    let facts = facts(&StateDir::new(target.state_dir.as_deref()));
    crate::conclude(palisade_cli::doctor(&facts, format, &mut anstream::stdout()))
}

fn facts(state: &StateDir) -> Facts {
    let (sandbox, trials) = match tried_in_sandbox() {
        Ok(trials) => (None, trials),
        Err(error) => (Some(error), Vec::new()),
    };
    let api_port = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::supervisor::DEFAULT_API_PORT));
    let place = existing(state.path());
    let free = rustix::fs::statvfs(&place).ok();
    Facts {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
        sandbox,
        trials,
        programs: ["nft", "curl"]
            .map(|program| (program.to_owned(), crate::machine::is_installed(program)))
            .into(),
        api_port: api_port.err().map(|error| error.to_string()),
        open_files: rustix::process::getrlimit(Resource::Nofile).current,
        processes: rustix::process::getrlimit(Resource::Nproc).current,
        now: seconds(SystemTime::now()),
        written: written_before(state),
        cgroups: cgroup_problem(),
        state_dir: state.path().display().to_string(),
        state_dir_problem: rustix::fs::access(&place, rustix::fs::Access::WRITE_OK)
            .err()
            .map(|error| io::Error::from(error).to_string()),
        free_bytes: free.map(|free| free.f_bavail.saturating_mul(free.f_frsize)),
    }
}

/// What a supervisor does first, in a sandbox that ends at once.
fn tried_in_sandbox() -> Result<Vec<Trial>, String> {
    let text = |error: io::Error| error.to_string();
    let exe = std::env::current_exe().map_err(text)?;
    let (mut answer, writer) = io::pipe().map_err(text)?;
    rustix::io::fcntl_setfd(&writer, rustix::io::FdFlags::empty())
        .map_err(|error| text(error.into()))?;
    let args = ["internal".into(), ENTRY.into(), writer.as_raw_fd().to_string().into()];
    let supervisor = palisade_sys::spawn_supervisor(&exe, &args, std::env::vars_os())
        .map_err(|error| error.to_string())?;
    drop(writer);
    let mut said = String::new();
    answer.read_to_string(&mut said).map_err(text)?;
    supervisor.wait().map_err(text)?;
    let said: Result<Vec<Trial>, String> =
        serde_json::from_str(&said).map_err(|error| format!("the sandbox ended: {error}"))?;
    said
}

/// `internal doctor FD`: the first process of that sandbox; answers on the descriptor.
pub(crate) fn try_out(args: &[OsString]) -> ExitCode {
    let answer = || -> io::Result<()> {
        let number = args.first().and_then(|number| number.to_str()).unwrap_or_default();
        let answer = File::options().write(true).open(format!("/proc/self/fd/{number}"))?;
        let tried = match palisade_sys::enter_supervisor() {
            Ok(()) => Ok(trials()),
            Err(error) => Err(error.to_string()),
        };
        Ok(serde_json::to_writer(answer, &tried)?)
    };
    crate::conclude(answer().map_err(|error| CliError::Trouble(error.to_string())))
}

fn trials() -> Vec<Trial> {
    let mount = Path::new("/sys");
    let mounts = mount::tmpfs(mount, "size=4k").and_then(|()| mount::read_only_here(mount));
    let fabric = Fabric::create(Egress::Refused);
    let problem = |result: Result<(), String>| result.err();
    let mut trials = vec![
        Trial {
            name: "file systems can be mounted and made read-only".to_owned(),
            problem: problem(mounts.map_err(|error| error.to_string())),
        },
        Trial {
            name: "a network of its own, with rules for services".to_owned(),
            problem: fabric.as_ref().err().map(ToString::to_string),
        },
    ];
    if let Ok(fabric) = fabric {
        trials.push(Trial {
            name: "a pod can be connected, and redirected to its sidecar".to_owned(),
            problem: problem(connect_a_pod(&fabric)),
        });
    }
    trials
}

fn connect_a_pod(fabric: &Fabric) -> Result<(), String> {
    let pod = PodNamespaces::create("doctor").map_err(|error| error.to_string())?;
    let ip = Ipv4Addr::new(10, 244, 0, 2);
    fabric.add_pod(ip, pod.net.as_fd(), Redirect::Sidecar).map_err(|error| error.to_string())
}

/// The newest file among those that were written with a clock that was right: this program, and what
/// certificates were issued with.
fn written_before(state: &StateDir) -> u64 {
    let ca = fs::read_dir(state.ca()).into_iter().flatten().flatten().map(|entry| entry.path());
    std::env::current_exe()
        .into_iter()
        .chain(ca)
        .filter_map(|file| fs::metadata(file).ok()?.modified().ok())
        .map(seconds)
        .max()
        .unwrap_or_default()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Why no limits can be set for groups of processes, found out where `up` would make them.
fn cgroup_problem() -> Option<String> {
    let cgroups = Cgroups::create();
    let problem = crate::machine::unlimited(&cgroups);
    if let Ok(cgroups) = cgroups {
        cgroups.remove();
    }
    problem
}

/// The nearest directory above that exists.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/")).to_owned()
}
