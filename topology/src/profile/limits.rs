//! How much may be under way, and how far back can be gone.

use super::{Auto, fields::Fields, refuse};
use crate::TopologyError;
use serde::Serialize;
use std::ops::RangeInclusive;

const BLOCKS: RangeInclusive<u32> = 0..=1_000_000;
const PER_WORKER: RangeInclusive<u32> = 0..=4096;
const PER_WORKER_FROM_ONE: RangeInclusive<u32> = 1..=4096;
const ENTRIES: RangeInclusive<u32> = 0..=65_536;

/// `[history]`: in blocks before the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HistoryRules {
    /// Versions of the state that are kept in memory: how deep a reorganisation may be. Auto: 128, which is past
    /// finality (64 to 95 blocks on the main network, as long as the chain finalises).
    pub reorg_depth_blocks: Auto<u32>,
    /// Blocks that checkpoints leave in the journal, so that they can be undone after a restart too; at least the depth
    /// of reorganisations. Auto: as many as that.
    pub retention_blocks: Auto<u32>,
}

/// `[execution]`: what a worker may have under way where reads go to a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExecutionRules {
    /// Executions that a worker may have parked, each of which waits for a read; 0 for no parking. Auto: 32.
    pub parked_per_worker_max: Auto<u32>,
    /// Reads in flight with which a worker begins no further execution. Auto: 64.
    pub reads_per_worker_max: Auto<u32>,
    /// Entries whose likely reads are asked for ahead; 0 for none. Auto: 32.
    pub prefetch_entries_max: Auto<u32>,
}

impl HistoryRules {
    pub(super) fn parse(mut section: Fields<'_>) -> Result<Self, TopologyError> {
        let rules = Self {
            reorg_depth_blocks: section.auto_number("reorg_depth_blocks", BLOCKS)?,
            retention_blocks: section.auto_number("retention_blocks", BLOCKS)?,
        };
        section.finish()?;
        Ok(rules)
    }

    /// The depth, and the blocks that are kept.
    pub(crate) fn blocks(&self) -> (u32, u32) {
        const REORG_DEPTH: u32 = 128;
        let depth = self.reorg_depth_blocks.fixed().unwrap_or(REORG_DEPTH);
        (depth, self.retention_blocks.fixed().unwrap_or(depth))
    }

    pub(super) fn check(&self, origin: &str) -> Result<(), TopologyError> {
        let (depth, retention) = self.blocks();
        if retention < depth {
            let expected = format!(
                "at least {depth}, the history.reorg_depth_blocks: what is in a checkpoint is not undone"
            );
            return Err(refuse(origin, "history.retention_blocks", retention, expected));
        }
        Ok(())
    }
}

impl ExecutionRules {
    pub(super) fn parse(mut section: Fields<'_>) -> Result<Self, TopologyError> {
        let rules = Self {
            parked_per_worker_max: section.auto_number("parked_per_worker_max", PER_WORKER)?,
            reads_per_worker_max: section.auto_number("reads_per_worker_max", PER_WORKER_FROM_ONE)?,
            prefetch_entries_max: section.auto_number("prefetch_entries_max", ENTRIES)?,
        };
        section.finish()?;
        Ok(rules)
    }
}
