//! One small block, executed every way there is.

use crate::{
    oracle::oracle_block,
    schedule::{GivesUp, Order},
};
use alloy_consensus::Header;
use alloy_hardforks::{EthereumHardfork, EthereumHardforks};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use citius_engine::{
    Block, BlockError, BlockOutcome, Engine, EngineConfig, ExecuteOptions, ExecutionError, StrategyChoice,
    Transaction, WorkerPool, chain::ChainSpec, scheduler::ScheduleFuzz,
};
use citius_state::{Account, MemoryState, StateReader};
use revm::{bytecode::Bytecode, context::TxEnv, primitives::hardfork::SpecId};
use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

pub(crate) const ALICE: Address = Address::repeat_byte(0xa1);
pub(crate) const BOB: Address = Address::repeat_byte(0xb0);
pub(crate) const CAROL: Address = Address::repeat_byte(0xca);
pub(crate) const MINER: Address = Address::repeat_byte(0xcb);
/// What Alice, Bob and Carol have before the block.
pub(crate) const RICH: u64 = 1_000_000_000_000_000_000;
pub(crate) const BASE_FEE: u64 = 7;
/// What [`call`] and [`create`] offer for a unit of gas.
pub(crate) const GAS_PRICE: u64 = 10;

/// Executions at each thread count: schedules differ from one to the next.
const REPETITIONS: usize = 20;

/// A block on a state under some rules.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) chain: ChainSpec,
    pub(crate) spec: SpecId,
    pub(crate) state: MemoryState,
    pub(crate) block: Block,
}

/// What the block did, the same every way.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) outcome: BlockOutcome,
    pub(crate) after: MemoryState,
}

/// A call without value or data.
pub(crate) fn call(from: Address, nonce: u64, to: Address) -> TxEnv {
    TxEnv {
        caller: from,
        nonce,
        kind: TxKind::Call(to),
        gas_limit: 400_000,
        gas_price: GAS_PRICE.into(),
        chain_id: None,
        ..TxEnv::default()
    }
}

/// A call with one word of data.
pub(crate) fn ask(from: Address, nonce: u64, to: Address, data: u64) -> TxEnv {
    TxEnv { data: crate::code::word(data), ..call(from, nonce, to) }
}

/// A call with a value, and just the gas for it.
pub(crate) fn pay(from: Address, nonce: u64, to: Address, value: u64) -> TxEnv {
    TxEnv { value: U256::from(value), gas_limit: 21_000, ..call(from, nonce, to) }
}

/// A creation.
pub(crate) fn create(from: Address, nonce: u64, init: Bytes) -> TxEnv {
    TxEnv { kind: TxKind::Create, data: init, ..call(from, nonce, Address::ZERO) }
}

impl Case {
    /// A block without transactions; Alice, Bob and Carol are rich.
    pub(crate) fn new(spec: SpecId) -> Self {
        let is = |fork| spec.is_enabled_in(fork);
        let header = Header {
            number: 10,
            parent_hash: keccak256([9]),
            beneficiary: MINER,
            timestamp: 1_000,
            gas_limit: 30_000_000,
            difficulty: if is(SpecId::MERGE) { U256::ZERO } else { U256::from(7) },
            base_fee_per_gas: is(SpecId::LONDON).then_some(BASE_FEE),
            excess_blob_gas: is(SpecId::CANCUN).then_some(0),
            parent_beacon_block_root: is(SpecId::CANCUN).then_some(keccak256([10])),
            ..Header::default()
        };
        let mut case = Self {
            chain: ChainSpec::with_all_forks_until(1, spec),
            spec,
            state: MemoryState::complete(),
            block: Block { header, ..Block::default() },
        };
        for address in [ALICE, BOB, CAROL] {
            case = case.with_balance(address, RICH);
        }
        case
    }

    pub(crate) fn with_account(mut self, address: Address, account: Account) -> Self {
        self.state.set_account(address, account);
        self
    }

    pub(crate) fn with_balance(self, address: Address, balance: u64) -> Self {
        self.with_account(address, Account { balance: U256::from(balance), ..Account::EMPTY })
    }

    /// A contract of nonce 1.
    pub(crate) fn with_contract(mut self, address: Address, balance: u64, code: Bytes) -> Self {
        let code_hash = self.state.set_code(Bytecode::new_legacy(code));
        self.with_account(address, Account { balance: U256::from(balance), nonce: 1, code_hash })
    }

    pub(crate) fn with_slot(mut self, address: Address, slot: u64, value: u64) -> Self {
        self.state.set_storage(address, U256::from(slot), U256::from(value));
        self
    }

    pub(crate) fn with(mut self, env: TxEnv) -> Self {
        let hash = B256::from(U256::from(self.block.transactions.len() + 1));
        self.block.transactions.push(Transaction::new(env, hash));
        self
    }

