//! Schedule fuzzing of the EVM: delays, forced aborts and forced replays over small blocks full of conflicts.

mod blocks;
mod commits;
mod contracts;
#[path = "../common/fuzz.rs"]
mod fuzz;
#[path = "../common/late.rs"]
mod late;
#[path = "../common/oracle.rs"]
mod oracle;
#[path = "../common/told.rs"]
mod told;

use alloy_primitives::{Address, B256, U256};
use blocks::{Case, case};
use citius_engine::{
    Block, BlockError, BlockMetrics, BlockOutcome, Engine, EngineConfig, ExecuteOptions, ExecutionError,
    StrategyChoice, WorkerPool,
};
use citius_state::{Account, ChangeSet, MemoryState, ReadError, StateKey, StateReader};
use fuzz::{Rates, SeededFuzz, cases, first_seed, hash};
use late::Late;
use oracle::oracle_block;
use revm::{bytecode::Bytecode, primitives::hardfork::SpecId};
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

type Answers = Vec<Result<BlockOutcome, ExecutionError>>;

/// A state of which one thing may be unknown.
struct Witness {
    state: MemoryState,
    unknown: Option<StateKey>,
    /// Reading it fails, in place of saying that it is unknown.
    fails: bool,
    late: Option<Late>,
}

impl Witness {
    fn new(case: &Case) -> Self {
        Self { state: case.state.clone(), unknown: case.unknown, fails: false, late: None }
    }

    fn ask<T>(&self, key: StateKey, answer: Result<T, ReadError>) -> Result<T, ReadError> {
        if let Some(late) = &self.late {
            late.ask(key).map_err(|ticket| ReadError::Pending { key, ticket })?;
        }
        if self.unknown != Some(key) {
            return answer;
        }
        if self.fails {
            let source = Arc::new(std::io::Error::other("the disk is gone"));
            return Err(ReadError::Store { key, source });
        }
        Err(ReadError::NotInWitness { key })
    }
}

impl StateReader for Witness {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.ask(StateKey::Account(address), self.state.account(address))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.ask(StateKey::Storage(address, slot), self.state.storage(address, slot))
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.ask(StateKey::Code(code_hash), self.state.code(code_hash))
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.ask(StateKey::BlockHash(number), self.state.block_hash(number))
    }

    fn may_wait(&self) -> bool {
        self.late.is_some()
    }

    fn prefetch(&self, keys: &[StateKey]) {
        for key in keys {
            // Begins to read it, as a first question does.
            let _ = self.late.as_ref().map(|late| late.ask(*key));
        }
    }

    fn progress(&self, wait: Option<Duration>) -> bool {
        self.late.as_ref().is_some_and(|late| late.progress(wait))
    }
}

/// Entries of one transaction each, of a few, of as many as there are.
const BATCHES: [u64; 4] = [0, 60_000, 250_000, u64::MAX];

fn execute(case: &Case, pool: &Arc<WorkerPool>, options: &ExecuteOptions, batch_gas_max: u64) -> Answers {
    let config = EngineConfig { batch_gas_max, batches_per_thread_min: 0, ..EngineConfig::default() };
    execute_on(case, Witness::new(case), pool, options, config)
}

fn execute_on(
    case: &Case,
    reader: Witness,
    pool: &Arc<WorkerPool>,
    options: &ExecuteOptions,
    config: EngineConfig,
) -> Answers {
    let engine = Engine::new(case.chain.clone(), Arc::clone(pool), config);
    let mut stream = engine.stream(Arc::new(reader), options);
    for block in &case.blocks {
        stream.submit(Arc::new(block.clone()));
    }
    std::iter::from_fn(|| stream.next()).collect()
}

fn sorted(changes: &ChangeSet) -> ChangeSet {
    let mut changes = changes.clone();
    changes.sort();
    changes
}

/// The first difference between two answers, in words.
fn difference(ours: &Answers, theirs: &Answers) -> Option<String> {
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let (ours, theirs) = match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            (Err(ours), Err(theirs)) if ours == theirs => continue,
            _ => {
                let brief =
                    |answer: &Result<BlockOutcome, _>| answer.as_ref().map(|_| "fine").map_err(Clone::clone);
                return Some(format!("block {index}: {:?} instead of {:?}", brief(ours), brief(theirs)));
            }
        };
        for (tx, (ours, theirs)) in ours.transactions.iter().zip(&theirs.transactions).enumerate() {
            if ours != theirs {
                return Some(format!("block {index}, transaction {tx}: {ours:?} instead of {theirs:?}"));
            }
        }
        let ours_sorted = sorted(&ours.changes);
        let theirs_sorted = sorted(&theirs.changes);
        for change in &ours_sorted.accounts {
            let other = theirs_sorted.account(change.address);
            if other != Some(change) {
                return Some(format!("block {index}: {change:?} instead of {other:?}"));
            }
        }
        let rest = |outcome: &BlockOutcome| {
            (outcome.gas_used, outcome.blob_gas_used, outcome.logs_bloom, outcome.requests.clone())
        };
        if ours_sorted != theirs_sorted || rest(ours) != rest(theirs) {
            return Some(format!("block {index}: sums or changes differ"));
        }
    }
    (ours.len() != theirs.len()).then(|| "number of blocks".into())
}

