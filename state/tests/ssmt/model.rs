//! What the sharded trie is held against: plain maps, whose root is computed anew each time by `alloy-trie`, and random
//! change sets over them.

use crate::ground;
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
use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, LazyLock},
};

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
    /// Values of slots are of one byte, so that deep leaves stand in their parents whole.
    pub(crate) has_tiny_values: bool,
}

/// Shards, and some addresses and slots of each.
static CROWDED: LazyLock<Vec<(Vec<Address>, Vec<U256>)>> = LazyLock::new(|| {
    let of_shard = |shard| {
        let addresses = ground::addresses_in_shard(shard, 0).take(60).collect();
        (addresses, ground::slots_in_shard(shard, 0).take(60).collect())
    };
    [0x00, 0x5a, 0xff].map(of_shard).into()
});

fn random_addresses(random: &mut ChaCha8Rng) -> Vec<Address> {
    let mut any = |count: usize| -> Vec<Address> {
        (0..count).map(|_| Address::from(random.random::<[u8; 20]>())).collect()
    };
    let kinds = [any(1), any(3), any(20), any(200), any(6), any(6)];
    let kind = random.random_range(0..kinds.len());
    let mut addresses = kinds[kind].clone();
    match kind {
        // One in ten is in another shard.
        4 => addresses.extend(&CROWDED.choose(random).unwrap().0),
        5 => addresses.extend(ground::deep_addresses()),
        _ => {}
    }
    addresses
}

fn random_slots(random: &mut ChaCha8Rng) -> Vec<U256> {
    let mut any = |count: usize| -> Vec<U256> {
        (0..count).map(|_| U256::from_be_bytes(random.random::<[u8; 32]>())).collect()
    };
    let kinds = [any(1), any(4), any(40), any(400), any(6), any(6)];
    let kind = random.random_range(0..kinds.len());
    let mut slots = kinds[kind].clone();
    match kind {
        4 => slots.extend(&CROWDED.choose(random).unwrap().1),
        5 => slots.extend(ground::deep_slots()),
        _ => {}
    }
    slots
}

impl World {
    pub(crate) fn random(random: &mut ChaCha8Rng) -> Self {
        Self {
            addresses: random_addresses(random),
            slots: random_slots(random),
            slots_a_change_max: *[1_usize, 5, 60].choose(random).unwrap(),
            accounts_a_change_max: *[1_usize, 4, 30].choose(random).unwrap(),
            destroys_percent: *[0, 5, 30, 70].choose(random).unwrap(),
            has_tiny_values: random.random_bool(0.3),
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
                storage_wiped: random.random(),
                storage: vec![],
            });
        }
        if destroys && random.random_bool(0.1) {
            return Some(made_anew(state, address, before?));
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
                3.. if self.has_tiny_values => U256::from(random.random_range(1_u32..128)),
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

/// What makes a state out of nothing.
pub(crate) fn from_nothing(state: &MemoryState) -> ChangeSet {
    let accounts = state.accounts().filter_map(|(address, account)| {
        let made = made_anew(state, address, account?);
        Some(AccountChange { before: None, ..made })
    });
    ChangeSet { accounts: accounts.collect(), codes: Vec::new() }
}

/// Destroyed, and made again as it was.
fn made_anew(state: &MemoryState, address: Address, account: Account) -> AccountChange {
    let slots = state.slots(address).filter(|(_, after)| !after.is_zero());
    let mut storage: Vec<SlotChange> =
        slots.map(|(slot, after)| SlotChange { slot, before: U256::ZERO, after }).collect();
    // One seed, one change set: maps have no order.
    storage.sort_unstable_by_key(|slot| slot.slot);
    AccountChange { address, before: Some(account), after: Some(account), storage_wiped: true, storage }
}

/// Threads that are started for each piece of work.
#[derive(Debug)]
pub(crate) struct Threads(pub(crate) usize);

impl Workers for Threads {
    fn count(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.0).unwrap()
    }

    fn memory_node(&self, worker: usize) -> u32 {
        worker as u32 % 3
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
