use super::store::Ssmt;
use alloy_primitives::{B256, KECCAK256_EMPTY, map::B256Map};
use parking_lot::RwLock;
use revm::bytecode::Bytecode;
use std::collections::BTreeMap;

/// Block hashes that are kept: more than the 256 that `BLOCKHASH` reaches, for forks and readers of older versions.
const BLOCK_HASHES_MAX: usize = 1024;

/// What belongs to the state and is in no trie: code by its hash, and hashes of blocks.
///
/// Code stays when the version that brought it is given up: its name is its content.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    pub(super) codes: RwLock<B256Map<Bytecode>>,
    pub(super) block_hashes: RwLock<BTreeMap<u64, B256>>,
}

impl Ssmt {
    /// Stores code under its hash, and returns that hash. Blocks' own code comes with their change sets.
    pub fn insert_code(&self, code: Bytecode) -> B256 {
        let hash = code.hash_slow();
        if hash != KECCAK256_EMPTY {
            self.codes.codes.write().insert(hash, code);
        }
        hash
    }

    /// Code by its hash.
    #[must_use]
    pub fn code(&self, hash: B256) -> Option<Bytecode> {
        self.codes.codes.read().get(&hash).cloned()
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
