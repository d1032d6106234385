//! Which recorded blocks follow one another, and the state before such a stream.

use crate::{execution::Executor, recorded::RecordedBlock};
use alloy_primitives::{Address, B256, U256, map::AddressSet};
use citius_engine::{Block, chain::ChainSpec};
use citius_state::{Account, ChangeSet, MemoryState, ReadError, StateReader};
use revm::bytecode::Bytecode;
use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

/// Groups blocks into streams: a block whose parent is among the blocks follows it. Of several children the first
/// given follows, the others begin streams of their own. Streams come in the order of their first blocks; the result
/// holds indices into `blocks`.
#[must_use]
pub fn group<'a>(blocks: impl IntoIterator<Item = &'a RecordedBlock>) -> Vec<Vec<usize>> {
    let blocks: Vec<&RecordedBlock> = blocks.into_iter().collect();
    let by_hash: HashMap<B256, usize> =
        blocks.iter().enumerate().rev().map(|(i, block)| (block.hash, i)).collect();
    let mut child_of: HashMap<usize, usize> = HashMap::new();
    let mut heads = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        // A parent of a lower number only: nothing that files claim can make a circle.
        let parent = by_hash.get(&block.header.parent_hash).filter(|parent| {
            blocks[**parent].header.number < block.header.number && !child_of.contains_key(parent)
        });
        match parent {
            Some(parent) => {
                child_of.insert(*parent, index);
            }
            None => heads.push(index),
        }
    }
    let follow =
        |head: usize| std::iter::successors(Some(head), |index| child_of.get(index).copied()).collect();
    heads.into_iter().map(follow).collect()
}

/// The state before a stream: that before its first block, filled up from the files of the later ones.
///
/// What a block's own file does not list does not exist for that block. A later file fills in only what no earlier
/// block's file knows and what no earlier block touched, so that earlier blocks see what their own files say and later
/// ones see what the earlier ones left. Which keys a block touches is learnt by executing it serially.
#[must_use]
pub fn state_before(
    executor: &Executor,
    chain: &ChainSpec,
    stream: &[(&RecordedBlock, Arc<Block>)],
) -> MemoryState {
    let Some(((first, _), rest)) = stream.split_first() else { return MemoryState::complete() };
    let mut before = first.pre_state.clone();
    let mut now = Arc::new(before.clone());
    let mut touched = Touched::default();
    for ((_, earlier), (later, _)) in stream.iter().zip(rest) {
        let recorder = Arc::new(Recorder { state: Arc::clone(&now), touched: Mutex::new(touched) });
        let verdict = executor.serial(chain, Arc::clone(&recorder) as Arc<dyn StateReader>, earlier);
        touched = recorder.take();
        // Nothing behind a refused block is executed.
        let Ok(outcome) = verdict else { break };
        let now = Arc::make_mut(&mut now);
        now.apply(&outcome.changes);
        touched.add(&outcome.changes);
        fill_up(&mut before, now, &touched, later);
    }
    before
}

/// Keys that earlier blocks of a stream asked for or changed.
#[derive(Debug, Default)]
struct Touched {
    accounts: AddressSet,
    slots: HashSet<(Address, U256)>,
    wiped: AddressSet,
}

impl Touched {
    fn add(&mut self, changes: &ChangeSet) {
        for change in &changes.accounts {
            self.accounts.insert(change.address);
            self.slots.extend(change.storage.iter().map(|slot| (change.address, slot.slot)));
            if change.storage_wiped || change.after.is_none() {
                self.wiped.insert(change.address);
            }
        }
    }
}

fn fill_up(before: &mut MemoryState, now: &mut MemoryState, touched: &Touched, later: &RecordedBlock) {
    for (number, hash) in &later.block_hashes {
        before.set_block_hash(*number, *hash);
        now.set_block_hash(*number, *hash);
    }
    for (address, account) in later.pre_state.accounts() {
        let is_known = now.knows_account(address) || touched.accounts.contains(&address);
        if let (false, Some(account)) = (is_known, account) {
            let code = later.pre_state.code(account.code_hash).ok().filter(|_| account.has_code());
            for state in [&mut *before, &mut *now] {
                state.set_account(address, account);
                if let Some(code) = &code {
                    state.set_code(code.clone());
                }
            }
        }
        let exists = matches!(now.account(address), Ok(Some(_)));
        if !exists || touched.wiped.contains(&address) {
            continue;
        }
        for (slot, value) in later.pre_state.slots(address) {
            if !now.knows_slot(address, slot) && !touched.slots.contains(&(address, slot)) {
                before.set_storage(address, slot, value);
                now.set_storage(address, slot, value);
            }
        }
    }
}

