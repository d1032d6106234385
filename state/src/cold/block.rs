//! A block as the journal has it: what it changed, before and after, by raw addresses and slots.
//!
//! ```text
//! number u64 | hash | parent | root | accounts u32 | account .. | codes u32 | code ..
//! account  address [20] | flags u8 | before | after | slots u32 | slot ..
//! state    nonce | balance | code hash [32]?       before and after, as far as the flags say that they exist
//! slot     key | before | after
//! code     hash | length u32 | bytes
//! ```
//!
//! Numbers of fixed width are little endian; nonce, balance, key, before and after are the bytes of the number without leading zeros,
//! their count before them in one byte. Flags: 1 before exists, 2 after exists, 4 and 8 these have code, 16 storage wiped.

use super::{
    codes::bytecode,
    record::{Reader, write_short},
};
use crate::{Account, AccountChange, ChangeSet, SlotChange};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use std::sync::Arc;

/// A block whose changes are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRecord {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its parent's hash.
    pub parent: B256,
    /// The state root after it.
    pub root: B256,
    /// What it changed.
    pub changes: Arc<ChangeSet>,
}

const BEFORE: u8 = 1;
const AFTER: u8 = 2;
const BEFORE_CODE: u8 = 4;
const AFTER_CODE: u8 = 8;
const WIPED: u8 = 16;

impl BlockRecord {
    /// Appends the record's bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_le_bytes());
        for hash in [&self.hash, &self.parent, &self.root] {
            out.extend_from_slice(&hash[..]);
        }
        write_count(out, self.changes.accounts.len());
        for change in &self.changes.accounts {
            write_account(out, change);
        }
        write_count(out, self.changes.codes.len());
        for (hash, code) in &self.changes.codes {
            out.extend_from_slice(&hash[..]);
            let bytes = code.original_byte_slice();
            write_count(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }

    /// A record by its bytes; `None` if they are none.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let number = u64::from_le_bytes(from.take(8)?.try_into().ok()?);
        let [hash, parent, root] = [from.hash()?, from.hash()?, from.hash()?];
        let count = read_count(&mut from)?;
        let accounts = (0..count).map(|_| read_account(&mut from)).collect::<Option<_>>()?;
        let count = read_count(&mut from)?;
        let code = |_| {
            let hash = from.hash()?;
            let len = read_count(&mut from)?;
            let bytes = Bytes::copy_from_slice(from.take(len)?);
            Some((hash, bytecode(bytes)))
        };
        let codes = (0..count).map(code).collect::<Option<_>>()?;
        from.0.is_empty().then_some(Self {
            number,
            hash,
            parent,
            root,
            changes: Arc::new(ChangeSet { accounts, codes }),
        })
    }
}

fn write_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u32).to_le_bytes());
}

fn read_count(from: &mut Reader<'_>) -> Option<usize> {
    Some(u32::from_le_bytes(from.take(4)?.try_into().ok()?) as usize)
}

fn write_number(out: &mut Vec<u8>, number: U256) {
    write_short(out, &number.to_be_bytes::<32>()[32 - number.byte_len()..]);
}

fn read_number(from: &mut Reader<'_>) -> Option<U256> {
    let bytes = from.short()?;
    (bytes.len() <= 32 && bytes.first() != Some(&0)).then(|| U256::from_be_slice(bytes))
}

fn write_account(out: &mut Vec<u8>, change: &AccountChange) {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.extend_from_slice(&change.address[..]);
    out.push(
        flag(change.before.is_some(), BEFORE)
            | flag(change.after.is_some(), AFTER)
            | flag(change.before.is_some_and(|account| account.has_code()), BEFORE_CODE)
            | flag(change.after.is_some_and(|account| account.has_code()), AFTER_CODE)
            | flag(change.storage_wiped, WIPED),
    );
    for account in [change.before, change.after].into_iter().flatten() {
        write_number(out, U256::from(account.nonce));
        write_number(out, account.balance);
        if account.has_code() {
            out.extend_from_slice(&account.code_hash[..]);
        }
    }
    write_count(out, change.storage.len());
    for SlotChange { slot, before, after } in &change.storage {
        for number in [slot, before, after] {
            write_number(out, *number);
        }
    }
}

