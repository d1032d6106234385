use super::{
    error::{SsmtError, VersionId},
    store::Ssmt,
};
use crate::cold::codes::bytecode;
use alloy_primitives::{B256, KECCAK256_EMPTY, map::B256Map};
use parking_lot::RwLock;
use quick_cache::{Weighter, sync::Cache};
use revm::bytecode::Bytecode;
use std::collections::BTreeMap;

/// Block hashes that are kept: more than the 256 that `BLOCKHASH` reaches, for forks and readers of older versions.
const BLOCK_HASHES_MAX: usize = 1024;

/// What belongs to the state and is in no trie: code by its hash, and hashes of blocks.
///
/// Code stays when the version that brought it is given up: its name is its content.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    /// Each with the version before the one that last brought it.
    codes: RwLock<B256Map<(Bytecode, VersionId)>>,
    /// Codes that a store has, too.
    stored: Option<Cache<B256, Bytecode, ByBytes>>,
    pub(super) block_hashes: RwLock<BTreeMap<u64, B256>>,
}

/// Codes count by their bytes.
#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<B256, Bytecode> for ByBytes {
    fn weight(&self, _hash: &B256, code: &Bytecode) -> u64 {
        // The analysis takes a bit a byte.
        (code.len() + code.len() / 8 + 200) as u64
    }
}

impl Codes {
    /// Codes of which a store has most: of these, so many bytes are kept in memory.
    pub(super) fn over_store(bytes: u64) -> Self {
        const TYPICAL: u64 = 4_096;
        let stored = Cache::with_weighter((bytes / TYPICAL).max(1) as usize, bytes.max(1), ByBytes);
        Self { stored: Some(stored), ..Self::default() }
    }

    /// Takes in codes that come with a version after this one.
    pub(super) fn keep(&self, codes: &[(B256, Bytecode)], parent: VersionId) {
        if !codes.is_empty() {
            let mut known = self.codes.write();
            for (hash, code) in codes {
                let (_, last) = known.entry(*hash).or_insert_with(|| (code.clone(), parent));
                *last = parent.max(*last);
            }
        }
    }

    /// The store has what versions up to one brought.
    pub(super) fn let_go(&self, version: VersionId) {
        let Some(stored) = &self.stored else { return };
        self.codes.write().retain(|hash, (code, parent)| {
            let is_stored = *parent < version;
            if is_stored {
                stored.insert(*hash, code.clone());
            }
            !is_stored
        });
    }

    /// Takes in a code that the store has.
    pub(super) fn take_in(&self, hash: B256, code: &Bytecode) {
        if let Some(stored) = &self.stored {
            stored.insert(hash, code.clone());
        }
    }

    pub(super) fn get(&self, hash: &B256) -> Option<Bytecode> {
        if let Some((code, _)) = self.codes.read().get(hash) {
            return Some(code.clone());
        }
        self.stored.as_ref().and_then(|stored| stored.get(hash))
    }
}

impl Ssmt {
    /// Stores code under its hash, and returns that hash. Blocks' own code comes with their change sets.
    pub fn insert_code(&self, code: Bytecode) -> B256 {
        let hash = code.hash_slow();
        if hash != KECCAK256_EMPTY {
            self.codes.keep(&[(hash, code)], self.head());
        }
        hash
    }

    /// Code by its hash, from memory. Over a store there may be more: see [`Ssmt::find_code`].
    #[must_use]
    pub fn code(&self, hash: B256) -> Option<Bytecode> {
        self.codes.get(&hash)
    }

    /// Code by its hash; over a store, what is not in memory is read.
    ///
    /// # Errors
    ///
    /// [`SsmtError::Cold`].
    pub fn find_code(&self, hash: B256) -> Result<Option<Bytecode>, SsmtError> {
        let Some(cold) = self.cold.as_ref().filter(|_| hash != KECCAK256_EMPTY) else {
            return Ok(self.codes.get(&hash));
        };
        if let Some(code) = self.codes.get(&hash) {
            return Ok(Some(code));
        }
        let code = cold.store.code(&hash)?.map(bytecode);
        if let Some(code) = &code {
            self.codes.take_in(hash, code);
        }
        Ok(code)
    }

    /// Sets the hash of a block, for `BLOCKHASH`. Of the highest 1,024 numbers each has one hash; readers of a fork are
    /// told of theirs with [`SsmtReader::set_block_hash`](super::SsmtReader::set_block_hash).
    pub fn set_block_hash(&self, number: u64, hash: B256) {
        let mut hashes = self.codes.block_hashes.write();
        hashes.insert(number, hash);
        while hashes.len() > BLOCK_HASHES_MAX {
            hashes.pop_first();
        }
    }
}
