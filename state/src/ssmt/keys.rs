//! Hashing the addresses and slots of a change set, in batches that workers share.

use super::work::{AccountWork, SlotWork};
use crate::{ChangeSet, SharedWork, Workers};
use alloy_primitives::B256;
use citius_hashing::Hasher;
use parking_lot::Mutex;
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Keys of a piece of work: as few as fill the lanes well, and no more than what the caches hold.
const PIECE_MIN: usize = 256;
const PIECE_MAX: usize = 8192;
/// Pieces that each worker has at least, if there are keys enough.
const PIECES: usize = 4;

/// What change sets write, by hashed keys: accounts sorted by theirs.
pub(super) fn hash_keys(
    changes: &Arc<ChangeSet>,
    hasher: &Arc<Hasher>,
    workers: &dyn Workers,
) -> (Vec<AccountWork>, Vec<SlotWork>) {
    let keys = changes.accounts.len() + changes.slot_count();
    let pieces = cut(changes, (keys / (PIECES * workers.count().get())).clamp(PIECE_MIN, PIECE_MAX));
    let work = Arc::new(Work {
        changes: Arc::clone(changes),
        hasher: Arc::clone(hasher),
        done: pieces.iter().map(|_| Mutex::default()).collect(),
        pieces,
        next: AtomicUsize::new(0),
    });
    if work.pieces.len() > 1 {
        let shared = Arc::clone(&work);
        let shared: Arc<SharedWork> = Arc::new(move |_| shared.help());
        workers.run(&shared);
    } else {
        work.help();
    }
    let mut accounts: Vec<AccountWork> = Vec::with_capacity(changes.accounts.len());
    let mut slots = Vec::with_capacity(changes.slot_count());
    let mut start = 0;
    for done in &work.done {
        let mut done = done.lock();
        accounts.append(&mut done.accounts);
        slots.append(&mut done.slots);
    }
    // The ranges are those of the accounts' slots in order, whatever pieces they were in.
    for (account, change) in accounts.iter_mut().zip(&changes.accounts) {
        account.slots = start..start + change.storage.len();
        start = account.slots.end;
    }
    (sorted(&accounts), slots)
}

/// The accounts by their keys. Numbers are sorted, and accounts moved once: they are large.
fn sorted(accounts: &[AccountWork]) -> Vec<AccountWork> {
    let mut order: Vec<(u64, u32)> = (0..)
        .zip(accounts)
        .map(|(number, account)| {
            let mut first = [0; 8];
            first.copy_from_slice(&account.key[..8]);
            (u64::from_be_bytes(first), number)
        })
        .collect();
    order.sort_unstable_by(|one, other| {
        let key = |number: u32| &accounts[number as usize].key;
        one.0.cmp(&other.0).then_with(|| key(one.1).cmp(key(other.1)))
    });
    order.iter().map(|(_, number)| accounts[*number as usize].clone()).collect()
}

/// Some keys of a change set: accounts' addresses, and slots of one account each.
#[derive(Debug, Default)]
struct Piece {
    addresses: Range<usize>,
    slots: Vec<(usize, Range<usize>)>,
}

#[derive(Debug, Default)]
struct Done {
    accounts: Vec<AccountWork>,
    slots: Vec<SlotWork>,
}

#[derive(Debug)]
struct Work {
    changes: Arc<ChangeSet>,
    hasher: Arc<Hasher>,
    pieces: Vec<Piece>,
    done: Vec<Mutex<Done>>,
    next: AtomicUsize,
}

/// Cuts a change set into pieces of `size` keys, in order.
fn cut(changes: &ChangeSet, size: usize) -> Vec<Piece> {
    let mut pieces = vec![Piece::default()];
    let mut left = size;
    for (index, change) in changes.accounts.iter().enumerate() {
        if left == 0 {
            pieces.push(Piece { addresses: index..index, slots: Vec::new() });
            left = size;
        }
        let mut from = 0;
        if let Some(piece) = pieces.last_mut() {
            piece.addresses.end = index + 1;
            left -= 1;
        }
        while from < change.storage.len() {
            if left == 0 {
                pieces.push(Piece { addresses: index + 1..index + 1, slots: Vec::new() });
                left = size;
            }
            let end = change.storage.len().min(from + left);
            if let Some(piece) = pieces.last_mut() {
                piece.slots.push((index, from..end));
            }
            left -= end - from;
            from = end;
        }
    }
    pieces
}

impl Work {
    fn help(&self) {
        loop {
            // Relaxed: a number to be taken once; what it stands for is behind a lock.
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = self.pieces.get(number) else { return };
            *self.done[number].lock() = self.hash(piece);
        }
    }

    fn hash(&self, piece: &Piece) -> Done {
        let changes = &self.changes.accounts;
        let slots = piece.slots.iter().flat_map(|(index, range)| &changes[*index].storage[range.clone()]);
        let raw: Vec<[u8; 32]> = slots.clone().map(|slot| slot.slot.to_be_bytes()).collect();
        let addresses = &changes[piece.addresses.clone()];
        let messages: Vec<&[u8]> = addresses
            .iter()
            .map(|change| change.address.as_slice())
            .chain(raw.iter().map(<[u8; 32]>::as_slice))
            .collect();
        let mut digests = vec![B256::ZERO; messages.len()];
        self.hasher.hash_each(&messages, &mut digests);
        let (keys, slot_keys) = digests.split_at(addresses.len());
        let accounts = addresses.iter().zip(keys).map(|(change, key)| AccountWork {
            key: *key,
            after: change.after,
            wiped: change.storage_wiped,
            slots: 0..0,
        });
        let slots = slots.zip(slot_keys).map(|(slot, key)| SlotWork { key: *key, value: slot.after });
        Done { accounts: accounts.collect(), slots: slots.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountChange, CallerAlone, SlotChange};
    use alloy_primitives::{Address, U256, keccak256};

    #[test]
    fn every_key_is_hashed_in_its_place_however_the_pieces_fall() {
        const PIECE: usize = PIECE_MIN;
        let counts = [0, 3, PIECE - 5, 1, 2 * PIECE + 7, 0, PIECE, PIECE - 1, 0, 2];
        let slot = |account: usize, number: usize| U256::from(account * 1_000_000 + number);
        let accounts = counts.iter().enumerate().map(|(account, count)| AccountChange {
            address: Address::with_last_byte(account as u8),
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
        });
        let changes = Arc::new(ChangeSet { accounts: accounts.collect(), codes: Vec::new() });
        let (accounts, slots) = hash_keys(&changes, &Arc::new(Hasher::cpu()), &CallerAlone);
        assert!(accounts.is_sorted_by_key(|account| account.key));
        assert_eq!(accounts.len(), counts.len());
        for (account, change) in changes.accounts.iter().enumerate() {
            let key = keccak256(change.address);
            let found = accounts.iter().find(|work| work.key == key).unwrap();
            assert_eq!(found.slots.len(), counts[account]);
            for (number, work) in slots[found.slots.clone()].iter().enumerate() {
                let expected = keccak256(slot(account, number).to_be_bytes::<32>());
                assert_eq!((work.key, work.value), (expected, U256::from(number)), "{account}, {number}");
            }
        }
    }
}
