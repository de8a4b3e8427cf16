//! Commands: run, and show all of what came back when that is not as expected.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// What a finished command left.
#[derive(Debug)]
pub struct Run {
    /// The command line, for messages.
    pub line: String,
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn new(command: &mut Command) -> Self {
        let line = format!("{command:?}");
        match command.output() {
            Ok(output) => Self::from_output(line, &output),
            Err(error) => panic!("can't start {line}: {error} (run `make tools`)"),
        }
    }

    /// Runs a command to its end, with this as its input.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn with_input(command: &mut Command, input: &str) -> Self {
        let line = format!("{command:?}");
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|error| panic!("can't start {line}: {error}"));
        // A command that ends without reading says why in its output.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Self::from_output(line, &child.wait_with_output().unwrap())
    }

    fn from_output(line: String, output: &Output) -> Self {
        Self {
            line,
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output of a command that must succeed.
    ///
    /// # Panics
    /// When it did not.
    pub fn ok(self) -> String {
        self.code(0).stdout
    }

    /// The command must have ended with this code.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn code(self, code: i32) -> Self {
        assert!(self.code == code, "expected exit code {code}\n{self}");
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, code, stdout, stderr } = self;
        write!(f, "$ {line}\nexit code {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Waits until the condition gives a value.
///
/// # Panics
/// When it has not after `timeout`; shows the last reason.
pub fn eventually<T>(
    what: &str,
    timeout: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        match condition() {
            Ok(value) => return value,
            Err(reason) => {
                assert!(Instant::now() < deadline, "{what}: not after {timeout:?}: {reason}");
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
    }
}

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where the Python packages are that `make tools` installs.
///
/// # Panics
/// When they are not there.
#[must_use]
pub fn python_packages() -> String {
    let python = repository().join("target/tools/python");
    let python = python.canonicalize().unwrap_or_else(|error| {
        panic!("no gRPC for Python in {python:?} ({error}): run `make tools`")
    });
    python.display().to_string()
}

/// A tool that `make tools` installs, or else the one on the path.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    let installed = repository().join("target/tools/bin").join(name);
    if installed.exists() { installed } else { PathBuf::from(name) }
}
