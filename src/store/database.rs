//! The database file, opened again after a failure.
//!
//! After one write that failed, redb refuses everything, since it cannot know what reached the file. A disk that was full for a
//! minute would so end the history until the next start, and lose what waits for it. Opened again, the file stands at its last
//! commit.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{
    Database, ReadTransaction, ReadableDatabase, StorageError, TransactionError, WriteTransaction,
};

use super::StoreError;

/// How the file is opened.
type Open = dyn Fn() -> Result<Database, StoreError> + Send + Sync;

/// A database that is opened again where it has failed.
pub(super) struct Reopening {
    open: Box<Open>,
    /// None while it cannot be opened.
    database: Mutex<Option<Arc<Database>>>,
}

impl Reopening {
    /// Opens it.
    pub(super) fn new(
        open: impl Fn() -> Result<Database, StoreError> + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let database = Mutex::new(Some(Arc::new(open()?)));
        Ok(Self {
            open: Box::new(open),
            database,
        })
    }

    /// Begins to write.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        self.begin(Database::begin_write)
    }

    /// Begins to read.
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.begin(Database::begin_read)
    }

    fn begin<T>(
        &self,
        begin: impl Fn(&Database) -> Result<T, TransactionError>,
    ) -> Result<T, StoreError> {
        // Nothing is locked while a transaction waits for another one.
        let held = self.slot().clone();
        if let Some(database) = held {
            match begin(&database) {
                Err(TransactionError::Storage(StorageError::PreviousIo)) => {}
                begun => return Ok(begun?),
            }
            let mut slot = self.slot();
            if slot.as_ref().is_some_and(|now| Arc::ptr_eq(now, &database)) {
                *slot = None;
            }
            // The file is free as soon as nobody holds the database.
        }
        let mut slot = self.slot();
        let database = if let Some(database) = &*slot {
            Arc::clone(database)
        } else {
            let opened = Arc::new((self.open)()?);
            tracing::warn!("The store was opened again after a failure.");
            Arc::clone(slot.insert(opened))
        };
        drop(slot);
        Ok(begin(&database)?)
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Database>>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Reopening {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Reopening").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::backends::FileBackend;
    use redb::{ReadableTable, StorageBackend, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("table");

    /// A file on a disk that is full from time to time.
    #[derive(Debug)]
    struct Disk {
        file: FileBackend,
        is_full: Arc<AtomicBool>,
    }

    impl Disk {
        fn room(&self) -> io::Result<()> {
            if self.is_full.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.room()?;
            self.file.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.room()?;
            self.file.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.room()?;
            self.file.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.file.close()
        }
    }

    fn insert(database: &Reopening, key: u64) -> Result<(), StoreError> {
        let transaction = database.begin_write()?;
        transaction.open_table(TABLE)?.insert(key, key)?;
        transaction.commit()?;
        Ok(())
    }

    fn keys(database: &Reopening) -> Vec<u64> {
        let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
        let entries = table.iter().unwrap();
        entries.map(|entry| entry.unwrap().0.value()).collect()
    }

    #[test]
    fn what_waits_is_written_once_the_disk_has_room_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let is_full = Arc::new(AtomicBool::new(false));
        let room = Arc::clone(&is_full);
        let database = Reopening::new(move || {
            let file = std::fs::File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .unwrap();
            let file =
                FileBackend::new(file).map_err(|_| StoreError::InUse { path: path.clone() })?;
            let disk = Disk {
                file,
                is_full: Arc::clone(&room),
            };
            Ok(Database::builder().create_with_backend(disk)?)
        })
        .unwrap();
        insert(&database, 1).unwrap();
        is_full.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            insert(&database, 2).unwrap_err();
        }
        is_full.store(false, Ordering::SeqCst);
        insert(&database, 3).unwrap();
        assert_eq!(keys(&database), [1, 3]);
    }
}
