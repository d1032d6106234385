use crate::{Account, ReadError, StateKey, StateReader};
use alloy_primitives::{Address, B256, U256};
use parking_lot::Mutex;
use revm::bytecode::Bytecode;
use std::{collections::BTreeSet, time::Duration};

/// What was read of a state: what a witness must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Accounts, those that do not exist included.
    pub accounts: BTreeSet<Address>,
    /// Slots by account and key, those that are zero included.
    pub slots: BTreeSet<(Address, U256)>,
    /// Code by its hash.
    pub codes: BTreeSet<B256>,
    /// Numbers of blocks whose hashes were asked for. The headers from the lowest one to the parent prove them.
    pub block_hashes: BTreeSet<u64>,
}

/// A reader that takes note of what is read through it.
///
/// Parallel execution also reads what its guesses lead to, and all of it is noted: a witness made of that is larger than
/// it need be. For the smallest one the block is executed serially.
#[derive(Debug, Default)]
pub struct RecordingReader<R> {
    reader: R,
    touched: Mutex<Touched>,
}

impl<R> RecordingReader<R> {
    /// Wraps a reader. Nothing was read yet.
    pub fn new(reader: R) -> Self {
        Self { reader, touched: Mutex::default() }
    }

    /// What was read until now.
    pub fn touched(&self) -> Touched {
        self.touched.lock().clone()
    }

    /// The reader inside, and what was read.
    pub fn into_parts(self) -> (R, Touched) {
        (self.reader, self.touched.into_inner())
    }
}

impl<R: StateReader> StateReader for RecordingReader<R> {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.touched.lock().accounts.insert(address);
        self.reader.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.touched.lock().slots.insert((address, slot));
        self.reader.storage(address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.touched.lock().codes.insert(code_hash);
        self.reader.code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.touched.lock().block_hashes.insert(number);
        self.reader.block_hash(number)
    }

    fn may_wait(&self) -> bool {
        self.reader.may_wait()
    }

    fn prefetch(&self, keys: &[StateKey]) {
        self.reader.prefetch(keys);
    }

    fn progress(&self, wait: Option<Duration>) -> bool {
        self.reader.progress(wait)
    }
}
