//! redb as a contender, and its file with operations counted.

use super::{Commit, Contender, Ground, StoresError, account_of, value_of};
use alloy_primitives::{Address, B256};
use citius_state::Account;
use redb::{Database, ReadableDatabase, StorageBackend, TableDefinition, backends::FileBackend};
use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const ACCOUNTS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("accounts");

/// Accounts by key in one table of redb. It knows no roots. It goes through the system's cache.
#[derive(Debug)]
pub struct RedbContender {
    database: Database,
    counted: Arc<Counted>,
}

impl RedbContender {
    /// A database in a directory, which is made.
    ///
    /// # Errors
    ///
    /// [`StoresError`] of the system and of redb.
    pub fn open(ground: &Ground) -> Result<Self, StoresError> {
        fs::create_dir_all(&ground.directory)?;
        let (database, counted) = open(&ground.directory.join("redb"), ground.cache_mib)?;
        let writes = database.begin_write()?;
        writes.open_table(ACCOUNTS)?;
        writes.commit()?;
        Ok(Self { database, counted })
    }
}

impl Contender for RedbContender {
    fn read(&self, keys: &[(Address, B256)], into: &mut Vec<Option<Account>>) -> Result<(), StoresError> {
        let reads = self.database.begin_read()?;
        let accounts = reads.open_table(ACCOUNTS)?;
        for (_, key) in keys {
            into.push(accounts.get(&key.0)?.and_then(|value| account_of(value.value())));
        }
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoresError> {
        let writes = self.database.begin_write()?;
        {
            let mut accounts = writes.open_table(ACCOUNTS)?;
            for write in &commit.writes {
                accounts.insert(&write.key.0, &value_of(&write.after)[..])?;
            }
        }
        // Durable when it returns: that is redb's default.
        Ok(writes.commit()?)
    }

    fn syncs(&self) -> Option<u64> {
        Some(self.counted.syncs.load(Ordering::Relaxed))
    }
}

/// Operations on a file.
#[derive(Debug, Default)]
pub struct Counted {
    /// Reads.
    pub reads: AtomicU64,
    /// Bytes read.
    pub read_bytes: AtomicU64,
    /// Writes.
    pub writes: AtomicU64,
    /// Bytes written.
    pub written_bytes: AtomicU64,
    /// Syncs.
    pub syncs: AtomicU64,
}

/// A file whose operations are counted.
#[derive(Debug)]
struct CountingBackend {
    file: FileBackend,
    counted: Arc<Counted>,
}

/// A database in a file, and what it does to it.
///
/// # Errors
///
/// [`StoresError`] of the system and of redb.
pub(super) fn open(path: &Path, cache_mib: usize) -> Result<(Database, Arc<Counted>), StoresError> {
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let file = FileBackend::new(file).map_err(|error| StoresError::Peer(error.to_string()))?;
    let counted = Arc::new(Counted::default());
    let backend = CountingBackend { file, counted: Arc::clone(&counted) };
    let database = Database::builder().set_cache_size(cache_mib << 20).create_with_backend(backend)?;
    Ok((database, counted))
}

impl Counted {
    fn count(operations: &AtomicU64, bytes: &AtomicU64, len: usize) {
        operations.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(len as u64, Ordering::Relaxed);
    }
}

impl StorageBackend for CountingBackend {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        Counted::count(&self.counted.reads, &self.counted.read_bytes, out.len());
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.counted.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        Counted::count(&self.counted.writes, &self.counted.written_bytes, data.len());
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.file.close()
    }
}
