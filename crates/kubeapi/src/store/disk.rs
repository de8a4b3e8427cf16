//! The file behind the store: one redb database, written by one thread.
//!
//! Durability: writes that wait at the same time share one transaction, committed with an fsync;
//! a [`Receipt`] resolves after it. Whoever acknowledges a person's change waits for the receipt;
//! what a node or controller observes (status, events, leases) need not, since it is observed
//! again. The file is 0600 in a directory that the server makes 0700.
//!
//! A disk that is nearly full takes no more objects, so that what was taken can still be written. If
//! it is full all the same, because others were faster, what waits is written once there is room,
//! and until then nothing more is taken.

use std::{
    fs,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread::JoinHandle,
    time::Duration,
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

/// Room in bytes that is left for what was taken already, and for removing objects.
const KEPT_FREE: u64 = 4 << 20;

/// How often a full disk is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

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
    done: oneshot::Receiver<Result<(), WriteError>>,
    queue: Arc<Queue>,
}

impl Receipt {
    /// Waits until the write is on disk.
    pub(crate) async fn wait(self) -> Result<(), WriteError> {
        self.done.await.unwrap_or_else(|_| Err(self.queue.failure()))
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
    path: PathBuf,
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
    /// Why no more writes are taken.
    failed: OnceLock<String>,
    /// Why none is taken until there is room.
    full: Mutex<Option<String>>,
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
    /// Who waits for it, unless it was told already that there is no room.
    done: Option<oneshot::Sender<Result<(), WriteError>>>,
}

/// Writes that are committed together.
#[derive(Debug)]
struct Batch {
    writes: Vec<Write>,
    ceiling: Option<u64>,
}

/// Opens the database; again after a failure, since it can't be used any more then.
type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

impl Disk {
    pub(super) fn open(path: &Path) -> Result<(Self, Loaded), DiskError> {
        make_private(path).map_err(|source| DiskError::Io { path: path.to_owned(), source })?;
        let file = path.to_owned();
        Self::open_by(path, Box::new(move || Database::create(&file)))
    }

    fn open_by(path: &Path, open: Opener) -> Result<(Self, Loaded), DiskError> {
        let fail = |source: redb::Error| match source {
            redb::Error::Io(source) => DiskError::Io { path: path.to_owned(), source },
            source => DiskError::Database { path: path.to_owned(), source: source.into() },
        };
        let database = open().map_err(|error| match error {
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
            .spawn(move || theirs.run(database, &open, &file))
            .map_err(|source| DiskError::Io { path: path.to_owned(), source })?;
        Ok((Self { path: path.to_owned(), queue, thread: Some(thread) }, loaded))
    }

    /// Whether a write may be taken.
    pub(super) fn check(&self) -> Result<(), WriteError> {
        if self.queue.failed.get().is_some() {
            return Err(self.queue.failure());
        }
        if let Some(why) = self.queue.full.lock().clone() {
            return Err(WriteError::DiskFull(why));
        }
        if self.queue.waiting.lock().writes.len() >= MAX_WAITING {
            return Err(WriteError::Overloaded);
        }
        Ok(())
    }

    /// Whether there is room for one more object. Removing one is no reason to ask.
    pub(super) fn check_room(&self) -> Result<(), WriteError> {
        let place = self.path.parent().unwrap_or(&self.path);
        // A file system that does not say how much it has left shows it when it is full.
        let Ok(left) = rustix::fs::statvfs(place) else { return Ok(()) };
        let left = left.f_bavail.saturating_mul(left.f_frsize);
        if left >= KEPT_FREE {
            return Ok(());
        }
        Err(WriteError::DiskFull(format!(
            "{} KiB are left for `{}`, and the last {} KiB are kept free; nothing was changed, make \
             room and try again",
            left >> 10,
            self.path.display(),
            KEPT_FREE >> 10
        )))
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
        self.queue.waiting.lock().writes.push(Write { key, object, done: Some(done) });
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

    fn run(&self, database: Database, open: &Opener, path: &Path) {
        let mut database = Some(database);
        while let Some(mut batch) = self.next() {
            if let Err(error) = self.store(&mut database, &mut batch, open, path) {
                tracing::error!(%error, "the store's disk failed: no more writes are taken");
                let _ = self.failed.set(format!("`{}`: {error}", path.display()));
                self.waiting.lock().writes.clear();
                return;
            }
            for done in batch.writes.into_iter().filter_map(|write| write.done) {
                // A caller that does not wait has dropped its receipt.
                let _ = done.send(Ok(()));
            }
        }
    }

    /// Commits a batch, however long there is no room for it.
    fn store(
        &self,
        database: &mut Option<Database>,
        batch: &mut Batch,
        open: &Opener,
        path: &Path,
    ) -> Result<(), redb::Error> {
        loop {
            let opened = match database.take() {
                Some(database) => Ok(database),
                None => open().map_err(redb::Error::from),
            };
            // One that has failed is closed here, and opened again for the next try.
            let committed = opened.and_then(|database| commit(&database, batch).map(|()| database));
            let error = match committed {
                Ok(committed) => {
                    *database = Some(committed);
                    if self.full.lock().take().is_some() {
                        tracing::info!("the store's disk has room again");
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            if !is_full(&error) || !self.wait_for_room(&error, batch, path) {
                return Err(error);
            }
        }
    }

    /// Tells whoever waits for the batch that there is no room, and lets some time pass. False if the
    /// store is closed meanwhile.
    fn wait_for_room(&self, error: &redb::Error, batch: &mut Batch, path: &Path) -> bool {
        let why = format!(
            "`{}`: {error}; the change is kept in memory until there is room",
            path.display()
        );
        let mut waiting = self.waiting.lock();
        batch.writes.append(&mut waiting.writes);
        let is_news = self.full.lock().replace(why.clone()).is_none();
        for done in batch.writes.iter_mut().filter_map(|write| write.done.take()) {
            let _ = done.send(Err(WriteError::DiskFull(why.clone())));
        }
        if is_news {
            tracing::error!(%error, "the store's disk is full: nothing is taken until there is room");
        }
        if !waiting.closed {
            self.more.wait_for(&mut waiting, TRY_AGAIN);
        }
        !waiting.closed
    }

    fn next(&self) -> Option<Batch> {
        let mut waiting = self.waiting.lock();
        loop {
            if !waiting.writes.is_empty() || waiting.ceiling.is_some() {
                let writes = std::mem::take(&mut waiting.writes);
                return Some(Batch { writes, ceiling: waiting.ceiling.take() });
            }
            if waiting.closed {
                return None;
            }
            self.more.wait(&mut waiting);
        }
    }
}

/// Whether an error goes away once there is room.
fn is_full(error: &redb::Error) -> bool {
    use std::io::ErrorKind;
    let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
    matches!(error, redb::Error::Io(error) if full.contains(&error.kind()))
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

fn commit(database: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut applied = transaction.open_table(APPLIED)?;
        for write in &batch.writes {
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
        if let Some(ceiling) = batch.ceiling {
            transaction.open_table(META)?.insert(CEILING, ceiling)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests;
