//! Streams of blocks: what one block does is there for the next, and an invalid one ends the stream.

use crate::{
    case::{ALICE, BOB, CAROL, Case, ask, call, check_same, pay},
    code::{Code, created_by, deploys},
    oracle::oracle_block,
    schedule::Order,
};
use alloy_hardforks::{EthereumHardfork, ForkCondition};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use citius_engine::{
    Block, BlockError, BlockOutcome, Engine, EngineConfig, ExecuteOptions, ExecutionError, StrategyChoice,
    Transaction, WorkerPool, chain::ChainSpec, scheduler::ScheduleFuzz,
};
use citius_state::{MemoryState, StateReader};
use revm::{bytecode::opcode as op, context::TxEnv, primitives::hardfork::SpecId};
use std::{num::NonZeroUsize, sync::Arc};

const STRANGER: Address = Address::repeat_byte(0x57);
const COUNTER: Address = Address::repeat_byte(0xc0);
const FACTORY: Address = Address::repeat_byte(0xfa);

type Answers = Vec<Result<BlockOutcome, ExecutionError>>;

/// Consecutive blocks on a state.
struct Stream {
    chain: ChainSpec,
    state: MemoryState,
    blocks: Vec<Block>,
}

impl Stream {
    /// The case's chain and state, and a block for each list of transactions.
    fn new(case: Case, transactions: Vec<Vec<TxEnv>>) -> Self {
        let mut header = case.block.header;
        let blocks = transactions
            .into_iter()
            .map(|envs| {
                let hash = |index| B256::from(U256::from(index));
                let transactions: Vec<_> = envs
                    .into_iter()
                    .enumerate()
                    .map(|(index, env)| Transaction::new(env, hash(index)))
                    .collect();
                let block = Block { header: header.clone(), transactions, ..Block::default() };
                header.parent_hash = header.hash_slow();
                header.number += 1;
                header.timestamp += 12;
                block
            })
            .collect();
        Self { chain: case.chain, state: case.state, blocks }
    }

    fn pool(threads: usize) -> Arc<WorkerPool> {
        WorkerPool::unpinned(NonZeroUsize::new(threads).unwrap()).unwrap()
    }

    fn options(strategy: StrategyChoice) -> ExecuteOptions {
        ExecuteOptions { strategy, ..ExecuteOptions::default() }
    }

    /// All blocks submitted at once, then taken.
    fn run(&self, engine: &Engine, options: &ExecuteOptions) -> Answers {
        let mut stream = engine.stream(Arc::new(self.state.clone()), options);
        for block in &self.blocks {
            stream.submit(Arc::new(block.clone()));
        }
        let mut answers: Answers = std::iter::from_fn(|| stream.next()).collect();
        answers.iter_mut().flatten().for_each(|outcome| outcome.changes.sort());
        answers
    }

    /// One block after the other, each on the state that the one before left, and by the oracle.
    fn run_apart(&self, engine: &Engine) -> Answers {
        let mut state = self.state.clone();
        let mut answers = Answers::new();
        for block in &self.blocks {
            state.set_block_hash(block.header.number - 1, block.header.parent_hash);
            let options = Self::options(StrategyChoice::Serial);
            let mut answer = engine.execute_block(Arc::new(state.clone()), Arc::new(block.clone()), &options);
            let theirs = oracle_block(&self.chain, &state, block);
            let checked = match (&mut answer, &theirs) {
                (Ok(ours), Ok(theirs)) => {
                    ours.changes.sort();
                    theirs.check(&state, ours)
                }
                (Err(ours), Err(theirs)) => theirs.check(ours),
                _ => Err("one refuses, the other does not".into()),
            };
            checked.unwrap_or_else(|difference| panic!("block {}: {difference}", block.header.number));
            let Ok(outcome) = &answer else {
                answers.push(answer);
                break;
            };
            state.apply(&outcome.changes);
            answers.push(answer);
        }
        answers
    }

    /// Runs the stream every way; the answers up to the first refusal are those of the blocks alone.
    fn answers(&self) -> (Answers, MemoryState) {
        let engine = |threads| Engine::new(self.chain.clone(), Self::pool(threads), EngineConfig::default());
        let apart = self.run_apart(&engine(1));
        let serial = self.run(&engine(1), &Self::options(StrategyChoice::Serial));
        check(&serial[..apart.len()], &apart, "serial stream against its blocks");
        for threads in [2, 4, 8] {
            let engine = engine(threads);
            for repetition in 0..20 {
                let answers = self.run(&engine, &Self::options(StrategyChoice::Optimistic));
                check(&answers, &serial, &format!("{threads} threads, repetition {repetition}"));
                for outcome in answers.iter().flatten() {
                    assert_eq!(outcome.metrics.strategy, "optimistic");
                }
            }
            let answers = self.run(&engine, &Self::options(StrategyChoice::Partitioned));
            check(&answers, &serial, &format!("partitioned, {threads} threads"));
        }
        let narrow = EngineConfig {
            look_ahead_blocks_max: NonZeroUsize::MIN,
            look_ahead_entries_max: 2,
            ..EngineConfig::default()
        };
        let narrow = Engine::new(self.chain.clone(), Self::pool(4), narrow);
        let answers = self.run(&narrow, &Self::options(StrategyChoice::Optimistic));
        check(&answers, &serial, "without look-ahead");

        let mut state = self.state.clone();
        for outcome in serial.iter().flatten() {
            state.apply(&outcome.changes);
        }
        (serial, state)
    }

