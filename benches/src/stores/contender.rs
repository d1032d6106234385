//! Who takes part: something that keeps accounts on a disk.

use super::{Commit, StoresError};
use alloy_primitives::{Address, B256};
use citius_state::Account;
use serde::Serialize;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

/// Something that keeps accounts on a disk, by the hashes of their addresses.
pub trait Contender: Sync {
    /// The accounts of these addresses, each with its hash, in order. Called by several threads at a time, between commits.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong.
    fn read(&self, keys: &[(Address, B256)], into: &mut Vec<Option<Account>>) -> Result<(), StoresError>;

    /// Keeps what a commit writes: durable, and found by reads, when this returns.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong.
    fn commit(&mut self, commit: &Commit) -> Result<(), StoresError>;

    /// Waits for all that goes on in the background.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong there.
    fn settle(&mut self) -> Result<(), StoresError> {
        Ok(())
    }

    /// Lets go of what it has in memory beyond its budget. Not timed; the system's cache of the contender's files is
    /// emptied afterwards.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong.
    fn cool(&mut self) -> Result<(), StoresError> {
        Ok(())
    }

    /// Syncs so far, if it tells.
    fn syncs(&self) -> Option<u64> {
        None
    }
}

/// What a contender is given.
#[derive(Debug, Clone)]
pub struct Ground {
    /// A directory of its own.
    pub directory: PathBuf,
    /// Memory for caches, in MiB.
    pub cache_mib: usize,
    /// Accounts that it will hold.
    pub accounts: u32,
    /// Commits after which what is done in the background is begun.
    pub checkpoint_every: u64,
}

/// Opens a contender by its name; `None` if there is none of that name.
pub type Roster = fn(&str, &Ground) -> Option<Result<Box<dyn Contender>, StoresError>>;

/// What a process took of the machine so far.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Taken {
    /// Bytes that it had the drive read.
    pub read_bytes: u64,
    /// Bytes that it had the drive write.
    pub written_bytes: u64,
    /// Memory of its own, in bytes: heap and stacks.
    pub heap_bytes: u64,
    /// Memory with files in it, in bytes.
    pub mapped_bytes: u64,
}

impl Taken {
    /// By this process until now; zeros where the system does not tell.
    #[must_use]
    pub fn now() -> Self {
        let field = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default()
        };
        Self {
            read_bytes: field("/proc/self/io", "read_bytes:"),
            written_bytes: field("/proc/self/io", "write_bytes:"),
            heap_bytes: field("/proc/self/status", "RssAnon:") << 10,
            mapped_bytes: field("/proc/self/status", "RssFile:") << 10,
        }
    }
}

/// Empties the system's cache of all files below a directory, as far as they are written and nobody maps them.
///
/// # Errors
///
/// [`StoresError::System`].
pub fn forget_files(directory: &Path) -> Result<(), StoresError> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            forget_files(&path)?;
        } else if let Ok(file) = File::open(&path) {
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
                .map_err(std::io::Error::from)?;
        }
    }
    Ok(())
}

/// Bytes that the files below a directory take of the disk.
///
/// # Errors
///
/// [`StoresError::System`].
pub(super) fn disk_bytes(directory: &Path) -> Result<u64, StoresError> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        bytes += if path.is_dir() { disk_bytes(&path)? } else { 512 * fs::metadata(&path)?.blocks() };
    }
    Ok(bytes)
}

/// An account as plain stores keep it: balance, nonce.
pub const VALUE_BYTES: usize = 24;

/// The bytes of an account without code whose balance is below 2^128.
#[must_use]
pub fn value_of(account: &Account) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    value[..16].copy_from_slice(&account.balance.to::<u128>().to_be_bytes());
    value[16..].copy_from_slice(&account.nonce.to_be_bytes());
    value
}

/// The account of such bytes; `None` of others.
#[must_use]
pub fn account_of(value: &[u8]) -> Option<Account> {
    let (balance, nonce) = value.split_first_chunk::<16>()?;
    let balance = alloy_primitives::U256::from(u128::from_be_bytes(*balance));
    Some(Account { balance, nonce: u64::from_be_bytes(nonce.try_into().ok()?), ..Account::EMPTY })
}

/// The drive and the file system of a directory, in words.
#[must_use]
pub fn disk_of(directory: &Path) -> String {
    let whole = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let nearest =
        fields.filter(|(_, place, _)| whole.starts_with(place)).max_by_key(|(_, place, _)| place.len());
    let Some((device, _, kind)) = nearest else { return "unknown".into() };
    let name = device.trim_start_matches("/dev/");
    let of_device = |file: &str| {
        let text = fs::read_to_string(format!("/sys/class/block/{name}/{file}")).unwrap_or_default();
        text.trim().to_owned()
    };
    let gib = of_device("size").parse::<u64>().map_or(0, |sectors| sectors >> 21);
    let model = [of_device("device/model"), of_device("device/vendor")].join(" ");
    let cache = of_device("queue/write_cache");
    format!("{kind} on {device} ({} {gib} GiB, {cache})", model.trim())
}
