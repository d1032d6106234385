//! Readers that watch, count, forget or dawdle.

use crate::case::Case;
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use citius_state::{Account, MemoryState, ReadError, StateKey, StateReader, Ticket, TicketIssuer};
use revm::bytecode::Bytecode;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
};

/// Says when code is read: contracts begin to run then.
pub(crate) struct Watching {
    inner: MemoryState,
    seen: Mutex<Sender<()>>,
}

impl Watching {
    pub(crate) fn code(case: &Case) -> (Self, Receiver<()>) {
        let (seen, sees) = channel();
        (Self { inner: case.state.clone(), seen: Mutex::new(seen) }, sees)
    }
}

impl StateReader for Watching {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.inner.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.inner.storage(address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        // Nobody listens any more from the second time on.
        let _ = self.seen.lock().unwrap().send(());
        self.inner.code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.inner.block_hash(number)
    }
}

/// Counts how often each key is asked for, and forgets some keys.
#[derive(Default)]
pub(crate) struct Counting {
    inner: MemoryState,
    forgotten: HashSet<StateKey>,
    asked: Mutex<HashMap<StateKey, usize>>,
}

impl Counting {
    pub(crate) fn new(inner: MemoryState) -> Self {
        Self { inner, ..Self::default() }
    }

    /// A reader that knows nothing of this key.
    pub(crate) fn without(inner: MemoryState, key: StateKey) -> Self {
        Self { forgotten: HashSet::from([key]), ..Self::new(inner) }
    }

    /// A reader that knows of these keys only.
    pub(crate) fn knows(inner: &MemoryState, keys: &HashSet<StateKey>) -> MemoryState {
        let mut witness = MemoryState::partial();
        for key in keys {
            match *key {
                StateKey::Account(address) => match inner.account(address).unwrap() {
                    Some(account) => witness.set_account(address, account),
                    None => witness.set_absent(address),
                },
                StateKey::Storage(address, slot) => {
                    witness.set_storage(address, slot, inner.storage(address, slot).unwrap());
                }
                StateKey::Code(hash) => {
                    witness.set_code(inner.code(hash).unwrap());
                }
                StateKey::BlockHash(number) => {
                    witness.set_block_hash(number, inner.block_hash(number).unwrap());
                }
            }
        }
        witness
    }

    /// How often each key was asked for.
    pub(crate) fn asked(&self) -> HashMap<StateKey, usize> {
        self.asked.lock().unwrap().clone()
    }

    fn ask<T>(&self, key: StateKey, answer: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
        *self.asked.lock().unwrap().entry(key).or_default() += 1;
        if self.forgotten.contains(&key) { Err(ReadError::NotInWitness { key }) } else { answer() }
    }
}

impl StateReader for Counting {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.ask(StateKey::Account(address), || self.inner.account(address))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.ask(StateKey::Storage(address, slot), || self.inner.storage(address, slot))
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        assert_ne!(code_hash, KECCAK256_EMPTY, "the code of nothing was asked for");
        self.ask(StateKey::Code(code_hash), || self.inner.code(code_hash))
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.ask(StateKey::BlockHash(number), || self.inner.block_hash(number))
    }
}

/// What a slow reader answers when it is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Later {
    /// The value.
    Value,
    /// An error: whoever was to read it is gone.
    Error,
}

/// Answers with a ticket first, and gives its issuer away.
pub(crate) struct Slow {
    inner: MemoryState,
    later: Later,
    asked: Mutex<HashMap<StateKey, Ticket>>,
    issuers: Mutex<Sender<(StateKey, TicketIssuer)>>,
}

impl Slow {
    /// A reader and its tickets' issuers.
    pub(crate) fn new(inner: MemoryState, later: Later) -> (Self, Receiver<(StateKey, TicketIssuer)>) {
        let (issuers, received) = channel();
        (Self { inner, later, asked: Mutex::default(), issuers: Mutex::new(issuers) }, received)
    }

    fn ask<T>(&self, key: StateKey, answer: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
        let mut asked = self.asked.lock().unwrap();
        if let Some(ticket) = asked.get(&key) {
            if !ticket.is_complete() {
                return Err(ReadError::Pending { key, ticket: ticket.clone() });
            }
            return match self.later {
                Later::Value => answer(),
                Later::Error => {
                    let source = std::sync::Arc::new(std::io::Error::other("the disk is gone"));
                    Err(ReadError::Store { key, source })
                }
            };
        }
        let (ticket, issuer) = Ticket::issue();
        asked.insert(key, ticket.clone());
        self.issuers.lock().unwrap().send((key, issuer)).unwrap();
        Err(ReadError::Pending { key, ticket })
    }
}

impl StateReader for Slow {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.ask(StateKey::Account(address), || self.inner.account(address))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.ask(StateKey::Storage(address, slot), || self.inner.storage(address, slot))
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.ask(StateKey::Code(code_hash), || self.inner.code(code_hash))
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.ask(StateKey::BlockHash(number), || self.inner.block_hash(number))
    }

    fn may_wait(&self) -> bool {
        true
    }
}
