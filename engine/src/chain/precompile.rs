use alloy_primitives::{Address, Bytes};
use revm::precompile::PrecompileResult;
use std::{fmt, sync::Arc};

/// A precompile's body: `(input, gas_limit, state_gas_reservoir) -> result`. Must be a pure function.
pub type PrecompileFn = dyn Fn(&Bytes, u64, u64) -> PrecompileResult + Send + Sync;

/// A precompiled contract that a chain adds to (or puts in place of) those of its fork.
#[derive(Clone)]
pub struct CustomPrecompile {
    /// Where it is called.
    pub address: Address,
    /// What it does.
    pub run: Arc<PrecompileFn>,
}

impl fmt::Debug for CustomPrecompile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomPrecompile").field("address", &self.address).finish_non_exhaustive()
    }
}
