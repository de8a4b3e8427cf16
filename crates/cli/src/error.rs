//! How a command ends when it does not succeed.

use std::any::Any;

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

impl<T, E: std::fmt::Display + 'static> During<T> for Result<T, E> {
    fn during(self, what: impl std::fmt::Display) -> Result<T, CliError> {
        self.map_err(|error| CliError::Trouble(format!("{what}: {}", words(&error))))
    }
}

/// An error in words: of the API's refusal what it says itself, such as which permission is missing; of a
/// connection that failed all that is known about why.
fn words<E: std::fmt::Display + 'static>(error: &E) -> String {
    match (error as &dyn Any).downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) if !status.message.is_empty() => status.message.clone(),
        Some(kube::Error::Api(status)) => format!("the API answered {}", status.code),
        Some(kube::Error::Service(error)) => chain(&**error),
        Some(kube::Error::UpgradeConnection(error)) => chain(error),
        _ => error.to_string(),
    }
}

/// An error and its causes, each once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut all = vec![error.to_string()];
    let causes = std::iter::successors(error.source(), |error| error.source());
    for cause in causes.map(ToString::to_string) {
        if !all.iter().any(|said| said.contains(&cause)) {
            all.push(cause);
        }
    }
    all.join(": ")
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn refusals_are_told_in_the_words_of_the_api() {
        let message = "pods is forbidden: User \"me\" cannot list resource \"pods\" in API group \"\" at the cluster scope";
        let refused = kube::Error::Api(Box::new(Status::failure(message, "Forbidden")));
        let told = Err::<(), _>(refused).during("list pods").unwrap_err();
        assert_eq!(told.to_string(), format!("list pods: {message}"));
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, Error)]
        #[error("{0}")]
        struct Outer(&'static str, #[source] std::io::Error);
        let refused = || std::io::Error::other("connection refused");
        let service = |outer| kube::Error::Service(Box::new(Outer(outer, refused())));
        let told = Err::<(), _>(service("client error")).during("ask").unwrap_err();
        assert_eq!(told.to_string(), "ask: client error: connection refused");
        let told = Err::<(), _>(service("connect: connection refused")).during("ask").unwrap_err();
        assert_eq!(told.to_string(), "ask: connect: connection refused");
    }
}
