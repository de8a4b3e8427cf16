//! The file behind the store: one redb database, written by one thread.
//!
//! Durability: writes that wait at the same time share one transaction, committed with an fsync;
//! a [`Receipt`] resolves after it. Whoever acknowledges a person's change waits for the receipt;
//! what a node or controller observes (status, events, leases) need not, since it is observed
//! again. The file is 0600 in a directory that the server makes 0700.

use std::{
    fs,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread::JoinHandle,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Key, Object, WriteError};

const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const APPLIED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("applied");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// Key in `meta`: versions up to this one may have been given.
const CEILING: &str = "version_ceiling";

/// How many versions one reservation covers.
const BLOCK: u64 = 4096;

/// Writes that may wait for the disk. At this point the disk is stuck, not slow.
const MAX_WAITING: usize = 8192;

/// Why the store's file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    /// The file or its directory.
    #[error("can't open the store `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Somebody else has it open.
    #[error("the store `{path}` is in use: stop the other server of this state directory first")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The database in it.
    #[error("can't read the store `{path}`: {source}; if it is damaged, remove it to start empty")]
    Database {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: Box<redb::Error>,
    },
    /// An object in it.
    #[error("the store `{path}` holds `{key}`, which is not JSON: remove the file to start empty")]
    Object {
        /// The file.
        path: PathBuf,
        /// The object's key.
        key: String,
    },
}

/// Resolves when a write is on disk.
#[derive(Debug)]
#[must_use = "wait for it before a change is acknowledged, or drop it on purpose"]
pub(crate) struct Receipt {
    done: oneshot::Receiver<()>,
    queue: Arc<Queue>,
}

impl Receipt {
    /// Waits until the write is on disk.
    pub(crate) async fn wait(self) -> Result<(), WriteError> {
        self.done.await.map_err(|_| self.queue.failure())
    }
}

/// What a store had in its file.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) version: u64,
    pub(super) objects: Vec<(Key, Object)>,
}

#[derive(Debug)]
pub(super) struct Disk {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
    /// Why no more writes are taken.
    failed: OnceLock<String>,
}

#[derive(Debug, Default)]
struct Waiting {
    writes: Vec<Write>,
    ceiling: Option<u64>,
    reserved: u64,
    closed: bool,
}

#[derive(Debug)]
struct Write {
    key: String,
    object: Option<Arc<Object>>,
    done: oneshot::Sender<()>,
}

impl Disk {
    pub(super) fn open(path: &Path) -> Result<(Self, Loaded), DiskError> {
        make_private(path).map_err(|source| DiskError::Io { path: path.to_owned(), source })?;
        let fail = |source: redb::Error| match source {
            redb::Error::Io(source) => DiskError::Io { path: path.to_owned(), source },
            source => DiskError::Database { path: path.to_owned(), source: source.into() },
        };
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => DiskError::InUse { path: path.to_owned() },
            other => fail(other.into()),
        })?;
        let version = prepare(&database).map_err(fail)?;
        let objects = load(&database, path)?;
        let loaded = Loaded { version, objects };
        let queue = Arc::new(Queue::default());
        queue.waiting.lock().reserved = loaded.version + BLOCK;
        let (theirs, file) = (Arc::clone(&queue), path.to_owned());
        let thread = std::thread::Builder::new()
            .name("kubeapi-disk".to_owned())
            .spawn(move || theirs.run(&database, &file))
            .map_err(|source| DiskError::Io { path: path.to_owned(), source })?;
        Ok((Self { queue, thread: Some(thread) }, loaded))
    }

    /// Whether a write may be taken.
    pub(super) fn check(&self) -> Result<(), WriteError> {
        if self.queue.failed.get().is_some() {
            return Err(self.queue.failure());
        }
        if self.queue.waiting.lock().writes.len() >= MAX_WAITING {
            return Err(WriteError::Overloaded);
        }
        Ok(())
    }

    /// Makes sure that a later start begins above this version.
    pub(super) fn reserve(&self, version: u64) {
        let mut waiting = self.queue.waiting.lock();
        if version + BLOCK / 2 > waiting.reserved {
            waiting.reserved = version + BLOCK;
            waiting.ceiling = Some(waiting.reserved);
            self.queue.more.notify_one();
        }
    }

    /// Queues a write, or a removal.
    pub(super) fn write(&self, key: &Key, object: Option<Arc<Object>>) -> Receipt {
        let (done, written) = oneshot::channel();
        let key = format!("{}\0{}\0{}", key.resource, key.namespace, key.name);
        self.queue.waiting.lock().writes.push(Write { key, object, done });
        self.queue.more.notify_one();
        Receipt { done: written, queue: Arc::clone(&self.queue) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.queue.waiting.lock().closed = true;
        self.queue.more.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's disk thread panicked");
        }
    }
}