/// A state that remembers what it was asked.
struct Recorder {
    state: Arc<MemoryState>,
    touched: Mutex<Touched>,
}

impl Recorder {
    fn take(&self) -> Touched {
        mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StateReader for Recorder {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).accounts.insert(address);
        self.state.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).slots.insert((address, slot));
        self.state.storage(address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.state.code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.state.block_hash(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::Header;
    use citius_state::{AccountChange, SlotChange};
    use std::{collections::BTreeMap, path::PathBuf};

    fn block(number: u64, hash: u8, parent: u8) -> RecordedBlock {
        RecordedBlock {
            name: number.to_string(),
            file: PathBuf::from("block.json"),
            hash: B256::repeat_byte(hash),
            header: Header { number, parent_hash: B256::repeat_byte(parent), ..Header::default() },
            transactions: Vec::new(),
            ommers: 0,
            withdrawals: None,
            pre_state: MemoryState::complete(),
            block_hashes: BTreeMap::new(),
            expected: None,
            witness: None,
        }
    }

    #[test]
    fn children_follow_their_parents_in_any_order_given() {
        let blocks = [
            block(12, 0xc, 0xb),
            block(5, 5, 4),
            block(10, 0xa, 9),
            block(11, 0xb, 0xa),
            block(11, 0xd, 0xa),
        ];
        assert_eq!(group(&blocks), vec![vec![1], vec![2, 3, 0], vec![4]]);
    }

    #[test]
    fn hashes_that_claim_a_circle_end() {
        assert_eq!(group(&[block(1, 1, 2), block(2, 2, 1), block(3, 3, 3)]), vec![vec![0, 1], vec![2]]);
    }

    #[test]
    fn what_an_earlier_block_knows_or_touched_keeps_the_streams_value() {
        let [known, touched_absent, fresh, wiped] = [1u8, 2, 3, 4].map(Address::repeat_byte);
        let account = |balance| Account { balance: U256::from(balance), ..Account::EMPTY };
        let [one, two, three] = [1u64, 2, 3].map(U256::from);

        let mut before = MemoryState::complete();
        before.set_account(known, account(10));
        before.set_storage(known, one, U256::from(100));
        before.set_account(wiped, account(40));
        let mut now = before.clone();
        let mut touched = Touched::default();
        touched.accounts.extend([known, touched_absent, wiped]);
        touched.slots.insert((known, two));
        let slot = SlotChange { slot: one, before: U256::from(100), after: U256::from(101) };
        let changes = ChangeSet {
            accounts: vec![
                AccountChange {
                    address: known,
                    before: Some(account(10)),
                    after: Some(account(11)),
                    storage_wiped: false,
                    storage: vec![slot],
                },
                AccountChange {
                    address: wiped,
                    before: Some(account(40)),
                    after: Some(account(0)),
                    storage_wiped: true,
                    storage: Vec::new(),
                },
            ],
            codes: Vec::new(),
        };
        now.apply(&changes);
        touched.add(&changes);

        let mut later = block(2, 2, 1);
        for address in [known, touched_absent, fresh, wiped] {
            later.pre_state.set_account(address, account(77));
            for slot in [one, two, three] {
                later.pre_state.set_storage(address, slot, U256::from(777));
            }
        }
        fill_up(&mut before, &mut now, &touched, &later);

        assert_eq!(before.account(known), Ok(Some(account(10))));
        assert_eq!(now.account(known), Ok(Some(account(11))));
        assert_eq!(before.storage(known, one), Ok(U256::from(100)));
        assert_eq!(before.storage(known, two), Ok(U256::ZERO), "touched: zero, as the first file says");
        assert_eq!(before.storage(known, three), Ok(U256::from(777)));
        assert_eq!(before.account(touched_absent), Ok(None));
        assert_eq!(before.account(fresh), Ok(Some(account(77))));
        assert_eq!(before.storage(fresh, one), Ok(U256::from(777)));
        assert_eq!(before.storage(wiped, three), Ok(U256::ZERO));
    }
}
