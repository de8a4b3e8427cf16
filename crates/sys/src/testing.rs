//! Runs a test inside the sandbox, by starting the test program once more.

use std::ffi::OsString;

use crate::{enter_supervisor, spawn_supervisor};

/// Runs `work` as pid 1 of namespaces of its own, whoever the user is. `test` is the path of the
/// calling test within its program. Fails where the kernel does not allow it, unless
/// `PALISADE_SKIP_NETNS=1` says to skip.
///
/// # Panics
/// When the sandbox can't be entered or the test fails in it.
#[expect(clippy::expect_used, clippy::panic, reason = "it reports to the test harness")]
pub fn in_sandbox(test: &str, work: impl FnOnce()) {
    match Sandboxed::from_env() {
        Sandboxed::Skipped => return,
        Sandboxed::Inside => {
            enter_supervisor().expect("enter the sandbox");
            return work();
        }
        Sandboxed::Outside => {}
    }
    let program = std::env::current_exe().expect("the test program");
    let args = [test, "--exact", "--nocapture", "--test-threads=1"].map(OsString::from);
    let env = std::env::vars_os().chain([(INSIDE.into(), "1".into())]);
    let supervisor = spawn_supervisor(&program, &args, env).unwrap_or_else(|error| {
        panic!("{error}; PALISADE_SKIP_NETNS=1 skips tests that need namespaces")
    });
    let status = supervisor.wait().expect("wait for the sandbox");
    assert!(status.success(), "`{test}` failed in the sandbox: {status}");
}

/// Where a test runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sandboxed {
    /// Nowhere: `PALISADE_SKIP_NETNS=1` is set.
    Skipped,
    /// In the sandbox.
    Inside,
    /// Not in it yet.
    Outside,
}

impl Sandboxed {
    /// What the environment says.
    #[must_use]
    pub fn from_env() -> Self {
        if std::env::var_os("PALISADE_SKIP_NETNS").is_some_and(|value| value == "1") {
            Self::Skipped
        } else if std::env::var_os(INSIDE).is_some() {
            Self::Inside
        } else {
            Self::Outside
        }
    }
}

const INSIDE: &str = "PALISADE_TEST_SANDBOX";
