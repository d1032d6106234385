use super::{
    arena::Arena,
    levels::Levels,
    log::Log,
    node::{Child, VALUE_BYTES_MAX},
    update::{Blinded, Updater, Write, path_text},
    walk::{self, Found},
};
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use citius_hashing::Hasher;
use std::mem::take;

/// A Merkle-Patricia trie of one arena, over keys and values of any length.
///
/// ```
/// use citius_hashing::Hasher;
/// use citius_state::trie::Trie;
///
/// let hasher = Hasher::cpu();
/// let mut trie = Trie::new();
/// trie.write(&[(b"dog".as_slice(), Some(b"puppy".as_slice()))])?;
/// let root = trie.root(&hasher);
/// trie.write(&[(b"dog".as_slice(), None)])?;
/// assert_ne!(trie.root(&hasher), root);
/// assert_eq!(trie.root(&hasher), Trie::new().root(&hasher));
/// # Ok::<(), citius_state::trie::TrieError>(())
/// ```
#[derive(Debug)]
pub struct Trie {
    arena: Arena,
    root: Child,
    /// The root when it was last asked for, and what was done since.
    settled: Child,
    log: Log,
    levels: Levels,
}

/// Why a trie could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrieError {
    /// Only the hash of a node on the way is known.
    #[error("the trie's node at path {} is not there, only its hash", path_text(path))]
    Blinded {
        /// The nibbles from the root to that node.
        path: Vec<u8>,
    },
    /// A value is longer than a node may be.
    #[error("the value of {} bytes at key {key} is longer than {VALUE_BYTES_MAX}", value_bytes)]
    ValueTooLong {
        /// The key.
        key: Bytes,
        /// The value's length.
        value_bytes: usize,
    },
}

impl From<Blinded> for TrieError {
    fn from(Blinded { path }: Blinded) -> Self {
        Self::Blinded { path }
    }
}

impl Default for Trie {
    fn default() -> Self {
        Self {
            arena: Arena::default(),
            root: Child::EMPTY,
            settled: Child::EMPTY,
            log: Log::default(),
            levels: Levels::default(),
        }
    }
}

impl Trie {
    /// An empty trie.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes writes: a key's new value, or `None` (or nothing, an empty value) to delete it. If a key comes several
    /// times, the last one counts.
    ///
    /// # Errors
    ///
    /// [`TrieError::ValueTooLong`]: nothing is written then. [`TrieError::Blinded`]: all writes since the root was last
    /// asked for are undone.
    pub fn write(&mut self, writes: &[(&[u8], Option<&[u8]>)]) -> Result<(), TrieError> {
        let mut sorted: Vec<Write<'_>> = Vec::with_capacity(writes.len());
        for (key, value) in writes {
            let value = value.filter(|value| !value.is_empty());
            if let Some(value) = value
                && value.len() > VALUE_BYTES_MAX
            {
                let key = Bytes::copy_from_slice(key);
                return Err(TrieError::ValueTooLong { key, value_bytes: value.len() });
            }
            sorted.push(Write { key, value, storage: None });
        }
        sorted.sort_by_key(|write| write.key);
        sorted.dedup_by(|later, kept| {
            let is_same = later.key == kept.key;
            if is_same {
                *kept = *later;
            }
            is_same
        });
        match Updater::new(&mut self.arena, &mut self.log).update(self.root, 0, &sorted) {
            Ok(root) => {
                self.root = root;
                Ok(())
            }
            Err(blinded) => {
                let mut log = take(&mut self.log);
                log.back(&mut self.arena);
                log.undo(&mut self.arena);
                self.root = self.settled;
                Err(blinded.into())
            }
        }
    }

    /// The root, all that changed hashed in batches.
    pub fn root(&mut self, hasher: &Hasher) -> B256 {
        self.levels.collect(&mut self.arena, 0, &self.root, 0);
        let mut arenas = (&mut self.arena, &mut self.log);
        self.levels.hash(&mut arenas, std::slice::from_mut(&mut self.root), 0, hasher);
        take(&mut self.log).finish(&mut self.arena);
        self.settled = self.root;
        root_hash(&self.root)
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// [`TrieError::Blinded`].
    pub fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, TrieError> {
        match walk::find(&self.arena, self.root, 0, key, |_| ())? {
            Found::Absent => Ok(None),
            Found::Value { value, .. } => Ok(Some(value)),
        }
    }

    /// Bytes of all nodes.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.arena.live_bytes()
    }
}

/// The hash of a whole trie, by its root as a parent would see it.
pub(crate) fn root_hash(root: &Child) -> B256 {
    match root.hash() {
        Some(hash) => B256::from(hash),
        None if root.is_empty() => EMPTY_ROOT_HASH,
        None => keccak256(root.item()),
    }
}
