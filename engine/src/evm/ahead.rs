use super::{
    recall::Recall,
    steps::{Step, credits},
    stream::EvmStream,
};
use crate::scheduler::EntryIndex;
use alloy_primitives::{
    Address,
    map::{DefaultHashBuilder, HashMap, HashSet},
};
use citius_state::StateKey;
use crossbeam::utils::CachePadded;
use parking_lot::Mutex;
use revm::{
    context::TxEnv,
    context_interface::{Transaction as _, transaction::AccessListItemTr},
};
use std::{fmt, hash::BuildHasher, ops::Range, sync::Arc};

/// What was asked for ahead in a stream, and what became of it.
#[derive(Debug)]
pub(crate) struct Ahead {
    recall: Arc<Recall>,
    hasher: RandomHash,
    parts: [CachePadded<Mutex<Keys>>; PARTS],
}

/// Draws another hash function for each stream: nobody outside can tell which keys have one hash. (It has no `Debug` of its own.)
struct RandomHash(DefaultHashBuilder);

/// Keys by their hashes, which are a seventh of them: of two keys with one hash the second is not asked for ahead, or is taken for the
/// other, and nothing depends on that.
#[derive(Debug, Default)]
struct Keys {
    /// Keys asked for ahead, with the segment that they were asked for, until that is sealed.
    unread: HashMap<u64, u32>,
    /// Keys that were asked for ahead: nobody asks ahead for them again.
    asked: HashSet<u64>,
    segments: Vec<AheadCounts>,
}

/// Keys asked for ahead, for one segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AheadCounts {
    pub(crate) asked: u64,
    /// Those of them that were read before the segment was sealed.
    pub(crate) useful: u64,
    /// Those that were not.
    pub(crate) useless: u64,
}

/// Parts of the keys, so that threads seldom want the same one.
const PARTS: usize = 16;
/// Keys of a part that are known as asked for ahead; beyond that all are forgotten, and may be asked for ahead once more.
const ASKED_MAX: usize = 1 << 14;
/// Keys asked ahead for one transaction: an access list can be long.
const KEYS_PER_TRANSACTION_MAX: usize = 256;

impl Ahead {
    pub(crate) fn new(recall: Arc<Recall>) -> Self {
        Self { recall, hasher: RandomHash(DefaultHashBuilder::default()), parts: Default::default() }
    }

    /// The part that a key is in, and its hash.
    fn part(&self, key: &StateKey) -> (&Mutex<Keys>, u64) {
        let hash = self.hasher.0.hash_one(key);
        // The highest bits: tables begin with the lowest.
        (&self.parts[(hash >> 60) as usize % PARTS], hash)
    }

    /// Somebody reads a key.
    pub(crate) fn note_read(&self, key: &StateKey) {
        let (part, hash) = self.part(key);
        let mut keys = part.lock();
        if let Some(segment) = keys.unread.remove(&hash) {
            keys.counts(segment).useful += 1;
        }
    }

    /// Keeps those that nobody asked for ahead so far, and counts them.
    fn keep_new(&self, keys: &mut Vec<StateKey>, segment: u32) {
        keys.retain(|key| {
            let (part, hash) = self.part(key);
            let mut known = part.lock();
            let is_new = known.note_asked(hash);
            if is_new {
                known.unread.insert(hash, segment);
                known.counts(segment).asked += 1;
            }
            is_new
        });
    }

    /// A segment is sealed: what was not read by now was asked for in vain.
    pub(crate) fn end(&self, segment: u32) {
        for part in &self.parts {
            let mut keys = part.lock();
            keys.unread.retain(|_, of| *of > segment);
            if let Some(counts) = keys.segments.get_mut(segment as usize) {
                counts.useless = counts.asked - counts.useful;
            }
        }
    }

    pub(crate) fn counts(&self, segment: u32) -> AheadCounts {
        let mut sum = AheadCounts::default();
        for part in &self.parts {
            let AheadCounts { asked, useful, useless } =
                part.lock().segments.get(segment as usize).copied().unwrap_or_default();
            sum.asked += asked;
            sum.useful += useful;
            sum.useless += useless;
        }
        sum
    }
}

impl Keys {
    fn note_asked(&mut self, hash: u64) -> bool {
        if self.asked.len() >= ASKED_MAX {
            self.asked.clear();
        }
        self.asked.insert(hash)
    }

    fn counts(&mut self, segment: u32) -> &mut AheadCounts {
        let place = segment as usize;
        if self.segments.len() <= place {
            self.segments.resize(place + 1, AheadCounts::default());
        }
        &mut self.segments[place]
    }
}

impl fmt::Debug for RandomHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RandomHash")
    }
}

impl EvmStream {
    /// Asks ahead for what entries will read, as far as that can be told before they are executed: senders, receivers,
    /// access lists ([EIP-2930](https://eips.ethereum.org/EIPS/eip-2930)), what the functions that they call read lately,
    /// and whoever the block credits.
    pub(super) fn ask_ahead(&self, entries: Range<u32>) {
        let Some(ahead) = self.ahead() else { return };
        for entry in entries.map(EntryIndex) {
            let (segment, steps) = self.locate(entry);
            let prepared = self.block(segment);
            let (first, _) = self.range(segment);
            let mut keys = Vec::new();
            if entry == first {
                keys.push(StateKey::Account(prepared.block.header.beneficiary));
            }
            for step in &prepared.steps[steps] {
                match step {
                    Step::Transaction(index) => {
                        let tx = &prepared.block.transactions[*index];
                        let from = keys.len();
                        of_environment(tx.env(), &mut keys);
                        if let Some(function) = tx.outline().function() {
                            keys.extend(ahead.recall.likely(function));
                        }
                        keys.truncate(from + KEYS_PER_TRANSACTION_MAX);
                    }
                    Step::SystemCall(call) => keys.push(StateKey::Account(call.contract)),
                    Step::Credits => {
                        let credited = credits(self.chain(), &prepared.block);
                        keys.extend(credited.iter().map(|(address, _)| StateKey::Account(*address)));
                    }
                    Step::DaoRefund | Step::Refuse(_) => {}
                }
            }
            ahead.keep_new(&mut keys, segment);
            if !keys.is_empty() {
                self.reader().prefetch(&keys);
            }
        }
    }

    /// A call of a contract has been executed that loaded these accounts and slots.
    pub(super) fn remember<'a>(
        &self,
        tx: &crate::block::Outline,
        sender: Address,
        loaded: impl Iterator<Item = (&'a Address, &'a revm::state::Account)>,
    ) {
        let (Some(ahead), Some(function)) = (self.ahead(), tx.function()) else { return };
        if !ahead.recall.is_due(function) {
            return;
        }
        // Whoever sends is asked for anyway.
        let keys = loaded.filter(|(address, _)| **address != sender).flat_map(|(address, account)| {
            let slots = account.storage.keys().map(|slot| StateKey::Storage(*address, *slot));
            std::iter::once(StateKey::Account(*address)).chain(slots)
        });
        ahead.recall.note(function, keys);
    }
}

/// What a transaction says of what it reads.
fn of_environment(tx: &TxEnv, keys: &mut Vec<StateKey>) {
    keys.push(StateKey::Account(tx.caller));
    keys.extend(tx.kind.to().map(|to| StateKey::Account(*to)));
    for item in tx.access_list().into_iter().flatten() {
        let address = *item.address();
        keys.push(StateKey::Account(address));
        let slots = item.storage_slots();
        keys.extend(slots.map(|slot| StateKey::Storage(address, (*slot).into())));
    }
}