    /// Executes the block every way, and expects every way to end alike.
    pub(crate) fn executes(&self) -> Done {
        match self.answer() {
            Ok(outcome) => {
                let mut after = self.state.clone();
                after.apply(&outcome.changes);
                Done { outcome, after }
            }
            Err(error) => panic!("refused: {error}"),
        }
    }

    /// Executes the block every way, and expects it to be refused alike every way.
    pub(crate) fn is_refused(&self) -> BlockError {
        match self.answer() {
            Ok(_) => panic!("executed, but it should be refused"),
            Err(ExecutionError::Refused(error)) => error,
            Err(error) => panic!("no verdict: {error}"),
        }
    }

    /// Executes the block serially, compares with the oracle and with all parallel ways.
    fn answer(&self) -> Result<BlockOutcome, ExecutionError> {
        let pool = |threads| WorkerPool::unpinned(NonZeroUsize::new(threads).unwrap()).unwrap();
        let serial = self.execute(&self.engine(&pool(1)), StrategyChoice::Serial, None);
        self.check_against_oracle(&serial);
        if let Ok(outcome) = &serial {
            assert_eq!(outcome.metrics.strategy, "serial");
        }
        for threads in [2, 4, 8] {
            let engine = self.engine(&pool(threads));
            for repetition in 0..REPETITIONS {
                let answer = self.execute(&engine, StrategyChoice::Optimistic, None);
                check_equal(&answer, &serial, &format!("{threads} threads, repetition {repetition}"));
            }
        }
        for threads in [1, 3] {
            let answer = self.execute(&self.engine(&pool(threads)), StrategyChoice::Partitioned, None);
            check_equal(&answer, &serial, &format!("partitioned, {threads} threads"));
        }
        for batch_gas_max in [60_000, 400_000, u64::MAX] {
            let engine = self.engine_with_batches(&pool(3), batch_gas_max);
            let answer = self.execute(&engine, StrategyChoice::Optimistic, None);
            check_equal(&answer, &serial, &format!("entries of {batch_gas_max} gas"));
            let answer = self.execute(&engine, StrategyChoice::Optimistic, Some(Arc::new(GivesUp)));
            check_equal(&answer, &serial, &format!("given up, with entries of {batch_gas_max} gas"));
        }
        self.check_backwards(&serial);
        serial
    }

    /// The last transaction is executed first: every guess is as wrong as it can be.
    fn check_backwards(&self, serial: &Result<BlockOutcome, ExecutionError>) {
        if let Err(ExecutionError::Refused(BlockError::HeaderField { .. })) = serial {
            // No transaction need be executed.
            return;
        }
        let transactions = self.block.transactions.len();
        let order = Arc::new(Order::backwards(self.begin_steps(), transactions as u32));
        let pool = WorkerPool::unpinned(NonZeroUsize::new(transactions + 1).unwrap()).unwrap();
        let fuzz = Arc::clone(&order) as Arc<dyn ScheduleFuzz>;
        let answer = self.execute(&self.engine(&pool), StrategyChoice::Optimistic, Some(fuzz));
        check_equal(&answer, serial, "backwards");
        assert!(order.was_kept(), "transactions were not executed backwards");
    }

    /// Executes once, the first executions in a given order, and compares with serial.
    pub(crate) fn check_in_order(&self, order: &[u32]) {
        let pool = WorkerPool::unpinned(NonZeroUsize::new(order.len() + 1).unwrap()).unwrap();
        let engine = self.engine(&pool);
        let serial = self.execute(&engine, StrategyChoice::Serial, None);
        self.check_against_oracle(&serial);
        let schedule = Arc::new(Order::new(self.begin_steps(), order.to_vec()));
        let fuzz = Arc::clone(&schedule) as Arc<dyn ScheduleFuzz>;
        let answer = self.execute(&engine, StrategyChoice::Optimistic, Some(fuzz));
        check_equal(&answer, &serial, &format!("in order {order:?}"));
        assert!(schedule.was_kept(), "transactions were not executed in order {order:?}");
    }

    /// An engine for the case's chain, every transaction an entry of its own.
    pub(crate) fn engine(&self, pool: &Arc<WorkerPool>) -> Engine {
        self.engine_with_batches(pool, 0)
    }

    /// An engine for the case's chain, with entries of up to this much work.
    fn engine_with_batches(&self, pool: &Arc<WorkerPool>, batch_gas_max: u64) -> Engine {
        let config = EngineConfig { batch_gas_max, batches_per_thread_min: 0, ..EngineConfig::default() };
        Engine::new(self.chain.clone(), Arc::clone(pool), config)
    }

