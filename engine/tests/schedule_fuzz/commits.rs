//! What a listener is told of commits, under disturbed schedules too, leads where the change set leads.

use crate::{
    BATCHES, Witness,
    blocks::{Case, case},
    fuzz::{Rates, SeededFuzz, cases, first_seed, hash},
    told::Listener,
};
use citius_engine::{
    Engine, EngineConfig, ExecuteOptions, StrategyChoice, WorkerPool, scheduler::ScheduleFuzz,
};
use citius_state::CommitSink;
use std::{num::NonZeroUsize, sync::Arc};

/// Strategies, and threads of each.
const WAYS: [(StrategyChoice, usize); 7] = [
    (StrategyChoice::Serial, 1),
    (StrategyChoice::Optimistic, 1),
    (StrategyChoice::Optimistic, 2),
    (StrategyChoice::Optimistic, 3),
    (StrategyChoice::Optimistic, 8),
    (StrategyChoice::Partitioned, 1),
    (StrategyChoice::Partitioned, 3),
];

#[test]
fn what_is_told_of_commits_is_what_the_blocks_change() {
    let pool = WorkerPool::unpinned(NonZeroUsize::new(8).unwrap()).unwrap();
    let (mut blocks, mut calls) = (0, 0);
    for seed in first_seed()..first_seed() + cases(150, 3_000) {
        let case = case(seed);
        for (strategy, threads) in WAYS {
            let (more_blocks, more_calls) = check(&case, seed, &pool, strategy, threads).unwrap_or_else(|error| {
                panic!(
                    "{strategy}, {threads} threads: {error}\n{:?}; replay with CITIUS_SEED={seed} CITIUS_CASES=1 \
                     cargo nextest run -p citius-engine --test schedule_fuzz commits",
                    case.specs
                )
            });
            (blocks, calls) = (blocks + more_blocks, calls + more_calls);
        }
    }
    eprintln!("{blocks} blocks in {calls} calls");
    assert!(calls > 2 * blocks, "of most blocks somebody is told while they still execute");
}

/// How many blocks were executed, and how often somebody was told of them.
fn check(
    case: &Case,
    seed: u64,
    pool: &Arc<WorkerPool>,
    strategy: StrategyChoice,
    threads: usize,
) -> Result<(usize, usize), String> {
    let config = EngineConfig {
        batch_gas_max: BATCHES[seed as usize % BATCHES.len()],
        batches_per_thread_min: 0,
        active_threads_max: NonZeroUsize::MAX,
        ..EngineConfig::default()
    };
    let engine = Engine::new(case.chain.clone(), Arc::clone(pool), config);
    let listener = Arc::new(Listener::default());
    let fuzz = SeededFuzz::new(hash((seed, threads)), Rates::from_seed(seed), Vec::new(), false);
    let options = ExecuteOptions {
        strategy,
        threads: NonZeroUsize::new(threads),
        fuzz: Some(Arc::new(fuzz) as Arc<dyn ScheduleFuzz>),
        commit_sink: Some(Arc::clone(&listener) as Arc<dyn CommitSink>),
        ..ExecuteOptions::default()
    };
    let mut stream = engine.stream(Arc::new(Witness::new(case)), &options);
    for block in &case.blocks {
        stream.submit(Arc::new(block.clone()));
    }
    let mut state = case.state.clone();
    let (mut blocks, mut calls) = (0, 0);
    while let Some(Ok(outcome)) = stream.next() {
        let number = case.blocks[blocks].header.number;
        let told = listener.check(number, &state, &outcome.changes);
        calls += told.map_err(|error| format!("block {number}: {error}"))?;
        blocks += 1;
        state.apply(&outcome.changes);
    }
    Ok((blocks, calls))
}
