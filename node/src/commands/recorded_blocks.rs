//! Reads recorded blocks, measures them, and checks them against their records.

use super::{bench::Bench, progress::Progress, workload_blocks::Finds};
use crate::{
    clock, compare,
    contest::BlockContest,
    execution::Case,
    recorded::{RecordedBlock, RecordedError, Witness},
    report::{Entry, StreamEntry},
    roots::StateTrie,
    roots_contest::RootSettings,
    streams,
};
use anyhow::{Context, Result};
use citius_engine::{Block, chain::ChainSpec};
use rayon::prelude::*;
use revm::primitives::hardfork::SpecId;
use std::{mem, path::PathBuf, sync::Arc, time::Instant};

/// How often senders are recovered, for a median.
const RECOVERIES: usize = 5;

/// Blocks ready to be executed, and their chain's rules.
pub(super) struct RecordedBlocks {
    chain: ChainSpec,
    blocks: Vec<Prepared>,
}

struct Prepared {
    recorded: RecordedBlock,
    block: Arc<Block>,
    recover_ns: u64,
}

impl RecordedBlocks {
    /// Reads and decodes all blocks, then recovers their senders, block by block.
    pub(super) fn load(bench: &Bench, chain: ChainSpec, folders: &[PathBuf]) -> Result<Self> {
        let progress = Progress::new(folders.len());
        progress.say("reading blocks");
        let load = |folder: &PathBuf| {
            let block = RecordedBlock::load(folder);
            progress.step();
            block
        };
        let loaded: Vec<Result<RecordedBlock, RecordedError>> =
            bench.data_pool.install(|| folders.par_iter().map(load).collect());
        let blocks = loaded.into_iter().map(|recorded| Prepared::new(bench, &chain, recorded?));
        Ok(Self { blocks: blocks.collect::<Result<_, RecordedError>>()?, chain })
    }

    /// The blocks' names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().map(|block| block.recorded.name.as_str())
    }

    /// Each block by itself, as indices.
    pub(super) fn singles(&self) -> Vec<Vec<usize>> {
        (0..self.blocks.len()).map(|index| vec![index]).collect()
    }

    /// The blocks that follow one another, as indices; a block without neighbours is a group of one.
    pub(super) fn groups(&self) -> Vec<Vec<usize>> {
        streams::group(self.blocks.iter().map(|block| &block.recorded))
    }

    /// Measures groups of blocks, each as one stream. Entries come in the order of the blocks, whatever their groups.
    /// A group of one takes its block's pre-state, so that no later call may name the block again.
    pub(super) fn contest(
        &mut self,
        bench: &Bench,
        finds: Finds,
        groups: Vec<Vec<usize>>,
        mut on_block: impl FnMut(&ChainSpec, &RecordedBlock, &BlockContest) -> Result<()>,
    ) -> Result<(Vec<Entry>, Vec<StreamEntry>)> {
        let progress = Progress::new(groups.len() * bench.repeat);
        let mut entries: Vec<Option<Entry>> = self.blocks.iter().map(|_| None).collect();
        let mut streams = Vec::new();
        for group in groups {
            let case = self.case(bench, &group);
            let dirs: Vec<String> =
                group.iter().map(|index| self.blocks[*index].recorded.name.clone()).collect();
            progress.say(&dirs.join(" + "));
            let trie = finds.roots.then(|| self.trie(bench, &group, &case)).transpose()?;
            let roots = trie.as_ref().map(|trie| RootSettings { trie, has_baseline: true });
            let contest = bench.contest(&case, finds.limits, roots, &progress);
            for (position, (index, found)) in group.iter().zip(&contest.blocks).enumerate() {
                let prepared = &self.blocks[*index];
                let mut entry =
                    Entry::new(prepared.recorded.name.clone(), &case, position, found, bench.threads());
                entry.recover_ns = prepared.recover_ns;
                check(&mut entry, &self.chain, &prepared.recorded, found);
                on_block(&self.chain, &prepared.recorded, found)?;
                entries[*index] = Some(entry);
            }
            if dirs.len() > 1 {
                streams.push(StreamEntry::new(None, dirs, &contest.whole));
            }
        }
        Ok((entries.into_iter().flatten().collect(), streams))
    }

    /// The blocks of one group; takes the pre-state of a single one.
    fn case(&mut self, bench: &Bench, group: &[usize]) -> Case {
        let blocks = &mut self.blocks;
        let state = if let [single] = group {
            mem::take(&mut blocks[*single].recorded.pre_state)
        } else {
            let stream: Vec<(&RecordedBlock, Arc<Block>)> = group
                .iter()
                .map(|index| (&blocks[*index].recorded, Arc::clone(&blocks[*index].block)))
                .collect();
            streams::state_before(&bench.executor, &self.chain, &stream)
        };
        Case {
            chain: self.chain.clone(),
            state: Arc::new(state),
            blocks: group.iter().map(|index| Arc::clone(&blocks[*index].block)).collect(),
        }
    }

    /// The trie before a group: what the blocks' witnesses hold if all have one, else what their files list.
    fn trie(&self, bench: &Bench, group: &[usize], case: &Case) -> Result<StateTrie> {
        let witnesses = group.iter().map(|index| self.blocks[*index].recorded.witness.as_ref());
        let witnesses: Option<Vec<&Witness>> = witnesses.collect();
        let Some([first, later @ ..]) = witnesses.as_deref() else {
            return bench.listed_trie(&case.state).context("the state trie");
        };
        let witness = later.iter().fold(Witness::clone(first), |all, later| all.with_later(later));
        let context = || format!("{}: no witness that can be used", first.file.display());
        bench.witnessed_trie(&witness).with_context(context)
    }
}

impl Prepared {
    fn new(bench: &Bench, chain: &ChainSpec, recorded: RecordedBlock) -> Result<Self, RecordedError> {
        let recover = || {
            let start = Instant::now();
            let block = recorded.recover(chain, &bench.data_pool)?;
            Ok::<_, RecordedError>((block, clock::nanoseconds(start.elapsed())))
        };
        let (block, first_ns) = recover()?;
        let mut samples_ns = vec![first_ns];
        for _ in 1..RECOVERIES {
            samples_ns.push(recover()?.1);
        }
        Ok(Self { recorded, block: Arc::new(block), recover_ns: clock::median(samples_ns) })
    }
}

/// Compares an executed block with its header and with what was recorded of it.
fn check(entry: &mut Entry, chain: &ChainSpec, recorded: &RecordedBlock, found: &BlockContest) {
    entry.record_note = recorded.contradiction();
    let Ok(outcome) = &found.parallel else { return };
    let has_status = has_status(chain, recorded);
    entry.add_mismatch(compare::header(outcome, &recorded.header, has_status));
    if let Some(expected) = &recorded.expected {
        entry.add_mismatch(compare::recorded(outcome, expected, has_status));
    }
    // Rewards of uncles whose headers are unknown are missing in every state.
    let root = found.root.filter(|root| root.is_whole && recorded.ommers == 0).map(|root| root.root);
    if let Some(root) = root {
        let told = recorded.header.state_root;
        entry.roots.root_matches = Some(root == told);
        let difference = (root != told).then(|| format!("state root is {root}, the header says {told}"));
        entry.add_mismatch(difference);
    }
}

/// Receipts hold a status from Byzantium on ([EIP-658](https://eips.ethereum.org/EIPS/eip-658)).
pub(super) fn has_status(chain: &ChainSpec, recorded: &RecordedBlock) -> bool {
    chain.spec_id(&recorded.header).is_enabled_in(SpecId::BYZANTIUM)
}
