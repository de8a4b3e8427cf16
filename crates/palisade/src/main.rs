//! The one binary: it wires the shells together and nothing else.

mod console;
mod control;
mod doctor;
mod format;
mod groups;
mod machine;
mod metrics;
mod network;
mod prometheus;
mod redirect;
mod request;
mod sidecar;
mod stage;
mod supervisor;
mod up;
mod wait;

use std::{ffi::OsString, io::Write, process::ExitCode};

use clap::Parser;
use palisade_cli::{Cli, CliError, Command, StateDir};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Up(args) => return up::run(&cli.target, &args),
        Command::Doctor(args) if !args.mesh => return doctor::run(&cli.target, args.output),
        Command::Control(args) => return control::run(&args),
        Command::Proxy(args) => return sidecar::run(&args),
        Command::Internal { args } => return internal(&args),
        Command::Console(args) if args.own.serve => console::run(&cli.target, &args),
        Command::Down(_) => {
            let state = StateDir::new(cli.target.state_dir.as_deref());
            // Known only until they are purged, and in use until the mesh has ended.
            let left = groups::left(&state);
            speak(cli).inspect(|()| groups::remove_left(&state, &left))
        }
        _ => speak(cli),
    };
    conclude(done)
}

/// Runs a command that needs no more than the mesh's API and files.
fn speak(cli: Cli) -> Result<(), CliError> {
    let mut out = anstream::stdout();
    runtime()?.block_on(palisade_cli::run(cli, &mut out))?;
    out.flush().or_else(|error| broken_pipe_is_fine(&error))
}

/// Prints why a command did not succeed, and turns it into an exit code.
fn conclude(done: Result<(), CliError>) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    let message = error.to_string();
    if !message.is_empty() {
        let label = palisade_cli::Style::Bad.paint("error");
        // Where standard error is closed there is nobody to tell.
        drop(writeln!(anstream::stderr(), "{label}: {message}"));
    }
    ExitCode::from(error.exit_code())
}

fn broken_pipe_is_fine(error: &std::io::Error) -> Result<(), CliError> {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(CliError::Trouble(format!("print: {error}"))),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Trouble(format!("start the runtime: {error}")))
}

/// Entry points of processes that others of the mesh start.
fn internal(args: &[OsString]) -> ExitCode {
    match args.split_first() {
        Some((name, rest)) if name == supervisor::ENTRY => supervisor::run(rest),
        Some((name, rest)) if name == doctor::ENTRY => doctor::try_out(rest),
        Some((name, rest)) if name == "request" => request::run(rest),
        Some((name, [])) if name == "redirect" => redirect::run(),
        Some((name, [])) if name == "wait" => wait::run(),
        _ => palisade_node::run_internal(args),
    }
}