/// The serial answers against alloy-evm over revm's `State`, block by block. The oracle knows everything: it has no
/// say once something unknown was needed.
fn check_against_oracle(case: &Case, answers: &Answers) -> Result<(), String> {
    let mut state: MemoryState = case.state.clone();
    for (index, (block, answer)) in case.blocks.iter().zip(answers).enumerate() {
        if index > 0 {
            let parent = &case.blocks[index - 1].header;
            state.set_block_hash(parent.number, parent.hash_slow());
        }
        if let Err(ExecutionError::Refused(BlockError::State { .. })) = answer {
            return Ok(());
        }
        match (oracle_block(&case.chain, &state, block), answer) {
            (Ok(theirs), Ok(ours)) => {
                theirs.check(&state, ours).map_err(|error| format!("block {index}: {error}"))?;
                state = theirs.state;
            }
            (Err(theirs), Err(ours)) => {
                return theirs.check(ours).map_err(|error| format!("block {index}: {error}"));
            }
            (theirs, ours) => {
                let ours = ours.as_ref().map(|_| ());
                return Err(format!("block {index}: engine {ours:?}, oracle {:?}", theirs.map(|_| ())));
            }
        }
    }
    Ok(())
}

/// First and one past the last transaction entry of each block: the entries before are the begin steps.
fn transaction_entries(case: &Case) -> Vec<(u32, u32)> {
    let mut next = 0;
    let entries = |(block, spec): (&Block, &SpecId)| {
        let is = |fork| u32::from(spec.is_enabled_in(fork));
        let begin = is(SpecId::CANCUN) + is(SpecId::PRAGUE);
        let end = 1 + 2 * is(SpecId::PRAGUE) + 2 * is(SpecId::AMSTERDAM);
        let first = next + begin;
        let last = first + block.transactions.len() as u32;
        next = last + end;
        (first, last)
    };
    case.blocks.iter().zip(&case.specs).map(entries).collect()
}

#[test]
fn disturbed_schedules_equal_serial_and_serial_equals_the_oracle() {
    let pools = [2, 3, 4, 8].map(|size| WorkerPool::unpinned(NonZeroUsize::new(size).unwrap()).unwrap());
    let serial = ExecuteOptions { strategy: StrategyChoice::Serial, ..ExecuteOptions::default() };
    let (mut blocks, mut refused, mut unread, mut aborts) = (0, 0, 0, 0);
    for seed in first_seed()..first_seed() + cases(250, 6_000) {
        let case = case(seed);
        let replay = format!(
            "{:?}; replay with CITIUS_SEED={seed} CITIUS_CASES=1 cargo nextest run -p citius-engine \
             --test schedule_fuzz",
            case.specs
        );
        let expected = execute(&case, &pools[0], &serial, 0);
        check_against_oracle(&case, &expected).unwrap_or_else(|error| panic!("oracle: {error}\n{replay}"));
        blocks += expected.len();
        refused += expected.iter().filter(|answer| answer.is_err()).count();
        let is_unread =
            |answer: &&Result<_, _>| matches!(answer, Err(ExecutionError::Refused(BlockError::State { .. })));
        unread += expected.iter().filter(is_unread).count();
        let pool = &pools[seed as usize % pools.len()];
        let batch_gas_max = BATCHES[(seed / 4 % 8).min(3) as usize];
        // In entries of several transactions nobody has to wait for a second one.
        let holds_back = batch_gas_max == 0;
        let entries = if holds_back { transaction_entries(&case) } else { Vec::new() };
        let fuzz = SeededFuzz::new(hash((seed, "evm")), Rates::from_seed(seed), entries, holds_back);
        let options = ExecuteOptions {
            strategy: StrategyChoice::Optimistic,
            fuzz: Some(Arc::new(fuzz)),
            ..ExecuteOptions::default()
        };
        let got = execute(&case, pool, &options, batch_gas_max);
        if let Some(difference) = difference(&got, &expected) {
            panic!("{} threads: {difference}\n{replay}", pool.size());
        }
        let options = ExecuteOptions { strategy: StrategyChoice::Partitioned, ..ExecuteOptions::default() };
        let got_partitioned = execute(&case, pool, &options, 0);
        if let Some(difference) = difference(&got_partitioned, &expected) {
            panic!("partitioned, {} threads: {difference}\n{replay}", pool.size());
        }
        for (block, answer) in case.blocks.iter().zip(&got) {
            let Ok(outcome) = answer else { continue };
            aborts += outcome.metrics.aborts;
            assert_eq!(outcome.metrics.strategy, "optimistic");
            if holds_back && block.transactions.len() >= 2 {
                assert!(outcome.metrics.max_in_flight >= 2, "nothing ran ahead: {replay}");
            }
        }
    }
    eprintln!(
        "{blocks} blocks, {refused} refused ({unread} for what the witness lacks), {aborts} executions thrown away"
    );
    assert!(refused > unread && unread > 0 && aborts > 0, "the generator makes all of them");
}

