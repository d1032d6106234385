//! Parallel block execution whose result always equals sequential revm.
//!
//! The engine takes ordered blocks with recovered senders and a [`StateReader`], and returns outcomes, receipts
//! and a change set. [`Engine::execute_block`] executes one block, [`Engine::stream`] a sequence of them that
//! overlap. Three strategies stand behind one trait ([`scheduler::Strategy`]): `Serial`, `Optimistic` and, for blocks of
//! payments, `Partitioned`; `auto` chooses and says why. The scheduler knows no opcodes: the EVM is one machine behind [`scheduler::Vm`].
//!
//! [`StateReader`]: citius_state::StateReader
//!
//! Executing a block over one's own state:
//!
//! ```
//! use alloy_consensus::Header;
//! use alloy_primitives::{Address, B256, U256};
//! use citius_engine::{
//!     Block, Engine, EngineConfig, ExecuteOptions, Transaction, WorkerPool, chain::ChainSpec,
//! };
//! use citius_state::{Account, ReadError, StateKey, StateReader};
//! use revm::{bytecode::Bytecode, context::TxEnv, primitives::hardfork::SpecId};
//! use std::{num::NonZeroUsize, sync::Arc};
//!
//! /// A state in which everybody is rich.
//! struct Rich;
//!
//! impl StateReader for Rich {
//!     fn account(&self, _address: Address) -> Result<Option<Account>, ReadError> {
//!         Ok(Some(Account { balance: U256::from(10).pow(U256::from(18)), ..Account::EMPTY }))
//!     }
//!     fn storage(&self, _address: Address, _slot: U256) -> Result<U256, ReadError> {
//!         Ok(U256::ZERO)
//!     }
//!     fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
//!         Err(ReadError::NotInWitness { key: StateKey::Code(code_hash) })
//!     }
//!     fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
//!         Err(ReadError::NotInWitness { key: StateKey::BlockHash(number) })
//!     }
//! }
//!
//! let pool = WorkerPool::unpinned(NonZeroUsize::new(2).unwrap())?;
//! let chain = ChainSpec::with_all_forks_until(1, SpecId::SHANGHAI);
//! let engine = Engine::new(chain, pool, EngineConfig::default());
//!
//! let transfer = |from: u8, to: u8| {
//!     let env = TxEnv::builder()
//!         .caller(Address::repeat_byte(from))
//!         .to(Address::repeat_byte(to))
//!         .value(U256::from(5))
//!         .gas_limit(21_000)
//!         .gas_price(1)
//!         .build()
//!         .unwrap();
//!     Transaction::new(env, B256::repeat_byte(from))
//! };
//! let header = Header { number: 1, gas_limit: 30_000_000, base_fee_per_gas: Some(1), ..Header::default() };
//! let block = Block { header, transactions: vec![transfer(1, 9), transfer(2, 9)], ..Block::default() };
//!
//! let outcome = engine.execute_block(Arc::new(Rich), Arc::new(block), &ExecuteOptions::default())?;
//! assert_eq!(outcome.gas_used, 42_000);
//! let nine = outcome.changes.account(Address::repeat_byte(9)).unwrap();
//! assert_eq!(nine.after.unwrap().balance - nine.before.unwrap().balance, U256::from(10));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod cancel;
pub mod chain;
mod engine;
mod error;
mod evm;
mod outcome;
mod parking;
mod policy;
mod pool;
mod receipt;
pub mod scheduler;
mod sync;
mod trace;

pub use block::{Block, Ommer, Transaction};
pub use cancel::CancelToken;
pub use engine::{BlockStream, Engine, EngineConfig, ExecuteOptions};
pub use error::{BlockError, CancelReason, ExecutionError};
pub use outcome::{BlockMetrics, BlockOutcome, PhaseTimes, TransactionOutcome};
pub use policy::{StrategyChoice, UnknownStrategy};
pub use pool::{IdleLease, PoolError, WorkerPool};
pub use trace::{BlockTrace, EntryTrace};
