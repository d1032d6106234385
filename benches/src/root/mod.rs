//! The state root: of a block over a large state, in bulk, and how its cost grows.
//!
//! | | |
//! |---|---|
//! | [`World`] | a generated state and its blocks |
//! | [`Contest`] | the same blocks by [`Ssmt`](citius_state::ssmt::Ssmt) on one and two threads, by an incremental root on `alloy-trie`, and the bare hashing of the same nodes, interleaved |
//! | [`sealing()`] | seals one behind the other, to see what an idea is worth |
//! | [`bulk()`] | a whole state out of nothing: leaves a second, bytes a leaf |
//! | [`growth()`] | from few leaves to many, from few writes to many; [`plot()`] draws it |

mod bulk;
mod contest;
mod growth;
mod hashing;
mod incremental;
mod incremental_state;
mod machine;
mod plot;
mod sealing;
mod times;
mod world;

pub use bulk::{BulkFigures, MemoryFigures, bulk};
pub use contest::{BlockFigures, Contest, Contestants};
pub use growth::growth;
pub use hashing::BareHashing;
pub use incremental::{IncrementalTrie, LeafValue};
pub use incremental_state::{AccountLeaf, IncrementalState};
pub use machine::{MachineFigures, Threads};
pub use plot::plot;
pub use sealing::{SealingFigures, sealing};
pub use times::Times;
pub use world::{Shape, World, Writes};