/// Bounds of what a worker has waiting: executions parked besides the one that runs, and reads in flight.
const BOUNDS: [(u32, u32); 5] = [(0, 64), (1, 64), (2, 3), (32, 1), (32, 64)];

#[test]
fn blocks_whose_reads_come_later_equal_serial() {
    let pools = [1, 2, 8].map(|size| WorkerPool::unpinned(NonZeroUsize::new(size).unwrap()).unwrap());
    let with = |strategy| ExecuteOptions { strategy, ..ExecuteOptions::default() };
    let (mut parked, mut waited, mut failed, mut ahead) = (0, 0, 0, [0, 0]);
    for seed in first_seed()..first_seed() + cases(120, 4_000) {
        let case = case(seed);
        let fails = seed.is_multiple_of(2);
        let reader = |late| Witness { fails, late, ..Witness::new(&case) };
        let config = |batch_gas_max, (parked_per_worker_max, reads_per_worker_max)| EngineConfig {
            batch_gas_max,
            batches_per_thread_min: 0,
            parked_per_worker_max,
            reads_per_worker_max,
            prefetch_entries_max: [0, 1, 32][seed as usize % 3],
            ..EngineConfig::default()
        };
        let bounds = BOUNDS[seed as usize % BOUNDS.len()];
        let pool = &pools[seed as usize / BOUNDS.len() % pools.len()];
        let serial = with(StrategyChoice::Serial);
        let expected = execute_on(&case, reader(None), pool, &serial, config(0, bounds));
        failed += expected.iter().filter(|answer| is_store_error(answer)).count();
        let batch_gas_max = BATCHES[(hash((seed, "batch")) % 4) as usize];
        let fuzz = SeededFuzz::new(hash((seed, "late")), Rates::from_seed(seed), Vec::new(), false);
        let disturbed = ExecuteOptions { fuzz: Some(Arc::new(fuzz)), ..with(StrategyChoice::Optimistic) };
        let ways = [
            (&serial, 0),
            (&disturbed, batch_gas_max),
            (&with(StrategyChoice::Optimistic), batch_gas_max),
            (&with(StrategyChoice::Partitioned), 0),
        ];
        for (number, (options, batch_gas_max)) in ways.into_iter().enumerate() {
            let late = Some(Late::new(hash((seed, number))));
            let got = execute_on(&case, reader(late), pool, options, config(batch_gas_max, bounds));
            if let Some(difference) = difference(&got, &expected) {
                panic!(
                    "{:?}, {} threads, {bounds:?} waiting: {difference}; replay with CITIUS_SEED={seed} \
                     CITIUS_CASES=1 cargo nextest run -p citius-engine --test schedule_fuzz",
                    options.strategy,
                    pool.size()
                );
            }
            for outcome in got.iter().flatten() {
                assert!(bounds.0 > 0 || outcome.metrics.parks == 0, "parking is off");
                parked += outcome.metrics.parked;
                waited += outcome.metrics.reads_waited_for;
                let BlockMetrics { keys_asked_ahead, keys_ahead_useful, keys_ahead_useless, .. } =
                    outcome.metrics;
                assert_eq!(keys_asked_ahead, keys_ahead_useful + keys_ahead_useless);
                ahead[0] += keys_ahead_useful;
                ahead[1] += keys_ahead_useless;
            }
        }
    }
    eprintln!(
        "{parked} executions parked, {waited} reads waited for, {failed} blocks refused by their store"
    );
    eprintln!("{ahead:?} keys asked ahead for use, and for nothing");
    assert!(parked > 0 && waited > 0 && failed > 0 && ahead.iter().all(|keys| *keys > 0));
}

fn is_store_error(answer: &Result<BlockOutcome, ExecutionError>) -> bool {
    let Err(ExecutionError::Refused(BlockError::State { error, .. })) = answer else { return false };
    matches!(error, ReadError::Store { .. })
}
