//! Pseudo-terminals.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags},
    pty::OpenptFlags,
    termios::Winsize,
};

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end that a person's client reads and writes.
    pub controller: OwnedFd,
    /// The end that a program has as its terminal.
    pub terminal: OwnedFd,
}

impl Pty {
    /// A new pseudo-terminal of the devpts instance that `ptmx` belongs to.
    ///
    /// # Errors
    /// When `ptmx` can't be opened or there are no more terminals.
    pub fn open(ptmx: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let controller = rustix::fs::open(ptmx, flags, Mode::empty())?;
        rustix::pty::unlockpt(&controller)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = rustix::pty::ioctl_tiocgptpeer(&controller, flags)?;
        Ok(Self { controller, terminal })
    }
}

/// Tells the programs on a terminal how large its window is.
///
/// # Errors
/// When it is no terminal.
pub fn resize(terminal: impl AsFd, columns: u16, rows: u16) -> io::Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

/// Makes standard input the controlling terminal of a new session.
///
/// # Errors
/// When standard input is no terminal or belongs to another session.
pub fn take_terminal() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?)
}
