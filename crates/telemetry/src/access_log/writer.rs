//! Takes lines from the workers and writes them out. Workers only copy a line into a buffer; if the reader of
//! the log is too slow the buffer fills up, and further lines are dropped and counted. A request never
//! waits for its log line.

use std::{
    io::Write,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use crate::{access_log::AccessLogEntry, metrics::Dropped};

/// The thread that writes. Dropping it writes what is left, then ends the thread.
#[derive(Debug)]
pub struct AccessLogWriter {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

/// Where one worker leaves its lines.
#[derive(Clone, Debug)]
pub struct AccessLogSender {
    queue: Arc<Queue>,
    line: String,
    dropped: Dropped,
}

#[derive(Debug)]
struct Queue {
    capacity: usize,
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    closed: bool,
}

impl AccessLogWriter {
    /// Bytes of lines that may wait, unless set otherwise.
    pub const DEFAULT_CAPACITY: usize = 1024 * 1024;

    /// Starts a thread that writes to `output`. At most `capacity` bytes of lines wait.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(output: impl Write + Send + 'static, capacity: usize) -> std::io::Result<Self> {
        let queue =
            Arc::new(Queue { capacity, pending: Mutex::default(), changed: Condvar::new() });
        let thread = {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name("access-log".to_owned()).spawn(move || queue.run(output))?
        };
        Ok(Self { queue, thread: Some(thread) })
    }

    /// A sender for one worker, which counts lost lines in `dropped`.
    #[must_use]
    pub fn sender(&self, dropped: Dropped) -> AccessLogSender {
        AccessLogSender { queue: Arc::clone(&self.queue), line: String::new(), dropped }
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.queue.pending.lock().closed = true;
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // Its panic has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl AccessLogSender {
    /// Logs one line.
    pub fn log(&mut self, entry: &AccessLogEntry<'_>) {
        self.line.clear();
        entry.format(&mut self.line);
        if !self.queue.push(self.line.as_bytes()) {
            self.dropped.access_log.add(1);
        }
        self.line.shrink_to(MAX_KEPT_LINE);
    }
}

impl Queue {
    /// Adds a line; false if there is no room.
    fn push(&self, line: &[u8]) -> bool {
        let mut pending = self.pending.lock();
        let before = pending.lines.len();
        if before + line.len() > self.capacity || pending.closed {
            return false;
        }
        pending.lines.extend_from_slice(line);
        let after = pending.lines.len();
        drop(pending);
        let urgent = self.capacity / 2;
        if before == 0 || (before < urgent && after >= urgent) {
            self.changed.notify_one();
        }
        true
    }

    /// Writes until the queue is closed and empty. An output that fails is not written to again, but its
    /// lines are still taken, so that the buffer cannot stay full of them.
    fn run(&self, mut output: impl Write) {
        let mut lines = Vec::new();
        let mut works = true;
        while self.take(&mut lines) {
            works = works && output.write_all(&lines).and_then(|()| output.flush()).is_ok();
            lines.clear();
            lines.shrink_to(MAX_KEPT_BUFFER);
        }
    }

    /// Waits for lines and takes all of them; false when there will be none.
    fn take(&self, lines: &mut Vec<u8>) -> bool {
        let mut pending = self.pending.lock();
        while pending.lines.is_empty() {
            if pending.closed {
                return false;
            }
            self.changed.wait(&mut pending);
        }
        // One wake-up and one write for the lines of many requests.
        if !pending.closed && pending.lines.len() < self.capacity / 2 {
            self.changed.wait_for(&mut pending, GATHER);
        }
        std::mem::swap(&mut pending.lines, lines);
        true
    }
}

/// How long a line may wait for others.
const GATHER: Duration = Duration::from_millis(50);

const MAX_KEPT_LINE: usize = 4 * 1024;
const MAX_KEPT_BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::clock::UnixMillis;

    /// Hands over what is written, and takes no more than there is room for in the channel.
    struct Channel(mpsc::SyncSender<Vec<u8>>);

    impl Write for Channel {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| std::io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn entry(path: &str) -> AccessLogEntry<'_> {
        AccessLogEntry { start: UnixMillis(0), path, ..AccessLogEntry::default() }
    }

    #[test]
    fn every_line_arrives_in_order_and_closing_writes_the_rest() {
        let (output, written) = mpsc::sync_channel(1000);
        let writer = AccessLogWriter::start(Channel(output), 1024 * 1024).unwrap();
        let dropped = Dropped::default();
        let mut sender = writer.sender(dropped.clone());
        let paths: Vec<String> = (0..1000).map(|number| format!("/{number}")).collect();
        for path in &paths {
            sender.log(&entry(path));
        }
        drop(writer);
        let text = String::from_utf8(written.into_iter().flatten().collect()).unwrap();
        let seen: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(2)).collect();
        assert_eq!(seen, paths);
        assert_eq!(dropped.access_log.value(), 0);
    }

    #[test]
    fn a_log_that_nobody_reads_drops_lines_and_counts_them() {
        let (output, written) = mpsc::sync_channel(0);
        let writer = AccessLogWriter::start(Channel(output), 1000).unwrap();
        let dropped = Dropped::default();
        let mut sender = writer.sender(dropped.clone());
        for _ in 0..100 {
            sender.log(&entry("/"));
        }
        let reader = thread::spawn(move || written.into_iter().flatten().collect::<Vec<u8>>());
        drop(writer);
        let text = String::from_utf8(reader.join().unwrap()).unwrap();
        assert_eq!(text.lines().count() as u64 + dropped.access_log.value(), 100);
        assert!(dropped.access_log.value() > 50);
    }

    #[test]
    fn an_output_that_fails_does_not_stop_the_workers() {
        let (output, written) = mpsc::sync_channel(0);
        drop(written);
        let writer = AccessLogWriter::start(Channel(output), 1000).unwrap();
        let mut sender = writer.sender(Dropped::default());
        for _ in 0..100 {
            sender.log(&entry("/"));
        }
    }
}
