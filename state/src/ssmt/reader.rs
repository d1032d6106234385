use super::{
    asked::Asked,
    cold::Cold,
    error::{SsmtError, VersionId},
    flat::{Difference, Differs, FlatCache, FlatCacheStats, PATH_MAX},
    store::{FoundAccount, Ssmt},
    version::Version,
    work::NO_STORAGE,
};
use crate::{
    Account, ReadError, StateKey, StateReader,
    cold::{
        asking::Looked,
        codes::bytecode,
        walk::{Answer, Sought},
    },
};
use alloy_primitives::{
    Address, B256, U256,
    map::{AddressMap, HashMap},
};
use citius_hashing::keccak256;
use parking_lot::RwLock;
use revm::bytecode::Bytecode;
use std::{fmt, sync::Arc, time::Duration};

/// Accounts whose place in the trie a reader remembers, before it forgets them all.
const FOUND_MAX: usize = 1 << 16;

/// Reads one version of the state, from any number of threads. The version is kept as long as the reader lives.
///
/// Values come from the cache that all readers share, wherever the head is meanwhile, else from the trie: then keys are
/// hashed, and the cache is filled. What is in neither is asked of the store, and answered by [`ReadError::Pending`] until it is read, unless
/// the reader is [`blocking`](Self::blocking). In a partial state a key that is not there is [`ReadError::NotInWitness`].
pub struct SsmtReader {
    ssmt: Arc<Ssmt>,
    version: Arc<Version>,
    view: RwLock<View>,
    /// Where accounts are in this version's trie, and the hashes of their addresses.
    found: RwLock<AddressMap<(B256, Option<FoundAccount>)>>,
    block_hashes: RwLock<HashMap<u64, B256>>,
    /// What was asked of the store, if there is one, and found there.
    asked: Arc<Asked>,
    /// Whether a read of the store is waited for.
    is_blocking: bool,
}

/// How the reader's version differs from the cache's values of an epoch. `None` if they are too far from each other.
#[derive(Debug)]
struct View {
    epoch: u64,
    difference: Option<Difference>,
}

/// An answer of the cache.
enum Cached<T> {
    Value(T),
    /// It has none, and the trie's may be put in as one of this epoch.
    Missing(u64),
    /// It has none that is the version's.
    Unknown,
}

impl Ssmt {
    /// A reader of a version.
    ///
    /// # Errors
    ///
    /// [`SsmtError::UnknownVersion`].
    pub fn reader(self: &Arc<Self>, version: VersionId) -> Result<SsmtReader, SsmtError> {
        let reader = SsmtReader {
            ssmt: Arc::clone(self),
            version: Arc::clone(self.versions.read().get(version)?),
            view: RwLock::new(View { epoch: 0, difference: None }),
            found: RwLock::default(),
            block_hashes: RwLock::default(),
            asked: Arc::default(),
            is_blocking: false,
        };
        if let Some(flat) = &self.flat {
            reader.refresh(flat);
        }
        Ok(reader)
    }

    /// What the cache of all readers did and holds.
    #[must_use]
    pub fn flat_cache(&self) -> FlatCacheStats {
        self.flat.as_ref().map(FlatCache::stats).unwrap_or_default()
    }
}

impl SsmtReader {
    /// Which version it reads.
    #[must_use]
    pub fn version(&self) -> VersionId {
        self.version.id
    }

