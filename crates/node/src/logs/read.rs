//! Reads logs back, as `kubectl logs` asks for them.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::Path,
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};

use super::rotated;

/// What is asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct LogQuery {
    /// Go on while the container runs.
    pub follow: bool,
    /// Put the time before each line.
    pub timestamps: bool,
    /// The instance before.
    pub previous: bool,
    /// Only so many lines at the end.
    pub tail: Option<usize>,
    /// Only what is newer.
    pub since: Option<Timestamp>,
    /// Only so many bytes.
    pub limit: Option<u64>,
}

impl LogQuery {
    /// Reads the parameters of the kubelet's and the API server's paths.
    pub(crate) fn parse<'a>(
        parameters: impl Iterator<Item = (&'a str, &'a str)>,
        now: Timestamp,
    ) -> Result<Self, String> {
        let mut query = Self::default();
        for (name, value) in parameters {
            let invalid = |_| format!("invalid value `{value}` for `{name}`");
            let flag = matches!(value, "1" | "true");
            match name {
                "follow" => query.follow = flag,
                "timestamps" => query.timestamps = flag,
                "previous" => query.previous = flag,
                "tailLines" => query.tail = Some(value.parse().map_err(|_| invalid(()))?),
                "limitBytes" => query.limit = Some(value.parse().map_err(|_| invalid(()))?),
                "sinceSeconds" => {
                    let seconds = value.parse().map_err(|_| invalid(()))?;
                    let since = now.checked_sub(SignedDuration::from_secs(seconds));
                    query.since = Some(since.map_err(|_| invalid(()))?);
                }
                "sinceTime" => query.since = Some(value.parse().map_err(|_| invalid(()))?),
                _ => {}
            }
        }
        Ok(query)
    }

    /// What a stored line looks like to the reader; `None` when it is not asked for.
    fn show<'a>(&self, line: &'a [u8]) -> Option<[&'a [u8]; 3]> {
        let mut fields = line.splitn(4, |&byte| byte == b' ');
        let (time, _stream, tag, text) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        if let Some(since) = self.since {
            let time: Timestamp = std::str::from_utf8(time).ok()?.parse().ok()?;
            if time < since {
                return None;
            }
        }
        let (time, space): (&[u8], &[u8]) = if self.timestamps { (time, b" ") } else { (b"", b"") };
        // A part of a line ends without a newline.
        let text = if tag == b"P" { text.strip_suffix(b"\n").unwrap_or(text) } else { text };
        Some([time, space, text])
    }
}

/// Sends what `query` asks for of the file `path`; with `growth`, until that ends.
pub(crate) async fn follow(
    path: &Path,
    query: &LogQuery,
    growth: Option<watch::Receiver<u64>>,
    sink: &mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut output = Output { sink, left: query.limit.unwrap_or(u64::MAX) };
    let (lines, mut reader) = stored(path, query)?;
    for line in lines {
        if !output.send(query, &line).await {
            return Ok(());
        }
    }
    let Some(mut growth) = growth.filter(|_| query.follow) else { return Ok(()) };
    let mut line = Vec::new();
    loop {
        growth.mark_unchanged();
        while reader.read_until(b'\n', &mut line)? > 0 {
            if !output.send(query, &line).await {
                return Ok(());
            }
            line.clear();
        }
        if has_been_rotated(path, reader.get_ref()) {
            reader = BufReader::new(File::open(path)?);
            continue;
        }
        tokio::select! {
            changed = growth.changed() => if changed.is_err() && at_end(&mut reader)? {
                return Ok(());
            },
            () = sink.closed() => return Ok(()),
        }
    }
}

/// The end of a log, as much of it as kubelet takes for a termination message: 80 lines and 2 KiB
/// at most.
pub(crate) fn last_words(path: &Path) -> io::Result<Vec<u8>> {
    let query = LogQuery { tail: Some(80), ..LogQuery::default() };
    let (lines, _) = stored(path, &query)?;
    let shown = lines.iter().filter_map(|line| query.show(line));
    let mut text: Vec<u8> = shown.flat_map(|parts| parts.concat()).collect();
    Ok(text.split_off(text.len().saturating_sub(2048)))
}

/// Lines that are there already, and the newest file at its end.
fn stored(path: &Path, query: &LogQuery) -> io::Result<(VecDeque<Vec<u8>>, BufReader<File>)> {
    let mut lines = VecDeque::new();
    let mut keep = |mut reader: BufReader<File>| -> io::Result<BufReader<File>> {
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            if query.show(&line).is_some() {
                lines.push_back(std::mem::take(&mut line));
            }
            if query.tail.is_some_and(|tail| lines.len() > tail) {
                lines.pop_front();
            }
            line.clear();
        }
        Ok(reader)
    };
    if let Ok(older) = File::open(rotated(path)) {
        keep(BufReader::new(older))?;
    }
    let newest = keep(BufReader::new(File::open(path)?))?;
    Ok((lines, newest))
}

struct Output<'a> {
    sink: &'a mpsc::Sender<Bytes>,
    left: u64,
}

impl Output<'_> {
    /// Sends a stored line; false when nobody wants more.
    async fn send(&mut self, query: &LogQuery, line: &[u8]) -> bool {
        let Some(parts) = query.show(line) else { return true };
        let mut shown = parts.concat();
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        shown.truncate(left);
        self.left -= shown.len() as u64;
        self.sink.send(shown.into()).await.is_ok() && self.left > 0
    }
}

fn at_end(reader: &mut BufReader<File>) -> io::Result<bool> {
    Ok(reader.fill_buf()?.is_empty())
}

fn has_been_rotated(path: &Path, open: &File) -> bool {
    let inode = |metadata: io::Result<std::fs::Metadata>| metadata.ok().map(|m| m.ino());
    let there = inode(std::fs::metadata(path));
    there.is_some() && there != inode(open.metadata())
}
