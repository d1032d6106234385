//! Other people's stores as contenders in [`citius_benches::stores`].
//!
//! | name | what | memory within the budget |
//! |---|---|---|
//! | `nomt` | NOMT: a binary Merkle trie over Blake3, its own pages and values, direct I/O by io_uring | half for pages, half for leaves; two upper levels of pages beside it |
//! | `nomt-warm` | the same, told of the keys before a commit (`Options::warm_up`) | the same |
//! | `mdbx` | MDBX: a B+tree mapped into memory, no roots | none of its own: between commits it is closed and the system's cache of it emptied |
//!
//! ```text
//! cargo bench --manifest-path benches/peers/Cargo.toml -- [--accounts N] [--contenders NAME,NAME] ..    as `stores -- transfers`
//! ```

mod mdbx;
mod nomt;

pub use self::nomt::NomtContender;
pub use mdbx::MdbxContender;

use citius_benches::stores::{self, Contender, Ground, StoresError};

/// Those who take part unless others are named; of the reference all are told.
pub const NAMES: [&str; 6] = ["nomt", "nomt-warm", "mdbx", "redb", "store", "citius"];

/// Opens one of [`NAMES`].
#[must_use]
pub fn roster(name: &str, ground: &Ground) -> Option<Result<Box<dyn Contender>, StoresError>> {
    let boxed = |nomt| Box::new(nomt) as Box<dyn Contender>;
    match name {
        "nomt" => Some(NomtContender::open(ground, false).map(boxed)),
        "nomt-warm" => Some(NomtContender::open(ground, true).map(boxed)),
        "mdbx" => Some(MdbxContender::open(ground).map(|mdbx| Box::new(mdbx) as Box<dyn Contender>)),
        _ => stores::roster(name, ground),
    }
}

/// What somebody else's library says.
fn peer(error: impl std::fmt::Display) -> StoresError {
    StoresError::Peer(error.to_string())
}
