//! The hashes of a change set's addresses and slots, in pieces that workers share; and its accounts by shard.

use super::{
    error::{SsmtError, TrieName},
    top::SHARDS,
    work::{AccountWork, SlotWork},
};
use crate::ChangeSet;
use alloy_primitives::B256;
use citius_hashing::Hasher;
use std::{
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Keys of a piece of work at least: as few as fill the lanes well.
const PIECE_MIN: usize = 256;
/// Pieces that each worker has at least, if there are keys enough.
const PIECES: usize = 4;

/// A change set by hashed keys. Keys have numbers: first addresses, then slots, account by account.
#[derive(Debug)]
pub(crate) struct HashedChanges {
    changes: Arc<ChangeSet>,
    /// The number that each account's first slot has among slots, and how many slots there are.
    firsts: Vec<u32>,
    /// Keys of a piece: a power of two.
    piece: usize,
    digests: Box<[OnceLock<Box<[B256]>>]>,
    next: AtomicUsize,
    done: AtomicUsize,
    by_shard: OnceLock<ByShard>,
    accounts: Box<[OnceLock<Vec<AccountWork>>]>,
    /// What was listed twice.
    repeated: OnceLock<(TrieName, B256)>,
}

/// The numbers of accounts, those of one shard together.
#[derive(Debug)]
struct ByShard {
    numbers: Vec<u32>,
    /// Where each shard begins.
    starts: Box<[u32; SHARDS + 1]>,
}

impl HashedChanges {
    /// To be hashed by so many workers, `most` keys at a time at most.
    pub(super) fn new(changes: &Arc<ChangeSet>, workers: usize, most: usize) -> Self {
        let mut slots = 0;
        let mut firsts = Vec::with_capacity(changes.accounts.len() + 1);
        for change in &changes.accounts {
            firsts.push(slots);
            slots += change.storage.len() as u32;
        }
        firsts.push(slots);
        let keys = changes.accounts.len() + slots as usize;
        let piece = (keys / (PIECES * workers)).clamp(PIECE_MIN, most.max(PIECE_MIN)).next_power_of_two();
        Self {
            changes: Arc::clone(changes),
            firsts,
            piece,
            digests: (0..keys.div_ceil(piece)).map(|_| OnceLock::new()).collect(),
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            by_shard: OnceLock::new(),
            accounts: (0..SHARDS).map(|_| OnceLock::new()).collect(),
            repeated: OnceLock::new(),
        }
    }

    /// Hashes pieces that nobody has begun.
    pub(super) fn help(&self, hasher: &Hasher) {
        loop {
            // Relaxed: a number to be taken once.
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(digests) = self.digests.get(number) else { return };
            let start = number * self.piece;
            let end = (start + self.piece).min(self.changes.accounts.len() + self.slot_count());
            if digests.set(self.hash(start..end, hasher)).is_err() {
                panic!("piece {number} is taken once");
            }
            // Release pairs with the acquire in `is_done`: who sees all counted sees all digests.
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether all keys are hashed.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire) == self.digests.len()
    }

    fn slot_count(&self) -> usize {
        self.firsts.last().copied().unwrap_or_default() as usize
    }

    fn hash(&self, keys: Range<usize>, hasher: &Hasher) -> Box<[B256]> {
        let accounts = &self.changes.accounts;
        let addresses = &accounts[keys.start.min(accounts.len())..keys.end.min(accounts.len())];
        let first = keys.start.saturating_sub(accounts.len());
        let end = keys.end.saturating_sub(accounts.len());
        let mut raw: Vec<[u8; 32]> = Vec::with_capacity(end - first);
        let mut account = self.firsts.partition_point(|start| *start as usize <= first).saturating_sub(1);
        while raw.len() < end - first {
            let start = first + raw.len() - self.firsts[account] as usize;
            let slots = &accounts[account].storage[start..];
            let slots = &slots[..slots.len().min(end - first - raw.len())];
            raw.extend(slots.iter().map(|slot| slot.slot.to_be_bytes()));
            account += 1;
        }
        let messages: Vec<&[u8]> = addresses
            .iter()
            .map(|change| change.address.as_slice())
            .chain(raw.iter().map(<[u8; 32]>::as_slice))
            .collect();
        let mut digests = vec![B256::ZERO; messages.len()];
        hasher.hash_each(&messages, &mut digests);
        digests.into()
    }

    #[inline]
    fn digest(&self, key: usize) -> &B256 {
        match self.digests[key / self.piece].get() {
            Some(digests) => &digests[key % self.piece],
            None => panic!("key {key} is hashed"),
        }
    }

    fn by_shard(&self) -> &ByShard {
        self.by_shard.get_or_init(|| {
            let count = self.changes.accounts.len();
            let mut starts = Box::new([0_u32; SHARDS + 1]);
            for number in 0..count {
                starts[usize::from(self.digest(number)[0]) + 1] += 1;
            }
            for shard in 0..SHARDS {
                starts[shard + 1] += starts[shard];
            }
            let mut next = starts.clone();
            let mut numbers = vec![0; count];
            for number in 0..count {
                let place = &mut next[usize::from(self.digest(number)[0])];
                numbers[*place as usize] = number as u32;
                *place += 1;
            }
            ByShard { numbers, starts }
        })
    }

    /// The accounts of a shard by their keys, each once. All keys must be hashed.
    pub(super) fn accounts_of(&self, shard: u8) -> &[AccountWork] {
        self.accounts[usize::from(shard)].get_or_init(|| {
            let ByShard { numbers, starts } = self.by_shard();
            let shard = usize::from(shard);
            // Numbers are sorted, and accounts moved once: they are large.
            let mut order: Vec<(u64, u32)> = numbers[starts[shard] as usize..starts[shard + 1] as usize]
                .iter()
                .map(|number| (beginning(self.digest(*number as usize)), *number))
                .collect();
            order.sort_unstable_by(|one, other| {
                let key = |number: u32| self.digest(number as usize);
                one.0.cmp(&other.0).then_with(|| key(one.1).cmp(key(other.1)))
            });
            let account = |(_, number): (u64, u32)| {
                let number = number as usize;
                let change = &self.changes.accounts[number];
                AccountWork {
                    key: *self.digest(number),
                    after: change.after,
                    wiped: change.storage_wiped,
                    slots: self.firsts[number] as usize..self.firsts[number + 1] as usize,
                    number: number as u32,
                }
            };
            let mut accounts: Vec<AccountWork> = order.into_iter().map(account).collect();
            accounts.dedup_by(|one, other| {
                let is_same = one.key == other.key;
                if is_same {
                    self.repeated.get_or_init(|| (TrieName::Accounts, one.key));
                }
                is_same
            });
            accounts
        })
    }

    /// An account or a slot that was listed twice, among those asked for.
    pub(super) fn repeated(&self) -> Option<SsmtError> {
        self.repeated.get().map(|(trie, key)| SsmtError::Repeated { trie: *trie, key: *key })
    }

    /// Appends an account's slots, by their keys; none if one is listed twice.
    pub(super) fn slots_of(&self, account: &AccountWork, slots: &mut Vec<SlotWork>) {
        let first = self.changes.accounts.len() + account.slots.start;
        let all = &self.changes.accounts[account.number as usize].storage;
        let start = slots.len();
        slots.extend(
            (first..).zip(all).map(|(key, slot)| SlotWork { key: *self.digest(key), value: slot.after }),
        );
        sort(&mut slots[start..]);
        if let Some(pair) = slots[start..].windows(2).find(|pair| pair[0].key == pair[1].key) {
            self.repeated.get_or_init(|| (TrieName::Storage(account.key), pair[0].key));
            slots.truncate(start);
        }
    }
}

/// Slots from which on it is faster to sort numbers first.
const MANY: usize = 64;

/// Sorts slots by their keys.
pub(super) fn sort(slots: &mut [SlotWork]) {
    if slots.len() < MANY {
        slots.sort_unstable_by_key(|slot| slot.key);
        return;
    }
    let mut order: Vec<(u64, u32)> =
        (0..).zip(&*slots).map(|(number, slot)| (beginning(&slot.key), number)).collect();
    order.sort_unstable_by(|one, other| {
        let key = |number: u32| &slots[number as usize].key;
        one.0.cmp(&other.0).then_with(|| key(one.1).cmp(key(other.1)))
    });
    let sorted: Vec<SlotWork> = order.into_iter().map(|(_, number)| slots[number as usize]).collect();
    slots.copy_from_slice(&sorted);
}

fn beginning(key: &B256) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&key[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountChange, SlotChange};
    use alloy_primitives::{Address, U256, keccak256};

    #[test]
    fn every_key_is_hashed_in_its_place_however_the_pieces_fall() {
        const PIECE: usize = PIECE_MIN;
        let counts = [0, 3, PIECE - 5, 1, 2 * PIECE + 7, 0, PIECE, PIECE - 1, 0, 2];
        let slot = |account: usize, number: usize| U256::from(account * 1_000_000 + number);
        let account = |(account, count): (usize, &usize)| AccountChange {
            address: Address::from_word(B256::from(U256::from(account))),
            before: None,
            after: None,
            storage_wiped: false,
            storage: (0..*count)
                .map(|number| SlotChange {
                    slot: slot(account, number),
                    before: U256::ZERO,
                    after: U256::from(number),
                })
                .collect(),
        };
        for counts in [&counts[..], &counts[..1], &[0; 2 * PIECE], &[]] {
            let accounts = counts.iter().enumerate().map(account).collect();
            let changes = Arc::new(ChangeSet { accounts, codes: Vec::new() });
            let hashed = HashedChanges::new(&changes, 8, 4096);
            hashed.help(&Hasher::cpu());
            assert!(hashed.is_done());
            let accounts: Vec<&AccountWork> =
                (0..=u8::MAX).flat_map(|shard| hashed.accounts_of(shard)).collect();
            assert!(accounts.is_sorted_by_key(|account| account.key));
            assert_eq!(accounts.len(), counts.len());
            for (number, change) in changes.accounts.iter().enumerate() {
                let key = keccak256(change.address);
                let found = accounts.iter().find(|work| work.key == key && work.number == number as u32);
                let mut slots = Vec::new();
                hashed.slots_of(found.unwrap(), &mut slots);
                let mut expected: Vec<(B256, U256)> = (0..counts[number])
                    .map(|at| (keccak256(slot(number, at).to_be_bytes::<32>()), U256::from(at)))
                    .collect();
                expected.sort_unstable();
                assert!(slots.iter().map(|slot| (slot.key, slot.value)).eq(expected), "{number}");
            }
        }
    }
}
