//! Engines that share workers, workers that are too few or too many, and where threads come from.

use crate::{
    case::{ALICE, BOB, CAROL, Case, call, check_same, pay},
    code::Code,
    support::{COUNTER, STRANGER, check_usable, config, counter, expected, options, pool, run, small},
};
use alloy_primitives::{Address, Bytes};
use citius_engine::{
    BlockOutcome, Engine, EngineConfig, ExecuteOptions, StrategyChoice, WorkerPool,
    chain::{ChainSpec, CustomPrecompile},
};
use revm::{
    bytecode::opcode as op, context::TxEnv, precompile::PrecompileOutput, primitives::hardfork::SpecId,
};
use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const WITNESS: Address = Address::repeat_byte(0x31);
const BLOCKS: u64 = 50;

/// A block of some chain, whose id it stores; no two seeds give the same.
fn block_of(chain_id: u64, spec: SpecId, seed: u64) -> Case {
    let code = Code::new().op(op::CHAINID).push(seed).op(op::ADD).store(seed % 7).bytes();
    let mut case = Case::new(spec).with_contract(COUNTER, 0, counter()).with_contract(WITNESS, 0, code);
    case.chain = ChainSpec::with_all_forks_until(chain_id, spec);
    for nonce in 0..2 + seed % 5 {
        case = case
            .with(call(ALICE, nonce, COUNTER))
            .with(TxEnv { chain_id: Some(chain_id), ..call(BOB, nonce, WITNESS) })
            .with(pay(CAROL, nonce, STRANGER, 1 + seed));
    }
    case
}

fn engine_on(pool: &Arc<WorkerPool>, case: &Case) -> Engine {
    Engine::new(case.chain.clone(), Arc::clone(pool), config())
}

/// What the blocks of a chain do, one after the other.
fn all(engine: &Engine, cases: &[Case], strategy: StrategyChoice) -> Vec<BlockOutcome> {
    cases.iter().map(|case| run(case, engine, &options(strategy)).unwrap()).collect()
}

fn check_all(ours: &[BlockOutcome], theirs: &[BlockOutcome], how: &str) {
    assert_eq!(ours.len(), theirs.len());
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        check_same(ours, theirs, &format!("{how}, block {index}"));
    }
}

#[test]
fn two_chains_on_shared_workers_give_what_each_gives_alone() {
    let chains = [(1, SpecId::CANCUN), (2, SpecId::BERLIN)]
        .map(|(id, spec)| (0..BLOCKS).map(|seed| block_of(id, spec, seed)).collect::<Vec<_>>());
    let alone = [0, 1].map(|index| {
        let cases = &chains[index];
        all(&engine_on(&pool(1), &cases[0]), cases, StrategyChoice::Serial)
    });
    for workers in [2, 4, 8] {
        let pool = pool(workers);
        let engines = [0, 1].map(|index| engine_on(&pool, &chains[index][0]));
        std::thread::scope(|scope| {
            for index in 0..2 {
                let (engine, cases, alone) = (&engines[index], &chains[index], &alone[index]);
                scope.spawn(move || {
                    let together = all(engine, cases, StrategyChoice::Optimistic);
                    check_all(&together, alone, &format!("chain {} on {workers} workers", index + 1));
                });
            }
        });
    }
}

#[test]
fn one_engine_serves_several_threads_at_once() {
    let cases: Vec<_> = (0..BLOCKS).map(|seed| block_of(1, SpecId::CANCUN, seed)).collect();
    let alone = all(&engine_on(&pool(1), &cases[0]), &cases, StrategyChoice::Serial);
    let engine = engine_on(&pool(4), &cases[0]);
    std::thread::scope(|scope| {
        for strategy in [
            StrategyChoice::Optimistic,
            StrategyChoice::Partitioned,
            StrategyChoice::Partitioned,
            StrategyChoice::Serial,
        ] {
            let (engine, cases, alone) = (&engine, &cases, &alone);
            scope.spawn(move || check_all(&all(engine, cases, strategy), alone, "shared engine"));
        }
    });
}

#[test]
fn three_engines_share_one_worker() {
    // The one worker is whoever calls: the pool has no thread of its own.
    let pool = pool(1);
    let cases = [1, 2, 3].map(|id| block_of(id, SpecId::CANCUN, id));
    std::thread::scope(|scope| {
        for case in &cases {
            let engine = engine_on(&pool, case);
            scope.spawn(move || {
                let expected = expected(case);
                for _ in 0..10 {
                    let outcome = run(case, &engine, &options(StrategyChoice::Optimistic)).unwrap();
                    assert_eq!((outcome.metrics.strategy, outcome.metrics.threads), ("optimistic", 1));
                    check_same(&outcome, &expected, "one worker");
                }
            });
        }
    });
}

#[test]
fn more_workers_than_cores_give_the_same() {
    let case = small();
    let engine = engine_on(&pool(32), &case);
    let expected = expected(&case);
    for _ in 0..20 {
        let outcome = run(&case, &engine, &options(StrategyChoice::Optimistic)).unwrap();
        assert_eq!(outcome.metrics.threads, 32);
        check_same(&outcome, &expected, "32 workers");
    }
}

