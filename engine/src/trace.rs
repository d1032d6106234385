//! Blocks taken apart: how long each entry takes, and which earlier ones it needs.

use crate::{
    Block, BlockOutcome, Engine, ExecutionError,
    evm::{Batching, EvmStream},
    scheduler::{EntryIndex, Needs, RunSettings, Tracer, Vm},
};
use citius_state::StateReader;
use std::{sync::Arc, time::Duration};

/// What a block's entries take and need.
#[derive(Debug, Clone)]
pub struct BlockTrace {
    /// All entries of the block: what begins it, its transactions, what ends it.
    pub entries: Vec<EntryTrace>,
    /// What the block did, as the `Serial` strategy says it; the metrics are left at their defaults.
    pub outcome: BlockOutcome,
}

/// What one entry takes and needs. Entries are named by their place in [`BlockTrace::entries`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryTrace {
    /// The index of the transaction in the block, from 0; `None` for what begins or ends the block.
    pub transaction: Option<usize>,
    /// How long the entry takes in a serial run: execution, receipt and writes, the median of several runs.
    pub time: Duration,
    /// Gas that the transaction used, after refunds; 0 for what begins or ends the block.
    pub gas_used: u64,
    /// The earlier entries of this block without which the entry would have learnt something else, ascending. What
    /// only these need is not listed.
    pub needs: Vec<usize>,
    /// The same if nobody looks at whether the nonce of the transaction's sender is the one that the transaction states:
    /// what remains when the chains of one sender's transactions are dissolved.
    pub needs_but_for_nonce: Vec<usize>,
}

impl Engine {
    /// Executes consecutive blocks entry after entry, and takes them apart: once to see who needs whom, `runs` times
    /// without looking, to see how long each entry takes (nothing, if there is no such run). Entries of earlier blocks count as done.
    ///
    /// This looks at blocks that can be executed; it is slow, keeps all values that a block's locations had, and is
    /// neither cancelled nor bounded by [`crate::EngineConfig::memory_per_block_bytes_max`].
    ///
    /// # Errors
    ///
    /// [`ExecutionError::Refused`] if one of the blocks is.
    pub fn trace(
        &self,
        reader: &Arc<dyn StateReader>,
        blocks: &[Arc<Block>],
        runs: usize,
    ) -> Result<Vec<BlockTrace>, ExecutionError> {
        let vm = self.stream_of(reader, blocks);
        let mut tracer = Tracer::new(Arc::clone(&vm));
        let mut traces = Vec::with_capacity(blocks.len());
        for segment in 0..blocks.len() as u32 {
            let needs = tracer.run_segment(segment)?;
            let Some(outcome) = vm.take_outcome() else { unreachable!("a sealed block has an outcome") };
            traces.push(BlockTrace { entries: entries(&vm, segment, &needs, &outcome), outcome });
        }
        drop(tracer);
        let times = self.median_times(reader, blocks, runs)?;
        let entries = traces.iter_mut().flat_map(|trace| &mut trace.entries);
        entries.zip(times).for_each(|(entry, time)| entry.time = time);
        Ok(traces)
    }

    /// How long each entry of the blocks takes, in order.
    fn median_times(
        &self,
        reader: &Arc<dyn StateReader>,
        blocks: &[Arc<Block>],
        runs: usize,
    ) -> Result<Vec<Duration>, ExecutionError> {
        let mut samples: Vec<Vec<Duration>> = Vec::new();
        for _ in 0..runs {
            let vm = self.stream_of(reader, blocks);
            let settings = RunSettings::new(Arc::clone(&self.pool));
            let memory = usize::MAX;
            let times = self.serial.entry_times(vm, settings, blocks.len() as u32, memory)?;
            samples.resize(times.len(), Vec::new());
            samples.iter_mut().zip(times).for_each(|(sample, time)| sample.push(time));
        }
        Ok(samples.into_iter().map(median).collect())
    }

    fn stream_of(&self, reader: &Arc<dyn StateReader>, blocks: &[Arc<Block>]) -> Arc<EvmStream> {
        let vm = EvmStream::new(Arc::clone(&self.chain), Arc::clone(reader), false);
        blocks.iter().for_each(|block| {
            vm.push(Arc::clone(block), Batching::OFF);
        });
        Arc::new(vm)
    }
}

/// The entries of a segment, still without their times.
fn entries(vm: &EvmStream, segment: u32, needs: &[Needs], outcome: &BlockOutcome) -> Vec<EntryTrace> {
    let (first, _) = vm.entries_of(segment);
    let places = |entries: &[EntryIndex]| entries.iter().map(|entry| (entry.0 - first.0) as usize).collect();
    let mut transactions = outcome.transactions.iter().enumerate();
    let entry = |(index, needs): (EntryIndex, &Needs)| {
        let transaction = if vm.transaction_count(index) > 0 { transactions.next() } else { None };
        EntryTrace {
            transaction: transaction.map(|(index, _)| index),
            time: Duration::ZERO,
            gas_used: transaction.map_or(0, |(_, transaction)| transaction.gas_used()),
            needs: places(&needs.entries),
            needs_but_for_nonce: places(&needs.but_for_order),
        }
    };
    (first.0..).map(EntryIndex).zip(needs).map(entry).collect()
}

/// The median; of an even number the longer of the two in the middle, of none nothing.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