    /// Runs once, the last transaction of the last block first. For blocks without begin steps.
    fn check_backwards(&self, serial: &Answers) {
        let mut entries = Vec::new();
        let mut first = 0;
        for block in &self.blocks {
            let count = block.transactions.len() as u32;
            entries.extend(first..first + count);
            // The credits stand behind the transactions.
            first += count + 1;
        }
        entries.reverse();
        let pool = Self::pool(entries.len() + 1);
        let engine = Engine::new(self.chain.clone(), pool, EngineConfig::default());
        let order = Arc::new(Order::new(0, entries));
        let fuzz = Some(Arc::clone(&order) as Arc<dyn ScheduleFuzz>);
        let options = ExecuteOptions { fuzz, ..Self::options(StrategyChoice::Optimistic) };
        check(&self.run(&engine, &options), serial, "backwards");
        assert!(order.was_kept(), "transactions were not executed backwards");
    }
}

fn check(
    ours: &[Result<BlockOutcome, ExecutionError>],
    theirs: &[Result<BlockOutcome, ExecutionError>],
    how: &str,
) {
    assert_eq!(ours.len(), theirs.len(), "{how}");
    for (index, pair) in ours.iter().zip(theirs).enumerate() {
        let how = format!("{how}, block {index}");
        match pair {
            (Ok(ours), Ok(theirs)) => check_same(ours, theirs, &how),
            (Err(ours), Err(theirs)) => assert_eq!(ours, theirs, "{how}"),
            _ => panic!("{how}: one refuses, the other does not"),
        }
    }
}

fn counter() -> Bytes {
    Code::new().load(0).push(1).op(op::ADD).store(0).bytes()
}

#[test]
fn a_stream_equals_its_blocks_one_by_one() {
    // Stores the hash of the block before the last.
    let witness =
        Code::new().ops(&[op::PUSH1, 2, op::NUMBER, op::SUB, op::BLOCKHASH, op::NUMBER, op::SSTORE]).bytes();
    let mut case =
        Case::new(SpecId::SHANGHAI).with_contract(COUNTER, 0, counter()).with_contract(STRANGER, 0, witness);
    case.state.set_block_hash(8, keccak256([8]));
    let block = |round| {
        vec![
            call(ALICE, 2 * round, COUNTER),
            call(BOB, round, STRANGER),
            call(ALICE, 2 * round + 1, COUNTER),
            pay(CAROL, round, BOB, 1),
        ]
    };
    let stream = Stream::new(case, (0..3).map(block).collect());
    let (answers, after) = stream.answers();
    assert!(answers.iter().all(Result::is_ok));
    stream.check_backwards(&answers);
    assert_eq!(after.storage(COUNTER, U256::ZERO), Ok(U256::from(6)));
    let stored = |number| B256::from(after.storage(STRANGER, U256::from(number)).unwrap());
    assert_eq!([stored(10), stored(11)], [keccak256([8]), keccak256([9])]);
    assert_eq!(stored(12), stream.blocks[0].header.hash_slow());
}

#[test]
fn an_invalid_block_ends_the_stream_and_what_stands_before_it_stands() {
    let case = Case::new(SpecId::SHANGHAI).with_contract(COUNTER, 0, counter());
    let stream = Stream::new(
        case,
        vec![
            vec![call(ALICE, 0, COUNTER), call(BOB, 0, COUNTER)],
            vec![call(ALICE, 1, COUNTER), call(BOB, 2, COUNTER), call(CAROL, 0, COUNTER)],
            vec![call(ALICE, 2, COUNTER), call(BOB, 1, COUNTER)],
        ],
    );
    let (answers, after) = stream.answers();
    stream.check_backwards(&answers);
    let [Ok(first), Err(ExecutionError::Refused(second)), Err(ExecutionError::Refused(third))] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!(first.transactions.len(), 2);
    assert!(matches!(second, BlockError::InvalidTransaction { index: 1, .. }), "{second}");
    assert_eq!(third, &BlockError::AncestorRefused { number: 11, error: Box::new(second.clone()) });
    assert_eq!(third.transaction_index(), None);
    assert_eq!(after.storage(COUNTER, U256::ZERO), Ok(U256::from(2)));
}

