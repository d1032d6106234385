//! Measures the blocks of generated workloads.

use super::{bench::Bench, progress::Progress};
use crate::{
    contest::{BlockContest, Contest},
    execution::Case,
    report::{Entry, StreamEntry, WorkloadLabel},
    roots_contest::RootSettings,
};
use anyhow::{Context, Result};
use citius_workloads::{Workload, WorkloadSpec};
use std::sync::Arc;

/// What is found of blocks besides their times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finds {
    /// What limits them.
    pub(super) limits: bool,
    /// Their state roots.
    pub(super) roots: bool,
}

/// Each block on the state that the one before left.
pub(super) fn block_by_block(
    bench: &Bench,
    progress: &Progress,
    finds: Finds,
    spec: &WorkloadSpec,
    workload: Workload,
) -> Result<Vec<Entry>> {
    let dirs = dirs(&workload);
    let mut state = Arc::new(workload.genesis);
    let mut entries = Vec::with_capacity(dirs.len());
    for (block, dir) in workload.blocks.into_iter().zip(dirs) {
        let hash = block.header.hash_slow();
        let number = block.header.number;
        let case =
            Case { chain: workload.chain.clone(), state: Arc::clone(&state), blocks: vec![Arc::new(block)] };
        let contest = contest(bench, progress, finds, &case)?;
        let found = &contest.blocks[0];
        entries.push(entry(bench, spec, &workload.name, dir, &case, 0, found));
        drop(case);
        if let Ok(outcome) = &found.serial {
            let state = Arc::make_mut(&mut state);
            state.apply(&outcome.changes);
            state.set_block_hash(number, hash);
        }
    }
    Ok(entries)
}

/// All blocks as one stream.
pub(super) fn as_stream(
    bench: &Bench,
    progress: &Progress,
    finds: Finds,
    spec: &WorkloadSpec,
    workload: Workload,
) -> Result<(Vec<Entry>, StreamEntry)> {
    let (name, dirs) = (workload.name.clone(), dirs(&workload));
    let case = Case::stream(workload);
    let contest = contest(bench, progress, finds, &case)?;
    let found = contest.blocks.iter().zip(&dirs).enumerate();
    let entries =
        found.map(|(index, (found, dir))| entry(bench, spec, &name, dir.clone(), &case, index, found));
    Ok((entries.collect(), StreamEntry::new(Some(label(spec, &name)), dirs, &contest.whole)))
}

/// Measures a case. The whole state is there: so what is listed of it has its root.
fn contest(bench: &Bench, progress: &Progress, finds: Finds, case: &Case) -> Result<Contest> {
    let trie = finds.roots.then(|| bench.listed_trie(&case.state)).transpose().context("the state trie")?;
    let roots = trie.as_ref().map(|trie| RootSettings { trie, has_baseline: false });
    Ok(bench.contest(case, finds.limits, roots, progress))
}

fn entry(
    bench: &Bench,
    spec: &WorkloadSpec,
    name: &str,
    dir: String,
    case: &Case,
    index: usize,
    found: &BlockContest,
) -> Entry {
    let entry = Entry::new(dir, case, index, found, bench.threads());
    Entry { workload: Some(label(spec, name)), ..entry }
}

fn label(spec: &WorkloadSpec, name: &str) -> WorkloadLabel {
    WorkloadLabel { name: name.to_owned(), conflict_percent: spec.conflict_percent, seed: spec.seed }
}

/// What a workload's blocks are called: as the workload, with their number if there are several.
fn dirs(workload: &Workload) -> Vec<String> {
    let name = &workload.name;
    match workload.blocks.as_slice() {
        [_] => vec![name.clone()],
        blocks => blocks.iter().map(|block| format!("{name}#{}", block.header.number)).collect(),
    }
}
