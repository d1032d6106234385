use crate::peer;
use alloy_primitives::{Address, B256};
use citius_benches::stores::{Commit, Contender, Ground, StoresError, VALUE_BYTES, account_of, value_of};
use citius_state::Account;
use signet_libmdbx::{DatabaseFlags, Environment, EnvironmentFlags, Geometry, Mode, SyncMode, WriteFlags};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Accounts by key in one table of MDBX, as reth opens it: durable commits, no read-ahead. It knows no roots.
pub struct MdbxContender {
    directory: PathBuf,
    environment: Option<Environment>,
}

/// More than any state here takes; the file is as long as is used.
const SIZE_MAX: usize = 64 << 30;

impl MdbxContender {
    /// A database in a directory.
    ///
    /// # Errors
    ///
    /// What MDBX says.
    pub fn open(ground: &Ground) -> Result<Self, StoresError> {
        fs::create_dir_all(&ground.directory)?;
        let environment = open(&ground.directory)?;
        let writes = environment.begin_rw_unsync().map_err(peer)?;
        writes.create_db(None, DatabaseFlags::empty()).map_err(peer)?;
        writes.commit().map_err(peer)?;
        Ok(Self { directory: ground.directory.clone(), environment: Some(environment) })
    }

    fn environment(&self) -> Result<&Environment, StoresError> {
        self.environment.as_ref().ok_or_else(|| peer("it could not be opened again"))
    }
}

fn open(directory: &Path) -> Result<Environment, StoresError> {
    let mut builder = Environment::builder();
    builder
        .set_geometry(Geometry {
            size: Some(0..SIZE_MAX),
            growth_step: Some(64 << 20),
            ..Geometry::default()
        })
        .set_flags(EnvironmentFlags {
            mode: Mode::ReadWrite { sync_mode: SyncMode::Durable },
            no_rdahead: true,
            ..EnvironmentFlags::default()
        });
    builder.open(directory).map_err(peer)
}

impl Contender for MdbxContender {
    fn read(&self, keys: &[(Address, B256)], into: &mut Vec<Option<Account>>) -> Result<(), StoresError> {
        let reads = self.environment()?.begin_ro_unsync().map_err(peer)?;
        let accounts = reads.open_db(None).map_err(peer)?;
        for (_, key) in keys {
            let value: Option<[u8; VALUE_BYTES]> = reads.get(accounts.dbi(), &key[..]).map_err(peer)?;
            into.push(value.and_then(|value| account_of(&value)));
        }
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoresError> {
        let writes = self.environment()?.begin_rw_unsync().map_err(peer)?;
        let accounts = writes.open_db(None).map_err(peer)?;
        for write in &commit.writes {
            writes
                .put(accounts, &write.key[..], value_of(&write.after), WriteFlags::empty())
                .map_err(peer)?;
        }
        writes.commit().map_err(peer)
    }

    fn cool(&mut self) -> Result<(), StoresError> {
        // What is mapped stays in memory. The last one that is dropped closes it.
        self.environment = None;
        citius_benches::stores::forget_files(&self.directory)?;
        self.environment = Some(open(&self.directory)?);
        Ok(())
    }
}