    /// The version's state root.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.version.top.hash()
    }

    /// Sets the hash of a block for this reader alone: it comes before what the trie was told.
    pub fn set_block_hash(&self, number: u64, hash: B256) {
        self.block_hashes.write().insert(number, hash);
    }

    /// The same, but reads of a store are waited for where they are asked for: no answer is
    /// [`ReadError::Pending`].
    #[must_use]
    pub fn blocking(mut self) -> Self {
        self.is_blocking = true;
        self
    }

    /// Learns how the version differs from what the cache has now.
    fn refresh(&self, flat: &FlatCache) {
        // The line stays where it is until the view is written: no older view comes behind a newer one.
        let line = flat.line();
        let steps = self.ssmt.versions.read().steps(*line, self.version.id, PATH_MAX);
        let difference = steps.map(|steps| Difference::of(&steps));
        *self.view.write() = View { epoch: flat.epoch(), difference };
    }

    fn cached<T>(
        &self,
        differs: impl Fn(&Difference) -> Differs<T>,
        value: impl Fn(&FlatCache) -> Option<T>,
    ) -> Cached<T> {
        let Some(flat) = &self.ssmt.flat else { return Cached::Unknown };
        // The head may move while it is looked; if it does so again and again, the trie is asked.
        for _ in 0..2 {
            {
                let view = self.view.read();
                if view.epoch == flat.epoch() {
                    let Some(difference) = &view.difference else { return Cached::Unknown };
                    match differs(difference) {
                        Differs::To(value) => return Cached::Value(value),
                        Differs::Unknown => return Cached::Unknown,
                        Differs::No => {}
                    }
                    let value = value(flat);
                    if view.epoch == flat.epoch() {
                        return value.map_or(Cached::Missing(view.epoch), Cached::Value);
                    }
                }
            }
            self.refresh(flat);
        }
        Cached::Unknown
    }

    fn count(&self, address: Address, is_hit: bool) {
        if let Some(flat) = &self.ssmt.flat {
            flat.count(address, is_hit);
        }
    }

    /// The account in the trie or the store, and the hash of its address.
    fn find(&self, address: Address) -> Result<(B256, Option<FoundAccount>), ReadError> {
        if let Some(found) = self.found.read().get(&address) {
            return Ok(*found);
        }
        let state_key = StateKey::Account(address);
        let key = keccak256(address.as_slice());
        let in_trie = self.ssmt.at(self.version.id).and_then(|versions| {
            let found = self.ssmt.find_account(&self.version, key);
            drop(versions);
            found
        });
        let found = match (in_trie, &self.ssmt.cold) {
            (Err(SsmtError::Blinded { .. }), Some(_)) if self.is_blocking => self
                .ssmt
                .find_account_anywhere(&self.version, key)
                .map_err(|error| read_error(state_key, error))?,
            (Err(SsmtError::Blinded { .. }), Some(cold)) => {
                match self.ask(cold, state_key, Sought::Account(key))? {
                    Answer::Account(found) => found.map(FoundAccount::stored),
                    answer => unreachable!("an account is not {answer:?}"),
                }
            }
            (found, _) => found.map_err(|error| read_error(state_key, error))?,
        };
        // Of accounts without storage nobody asks twice.
        if found.is_some_and(|found| found.storage != NO_STORAGE) {
            let mut known = self.found.write();
            if known.len() >= FOUND_MAX {
                known.clear();
            }
            known.insert(address, (key, found));
        }
        Ok((key, found))
    }

    fn find_slot(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        let (key, Some(found)) = self.find(address)? else { return Ok(U256::ZERO) };
        let state_key = StateKey::Storage(address, slot);
        let slot_key = keccak256(&slot.to_be_bytes::<32>());
        let failed = |error| read_error(state_key, error);
        let in_trie = {
            let versions = self.ssmt.at(self.version.id).map_err(failed)?;
            let value = self.ssmt.find_slot(key, &found, slot_key);
            value.map(|value| versions.before_draft(address, slot).unwrap_or(value))
        };
        match (in_trie, &self.ssmt.cold) {
            (Err(SsmtError::Blinded { .. }), Some(_)) if self.is_blocking => {
                self.ssmt.find_slot_anywhere(key, &found, slot_key).map_err(failed)
            }
            (Err(SsmtError::Blinded { .. }), Some(cold)) => {
                match self.ask(cold, state_key, Sought::Slot(key, slot_key))? {
                    Answer::Slot(value) => Ok(value),
                    answer => unreachable!("a slot is not {answer:?}"),
                }
            }
            (value, _) => value.map_err(failed),
        }
    }

    /// What a store has. What is on the disk is asked for once; who comes before the answer waits for it.
    fn ask(&self, cold: &Cold, key: StateKey, sought: Sought) -> Result<Answer, ReadError> {
        let failed = |error| ReadError::Store { key, source: Arc::new(error) };
        let begun = match cold.shared().look(sought).map_err(failed)? {
            Looked::Found(answer) => return Ok(answer),
            Looked::OnDisk(begun) => begun,
        };
        if let Some(answer) = self.asked.answer(key) {
            return answer;
        }
        if let Some(issuer) = self.asked.begin(key) {
            let asked = Arc::clone(&self.asked);
            let tell = move |answer| {
                asked.end(key, answer);
                issuer.complete();
            };
            cold.shared().read(begun, Box::new(tell));
        }
        match self.asked.answer(key) {
            Some(answer) => answer,
            None => unreachable!("it was asked for"),
        }
    }

    fn find_code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        let key = StateKey::Code(code_hash);
        let missing = || ReadError::NotInWitness { key };
        let Some(cold) = &self.ssmt.cold else { return self.ssmt.code(code_hash).ok_or_else(missing) };
        if self.is_blocking {
            let found = self.ssmt.find_code(code_hash).map_err(|error| read_error(key, error))?;
            return found.ok_or_else(missing);
        }
        if let Some(code) = self.ssmt.code(code_hash) {
            return Ok(code);
        }
        match self.ask(cold, key, Sought::Code(code_hash))? {
            Answer::Code(Some(bytes)) => {
                let code = bytecode(bytes);
                self.ssmt.codes.take_in(code_hash, &code);
                Ok(code)
            }
            Answer::Code(None) => Err(missing()),
            answer => unreachable!("code is not {answer:?}"),
        }
    }
}

