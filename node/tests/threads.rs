//! Parallel equals serial on the plan's workers, from one thread to many more than there are cores: recorded blocks
//! (if `CITIUS_CORPUS` names a folder of them) and generated ones, alone and as streams.
//!
//! All of them always; but the generated sequences have at most [`TRANSACTIONS`] transactions a block, unless
//! `CITIUS_LONG` is set.

mod common;

use citius_engine::{Block, EngineConfig, StrategyChoice, chain::ChainSpec};
use citius_node::{
    compare,
    execution::{Case, Executed, Executor},
    recorded::{RecordedBlock, block_folders},
    streams,
};
use citius_topology::{MachineSource, Plan, ProfileSource, resolve};
use citius_workloads::{WorkloadSpec, generate, standard_suite};
use common::corpus;
use revm::primitives::hardfork::SpecId;
use std::{env, num::NonZeroUsize, sync::Arc};

const THREADS: [usize; 7] = [1, 2, 3, 4, 8, 16, 32];

/// Most transactions in a block of a generated sequence by default.
const TRANSACTIONS: u32 = 500;

/// Workers for each number of threads, pinned as the binary pins them.
fn executors() -> Vec<(usize, Executor)> {
    let plan: Plan = resolve(MachineSource::ThisMachine, ProfileSource::Pick).unwrap().plan;
    // All at one time, whether there are cores for them or not.
    let config = EngineConfig { active_threads_max: NonZeroUsize::MAX, ..EngineConfig::default() };
    let executor = |threads| Executor::new(&plan.with_threads(threads)).unwrap().with_config(config.clone());
    THREADS.map(|threads| (threads, executor(threads))).into()
}

/// The serial results, after everybody has agreed with them.
fn agreed(name: &str, case: &Case, executors: &[(usize, Executor)]) -> Vec<Executed> {
    let serial = executors[0].1.runner(case).execute(StrategyChoice::Serial);
    assert_eq!(serial.len(), case.blocks.len(), "{name}");
    for (threads, executor) in executors {
        for strategy in [StrategyChoice::Optimistic, StrategyChoice::Partitioned] {
            let parallel = executor.runner(case).execute(strategy);
            assert_eq!(parallel.len(), serial.len(), "{name}");
            for (index, (serial, parallel)) in serial.iter().zip(&parallel).enumerate() {
                let difference = compare::verdicts(&serial.verdict, &parallel.verdict);
                assert_eq!(difference, None, "{name}, block {index}, {strategy}, {threads} threads");
                let ran = (parallel.metrics.strategy.into(), parallel.metrics.threads);
                assert_eq!(ran, (strategy.to_string(), *threads), "{name}, block {index}");
            }
        }
    }
    serial
}

/// The recorded blocks, with what the engine takes.
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

/// Holds serial results against the headers and records.
fn assert_recorded(results: &[Executed], blocks: &[&RecordedBlock]) {
    let chain = ChainSpec::mainnet();
    for (executed, recorded) in results.iter().zip(blocks) {
        let outcome = executed.verdict.as_ref().unwrap_or_else(|error| panic!("{}: {error}", recorded.name));
        let has_status = chain.spec_id(&recorded.header).is_enabled_in(SpecId::BYZANTIUM);
        assert_eq!(compare::header(outcome, &recorded.header, has_status), None, "{}", recorded.name);
        let expected = recorded.expected.as_ref().unwrap();
        assert_eq!(compare::recorded(outcome, expected, has_status), None, "{}", recorded.name);
    }
}

#[test]
fn recorded_blocks_are_equal_at_every_number_of_threads() {
    let Some(blocks) = recorded() else { return };
    let executors = executors();
    assert!(!blocks.is_empty());
    for (recorded, block) in blocks {
        let state = Arc::new(recorded.pre_state.clone());
        let case = Case { chain: ChainSpec::mainnet(), state, blocks: vec![block] };
        assert_recorded(&agreed(&recorded.name, &case, &executors), &[&recorded]);
    }
}

#[test]
fn consecutive_recorded_blocks_are_equal_as_streams_at_every_number_of_threads() {
    let Some(blocks) = recorded() else { return };
    let executors = executors();
    let mut streams = 0;
    for group in streams::group(blocks.iter().map(|(recorded, _)| recorded)) {
        if group.len() < 2 {
            continue;
        }
        let stream: Vec<(&RecordedBlock, Arc<Block>)> =
            group.iter().map(|index| (&blocks[*index].0, Arc::clone(&blocks[*index].1))).collect();
        let chain = ChainSpec::mainnet();
        let state = Arc::new(streams::state_before(&executors[0].1, &chain, &stream));
        let (recorded, blocks): (Vec<_>, Vec<_>) = stream.into_iter().unzip();
        let case = Case { chain, state, blocks };
        assert_recorded(&agreed(&recorded[0].name, &case, &executors), &recorded);
        streams += 1;
    }
    assert!(streams > 0);
}

fn assert_generated(spec: &WorkloadSpec, executors: &[(usize, Executor)]) {
    let name = spec.to_string();
    let case = Case::stream(generate(spec).unwrap());
    for executed in agreed(&name, &case, executors) {
        let outcome = executed.verdict.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(outcome.transactions.iter().all(|tx| tx.result.is_success()), "{name}");
    }
}

#[test]
fn generated_blocks_are_equal_at_every_number_of_threads() {
    let executors = executors();
    for spec in standard_suite() {
        assert_generated(&WorkloadSpec { blocks: 1, ..spec }, &executors);
    }
}

#[test]
fn generated_sequences_are_equal_as_streams_at_every_number_of_threads() {
    let is_long = env::var_os("CITIUS_LONG").is_some();
    let executors = executors();
    for mut spec in standard_suite() {
        spec.blocks = spec.blocks.max(3);
        if !is_long && spec.transactions_per_block > TRANSACTIONS {
            // Accounts in proportion: how often they send in one block is part of the workload.
            spec.accounts = (spec.accounts * TRANSACTIONS).div_ceil(spec.transactions_per_block);
            spec.transactions_per_block = TRANSACTIONS;
        }
        assert_generated(&spec, &executors);
    }
}
