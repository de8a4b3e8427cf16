//! A network for experiments with real proxies: namespaces of the runner's own, in which every address
//! is local, so that a client can have any address and reach a server at any other.

mod certificates;
mod client;

use std::{
    env,
    ffi::OsString,
    fs,
    os::fd::AsFd,
    process::{Command, ExitCode},
};

use anyhow::{Context, bail};
use palisade_sys::{enter_supervisor, namespace, spawn_supervisor};

pub(crate) use self::{
    certificates::Certificates,
    client::{Caller, Ends, Heard, Response, Target},
};

/// Whether this program runs inside of such a network.
pub(crate) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Starts this program once more, with the same arguments, inside of such a network. Where it is there
/// already, there is no exit code, and the work can begin.
///
/// # Errors
/// When namespaces can't be made.
pub(crate) fn enter() -> anyhow::Result<Option<ExitCode>> {
    if is_inside() {
        enter_supervisor()?;
        let network = namespace::create_network().context("make a network namespace")?;
        namespace::enter_network(network.as_fd()).context("enter a network namespace")?;
        for line in SET_UP {
            ip(line)?;
        }
        fs::write(NONLOCAL_BIND, "1").with_context(|| format!("write `{NONLOCAL_BIND}`"))?;
        return Ok(None);
    }
    let program = env::current_exe().context("find this program")?;
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    let variables = env::vars_os().chain([(INSIDE.into(), "1".into())]);
    let status = spawn_supervisor(&program, &args, variables)?.supervise()?;
    Ok(Some(ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(2))))
}

fn ip(line: &str) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(line.split(' '))
        .output()
        .context("start `ip`: run `make tools`")?;
    if !output.status.success() {
        bail!("ip {line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

const SET_UP: [&str; 3] =
    ["link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"];

/// IPv4 needs no leave to be anybody where every address is local.
const NONLOCAL_BIND: &str = "/proc/sys/net/ipv6/ip_nonlocal_bind";

const INSIDE: &str = "PALISADE_XTASK_LAB";
