//! The blocks of the journal that are not in the pages.

use super::{block::BlockRecord, error::ColdError, journal::Position, store::BlockId};
use alloy_primitives::{
    B256,
    map::{B256Map, B256Set},
};
use std::{collections::VecDeque, sync::Arc};

/// Blocks as they were appended. Each stands on another one, or on the checkpoint's: a tree, of which the last block and its ancestors
/// are the line that the state follows.
#[derive(Debug)]
pub(crate) struct Line {
    /// The checkpoint's block; none where the store never had one, and the first block may be any.
    base: Option<BlockId>,
    pending: VecDeque<Pending>,
    /// The same by their hashes.
    records: B256Map<Arc<BlockRecord>>,
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
        Self { base, pending: VecDeque::new(), records: B256Map::default(), last }
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
        self.records.insert(block.hash, Arc::clone(&block));
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

    /// Whether a block that is not the checkpoint's is there.
    ///
    /// # Errors
    ///
    /// [`ColdError::WrongRoot`] if it is there with another root.
    pub(crate) fn has(&self, block: &BlockRecord) -> Result<bool, ColdError> {
        match self.records.get(&block.hash).filter(|known| known.id() == block.id()) {
            Some(known) if known.root != block.root => {
                Err(ColdError::WrongRoot { expected: known.root, found: block.root })
            }
            known => Ok(known.is_some()),
        }
    }

    /// Whether it is the checkpoint's.
    pub(crate) fn is_base(&self, id: BlockId) -> bool {
        self.base == Some(id)
    }

    /// The last block with at most this number on the way to one; none if none is there.
    pub(crate) fn up_to(&self, hash: B256, number: u64) -> Option<BlockId> {
        self.way_to(hash).into_iter().rev().map(Pending::id).find(|id| id.number <= number)
    }

    /// A block that is there.
    pub(crate) fn record(&self, hash: B256) -> Option<&Arc<BlockRecord>> {
        self.records.get(&hash)
    }

    /// The blocks from the checkpoint up to one, and where the journal goes on behind them. Groups stay whole: it may be fewer.
    pub(crate) fn through(&self, hash: B256) -> Option<(Vec<Arc<BlockRecord>>, Position)> {
        let way = self.way_to(hash);
        let mut taken = way.len();
        // A group goes as a whole: nothing in that of the last one may stand on it.
        while taken > 0 {
            let last = way[taken - 1];
            let mut group = self.pending.iter().filter(|other| other.behind == last.behind);
            if group.all(|other| other.block.number <= last.block.number) {
                break;
            }
            taken -= 1;
        }
        let behind = way.get(taken.checked_sub(1)?)?.behind;
        Some((way[..taken].iter().map(|pending| Arc::clone(&pending.block)).collect(), behind))
    }

    /// The blocks from the checkpoint to the last.
    pub(crate) fn way(&self) -> Vec<BlockId> {
        self.way_to(self.last.hash).into_iter().map(Pending::id).collect()
    }

    /// The blocks from the checkpoint to one.
    fn way_to(&self, hash: B256) -> Vec<&Pending> {
        let mut way: Vec<&Pending> = Vec::new();
        let mut wanted = hash;
        for pending in self.pending.iter().rev() {
            if pending.block.hash == wanted {
                wanted = pending.block.parent;
                way.push(pending);
            }
        }
        way.reverse();
        way
    }

