use alloy_primitives::{Address, U256, keccak256};
use citius_state::{Account, AccountChange, ChangeSet, SlotChange};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// How large a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Accounts.
    pub accounts: usize,
    /// Storage slots, of all accounts together.
    pub slots: usize,
}

impl Shape {
    /// A million accounts with four million slots.
    pub const FIVE_MILLION: Self = Self { accounts: 1_000_000, slots: 4_000_000 };

    /// One account to four slots.
    #[must_use]
    pub const fn of_leaves(leaves: usize) -> Self {
        Self { accounts: leaves / 5, slots: leaves - leaves / 5 }
    }

    /// Leaves of all tries together.
    #[must_use]
    pub const fn leaves(&self) -> usize {
        self.accounts + self.slots
    }
}

/// What a block writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Writes {
    /// Accounts, besides those whose slots it writes.
    pub accounts: usize,
    /// Slots.
    pub slots: usize,
}

impl Writes {
    /// What the median block of the main network writes: 1,300.
    pub const MAINNET_BLOCK: Self = Self { accounts: 450, slots: 850 };

    /// So many writes, shared out as in [`Writes::MAINNET_BLOCK`].
    #[must_use]
    pub const fn of(writes: usize) -> Self {
        let accounts = writes * Self::MAINNET_BLOCK.accounts / Self::MAINNET_BLOCK.total();
        Self { accounts, slots: writes - accounts }
    }

    /// All of them.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.accounts + self.slots
    }
}

/// A generated state: who has how many slots is a function of numbers alone.
///
/// Storage is spread as on the main network: a quarter of all slots belong to eight accounts, another quarter to a few
/// hundred, the rest to one account in ten, about twenty each. Half of the values are small, half as long as a word.
#[derive(Debug)]
pub struct World {
    shape: Shape,
    /// Accounts with storage: number, first slot, slots.
    storages: Vec<(u32, u32)>,
}

/// Accounts that a quarter of all slots belongs to.
const HUGE: usize = 8;
/// Slots that each account of the second quarter has, if there are enough.
const MIDDLE_SLOTS: usize = 2_500;
/// One account in so many of the others has storage.
const SMALL_ONE_IN: usize = 10;