fn read_account(from: &mut Reader<'_>) -> Option<AccountChange> {
    let address = Address::from_slice(from.take(20)?);
    let flags = from.byte()?;
    if flags >= 2 * WIPED {
        return None;
    }
    let mut state = |exists: u8, has_code: u8| -> Option<Option<Account>> {
        if flags & exists == 0 {
            return (flags & has_code == 0).then_some(None);
        }
        let nonce = read_number(from)?.try_into().ok()?;
        let balance = read_number(from)?;
        let code_hash = if flags & has_code == 0 { KECCAK256_EMPTY } else { from.hash()? };
        Some(Some(Account { balance, nonce, code_hash }))
    };
    let before = state(BEFORE, BEFORE_CODE)?;
    let after = state(AFTER, AFTER_CODE)?;
    let count = read_count(from)?;
    let slot = |_| {
        Some(SlotChange { slot: read_number(from)?, before: read_number(from)?, after: read_number(from)? })
    };
    let storage = (0..count).map(slot).collect::<Option<_>>()?;
    Some(AccountChange { address, before, after, storage_wiped: flags & WIPED != 0, storage })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng};
    use revm::bytecode::Bytecode;

    pub(super) fn random_block(random: &mut SmallRng) -> BlockRecord {
        let number = |random: &mut SmallRng| {
            U256::from_be_bytes::<32>(random.random()) >> random.random_range(0..=256)
        };
        let account = |random: &mut SmallRng| {
            random.random::<bool>().then(|| Account {
                balance: number(random),
                nonce: random.random::<u64>() >> random.random_range(0..64),
                code_hash: if random.random() {
                    KECCAK256_EMPTY
                } else {
                    B256::from(random.random::<[u8; 32]>())
                },
            })
        };
        let change = |random: &mut SmallRng| AccountChange {
            address: Address::from(random.random::<[u8; 20]>()),
            before: account(random),
            after: account(random),
            storage_wiped: random.random(),
            storage: (0..random.random_range(0..4))
                .map(|_| SlotChange { slot: number(random), before: number(random), after: number(random) })
                .collect(),
        };
        let code = |random: &mut SmallRng| {
            let mut bytes: Vec<u8> = (0..random.random_range(0..60)).map(|_| random.random()).collect();
            if random.random_range(0..4) == 0 {
                bytes = [&[0xef, 0x01, 0x00][..], &random.random::<[u8; 20]>()].concat();
            } else if bytes.first() == Some(&0xef) {
                bytes[0] = 0;
            }
            (B256::from(random.random::<[u8; 32]>()), Bytecode::new_raw(bytes.into()))
        };
        BlockRecord {
            number: random.random(),
            hash: B256::from(random.random::<[u8; 32]>()),
            parent: B256::from(random.random::<[u8; 32]>()),
            root: B256::from(random.random::<[u8; 32]>()),
            changes: Arc::new(ChangeSet {
                accounts: (0..random.random_range(0..5)).map(|_| change(random)).collect(),
                codes: (0..random.random_range(0..3)).map(|_| code(random)).collect(),
            }),
        }
    }

    #[test]
    fn blocks_are_what_was_written_and_no_other_bytes_are_blocks() {
        for seed in 0..500 {
            let mut random = SmallRng::seed_from_u64(seed);
            let block = random_block(&mut random);
            let mut bytes = Vec::new();
            block.write(&mut bytes);
            assert_eq!(BlockRecord::read(&bytes).as_ref(), Some(&block), "seed {seed}");
            for end in 0..bytes.len() {
                assert_eq!(BlockRecord::read(&bytes[..end]), None, "seed {seed}, {end}");
            }
            bytes.push(0);
            assert_eq!(BlockRecord::read(&bytes), None, "seed {seed}");
        }
    }
}