impl StateReader for SsmtReader {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        let cached = self.cached(|difference| difference.account(address), |flat| flat.account(address));
        self.count(address, matches!(cached, Cached::Value(_)));
        let from_trie = || self.find(address).map(|(_, found)| found.map(|found| found.account));
        match cached {
            Cached::Value(account) => Ok(account),
            Cached::Unknown => from_trie(),
            Cached::Missing(epoch) => {
                let account = from_trie()?;
                if let Some(flat) = &self.ssmt.flat {
                    flat.fill_account(epoch, address, account);
                }
                Ok(account)
            }
        }
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        let cached =
            self.cached(|difference| difference.slot(address, slot), |flat| flat.slot(address, slot));
        self.count(address, matches!(cached, Cached::Value(_)));
        let from_trie = || self.find_slot(address, slot);
        match cached {
            Cached::Value(value) => Ok(value),
            Cached::Unknown => from_trie(),
            Cached::Missing(epoch) => {
                let value = from_trie()?;
                if let Some(flat) = &self.ssmt.flat {
                    flat.fill_slot(epoch, address, slot, value);
                }
                Ok(value)
            }
        }
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.find_code(code_hash)
    }

    fn may_wait(&self) -> bool {
        self.ssmt.cold.is_some() && !self.is_blocking
    }

    fn prefetch(&self, keys: &[StateKey]) {
        if !self.may_wait() {
            return;
        }
        for key in keys {
            // Whatever comes of it, those who ask for it are told.
            match *key {
                StateKey::Account(address) => drop(self.account(address)),
                StateKey::Storage(address, slot) => drop(self.storage(address, slot)),
                StateKey::Code(hash) => drop(self.code(hash)),
                StateKey::BlockHash(_) => {}
            }
        }
    }

    fn progress(&self, wait: Option<Duration>) -> bool {
        self.ssmt.cold.as_ref().is_some_and(|cold| cold.shared().progress(wait))
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        let own = self.block_hashes.read().get(&number).copied();
        own.or_else(|| self.ssmt.codes.block_hashes.read().get(&number).copied())
            .ok_or(ReadError::NotInWitness { key: StateKey::BlockHash(number) })
    }
}

impl fmt::Debug for SsmtReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SsmtReader").field("version", &self.version.id).finish_non_exhaustive()
    }
}

fn read_error(key: StateKey, error: SsmtError) -> ReadError {
    match error {
        SsmtError::Blinded { .. } => ReadError::NotInWitness { key },
        error => ReadError::Store { key, source: Arc::new(error) },
    }
}
