//! The access log's file, as the mesh's settings name it.

use std::{
    fs::OpenOptions,
    io::{self, Write},
};

use palisade_telemetry::{AccessLogSender, AccessLogWriter, Dropped};
use thiserror::Error;

/// Where log lines go.
#[derive(Debug, Default)]
pub(crate) struct AccessLog {
    file: String,
    writer: Option<AccessLogWriter>,
}

/// Why a file can't be logged to.
#[derive(Debug, Error)]
#[error("can't write the access log to `{file}`: {source}")]
pub(crate) struct LogError {
    file: String,
    source: io::Error,
}

impl AccessLog {
    /// Logs to `file` from now on; empty: not at all.
    pub(crate) fn switch_to(&mut self, file: &str) -> Result<(), LogError> {
        if self.file == file {
            return Ok(());
        }
        let failed = |source| LogError { file: file.to_owned(), source };
        self.writer = if file.is_empty() {
            None
        } else {
            let output = open(file).map_err(failed)?;
            let capacity = AccessLogWriter::DEFAULT_CAPACITY;
            Some(AccessLogWriter::start(output, capacity).map_err(failed)?)
        };
        file.clone_into(&mut self.file);
        Ok(())
    }

    /// A sender for one worker.
    pub(crate) fn sender(&self, dropped: Dropped) -> Option<AccessLogSender> {
        self.writer.as_ref().map(|writer| writer.sender(dropped))
    }
}

/// The standard streams are not opened by name: that fails where they belong to another user.
fn open(file: &str) -> io::Result<Box<dyn Write + Send>> {
    Ok(match file {
        "/dev/stdout" => Box::new(io::stdout()),
        "/dev/stderr" => Box::new(io::stderr()),
        path => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
    })
}
