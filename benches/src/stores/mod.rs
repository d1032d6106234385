//! Durable stores: random transfers by everyone, how Citius' store grows, what a durable block costs, one node a key.
//!
//! | | |
//! |---|---|
//! | [`contest()`] | [`Transfers`] by every [`Contender`], each in a process of its own, in turns |
//! | [`curves()`] | size, checkpoints, appends and recovery of the store as its state grows; [`plot_curves()`] draws them |
//! | [`commits()`] | blocks a second with checkpoints in the background and without, and what a block costs beyond its sync |
//! | [`nodes()`] | the same trie one node a key in a plain store, against pages |
//!
//! Peers whose builds take long or need more than a Rust compiler are contenders in `benches/peers`, a workspace of its own.

mod citius;
mod commits;
mod contender;
mod contest;
mod curves;
mod error;
mod filling;
mod node_trie;
mod nodes;
mod options;
mod plot;
mod redb;
mod transfers;

pub use self::redb::RedbContender;
pub use citius::{DurableContender, StoreContender};
pub use commits::{CommitFigures, commits};
pub use contender::{
    Contender, Ground, Roster, Taken, VALUE_BYTES, account_of, disk_of, forget_files, value_of,
};
pub use contest::{ContenderFigures, ContestFigures, Driver, Filled, Turn, contest, contest_here, take_part};
pub use curves::{CurvePoint, curves};
pub use error::StoresError;
pub use node_trie::NodeTrie;
pub use nodes::{NodesFigures, nodes};
pub use options::Options;
pub use plot::plot_curves;
pub use transfers::{Commit, Expected, Transfers, Write, change_set, digest, save, saved};

use std::time::{SystemTime, UNIX_EPOCH};

/// Those who can take part wherever this builds.
pub const NAMES: [&str; 3] = ["citius", "store", "redb"];

/// Opens one of [`NAMES`].
#[must_use]
pub fn roster(name: &str, ground: &Ground) -> Option<Result<Box<dyn Contender>, StoresError>> {
    match name {
        "citius" => Some(DurableContender::open(ground).map(|state| Box::new(state) as Box<dyn Contender>)),
        "store" => Some(StoreContender::open(ground).map(|store| Box::new(store) as Box<dyn Contender>)),
        "redb" => Some(RedbContender::open(ground).map(|redb| Box::new(redb) as Box<dyn Contender>)),
        _ => None,
    }
}

/// A number that is another one at each opening of a store.
pub(crate) fn random() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
