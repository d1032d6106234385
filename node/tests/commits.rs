//! What a listener is told of commits leads where the change set leads: recorded blocks (if `CITIUS_CORPUS` names a folder
//! of them) and generated ones, alone and as streams.
//!
//! Generated blocks have at most [`TRANSACTIONS`] transactions, unless `CITIUS_LONG` is set.

mod common;
#[path = "../../engine/tests/common/told.rs"]
mod told;

use citius_engine::{
    Block, Engine, EngineConfig, ExecuteOptions, StrategyChoice, WorkerPool, chain::ChainSpec,
};
use citius_node::recorded::{RecordedBlock, block_folders};
use citius_state::{CommitSink, MemoryState};
use citius_workloads::{WorkloadSpec, generate, standard_suite};
use common::corpus;
use std::{env, num::NonZeroUsize, sync::Arc};
use told::Listener;

/// Strategies, and threads of each.
const WAYS: [(StrategyChoice, usize); 6] = [
    (StrategyChoice::Serial, 1),
    (StrategyChoice::Optimistic, 1),
    (StrategyChoice::Optimistic, 2),
    (StrategyChoice::Optimistic, 3),
    (StrategyChoice::Optimistic, 8),
    (StrategyChoice::Partitioned, 3),
];

/// Most transactions in a generated block by default.
const TRANSACTIONS: u32 = 500;

/// Executes the blocks every way, as a stream if there are several. Gives how often somebody was told of how many blocks.
fn check(name: &str, chain: &ChainSpec, state: &MemoryState, blocks: &[Arc<Block>]) -> (usize, usize) {
    let mut total = (0, 0);
    let pool = WorkerPool::unpinned(NonZeroUsize::new(8).unwrap()).unwrap();
    for (strategy, threads) in WAYS {
        let config = EngineConfig { active_threads_max: NonZeroUsize::MAX, ..EngineConfig::default() };
        let engine = Engine::new(chain.clone(), Arc::clone(&pool), config);
        let listener = Arc::new(Listener::default());
        let options = ExecuteOptions {
            strategy,
            threads: NonZeroUsize::new(threads),
            commit_sink: Some(Arc::clone(&listener) as Arc<dyn CommitSink>),
            ..ExecuteOptions::default()
        };
        // A block alone may be given up, a stream's may not.
        let mut outcomes = Vec::new();
        if let [block] = blocks {
            outcomes
                .push(engine.execute_block(Arc::new(state.clone()), Arc::clone(block), &options).unwrap());
        } else {
            let mut stream = engine.stream(Arc::new(state.clone()), &options);
            blocks.iter().for_each(|block| stream.submit(Arc::clone(block)));
            outcomes.extend(std::iter::from_fn(|| stream.next()).map(Result::unwrap));
        }
        assert_eq!(outcomes.len(), blocks.len(), "{name}");
        let mut state = state.clone();
        for (block, outcome) in blocks.iter().zip(outcomes) {
            let number = block.header.number;
            let told = listener.check(number, &state, &outcome.changes);
            total.0 += told.unwrap_or_else(|error| {
                panic!("{name}, block {number}, {strategy}, {threads} threads: {error}")
            });
            total.1 += 1;
            state.apply(&outcome.changes);
        }
    }
    total
}

#[test]
fn what_is_told_of_recorded_blocks_is_what_they_change() {
    let Some(corpus) = corpus() else { return };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let chain = ChainSpec::mainnet();
    let (mut calls, mut blocks) = (0, 0);
    for folder in block_folders(&[corpus]).unwrap() {
        let recorded = RecordedBlock::load(&folder).unwrap();
        let block = Arc::new(recorded.recover(&chain, &pool).unwrap());
        let (more_calls, more_blocks) = check(&recorded.name, &chain, &recorded.pre_state, &[block]);
        (calls, blocks) = (calls + more_calls, blocks + more_blocks);
    }
    assert!(
        calls > 5 * blocks,
        "of most blocks somebody is told while they still execute: {calls} of {blocks}"
    );
}

#[test]
fn what_is_told_of_generated_blocks_is_what_they_change() {
    let is_long = env::var_os("CITIUS_LONG").is_some();
    for mut spec in standard_suite() {
        if !is_long && spec.transactions_per_block > TRANSACTIONS {
            spec.accounts = (spec.accounts * TRANSACTIONS).div_ceil(spec.transactions_per_block);
            spec.transactions_per_block = TRANSACTIONS;
        }
        for blocks in [1, 3] {
            let spec = WorkloadSpec { blocks, ..spec };
            let workload = generate(&spec).unwrap();
            let mut state = workload.genesis;
            for block in &workload.blocks {
                state.set_block_hash(block.header.number, block.header.hash_slow());
            }
            let blocks: Vec<_> = workload.blocks.into_iter().map(Arc::new).collect();
            check(&workload.name, &workload.chain, &state, &blocks);
        }
    }
}