#[test]
fn an_invalid_first_block_leaves_nothing() {
    let stream = Stream::new(
        Case::new(SpecId::SHANGHAI),
        vec![vec![pay(ALICE, 0, BOB, 1), pay(ALICE, 0, BOB, 1)], vec![pay(ALICE, 1, BOB, 1)], vec![]],
    );
    let (answers, _) = stream.answers();
    let refused = |answer: &Result<_, _>| {
        matches!(answer, Err(ExecutionError::Refused(BlockError::AncestorRefused { number: 10, .. })))
    };
    assert!(matches!(
        &answers[0],
        Err(ExecutionError::Refused(BlockError::InvalidTransaction { index: 1, .. }))
    ));
    assert!(refused(&answers[1]) && refused(&answers[2]));
}

#[test]
fn a_sender_is_funded_by_the_block_before() {
    let poor = Address::repeat_byte(0x90);
    let blocks =
        |second| vec![vec![pay(ALICE, 0, poor, 210_005)], vec![pay(BOB, 0, STRANGER, 1), second], vec![]];
    let stream = Stream::new(Case::new(SpecId::SHANGHAI), blocks(pay(poor, 0, STRANGER, 5)));
    let (answers, after) = stream.answers();
    stream.check_backwards(&answers);
    assert_eq!(after.account(STRANGER).unwrap().unwrap().balance, U256::from(6));
    let (answers, _) = Stream::new(Case::new(SpecId::SHANGHAI), blocks(pay(poor, 0, STRANGER, 6))).answers();
    assert!(matches!(
        &answers[1],
        Err(ExecutionError::Refused(BlockError::InvalidTransaction { index: 1, .. }))
    ));
}

#[test]
fn a_contract_lives_dies_and_lives_again_across_blocks() {
    // Given data, destroys itself; else counts in slot 0.
    let destroy = Code::new().ops(&[op::CALLER, op::SELFDESTRUCT]);
    let runtime = Code::new().op(op::CALLDATASIZE).when(destroy).load(0).push(1).op(op::ADD).store(0).bytes();
    let init = deploys(Code::new().push(7).store(7), &runtime);
    let child = created_by(FACTORY, &init);
    let case = Case::new(SpecId::SHANGHAI)
        .with_contract(FACTORY, 0, Code::new().create2(&init, 0).bytes())
        .with_contract(child, 9, runtime)
        .with_slot(child, 0, 40)
        .with_slot(child, 1, 41);
    let stream = Stream::new(
        case,
        vec![
            vec![call(ALICE, 0, child), ask(BOB, 0, child, 1)],
            vec![call(ALICE, 1, child), call(BOB, 1, FACTORY), call(CAROL, 0, child)],
            vec![call(ALICE, 2, child), call(CAROL, 1, child)],
        ],
    );
    let (answers, after) = stream.answers();
    stream.check_backwards(&answers);
    let slot = |slot| after.storage(child, U256::from(slot)).unwrap().to::<u64>();
    assert_eq!([slot(0), slot(1), slot(7)], [3, 0, 7]);
    let change = |block: usize| answers[block].as_ref().unwrap().changes.account(child).unwrap();
    assert_eq!(change(0).after, None);
    assert!(change(1).before.is_none() && change(1).after.is_some());
    assert!(!change(2).storage_wiped);
}

#[test]
fn a_fork_in_the_middle_of_a_stream_changes_the_rules() {
    // Destroys itself in favour of its caller: after Cancun it does not.
    let mortal = Code::new().ops(&[op::CALLER, op::SELFDESTRUCT]).bytes();
    let (one, two) = (Address::repeat_byte(1), Address::repeat_byte(2));
    let mut case =
        Case::new(SpecId::SHANGHAI).with_contract(one, 5, mortal.clone()).with_contract(two, 5, mortal);
    // The second block's time.
    case.chain = case.chain.with_fork(EthereumHardfork::Cancun, ForkCondition::Timestamp(1_012));
    let mut stream = Stream::new(
        case,
        vec![
            vec![call(ALICE, 0, one), pay(BOB, 0, STRANGER, 1)],
            vec![call(ALICE, 1, two), pay(BOB, 1, STRANGER, 1)],
        ],
    );
    stream.blocks[1].header.excess_blob_gas = Some(0);
    stream.blocks[1].header.parent_beacon_block_root = Some(B256::ZERO);
    let (_, after) = stream.answers();
    assert_eq!(after.account(one), Ok(None));
    let two = after.account(two).unwrap().unwrap();
    assert!(two.has_code() && two.balance.is_zero());
}
