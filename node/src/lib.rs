//! The library behind the `citius` binary: commands over recorded blocks, workloads and the machine.
//!
//! `main.rs` only calls [`cli::main`]. What benches and tests use as well:
//!
//! - [`recorded`] reads blocks from folders, recovers their senders, and writes what became of them;
//! - [`baseline`] is plain revm over a `CacheDB`, the outside yardstick of time;
//! - [`configs`] turns a plan into the bounds of engine, state trie, store and disk;
//! - [`execution`] is the only caller of the engine, [`clock`] takes the time, [`contest`] interleaves both, and
//!   [`compare`] says whether results are equal;
//! - [`hashing`] has messages hashed by the processor and by devices in turns;
//! - [`roots`] are a block's roots and the trie before it, [`roots_contest`] takes the time up to the state root;
//! - [`soak`] executes blocks over a state on disk;
//! - [`limits`] is what perfect scheduling would make of a block;
//! - [`leaves`] reads states from files;
//! - [`streams`] makes one sequence of consecutive blocks;
//! - [`report`] turns it all into JSON and a table.
//!
//! Bad input is a typed error, never a panic.

pub mod baseline;
pub mod chain;
pub mod cli;
pub mod clock;
mod commands;
pub mod compare;
pub mod configs;
pub mod contest;
pub mod execution;
pub mod hashing;
pub mod leaves;
pub mod limits;
pub mod recorded;
pub mod report;
pub mod roots;
pub mod roots_contest;
pub mod soak;
pub mod streams;
