use super::Trace;
use crate::{Size, THREADS};
use alloy_primitives::{Address, B256, U256};
use citius_engine::{Engine, EngineConfig, ExecuteOptions, StrategyChoice, WorkerPool, chain::ChainSpec};
use citius_node::recorded::{RecordedBlock, block_folders};
use citius_state::{Account, MemoryState, ReadError, StateReader};
use parking_lot::Mutex;
use revm::bytecode::Bytecode;
use std::{collections::HashMap, env, error::Error, path::Path, sync::Arc};

/// What recorded blocks read, accounts and slots, block after block in the order of their numbers; a block reads a key once,
/// since the engine remembers it. `None` if `CITIUS_CORPUS` is not set; at the smoke size of some blocks alone.
///
/// # Errors
///
/// If a block cannot be read, or is refused.
pub fn recorded(size: Size) -> Result<Option<Trace>, Box<dyn Error>> {
    let Some(corpus) = env::var_os("CITIUS_CORPUS") else { return Ok(None) };
    let chain = ChainSpec::mainnet();
    let data_pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS.get()).build()?;
    let engine = Engine::new(chain.clone(), WorkerPool::unpinned(THREADS)?, EngineConfig::default());
    let options = ExecuteOptions { strategy: StrategyChoice::Serial, ..ExecuteOptions::default() };
    let mut blocks = Vec::new();
    for folder in block_folders(&[Path::new(&corpus).join("mainnet")])?.iter().step_by(size.pick(20, 1)) {
        blocks.push(RecordedBlock::load(folder)?);
    }
    blocks.sort_by_key(|block| block.header.number);
    let keys = Arc::new(Mutex::new(Keys::default()));
    for recorded in blocks {
        let block = Arc::new(recorded.recover(&chain, &data_pool)?);
        let reader = Arc::new(NotingReader { state: recorded.pre_state, keys: Arc::clone(&keys) });
        engine.execute_block(reader, block, &options)?;
    }
    let reads = std::mem::take(&mut keys.lock().reads);
    Ok(Some(Trace::new("recorded".to_owned(), reads)))
}

/// Keys in the order in which they were asked for.
#[derive(Debug, Default)]
struct Keys {
    numbers: HashMap<(Address, Option<U256>), u32>,
    reads: Vec<u32>,
}

impl Keys {
    fn note(&mut self, address: Address, slot: Option<U256>) {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        self.reads.push(*self.numbers.entry((address, slot)).or_insert(next));
    }
}

/// A state that notes what is read.
#[derive(Debug)]
struct NotingReader {
    state: MemoryState,
    keys: Arc<Mutex<Keys>>,
}

impl StateReader for NotingReader {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.keys.lock().note(address, None);
        self.state.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.keys.lock().note(address, Some(slot));
        self.state.storage(address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.state.code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.state.block_hash(number)
    }
}
