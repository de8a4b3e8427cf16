//! The commands: one file each, and the table that picks one.

mod apply;
mod ca;
mod check;
mod console;
mod delete;
mod describe;
mod doctor;
mod down;
mod exec;
mod explain;
mod history;
mod identity;
mod install;
mod issuers;
mod logs;
mod prometheus_config;
mod proxy_config;
mod proxy_status;
mod ready;
pub(crate) mod sidecar;
mod status;
mod suite;
mod target;
mod test;
mod traffic;
mod version;
mod wait;

use std::io::Write;

pub(crate) use apply::is_mesh_config;
pub use apply::{Applied, apply_manifests, read_manifests};
pub(crate) use check::check;
pub use console::console_link;
pub use explain::{Ask, Explained, Proposed, explain, propose};
pub(crate) use ready::in_force;
pub use ready::ready;
pub(crate) use target::split_namespace;
pub use test::run_suites;

use crate::{
    Cli, CliError, Command, Mesh, StateDir,
    args::{DescribeCommand, XCommand},
    error::During,
};

/// Names the pods with sidecars of somebody else, in a line; nothing if there are none.
pub(crate) fn not_ours(foreign: &[String]) -> String {
    if foreign.is_empty() {
        return String::new();
    }
    format!("Not ours, and not waited for: the sidecars of {}.\n", foreign.join(", "))
}

/// Runs a command that needs nothing but the API. `up`, `control`, `proxy` and `internal` start
/// processes and are the binary's.
///
/// # Errors
/// See [`CliError`]; the message is to be printed by the caller.
pub async fn run(cli: Cli, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let state = StateDir::new(cli.target.state_dir.as_deref());
    match cli.command {
        Command::Down(args) => return down::run(&state, &args, out).await,
        Command::Kubeconfig => {
            let path = state.kubeconfig();
            if !path.exists() {
                return Err(CliError::Trouble(format!(
                    "there is no mesh in `{}`: start one with `palisade up`",
                    state.path().display()
                )));
            }
            return writeln!(out, "{}", path.display()).during("print");
        }
        Command::Console(args) => return console::run(&cli.target, &args, out).await,
        Command::Check(args) => return check::run(&cli.target, &args, out).await,
        Command::Doctor(args) => return doctor::run(&cli.target, args.output, out).await,
        Command::Describe(DescribeCommand::Policy(args)) => {
            return describe::policy(&cli.target, &args, out).await;
        }
        Command::Describe(DescribeCommand::Workload(args)) => {
            return describe::workload(&cli.target, &args, out).await;
        }
        Command::Explain(args) => return explain::run(&cli.target, &args, out).await,
        Command::Test(args) if args.offline => return test::run_offline(&args, out),
        Command::Status(args) => return status::run(&cli.target, &state, &args, out).await,
        Command::PrometheusConfig(args) => return prometheus_config::run(&state, &args, out),
        Command::Install(args) => return install::install(&cli.target, &args, out).await,
        Command::Uninstall(args) => return install::uninstall(&cli.target, &args, out).await,
        Command::Version(args) => return version::run(&cli.target, &args, out).await,
        _ => {}
    }
    let mesh = Mesh::connect(&cli.target).await?;
    match cli.command {
        Command::Apply(args) => apply::run(&mesh, &args, out).await,
        Command::Delete(args) => delete::run(&mesh, &args, out).await,
        Command::Describe(what) | Command::X(XCommand::Describe(what)) => {
            describe::run(&mesh, &what, out).await
        }
        Command::Exec(args) => exec::run(&mesh, &args).await,
        Command::Logs(args) => logs::run(&mesh, &args, out).await,
        Command::Traffic(args) => traffic::run(&mesh, &args, out).await,
        Command::Test(args) => test::run(&mesh, &args, out).await,
        Command::Wait(args) => wait::run(&mesh, &args, out).await,
        Command::History(args) => history::run(&mesh, &args, out).await,
        Command::Ca(what) => ca::run(&mesh, &what, out).await,
        Command::ProxyConfig(what) => proxy_config::run(&mesh, &what, out).await,
        Command::RootcaCompare(args) => proxy_config::compare_roots(&mesh, &args, out).await,
        Command::Issuers(args) => issuers::run(&mesh, &args, out).await,
        Command::Identity(args) => identity::run(&mesh, &args, out).await,
        Command::ProxyStatus(args) => proxy_status::run(&mesh, &args, out).await,
        _ => Err(CliError::Trouble("this command is not one of the API's".to_owned())),
    }
}
