//! The blocks of the journal that are not in the pages.

use super::{block::BlockRecord, error::ColdError, journal::Position, store::BlockId};
use alloy_primitives::{B256, map::B256Set};
use std::{collections::VecDeque, sync::Arc};

/// Blocks as they were appended. Each stands on another one, or on the checkpoint's: a tree, of which the last block and its ancestors
/// are the line that the state follows.
#[derive(Debug)]
pub(crate) struct Line {
    /// The checkpoint's block; none where the store never had one, and the first block may be any.
    base: Option<BlockId>,
    pending: VecDeque<Pending>,
    last: BlockId,
}

#[derive(Debug)]
struct Pending {
    block: Arc<BlockRecord>,
    /// Where the journal goes on behind its group.
    behind: Position,
}

impl Pending {
    fn id(&self) -> BlockId {
        self.block.id()
    }
}

impl Line {
    pub(crate) fn new(base: Option<BlockId>) -> Self {
        let last = base.unwrap_or(BlockId { number: 0, hash: B256::ZERO });
        Self { base, pending: VecDeque::new(), last }
    }

    /// The last block.
    pub(crate) fn last(&self) -> BlockId {
        self.last
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// All blocks, in the order in which they were appended.
    pub(crate) fn blocks(&self) -> Vec<Arc<BlockRecord>> {
        self.pending.iter().map(|pending| Arc::clone(&pending.block)).collect()
    }

    /// Whether blocks may be appended, one after the other.
    ///
    /// # Errors
    ///
    /// [`ColdError::Order`] if one stands on a block that is not there, or has not the number after its.
    pub(crate) fn check(&self, blocks: &[Arc<BlockRecord>]) -> Result<(), ColdError> {
        for (at, block) in blocks.iter().enumerate() {
            let is_first = self.base.is_none() && self.pending.is_empty() && at == 0;
            let earlier = blocks[..at].iter().map(|block| block.id());
            let mut known = earlier.rev().chain(self.pending.iter().rev().map(Pending::id)).chain(self.base);
            if !is_first && !known.any(|parent| block.follows(parent)) {
                let last = at.checked_sub(1).map_or(self.last.hash, |at| blocks[at].hash);
                return Err(ColdError::Order { number: block.number, parent: block.parent, last });
            }
        }
        Ok(())
    }

    /// Takes in a block that was appended. The journal goes on behind its group there.
    pub(crate) fn push(&mut self, block: Arc<BlockRecord>, behind: Position) {
        self.last = block.id();
        self.pending.push_back(Pending { block, behind });
    }

    /// Makes another block the last: the state follows the line that leads to it.
    ///
    /// # Errors
    ///
    /// [`ColdError::Unknown`] if it is not there.
    pub(crate) fn follow(&mut self, hash: B256) -> Result<(), ColdError> {
        let known = self.pending.iter().rev().map(Pending::id).chain(self.base).find(|id| id.hash == hash);
        self.last = known.ok_or(ColdError::Unknown { hash })?;
        Ok(())
    }

    /// The blocks from the checkpoint up to one with this number, on the way to the last, and where the journal goes on behind them.
    /// Groups stay whole.
    pub(crate) fn through(&self, number: u64) -> Option<(Vec<Arc<BlockRecord>>, Position)> {
        let mut way: Vec<&Pending> = Vec::new();
        let mut wanted = self.last.hash;
        for pending in self.pending.iter().rev() {
            if pending.block.hash == wanted {
                wanted = pending.block.parent;
                way.push(pending);
            }
        }
        way.reverse();
        let mut taken = way.partition_point(|pending| pending.block.number <= number);
        while taken > 0 && way.get(taken).is_some_and(|next| next.behind == way[taken - 1].behind) {
            taken -= 1;
        }
        let behind = way.get(taken.checked_sub(1)?)?.behind;
        Some((way[..taken].iter().map(|pending| Arc::clone(&pending.block)).collect(), behind))
    }

    /// Lets go of what a checkpoint took, and of what stands on other blocks than its.
    pub(crate) fn advance(&mut self, base: BlockId, behind: Position) {
        let gone = self.pending.iter().rposition(|pending| pending.behind == behind);
        self.pending.drain(..gone.map_or(0, |last| last + 1));
        self.base = Some(base);
        let mut known = B256Set::from_iter([base.hash]);
        self.pending
            .retain(|Pending { block, .. }| known.contains(&block.parent) && known.insert(block.hash));
    }
}

impl BlockRecord {
    /// Its number and hash.
    #[must_use]
    pub fn id(&self) -> BlockId {
        BlockId { number: self.number, hash: self.hash }
    }

    fn follows(&self, parent: BlockId) -> bool {
        self.parent == parent.hash && parent.number.checked_add(1) == Some(self.number)
    }
}