    /// Lets go of what a checkpoint took, and of what stands on other blocks than its.
    pub(crate) fn advance(&mut self, base: BlockId, behind: Position) {
        let gone = self.pending.iter().rposition(|pending| pending.behind == behind);
        self.pending.drain(..gone.map_or(0, |last| last + 1));
        self.base = Some(base);
        let mut known = B256Set::from_iter([base.hash]);
        self.pending
            .retain(|Pending { block, .. }| known.contains(&block.parent) && known.insert(block.hash));
        self.records.retain(|hash, _| *hash != base.hash && known.contains(hash));
        if !known.contains(&self.last.hash) {
            self.last = base;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChangeSet;

    fn block(number: u64, hash: u8, parent: u8) -> Arc<BlockRecord> {
        let (hash, parent) = (B256::repeat_byte(hash), B256::repeat_byte(parent));
        let changes = Arc::new(ChangeSet::default());
        Arc::new(BlockRecord { number, hash, parent, root: B256::ZERO, changes })
    }

    fn behind(sequence: u64) -> Position {
        Position { segment: 0, page: sequence, sequence, chain: 0 }
    }

    /// On block 9: groups of `[10, 11]`, then `[12, and 12 beside it]`, then `[13]` on the first of these.
    fn line() -> Line {
        let mut line = Line::new(Some(BlockId { number: 9, hash: B256::repeat_byte(9) }));
        for (block, group) in [
            (block(10, 0x10, 9), 2),
            (block(11, 0x11, 0x10), 2),
            (block(12, 0x12, 0x11), 4),
            (block(12, 0xb2, 0x11), 4),
            (block(13, 0x13, 0x12), 5),
        ] {
            line.check(&[Arc::clone(&block)]).unwrap();
            line.push(block, behind(group));
        }
        line
    }

    fn through(line: &Line, hash: u8) -> Option<(Vec<u64>, u64)> {
        let (blocks, behind) = line.through(B256::repeat_byte(hash))?;
        Some((blocks.iter().map(|block| block.number).collect(), behind.sequence))
    }

    #[test]
    fn checkpoints_take_whole_groups_and_nothing_that_is_still_stood_upon() {
        let line = line();
        assert_eq!(through(&line, 9), None);
        assert_eq!(through(&line, 0x10), None, "the block on it is in its group");
        assert_eq!(through(&line, 0x11), Some((vec![10, 11], 2)));
        assert_eq!(through(&line, 0x12), Some((vec![10, 11, 12], 4)));
        assert_eq!(through(&line, 0xb2), Some((vec![10, 11, 12], 4)));
        assert_eq!(through(&line, 0x13), Some((vec![10, 11, 12, 13], 5)));
        let up_to = |hash, number| line.up_to(B256::repeat_byte(hash), number).map(|id| id.hash[0]);
        assert_eq!([up_to(0x13, 12), up_to(0xb2, 12), up_to(0xb2, 99)], [Some(0x12), Some(0xb2), Some(0xb2)]);
        assert_eq!([up_to(0x13, 9), up_to(9, 12)], [None, None]);
        assert_eq!(line.record(B256::repeat_byte(0xb2)).map(|block| block.number), Some(12));
        assert!(line.record(B256::repeat_byte(9)).is_none());
    }

    #[test]
    fn what_stands_on_other_blocks_than_the_checkpoint_goes_and_the_last_is_one_that_is_there() {
        let mut line = line();
        line.advance(BlockId { number: 11, hash: B256::repeat_byte(0x11) }, behind(2));
        assert_eq!((line.len(), line.last().hash), (3, B256::repeat_byte(0x13)));
        line.advance(BlockId { number: 12, hash: B256::repeat_byte(0xb2) }, behind(4));
        assert_eq!(line.len(), 0);
        assert_eq!(line.last(), BlockId { number: 12, hash: B256::repeat_byte(0xb2) });
        assert_eq!(line.check(&[block(13, 0x14, 0xb2)]).ok(), Some(()));
        assert!(line.check(&[block(14, 0x14, 0x13)]).is_err());
    }

    #[test]
    fn a_block_is_there_once() {
        let line = line();
        assert!(line.has(&block(12, 0xb2, 0x11)).unwrap());
        assert!(!line.has(&block(12, 0xc2, 0x11)).unwrap());
        assert!(line.is_base(BlockId { number: 9, hash: B256::repeat_byte(9) }));
        let other = BlockRecord { root: B256::repeat_byte(1), ..(*block(12, 0xb2, 0x11)).clone() };
        assert!(matches!(line.has(&other), Err(ColdError::WrongRoot { .. })));
    }
}
