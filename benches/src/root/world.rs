use alloy_primitives::{Address, U256, keccak256};
use citius_state::{Account, AccountChange, ChangeSet, SlotChange};

/// How large a state is, and what a block writes to it.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Accounts.
    pub accounts: usize,
    /// Storage slots, of all accounts together.
    pub slots: usize,
    /// Accounts that a block writes.
    pub account_writes: usize,
    /// Slots that a block writes.
    pub slot_writes: usize,
}

impl Shape {
    /// A million accounts with four million slots, and a block of 1,300 writes.
    pub const MAINNET_BLOCK: Self =
        Self { accounts: 1_000_000, slots: 4_000_000, account_writes: 450, slot_writes: 850 };
}

/// A generated state: who has how many slots is a function of numbers alone.
///
/// Storage is spread as on the main network: a quarter of all slots belong to eight accounts, another quarter to a few
/// hundred, the rest to one account in ten, about twenty each.
#[derive(Debug)]
pub struct World {
    shape: Shape,
    /// Accounts with storage: number, first slot, slots.
    storages: Vec<(u32, u32)>,
}

/// A step of splitmix64: a number out of a number.
fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl World {
    /// A state of this shape.
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
        let huge = 8.min(shape.accounts);
        for account in 0..huge {
            give(account, shape.slots / 4 / huge, &mut left);
        }
        let middle = (shape.slots / 4 / 2_500).clamp(1, 4_000).min(shape.accounts - huge);
        for account in huge..huge + middle {
            give(account, shape.slots / 4 / middle, &mut left);
        }
        let small = ((shape.accounts - huge - middle) / 10).max(1);
        let each = left / small;
        for account in 0..small {
            give(huge + middle + account * 10, each.max(1), &mut left);
        }
        if let Some(last) = storages.last_mut() {
            last.1 += left as u32;
        }
        Self { shape, storages }
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
        let code_hash =
            if number % 10 == 0 { keccak256(number.to_be_bytes()) } else { Account::EMPTY.code_hash };
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
        let mut accounts: Vec<AccountChange> = (0..self.shape.accounts as u64)
            .map(|number| AccountChange {
                address: Self::address(number),
                before: None,
                after: Some(Self::account(number)),
                storage_wiped: true,
                storage: Vec::new(),
            })
            .collect();
        for (account, count) in &self.storages {
            accounts[*account as usize].storage = (0..u64::from(*count))
                .map(|number| SlotChange {
                    slot: Self::slot(u64::from(*account), number),
                    before: U256::ZERO,
                    after: Self::value(u64::from(*account) << 32 | number),
                })
                .collect();
        }
        ChangeSet { accounts, codes: Vec::new() }
    }

    /// What block `block` writes: of ten slots one is new and one is removed, the others change. Which storage a slot
    /// is of goes by the storages' sizes, half and half with one in as many storages.
    #[must_use]
    pub fn block(&self, block: u64) -> ChangeSet {
        let mut accounts: std::collections::BTreeMap<u32, AccountChange> = std::collections::BTreeMap::new();
        let entry = |number: u32| AccountChange {
            address: Self::address(u64::from(number)),
            before: Some(Self::account(u64::from(number))),
            after: Some(Self::account(u64::from(number))),
            storage_wiped: false,
            storage: Vec::new(),
        };
        let sums: Vec<u64> = self
            .storages
            .iter()
            .scan(0, |sum, (_, count)| {
                *sum += u64::from(*count);
                Some(*sum)
            })
            .collect();
        let total = sums.last().copied().unwrap_or(1);
        for write in 0..self.shape.slot_writes as u64 {
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
            let change = accounts.entry(account).or_insert_with(|| entry(account));
            let slot = Self::slot(u64::from(account), number);
            if change.storage.iter().all(|known| known.slot != slot) {
                change.storage.push(SlotChange { slot, before: U256::ZERO, after });
            }
        }
        let mut write = 0;
        let mut written = 0;
        while written < self.shape.account_writes {
            let number = (mix(block << 32 ^ 0xacc0_0000 ^ write) % self.shape.accounts as u64) as u32;
            write += 1;
            written += 1;
            let change = accounts.entry(number).or_insert_with(|| entry(number));
            if let Some(after) = &mut change.after {
                after.nonce += 1 + block;
                after.balance += U256::from(block + 1);
            }
        }
        ChangeSet { accounts: accounts.into_values().collect(), codes: Vec::new() }
    }
}
