//! `console`: a way in to the console. That of the mesh of this machine, or one that was served here, gives login
//! links on a socket in the state directory, to whoever may open it; that of a cluster is reached through its API.

mod cluster;
mod forward;

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    CliError, Mesh, StateDir,
    args::{ConsoleArgs, Target},
    error::During,
};

pub(crate) async fn run(
    target: &Target,
    args: &ConsoleArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let state = StateDir::new(target.state_dir.as_deref());
    if args.ready {
        return ready(&state);
    }
    if !is_here(target, &state) {
        return cluster::run(&Mesh::connect(target).await?, args, out).await;
    }
    if args.port.is_some() {
        return Err(CliError::Trouble(
            "--port is for --serve, and for a cluster's console: the one here listens already"
                .to_owned(),
        ));
    }
    show(&console_link(&state)?, args.open, out)
}

/// Whether the console that is meant gives its links in the state directory: it does where one was named, such as
/// in the console's own pod, and not where a cluster was.
fn is_here(target: &Target, state: &StateDir) -> bool {
    match &target.kubeconfig {
        None => {
            target.state_dir.is_some()
                || state.kubeconfig().exists()
                || state.console_socket().exists()
        }
        Some(file) => match (file.canonicalize(), state.kubeconfig().canonicalize()) {
            (Ok(file), Ok(own)) => file == own,
            _ => false,
        },
    }
}

/// Prints a link, and opens it if that was asked for.
fn show(link: &str, open: bool, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    writeln!(out, "{link}").and_then(|()| out.flush()).during("print")?;
    if open {
        let mut browser = Command::new("xdg-open");
        browser.arg(link).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        browser.spawn().during("open a browser with `xdg-open`: open the link yourself")?;
    }
    Ok(())
}

/// A link that logs in to the console that is served for a state directory, once.
///
/// # Errors
/// When none is.
pub fn console_link(state: &StateDir) -> Result<String, CliError> {
    let place = state.path().display();
    let link = ask(state, "link").during(format!(
        "no console answers for `{place}`: start a mesh with `palisade up` (supervisor.log there says why it has \
         no console), or serve one with `palisade console --serve`"
    ))?;
    match link.is_empty() {
        true => Err(CliError::Trouble(format!(
            "the console of `{place}` gave no link: see supervisor.log there"
        ))),
        false => Ok(link),
    }
}

fn ready(state: &StateDir) -> Result<(), CliError> {
    let place = state.path().display();
    match ask(state, "ready") {
        Ok(answer) if answer == "ready" => Ok(()),
        Ok(_) => Err(CliError::No(format!("the console of `{place}` says nothing"))),
        Err(error) => Err(CliError::No(format!("no console answers for `{place}`: {error}"))),
    }
}

/// What the console says to a word on its socket.
fn ask(state: &StateDir, word: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(state.console_socket())?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    writeln!(stream, "{word}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.trim().to_owned())
}

const TIMEOUT: Duration = Duration::from_secs(5);
