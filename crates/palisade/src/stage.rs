//! What the supervisor tells the `up` that started it: how far it is, over a socket whose end also says
//! that the supervisor has ended.

use std::{
    io::{self, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};

/// The stages of a start, in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// The sandbox and its network are there.
    Sandbox,
    /// The API answers on this port of the host's loopback.
    Api(u16),
    /// The control plane's webhooks, certificate authority and streams are there.
    Control,
}

/// The supervisor's end.
#[derive(Debug)]
pub(crate) struct StageSender(UnixStream);

impl StageSender {
    /// Connects to the waiting `up`.
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        Ok(Self(UnixStream::connect(socket)?))
    }

    /// A second handle of the same connection.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Says that a stage is reached.
    pub(crate) fn reached(&mut self, stage: Stage) -> io::Result<()> {
        match stage {
            Stage::Sandbox => writeln!(self.0, "sandbox"),
            Stage::Api(port) => writeln!(self.0, "api {port}"),
            Stage::Control => writeln!(self.0, "control"),
        }
    }

    /// Says why there will be no further stage.
    pub(crate) fn failed(&mut self, why: &str) {
        // The other end may be gone already; then nobody is left to tell.
        drop(writeln!(self.0, "failed {}", why.replace('\n', "; ")));
    }
}

/// The end of `up`.
#[derive(Debug)]
pub(crate) struct StageReceiver {
    listener: tokio::net::UnixListener,
    lines: Option<Lines<BufReader<tokio::net::UnixStream>>>,
    socket: PathBuf,
}

impl StageReceiver {
    /// Listens; the socket's name is removed when this is dropped.
    pub(crate) fn listen(socket: PathBuf) -> io::Result<Self> {
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = tokio::net::UnixListener::bind(&socket)?;
        Ok(Self { listener, lines: None, socket })
    }

    /// The next stage, or why there will be none.
    pub(crate) async fn next(&mut self) -> Result<Stage, String> {
        let ended = || "the supervisor ended".to_owned();
        let lines = match &mut self.lines {
            Some(lines) => lines,
            empty => {
                let (stream, _) = self.listener.accept().await.map_err(|e| e.to_string())?;
                empty.insert(BufReader::new(stream).lines())
            }
        };
        let line = lines.next_line().await.map_err(|e| e.to_string())?.ok_or_else(ended)?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("sandbox", _) => Ok(Stage::Sandbox),
            ("api", port) => port.parse().map(Stage::Api).map_err(|e| e.to_string()),
            ("control", _) => Ok(Stage::Control),
            ("failed", why) => Err(why.to_owned()),
            _ => Err(format!("the supervisor said `{line}`")),
        }
    }
}

impl Drop for StageReceiver {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.socket));
    }
}
