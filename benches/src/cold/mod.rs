//! Blocks whose state is cold: in a store of which hardly anything is in memory.
//!
//! [`execution`] times them beside the same blocks over a state in memory; [`corpus`] seals recorded and generated blocks, laid over a
//! generated state, at several memory budgets, and compares every root with that of the trie in memory.

mod corpus;
mod execution;
mod ground;

pub use corpus::{BudgetFigures, corpus};
pub use execution::{ColdFigures, execution};
pub use ground::{Ground, Options};
