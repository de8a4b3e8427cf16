use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use redb::{StorageBackend, backends::FileBackend};
use serde_json::json;

use super::*;

/// A file on a disk that has room for so many more bytes.
#[derive(Debug)]
struct Small {
    file: FileBackend,
    room: Arc<AtomicU64>,
}

impl Small {
    fn open(path: &Path, room: &Arc<AtomicU64>) -> Result<Database, DatabaseError> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let file = FileBackend::new(file.unwrap())?;
        Database::builder().create_with_backend(Self { file, room: Arc::clone(room) })
    }
}

impl StorageBackend for Small {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let take = |room: u64| room.checked_sub(data.len() as u64);
        match self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(_) => self.file.write(offset, data),
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn key(name: &str) -> Key {
    Key { resource: "pods".to_owned(), namespace: "a".to_owned(), name: name.to_owned() }
}

fn object(name: &str, version: u64) -> Arc<Object> {
    let value = json!({"metadata": {"name": name, "resourceVersion": version.to_string()}});
    let json = Bytes::from(value.to_string());
    Arc::new(Object { value, version, json, applied: None })
}

/// A store with an object in it, and the room that its disk has left.
async fn with_one_object(path: &Path) -> (Disk, Arc<AtomicU64>) {
    let left = Arc::new(AtomicU64::new(u64::MAX));
    let (file, same) = (path.to_owned(), Arc::clone(&left));
    let (disk, _) = Disk::open_by(path, Box::new(move || Small::open(&file, &same))).unwrap();
    disk.write(&key("first"), Some(object("first", 1))).wait().await.unwrap();
    (disk, left)
}

/// Names and versions of what a later start finds.
fn found(path: &Path) -> Vec<(String, u64)> {
    let (_disk, loaded) = Disk::open(path).unwrap();
    loaded.objects.into_iter().map(|(key, object)| (key.name, object.version)).collect()
}

#[tokio::test]
async fn a_full_disk_keeps_what_it_has_and_takes_more_once_there_is_room() {
    // It may be full at the beginning of a write and in the middle of it.
    for room in (0..8).map(|step| step * 3000) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let (disk, left) = with_one_object(&path).await;
        left.store(room, Ordering::SeqCst);
        let mut told = None;
        for version in 2..40 {
            if let Err(error) = disk.write(&key("more"), Some(object("more", version))).wait().await
            {
                told = Some((version, error));
                break;
            }
        }
        let (version, error) = told.expect("it is full at some time");
        assert!(matches!(error, WriteError::DiskFull(_)), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert!(matches!(disk.check(), Err(WriteError::DiskFull(_))));
        left.store(u64::MAX, Ordering::SeqCst);
        while disk.check().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        disk.write(&key("last"), Some(object("last", 99))).wait().await.unwrap();
        drop(disk);
        let expected = [("first", 1), ("last", 99), ("more", version)];
        let expected: Vec<_> = expected.map(|(name, version)| (name.to_owned(), version)).into();
        assert_eq!(found(&path), expected, "with {room} bytes left");
    }
}

#[tokio::test]
async fn what_was_stored_survives_an_end_on_a_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (disk, left) = with_one_object(&path).await;
    left.store(0, Ordering::SeqCst);
    disk.write(&key("lost"), Some(object("lost", 2))).wait().await.unwrap_err();
    drop(disk);
    assert_eq!(found(&path), [("first".to_owned(), 1)]);
}
