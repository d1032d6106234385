//! Chains: which rules hold at which block, from built-in presets or a geth genesis file.

mod genesis;
mod precompile;
mod spec;

pub use genesis::{Genesis, GenesisError};
pub use precompile::{CustomPrecompile, PrecompileFn};
pub use spec::ChainSpec;