impl Queue {
    /// Why a write was not taken, or is not known to be on disk.
    fn failure(&self) -> WriteError {
        let why = self.failed.get().map_or("it was closed", String::as_str);
        WriteError::DiskFailed(why.to_owned())
    }

    fn run(&self, database: &Database, path: &Path) {
        while let Some((writes, ceiling)) = self.next() {
            if let Err(error) = commit(database, &writes, ceiling) {
                tracing::error!(%error, "the store's disk failed: no more writes are taken");
                let _ = self.failed.set(format!("`{}`: {error}", path.display()));
                self.waiting.lock().writes.clear();
                return;
            }
            for write in writes {
                // A caller that does not wait has dropped its receipt.
                let _ = write.done.send(());
            }
        }
    }

    fn next(&self) -> Option<(Vec<Write>, Option<u64>)> {
        let mut waiting = self.waiting.lock();
        loop {
            if !waiting.writes.is_empty() || waiting.ceiling.is_some() {
                return Some((std::mem::take(&mut waiting.writes), waiting.ceiling.take()));
            }
            if waiting.closed {
                return None;
            }
            self.more.wait(&mut waiting);
        }
    }
}

fn make_private(path: &Path) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
        fs::set_permissions(parent, fs::Permissions::from_mode(0o700))?;
    }
    let file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

/// Makes the tables, and reserves the first versions of this run; returns where it starts.
fn prepare(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(APPLIED)?;
    let start = {
        let mut meta = transaction.open_table(META)?;
        let start = meta.get(CEILING)?.map_or(0, |value| value.value());
        meta.insert(CEILING, start + BLOCK)?;
        start
    };
    transaction.commit()?;
    Ok(start)
}

fn load(database: &Database, path: &Path) -> Result<Vec<(Key, Object)>, DiskError> {
    let fail =
        |source: redb::Error| DiskError::Database { path: path.to_owned(), source: source.into() };
    let read = || -> Result<_, redb::Error> {
        let transaction = database.begin_read()?;
        let applied = transaction.open_table(APPLIED)?;
        let mut rows = Vec::new();
        for row in transaction.open_table(OBJECTS)?.iter()? {
            let (key, json) = row?;
            let applied = applied.get(key.value())?.map(|value| value.value().to_vec());
            rows.push((key.value().to_owned(), json.value().to_vec(), applied));
        }
        Ok(rows)
    };
    let rows = read().map_err(fail)?;
    rows.into_iter()
        .map(|(key, json, applied)| {
            decode(&key, json, applied.as_deref())
                .ok_or(DiskError::Object { path: path.to_owned(), key })
        })
        .collect()
}

fn decode(key: &str, json: Vec<u8>, applied: Option<&[u8]>) -> Option<(Key, Object)> {
    let mut parts = key.split('\0').map(str::to_owned);
    let key = Key { resource: parts.next()?, namespace: parts.next()?, name: parts.next()? };
    let value: Value = serde_json::from_slice(&json).ok()?;
    let version = crate::object::text(&value, "/metadata/resourceVersion").parse().ok()?;
    let applied = match applied {
        None => None,
        Some(applied) => Some(Arc::new(serde_json::from_slice(applied).ok()?)),
    };
    Some((key, Object { value, version, json: Bytes::from(json), applied }))
}

fn commit(database: &Database, writes: &[Write], ceiling: Option<u64>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut applied = transaction.open_table(APPLIED)?;
        for write in writes {
            let key = write.key.as_str();
            match &write.object {
                Some(object) => {
                    objects.insert(key, object.json.as_ref())?;
                    match &object.applied {
                        Some(value) => applied.insert(key, value.to_string().as_bytes())?,
                        None => applied.remove(key)?,
                    };
                }
                None => {
                    objects.remove(key)?;
                    applied.remove(key)?;
                }
            }
        }
        if let Some(ceiling) = ceiling {
            transaction.open_table(META)?.insert(CEILING, ceiling)?;
        }
    }
    transaction.commit()?;
    Ok(())
}
