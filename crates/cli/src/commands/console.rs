//! `console`: a way in to the console of the mesh on this machine. The console itself runs beside the mesh; it
//! gives login links to whoever may open its socket in the state directory.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{CliError, StateDir, args::ConsoleArgs, error::During};

pub(crate) fn run(
    state: &StateDir,
    args: &ConsoleArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let link = console_link(state)?;
    writeln!(out, "{link}").during("print")?;
    if args.open {
        let mut browser = Command::new("xdg-open");
        browser.arg(&link).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        browser.spawn().during("open a browser with `xdg-open`: open the link yourself")?;
    }
    Ok(())
}

/// A link that logs in to the console of the mesh on this machine, once.
///
/// # Errors
/// When no mesh runs, or its console does not.
pub fn console_link(state: &StateDir) -> Result<String, CliError> {
    let ask = || {
        let mut stream = UnixStream::connect(state.console_socket())?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut link = String::new();
        stream.read_to_string(&mut link)?;
        Ok::<_, std::io::Error>(link.trim().to_owned())
    };
    let place = state.path().display();
    let link = ask().during(format!(
        "no console answers for `{place}`: start a mesh with `palisade up`, or see supervisor.log there"
    ))?;
    match link.is_empty() {
        true => Err(CliError::Trouble(format!(
            "the console of `{place}` gave no link: see supervisor.log there"
        ))),
        false => Ok(link),
    }
}

const TIMEOUT: Duration = Duration::from_secs(5);
