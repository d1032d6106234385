//! The EVM as a machine of the scheduler: revm executes, this module says what it read, learnt and wrote.

mod ahead;
mod asked;
mod batches;
mod changes;
mod codes;
mod db;
mod handler;
mod hashes;
mod hints;
mod journal;
mod ledger;
mod machine;
mod observation;
mod precompiles;
mod recall;
mod steps;
mod stream;
mod transfer;
mod untold;
mod value;
mod writes;

pub(crate) use batches::Batching;
pub(crate) use recall::Recall;
pub(crate) use stream::EvmStream;
#[cfg(all(test, not(feature = "loom")))]
pub(crate) use value::EvmKey;