/// A step of splitmix64: a number out of a number.
fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl World {
    /// A state of this shape; without accounts there are no slots.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let mut storages = Vec::new();
        let mut left = shape.slots;
        let mut give = |account: usize, slots: usize, left: &mut usize| {
            let slots = slots.min(*left);
            *left -= slots;
            if slots > 0 {
                storages.push((account as u32, slots as u32));
            }
        };
        let huge = HUGE.min(shape.accounts);
        for account in 0..huge {
            give(account, shape.slots / 4 / huge, &mut left);
        }
        let middle = (shape.slots / 4 / MIDDLE_SLOTS).clamp(1, 4_000).min(shape.accounts - huge);
        for account in huge..huge + middle {
            give(account, shape.slots / 4 / middle, &mut left);
        }
        let others = shape.accounts - huge - middle;
        let small = others.div_ceil(SMALL_ONE_IN);
        for number in 0..small {
            give(huge + middle + number * SMALL_ONE_IN, (left / (small - number)).max(1), &mut left);
        }
        // What division left over.
        if let Some(last) = storages.last_mut() {
            last.1 += left as u32;
        }
        Self { shape, storages }
    }

    /// Its shape.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// A number drawn by another.
    #[must_use]
    pub fn draw(number: u64) -> u64 {
        mix(number)
    }

    /// The address of account `number`.
    #[must_use]
    pub fn address(number: u64) -> Address {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&mix(number).to_be_bytes());
        bytes[8..16].copy_from_slice(&mix(!number).to_be_bytes());
        Address::from(bytes)
    }

    /// Slot `number` of an account.
    #[must_use]
    pub fn slot(account: u64, number: u64) -> U256 {
        // What a mapping gives: a hash.
        let seed = mix(account ^ mix(number));
        U256::from_limbs([seed, mix(seed), mix(seed ^ 1), mix(seed ^ 2)])
    }

    fn account(number: u64) -> Account {
        let code_hash = if number.is_multiple_of(10) {
            keccak256(number.to_be_bytes())
        } else {
            Account::EMPTY.code_hash
        };
        Account { balance: U256::from(mix(number ^ 7)), nonce: mix(number ^ 9) % 500, code_hash }
    }

    fn value(seed: u64) -> U256 {
        // Half are small numbers, half are as long as a slot.
        let seed = mix(seed);
        if seed.is_multiple_of(2) {
            U256::from(seed >> 20 | 1)
        } else {
            U256::from_limbs([seed, mix(seed), mix(seed ^ 3), mix(seed ^ 4)])
        }
    }

    /// The whole state, as what a block did that made it out of nothing.
    #[must_use]
    pub fn genesis(&self) -> ChangeSet {
        let accounts = (0..self.shape.accounts as u64).map(|number| self.creation(number));
        ChangeSet { accounts: accounts.collect(), codes: Vec::new() }
    }

    /// One account with all its slots, as [`World::genesis`] makes it.
    #[must_use]
    pub fn creation(&self, number: u64) -> AccountChange {
        let place = self.storages.binary_search_by_key(&number, |(account, _)| u64::from(*account));
        let slots = place.map_or(0, |place| self.storages[place].1);
        let slot = |slot| SlotChange {
            slot: Self::slot(number, slot),
            before: U256::ZERO,
            after: Self::value(number << 32 | slot),
        };
        AccountChange {
            address: Self::address(number),
            before: None,
            after: Some(Self::account(number)),
            storage_wiped: true,
            storage: (0..u64::from(slots)).map(slot).collect(),
        }
    }

    /// What block `block` writes: of ten slots one is new and one is removed, the others change. Every other slot is of
    /// a storage drawn by its size, the rest are of any storage.
    #[must_use]
    pub fn block(&self, block: u64, writes: Writes) -> ChangeSet {
        let sums: Vec<u64> = self
            .storages
            .iter()
            .scan(0, |sum, (_, count)| {
                *sum += u64::from(*count);
                Some(*sum)
            })
            .collect();
        let mut accounts: BTreeMap<u32, AccountChange> = BTreeMap::new();
        let mut written = HashSet::new();
        for write in 0..writes.slots as u64 {
            let Some(total) = sums.last() else { break };
            let dice = mix(block << 32 ^ write);
            let place = if write % 2 == 0 {
                sums.partition_point(|sum| *sum <= dice % total)
            } else {
                (dice % self.storages.len() as u64) as usize
            };
            let (account, count) = self.storages[place];
            let (number, after) = match write % 10 {
                0 => (u64::from(count) + dice % (1 << 40), Self::value(dice)),
                1 => (mix(dice) % u64::from(count), U256::ZERO),
                _ => (mix(dice) % u64::from(count), Self::value(dice)),
            };
            if written.insert((account, number)) {
                let slot = Self::slot(u64::from(account), number);
                let change = SlotChange { slot, before: U256::ZERO, after };
                accounts.entry(account).or_insert_with(|| unchanged(account)).storage.push(change);
            }
        }
        for write in 0..writes.accounts as u64 {
            let number = (mix(block << 32 ^ 0xacc0_0000 ^ write) % self.shape.accounts as u64) as u32;
            if let Some(after) = &mut accounts.entry(number).or_insert_with(|| unchanged(number)).after {
                after.nonce += 1 + block;
                after.balance += U256::from(block + 1);
            }
        }
        ChangeSet { accounts: accounts.into_values().collect(), codes: Vec::new() }
    }
}

fn unchanged(number: u32) -> AccountChange {
    let account = World::account(u64::from(number));
    AccountChange {
        address: World::address(u64::from(number)),
        before: Some(account),
        after: Some(account),
        storage_wiped: false,
        storage: Vec::new(),
    }
}
