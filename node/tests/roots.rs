//! State roots after recorded blocks (if `CITIUS_CORPUS` names a folder of them): with a witness those of the headers,
//! without one those of a trie that `alloy-trie` builds of all that is listed. At several numbers of threads, block by
//! block and as streams.

mod common;

use alloy_primitives::B256;
use citius_engine::{Block, StrategyChoice, chain::ChainSpec};
use citius_node::{
    execution::{Case, Executed, Executor},
    recorded::{RecordedBlock, Witness, block_folders},
    roots::{StateTrie, listed_root},
    streams,
};
use citius_state::{MemoryState, ssmt::SsmtConfig};
use citius_topology::{MachineSource, ProfileSource, resolve};
use common::corpus;
use std::sync::Arc;

const THREADS: [usize; 3] = [1, 2, 8];

fn executors() -> Vec<Executor> {
    let plan = resolve(MachineSource::ThisMachine, ProfileSource::Pick).unwrap().plan;
    THREADS.map(|threads| Executor::new(&plan.with_threads(threads)).unwrap()).into()
}

fn recorded() -> Option<Vec<(RecordedBlock, Arc<Block>)>> {
    let folders = block_folders(&[corpus()?]).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let blocks = folders.iter().map(|folder| {
        let recorded = RecordedBlock::load(folder).unwrap();
        let block = Arc::new(recorded.recover(&ChainSpec::mainnet(), &pool).unwrap());
        (recorded, block)
    });
    Some(blocks.collect())
}

/// The root after each block of a case, and `alloy-trie`'s of what is listed.
fn roots(executor: &Executor, case: &Case, witness: Option<&Witness>) -> Vec<(B256, B256)> {
    let config = SsmtConfig::default();
    let trie = match witness {
        Some(witness) => {
            StateTrie::witnessed(witness, config, executor.hasher(), executor.workers()).unwrap()
        }
        None => StateTrie::listed(&case.state, config, executor.hasher(), executor.workers()).unwrap(),
    };
    let before = witness.map_or_else(|| listed_root(&case.state), |witness| witness.pre_state_root);
    assert_eq!(trie.root(), Ok(before));
    let mut line = trie.line();
    let mut state = MemoryState::clone(&case.state);
    let executed = executor.runner(case).execute(StrategyChoice::Optimistic);
    let mut root = |executed: Executed| {
        let changes = Arc::new(executed.verdict.unwrap().changes);
        state.apply(&changes);
        let numbers = || case.blocks.iter().map(|block| block.header.number).collect::<Vec<_>>();
        let sealed = line.seal(&changes).unwrap_or_else(|error| panic!("{:?}: {error}", numbers()));
        (sealed.root, listed_root(&state))
    };
    executed.into_iter().map(&mut root).collect()
}

#[test]
fn roots_after_recorded_blocks_are_those_of_headers_or_of_alloy_trie() {
    let Some(blocks) = recorded() else { return };
    let executors = executors();
    let mut witnessed = 0;
    for (recorded, block) in &blocks {
        let state = Arc::new(recorded.pre_state.clone());
        let case = Case { chain: ChainSpec::mainnet(), state, blocks: vec![Arc::clone(block)] };
        for (executor, threads) in executors.iter().zip(THREADS) {
            let name = format!("{} on {threads} threads", recorded.name);
            if let Some(witness) = &recorded.witness {
                let root = roots(executor, &case, Some(witness))[0].0;
                assert_eq!(root, recorded.header.state_root, "{name}");
            }
            let (root, expected) = roots(executor, &case, None)[0];
            assert_eq!(root, expected, "{name}, of what is listed");
        }
        witnessed += usize::from(recorded.witness.is_some());
    }
    assert!(witnessed > 0, "of {} blocks", blocks.len());
}

#[test]
fn roots_of_consecutive_blocks_stand_on_one_another() {
    let Some(blocks) = recorded() else { return };
    let executors = executors();
    let (mut streams, mut witnessed) = (0, 0);
    for group in streams::group(blocks.iter().map(|(recorded, _)| recorded)) {
        if group.len() < 2 {
            continue;
        }
        let stream: Vec<(&RecordedBlock, Arc<Block>)> =
            group.iter().map(|index| (&blocks[*index].0, Arc::clone(&blocks[*index].1))).collect();
        let chain = ChainSpec::mainnet();
        let state = Arc::new(streams::state_before(&executors[0], &chain, &stream));
        let (recorded, blocks): (Vec<_>, Vec<_>) = stream.into_iter().unzip();
        let case = Case { chain, state, blocks };
        let witnesses: Option<Vec<&Witness>> = recorded.iter().map(|block| block.witness.as_ref()).collect();
        let witness = witnesses.map(|all| {
            all[1..].iter().fold(Witness::clone(all[0]), |witness, later| witness.with_later(later))
        });
        for (executor, threads) in executors.iter().zip(THREADS) {
            let name = format!("{} and later on {threads} threads", recorded[0].name);
            if let Some(witness) = &witness {
                let found = roots(executor, &case, Some(witness));
                let told: Vec<B256> = recorded.iter().map(|block| block.header.state_root).collect();
                assert_eq!(found.iter().map(|(root, _)| *root).collect::<Vec<_>>(), told, "{name}");
            }
            for (root, expected) in roots(executor, &case, None) {
                assert_eq!(root, expected, "{name}, of what is listed");
            }
        }
        streams += 1;
        witnessed += usize::from(witness.is_some());
    }
    assert!(streams > 0 && witnessed > 0, "{streams} streams, {witnessed} of them with witnesses");
}
