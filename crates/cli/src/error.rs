//! How a command ends when it does not succeed.

use thiserror::Error;

/// Why a command did not succeed; says which exit code that is.
#[derive(Debug, Error)]
pub enum CliError {
    /// The question was answered, and the answer is no: exit code 1.
    #[error("{0}")]
    No(String),
    /// The answer is no, and all there is to say has been printed: exit code 1.
    #[error("")]
    Reported,
    /// Usage, input or output: exit code 2.
    #[error("{0}")]
    Trouble(String),
    /// A remote command ended with this exit code.
    #[error("")]
    Remote(u8),
}

impl CliError {
    /// Trouble with what was being done and the cause.
    pub fn during(what: impl std::fmt::Display) -> impl FnOnce(String) -> Self {
        move |cause| Self::Trouble(format!("{what}: {cause}"))
    }

    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::No(_) | Self::Reported => 1,
            Self::Trouble(_) => 2,
            Self::Remote(code) => *code,
        }
    }
}

/// Attaches what was being done to any error.
pub(crate) trait During<T> {
    /// Turns the error into [`CliError::Trouble`].
    fn during(self, what: impl std::fmt::Display) -> Result<T, CliError>;
}

impl<T, E: std::fmt::Display> During<T> for Result<T, E> {
    fn during(self, what: impl std::fmt::Display) -> Result<T, CliError> {
        self.map_err(|error| CliError::Trouble(format!("{what}: {error}")))
    }
}