#[test]
fn fewer_threads_than_workers_can_be_asked_for() {
    let case = small();
    let engine = engine_on(&pool(8), &case);
    let expected = expected(&case);
    for (wanted, got) in [(1, 1), (2, 2), (8, 8), (100, 8)] {
        let threads = NonZeroUsize::new(wanted);
        let options = ExecuteOptions { threads, ..options(StrategyChoice::Optimistic) };
        let outcome = run(&case, &engine, &options).unwrap();
        assert_eq!(outcome.metrics.threads, got);
        check_same(&outcome, &expected, &format!("{wanted} threads"));
    }
}

#[test]
fn a_pool_outlives_its_engines_and_engines_keep_their_pool() {
    let pool = pool(4);
    for _ in 0..3 {
        check_usable(&engine_on(&pool, &small()));
    }
    let engine = engine_on(&pool, &small());
    drop(pool);
    check_usable(&engine);
}

/// Threads of this process.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[cfg(target_os = "linux")]
#[test]
fn no_thread_is_made_for_a_block() {
    let case = small();
    let before = threads();
    let pool = pool(8);
    let engine = engine_on(&pool, &case);
    // The caller is the eighth.
    assert_eq!(threads(), before + 7);
    for strategy in [
        StrategyChoice::Serial,
        StrategyChoice::Optimistic,
        StrategyChoice::Partitioned,
        StrategyChoice::Auto,
    ] {
        for _ in 0..50 {
            run(&case, &engine, &options(strategy)).unwrap();
            assert_eq!(threads(), before + 7);
        }
    }
    drop(engine);
    drop(pool);
    // The kernel may take a moment to forget a thread that was joined.
    while threads() > before {
        std::thread::yield_now();
    }
}

/// A place where threads wait for each other, but not for ever.
#[derive(Default)]
struct Meeting {
    there: Mutex<usize>,
    came: Condvar,
}

impl Meeting {
    /// Comes, and waits until `count` are there. Whether that happened.
    fn join(&self, count: usize) -> bool {
        *self.there.lock().unwrap() += 1;
        self.came.notify_all();
        self.wait(count)
    }

    fn wait(&self, count: usize) -> bool {
        let there = self.there.lock().unwrap();
        let patience = Duration::from_secs(10);
        let (there, _) = self.came.wait_timeout_while(there, patience, |there| *there < count).unwrap();
        *there >= count
    }
}

/// Transactions whose calls of a precompile run `work`.
fn working(count: usize, work: impl Fn() -> bool + Send + Sync + 'static) -> Case {
    let run = move |_: &Bytes, _gas: u64, reservoir: u64| {
        assert!(work(), "nobody came");
        Ok(PrecompileOutput::new(0, Bytes::new(), reservoir))
    };
    let senders = [ALICE, BOB, CAROL];
    let call = |index: usize| call(senders[index % 3], (index / 3) as u64, WITNESS);
    let mut case = (0..count).fold(Case::new(SpecId::CANCUN), |case, index| case.with(call(index)));
    case.chain = case.chain.with_precompile(CustomPrecompile { address: WITNESS, run: Arc::new(run) });
    case
}

#[test]
fn a_caller_that_waits_takes_no_worker_s_wake_up() {
    let pool = pool(6);
    let (begun, over) = (Arc::new(Meeting::default()), Arc::new(Meeting::default()));
    let slow = {
        let (begun, over) = (Arc::clone(&begun), Arc::clone(&over));
        working(1, move || begun.join(1) && over.wait(1))
    };
    let meeting = Meeting::default();
    // All five at the same time, or none gets any further.
    let quick = working(5, move || meeting.join(5));
    let (slow_engine, quick_engine) = (engine_on(&pool, &slow), engine_on(&pool, &quick));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let options = options(StrategyChoice::Optimistic);
            let mut stream = slow_engine.stream(Arc::new(slow.state.clone()), &options);
            stream.submit(Arc::new(slow.block.clone()));
            // A worker has it: this thread has nothing to do, and sleeps.
            assert!(begun.wait(1));
            assert_eq!(stream.next().unwrap().unwrap().transactions.len(), 1);
        });
        assert!(begun.wait(1));
        std::thread::sleep(Duration::from_millis(20));
        let outcome = run(&quick, &quick_engine, &options(StrategyChoice::Optimistic)).unwrap();
        assert_eq!(outcome.transactions.len(), 5);
        over.join(1);
    });
}

#[test]
fn no_more_threads_work_than_may_be_active() {
    for active in [1, 2, 4] {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let case = {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            working(24, move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(2));
                now.fetch_sub(1, Ordering::SeqCst) > 0
            })
        };
        let config = EngineConfig {
            active_threads_max: NonZeroUsize::new(active).unwrap(),
            batch_gas_max: 0,
            ..EngineConfig::default()
        };
        let engine = Engine::new(case.chain.clone(), pool(8), config);
        run(&case, &engine, &options(StrategyChoice::Optimistic)).unwrap();
        assert_eq!(most.load(Ordering::SeqCst), active);
    }
}
