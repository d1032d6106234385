//! What the sharded trie is held against: plain maps, whose root is computed anew each time by `alloy-trie`, and random
//! change sets over them.

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use alloy_trie::{
    TrieAccount,
    root::{state_root_unhashed, storage_root_unhashed},
};
use citius_state::{
    Account, AccountChange, ChangeSet, MemoryState, SharedWork, SlotChange, StateReader, Workers,
};
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

pub(crate) fn state_root(state: &MemoryState) -> B256 {
    state_root_unhashed(state.accounts().filter_map(|(address, account)| {
        let Account { balance, nonce, code_hash } = account?;
        let storage_root = storage_root(state, address);
        Some((address, TrieAccount { nonce, balance, storage_root, code_hash }))
    }))
}

pub(crate) fn storage_root(state: &MemoryState, address: Address) -> B256 {
    let slots = state.slots(address).filter(|(_, value)| !value.is_zero());
    storage_root_unhashed(slots.map(|(slot, value)| (B256::from(slot), value)))
}

/// What a random state is made of.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) addresses: Vec<Address>,
    pub(crate) slots: Vec<U256>,
    /// Writes to one account's storage at most.
    pub(crate) slots_a_change_max: usize,
    pub(crate) accounts_a_change_max: usize,
    /// How often accounts are removed or wiped, in percent.
    pub(crate) destroys_percent: u32,
}

impl World {
    pub(crate) fn random(random: &mut ChaCha8Rng) -> Self {
        let accounts = *[1_usize, 3, 20, 200].choose(random).unwrap();
        let slots = *[1_usize, 4, 40, 400].choose(random).unwrap();
        Self {
            addresses: (0..accounts).map(|_| Address::from(random.random::<[u8; 20]>())).collect(),
            slots: (0..slots).map(|_| U256::from_be_bytes(random.random::<[u8; 32]>())).collect(),
            slots_a_change_max: *[1_usize, 5, 60].choose(random).unwrap(),
            accounts_a_change_max: *[1_usize, 4, 30].choose(random).unwrap(),
            destroys_percent: *[0, 5, 30].choose(random).unwrap(),
        }
    }

    /// What one block might do to a state.
    pub(crate) fn changes(&self, random: &mut ChaCha8Rng, state: &MemoryState) -> ChangeSet {
        let mut accounts = BTreeMap::new();
        for _ in 0..random.random_range(0..=self.accounts_a_change_max) {
            let address = *self.addresses.choose(random).unwrap();
            if let Some(change) = self.change(random, state, address)
                && change.is_change()
            {
                accounts.insert(address, change);
            }
        }
        ChangeSet { accounts: accounts.into_values().collect(), codes: Vec::new() }
    }

    fn change(
        &self,
        random: &mut ChaCha8Rng,
        state: &MemoryState,
        address: Address,
    ) -> Option<AccountChange> {
        let before = state.account(address).unwrap();
        let destroys = random.random_ratio(self.destroys_percent, 100);
        if destroys && random.random_bool(0.5) {
            before?;
            return Some(AccountChange {
                address,
                before,
                after: None,
                storage_wiped: true,
                storage: vec![],
            });
        }
        let storage_wiped = destroys || before.is_none();
        let after = match before {
            Some(account) if random.random_bool(0.5) => account,
            _ => Account {
                balance: U256::from(random.random::<u128>() >> random.random_range(0..128)),
                nonce: random.random_range(0..300),
                code_hash: if random.random_bool(0.3) {
                    B256::from(random.random::<[u8; 32]>())
                } else {
                    KECCAK256_EMPTY
                },
            },
        };
        let mut storage = BTreeMap::new();
        for _ in 0..random.random_range(0..=self.slots_a_change_max) {
            let slot = *self.slots.choose(random).unwrap();
            let before = if storage_wiped { U256::ZERO } else { state.storage(address, slot).unwrap() };
            let after = match random.random_range(0..10) {
                0..3 => U256::ZERO,
                3..8 => U256::from(random.random_range(0_u32..500)),
                _ => U256::from_be_bytes(random.random::<[u8; 32]>()),
            };
            storage.insert(slot, SlotChange { slot, before, after });
        }
        let storage = storage.into_values().filter(|slot| slot.before != slot.after).collect();
        Some(AccountChange { address, before, after: Some(after), storage_wiped, storage })
    }
}

/// Threads that are started for each piece of work.
#[derive(Debug)]
pub(crate) struct Threads(pub(crate) usize);

impl Workers for Threads {
    fn count(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.0).unwrap()
    }

    fn run(&self, work: &Arc<SharedWork>) {
        std::thread::scope(|scope| {
            for worker in 1..self.0 {
                scope.spawn(move || work(worker));
            }
            work(0);
        });
    }
}
