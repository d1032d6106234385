//! What goes wrong on a guess must not count: neither a failed read, nor a panic, nor a limit.

use crate::{
    case::{ALICE, BOB, CAROL, Case, ask, call, check_same, pay},
    code::{Code, created_by, deploys},
    schedule::Order,
    support::{STRANGER, WAYS, check_usable, expected, options, pool},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use citius_engine::{
    Block, Engine, EngineConfig, ExecuteOptions, ExecutionError, StrategyChoice,
    chain::CustomPrecompile,
    scheduler::{EntryIndex, Incarnation, ScheduleFuzz},
};
use citius_state::{Account, MemoryState, ReadError, StateKey, StateReader};
use revm::{
    bytecode::Bytecode, bytecode::opcode as op, precompile::PrecompileOutput, primitives::hardfork::SpecId,
};
use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

const FACTORY: Address = Address::repeat_byte(0xfa);
const FRAGILE: Address = Address::repeat_byte(0xff);
const SWITCH: Address = Address::repeat_byte(0x50);
const READS: Address = Address::repeat_byte(0x4e);

/// Lets the first two transactions begin once the third is inside a read, and ends that read, in an error, when
/// both have had time to land.
#[derive(Default)]
struct Meanwhile {
    is_inside: Mutex<bool>,
    entered: Condvar,
}

impl Meanwhile {
    fn enter(&self) {
        *self.is_inside.lock().unwrap() = true;
        self.entered.notify_all();
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl ScheduleFuzz for Meanwhile {
    fn before_execute(&self, entry: EntryIndex, incarnation: Incarnation, _is_transaction: bool) {
        if entry.0 < 2 && incarnation.0 == 0 {
            let inside = self.is_inside.lock().unwrap();
            let patience = Duration::from_secs(10);
            let (inside, _) = self.entered.wait_timeout_while(inside, patience, |inside| !*inside).unwrap();
            assert!(*inside, "nobody reads the slot");
        }
    }
}

/// Does not know one slot, and says so late.
struct Ignorant {
    state: MemoryState,
    unknown: Address,
    meanwhile: Arc<Meanwhile>,
}

impl StateReader for Ignorant {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.state.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        if address != self.unknown {
            return self.state.storage(address, slot);
        }
        self.meanwhile.enter();
        Err(ReadError::NotInWitness { key: StateKey::Storage(address, slot) })
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.state.code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.state.block_hash(number)
    }
}

/// The slot is unknown, and must not be needed: by its turn the contract was destroyed and created again.
#[test]
fn a_read_that_fails_before_a_reset_does_not_count() {
    let mortal = Code::new()
        .op(op::CALLDATASIZE)
        .when(Code::new().ops(&[op::CALLER, op::SELFDESTRUCT]))
        .load(1)
        .store(2)
        .bytes();
    let init = deploys(Code::new(), &mortal);
    let child = created_by(FACTORY, &init);
    let case = Case::new(SpecId::SHANGHAI)
        .with_contract(child, 0, mortal)
        .with_contract(FACTORY, 0, Code::new().create2(&init, 0).bytes())
        .with(ask(ALICE, 0, child, 1))
        .with(call(BOB, 0, FACTORY))
        .with(call(CAROL, 0, child));
    let expected = expected(&case);
    assert!(expected.transactions.iter().all(|transaction| transaction.result.is_success()));
    for _ in 0..3 {
        let meanwhile = Arc::new(Meanwhile::default());
        let reader =
            Ignorant { state: case.state.clone(), unknown: child, meanwhile: Arc::clone(&meanwhile) };
        let options = ExecuteOptions { fuzz: Some(meanwhile), ..options(StrategyChoice::Optimistic) };
        let engine = Engine::new(case.chain.clone(), pool(4), EngineConfig::default());
        check_same(&case.execute_with(&engine, Arc::new(reader), &options).unwrap(), &expected, "guessed");
    }
}

/// A precompile that falls over when it is told 1; `SWITCH` says 1 until the first transaction.
fn fragile() -> Case {
    let run = |input: &Bytes, _gas: u64, reservoir: u64| {
        assert!(input.last() != Some(&1), "the precompile fell over");
        Ok(PrecompileOutput::new(0, Bytes::new(), reservoir))
    };
    let turn = Code::new().argument().store(0).op(op::STOP);
    let follow = Code::new()
        .load(0)
        .push(0)
        .op(op::MSTORE)
        .ops(&[op::PUSH1, 0, op::PUSH1, 0, op::PUSH1, 32, op::PUSH1, 0, op::PUSH1, 0])
        .push_address(FRAGILE)
        .ops(&[op::GAS, op::CALL])
        .store(9);
    let code = Code::new().op(op::CALLDATASIZE).when(turn).ops(&follow.bytes()).bytes();
    let mut case = Case::new(SpecId::CANCUN)
        .with_contract(SWITCH, 0, code)
        .with_slot(SWITCH, 0, 1)
        .with(ask(ALICE, 0, SWITCH, 2))
        .with(call(BOB, 0, SWITCH))
        .with(pay(CAROL, 0, STRANGER, 1));
    case.chain = case.chain.with_precompile(CustomPrecompile { address: FRAGILE, run: Arc::new(run) });
    case
}

fn backwards(case: &Case, config: EngineConfig) -> Result<citius_engine::BlockOutcome, ExecutionError> {
    let transactions = case.block.transactions.len() as u32;
    let order = Arc::new(Order::backwards(case.begin_steps(), transactions));
    let fuzz = Some(Arc::clone(&order) as Arc<dyn ScheduleFuzz>);
    let options = ExecuteOptions { fuzz, ..options(StrategyChoice::Optimistic) };
    let engine = Engine::new(case.chain.clone(), pool(transactions as usize + 1), config);
    let answer = case.execute_with(&engine, Arc::new(case.state.clone()), &options);
    assert!(order.was_kept());
    check_usable(&engine);
    answer
}

#[test]
fn a_panic_on_a_guess_does_not_count() {
    let case = fragile();
    let expected = expected(&case);
    for _ in 0..5 {
        check_same(&backwards(&case, EngineConfig::default()).unwrap(), &expected, "backwards");
    }
}

#[test]
fn a_panic_in_a_later_block_leaves_the_earlier_ones_standing() {
    let mut case = fragile();
    case.state.set_storage(SWITCH, U256::ZERO, U256::from(2));
    let mut blocks = [Block { transactions: Vec::new(), ..case.block.clone() }, case.block.clone()];
    // The first block does much; the second, submitted with it, turns the switch to 1 and follows it.
    blocks[0].transactions = case.block.transactions[1..2].to_vec();
    let refused = Case::new(SpecId::CANCUN).with(ask(ALICE, 0, SWITCH, 1)).with(call(BOB, 1, SWITCH));
    blocks[1].transactions = refused.block.transactions;
    blocks[1].header.number += 1;
    for (strategy, workers) in WAYS {
        for _ in 0..10 {
            let engine = Engine::new(case.chain.clone(), pool(workers), EngineConfig::default());
            let mut stream = engine.stream(Arc::new(case.state.clone()), &options(strategy));
            blocks.iter().for_each(|block| stream.submit(Arc::new(block.clone())));
            assert_eq!(stream.next().unwrap().unwrap().transactions.len(), 1, "{strategy} on {workers}");
            let message = "the precompile fell over".into();
            assert_eq!(stream.next().unwrap().unwrap_err(), ExecutionError::WorkerPanicked { message });
        }
    }
}

#[test]
fn what_is_committed_takes_no_memory_any_more() {
    // Each transaction reads many slots of one contract: their observations, all kept, would not fit.
    let code = (0..40).fold(Code::new(), |code, slot| code.load(slot).op(op::POP)).bytes();
    let case = Case::new(SpecId::SHANGHAI).with_contract(READS, 0, code);
    let case = (0..200).fold(case, |case, nonce| case.with(call(ALICE, nonce, READS)));
    let config = |bytes| EngineConfig {
        memory_per_block_bytes_max: bytes,
        look_ahead_entries_max: 4,
        // An entry of several would have the reads of all.
        batch_gas_max: 0,
        ..EngineConfig::default()
    };
    let run = |bytes| {
        let engine = Engine::new(case.chain.clone(), pool(2), config(bytes));
        case.execute_with(&engine, Arc::new(case.state.clone()), &options(StrategyChoice::Optimistic))
    };
    let expected = expected(&case);
    // 44 locations, and four entries of 43 reads.
    check_same(&run(100_000).unwrap(), &expected, "in 100 kB");
    let error = run(8_000).unwrap_err();
    assert_eq!(error, ExecutionError::MemoryLimit { limit_bytes: 8_000 });
}
