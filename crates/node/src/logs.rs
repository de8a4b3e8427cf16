//! Logs of containers: a file per instance in the format of container runtimes, rotated by size.
//!
//! A line is `TIME stdout|stderr F|P TEXT`, `P` marking a part of a line that was too long.

mod read;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use tokio::sync::watch;

pub(crate) use read::{LogQuery, follow, last_words};

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Where the logs of a container are: a directory with a file per instance.
#[derive(Clone, Debug)]
pub(crate) struct LogDirectory {
    path: PathBuf,
}

impl LogDirectory {
    /// The directory of a container of a pod, below the node's directory of logs.
    pub(crate) fn new(logs: &Path, (namespace, pod, uid): (&str, &str, &str), name: &str) -> Self {
        Self { path: logs.join(format!("{namespace}_{pod}_{uid}")).join(name) }
    }

    /// File of an instance.
    pub(crate) fn file(&self, instance: i32) -> PathBuf {
        self.path.join(format!("{instance}.log"))
    }

    /// Begins the log of an instance and forgets all but the one before.
    pub(crate) fn begin(&self, instance: i32) -> io::Result<LogWriter> {
        fs::create_dir_all(&self.path)?;
        for old in 0..instance - 1 {
            let _ = fs::remove_file(self.file(old));
            let _ = fs::remove_file(rotated(&self.file(old)));
        }
        LogWriter::create(self.file(instance))
    }
}

/// Appends to the log of an instance.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    file: File,
    written: u64,
    limit: u64,
    /// Beginnings of lines that have not ended yet.
    pending: [Vec<u8>; 2],
    grown: Arc<watch::Sender<u64>>,
}

impl LogWriter {
    fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let written = file.metadata()?.len();
        let grown = Arc::new(watch::Sender::new(0));
        Ok(Self { path, file, written, limit: MAX_FILE, pending: Default::default(), grown })
    }

    /// Tells when there is more to read.
    pub(crate) fn growth(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    /// Appends what a stream gave. A failing disk loses lines, not the container.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let now = Timestamp::now();
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let [stdout, stderr] = &mut self.pending;
        let pending = if stream == Stream::Out { stdout } else { stderr };
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let mut part = part;
            while pending.len() + part.len() > MAX_LINE {
                let (head, tail) = part.split_at(MAX_LINE - pending.len());
                pending.extend_from_slice(head);
                format_line(&mut out, now, stream, 'P', pending);
                pending.clear();
                part = tail;
            }
            pending.extend_from_slice(part);
            if let Some(line) = pending.strip_suffix(b"\n") {
                format_line(&mut out, now, stream, 'F', line);
                pending.clear();
            }
        }
        self.append(&out);
    }

    /// Writes what has no newline at its end.
    pub(crate) fn finish(&mut self) {
        let now = Timestamp::now();
        let mut out = Vec::new();
        let [stdout, stderr] = std::mem::take(&mut self.pending);
        for (stream, rest) in [(Stream::Out, stdout), (Stream::Err, stderr)] {
            if !rest.is_empty() {
                format_line(&mut out, now, stream, 'P', &rest);
            }
        }
        self.append(&out);
    }

    fn append(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        if self.written + lines.len() as u64 > self.limit && self.written > 0 {
            self.rotate();
        }
        match self.file.write_all(lines) {
            Ok(()) => self.written += lines.len() as u64,
            Err(error) => tracing::warn!(log = %self.path.display(), %error, "log lines are lost"),
        }
        self.grown.send_modify(|version| *version += 1);
    }

    fn rotate(&mut self) {
        let fresh = fs::rename(&self.path, rotated(&self.path))
            .and_then(|()| OpenOptions::new().create(true).append(true).open(&self.path));
        match fresh {
            Ok(file) => (self.file, self.written) = (file, 0),
            Err(error) => tracing::warn!(log = %self.path.display(), %error, "can't rotate"),
        }
    }
}

/// Where a file goes that has grown too long; the one before it is lost.
fn rotated(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn format_line(out: &mut Vec<u8>, at: Timestamp, stream: Stream, tag: char, text: &[u8]) {
    let stream = if stream == Stream::Out { "stdout" } else { "stderr" };
    let _ = write!(out, "{at:.9} {stream} {tag} ");
    out.extend_from_slice(text);
    out.push(b'\n');
}

const MAX_FILE: u64 = 10 << 20;
const MAX_LINE: usize = 16 << 10;

#[cfg(test)]
mod tests;