    fn execute(
        &self,
        engine: &Engine,
        strategy: StrategyChoice,
        fuzz: Option<Arc<dyn ScheduleFuzz>>,
    ) -> Result<BlockOutcome, ExecutionError> {
        let options = ExecuteOptions { strategy, fuzz, ..ExecuteOptions::default() };
        self.execute_with(engine, Arc::new(self.state.clone()), &options)
    }

    /// Executes the block once, on the state that a reader shows. Changes come sorted.
    pub(crate) fn execute_with(
        &self,
        engine: &Engine,
        reader: Arc<dyn StateReader>,
        options: &ExecuteOptions,
    ) -> Result<BlockOutcome, ExecutionError> {
        let mut answer = engine.execute_block(reader, Arc::new(self.block.clone()), options);
        if let Ok(outcome) = &mut answer {
            outcome.changes.sort();
        }
        answer
    }

    /// Steps before the first transaction.
    pub(crate) fn begin_steps(&self) -> u32 {
        let dao_fork = self.chain.ethereum_fork_activation(EthereumHardfork::Dao);
        let refunds = dao_fork.transitions_at_block(self.block.header.number);
        let calls = [SpecId::CANCUN, SpecId::PRAGUE].map(|fork| self.spec.is_enabled_in(fork));
        calls.into_iter().chain([refunds]).map(u32::from).sum()
    }

    fn check_against_oracle(&self, serial: &Result<BlockOutcome, ExecutionError>) {
        let checked = match (oracle_block(&self.chain, &self.state, &self.block), serial) {
            (Ok(theirs), Ok(ours)) => theirs.check(&self.state, ours),
            (Err(theirs), Err(ours)) => theirs.check(ours),
            (Ok(_), Err(ours)) => Err(format!("the oracle executes it, the engine says {ours}")),
            (Err(theirs), Ok(_)) => Err(format!("the engine executes it, the oracle says {}", theirs.reason)),
        };
        checked.unwrap_or_else(|difference| panic!("serial against the oracle: {difference}"));
    }
}

/// Compares a parallel answer with the serial one, all but the metrics.
fn check_equal(
    answer: &Result<BlockOutcome, ExecutionError>,
    serial: &Result<BlockOutcome, ExecutionError>,
    how: &str,
) {
    match (answer, serial) {
        (Ok(ours), Ok(theirs)) => {
            assert_ne!(ours.metrics.strategy, "serial", "{how}");
            check_same(ours, theirs, how);
        }
        (Err(ours), Err(theirs)) => assert_eq!(ours, theirs, "{how}"),
        (ours, theirs) => panic!(
            "{how}: {:?}, serial: {:?}",
            ours.as_ref().map(|_| "executed"),
            theirs.as_ref().map(|_| "executed")
        ),
    }
}

/// Compares two outcomes whose changes are sorted, all but the metrics.
pub(crate) fn check_same(ours: &BlockOutcome, theirs: &BlockOutcome, how: &str) {
    assert_eq!(ours.transactions, theirs.transactions, "{how}");
    assert_eq!(ours.changes, theirs.changes, "{how}");
    assert_eq!(ours.requests, theirs.requests, "{how}");
    assert_eq!(ours.logs_bloom, theirs.logs_bloom, "{how}");
    assert_eq!((ours.gas_used, ours.blob_gas_used), (theirs.gas_used, theirs.blob_gas_used), "{how}");
}

impl Done {
    pub(crate) fn account(&self, address: Address) -> Option<Account> {
        self.after.account(address).unwrap()
    }

    pub(crate) fn balance(&self, address: Address) -> u64 {
        self.account(address).unwrap_or_default().balance.to()
    }

    /// The code of an account, empty if it has none.
    pub(crate) fn code(&self, address: Address) -> Bytes {
        let account = self.account(address).unwrap_or_default();
        if account.has_code() {
            self.after.code(account.code_hash).unwrap().original_bytes()
        } else {
            Bytes::new()
        }
    }

    pub(crate) fn slot(&self, address: Address, slot: u64) -> u64 {
        self.after.storage(address, U256::from(slot)).unwrap().to()
    }

    /// All slots that are not zero.
    pub(crate) fn storage(&self, address: Address) -> BTreeMap<u64, u64> {
        let slots = self.after.slots(address).filter(|(_, value)| !value.is_zero());
        slots.map(|(slot, value)| (slot.to(), value.to())).collect()
    }

    /// Which transactions succeeded.
    pub(crate) fn statuses(&self) -> Vec<bool> {
        self.outcome.transactions.iter().map(|transaction| transaction.result.is_success()).collect()
    }

    /// Gas used by one transaction.
    pub(crate) fn gas(&self, index: usize) -> u64 {
        self.outcome.transactions[index].gas_used()
    }
}
