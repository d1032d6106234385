//! Benches, and the tests that keep the rules of the house (`tests/house.rs`).
//!
//! | bench | measures |
//! |---|---|
//! | `blocks` | whole blocks: the engine's strategies and plain revm over a `CacheDB` ([`blocks`]) |
//! | `bounds` | nothing, but computes how far perfect scheduling could spread `mainnet-like` blocks ([`bounds`]) |
//! | `caches` | nothing, but counts how often the policy of the caches, an LRU and the best possible have what is read ([`caches`]) |
//! | `keccak` | batches of messages, hashed by every way of this processor and by `sha3` ([`keccak`]) |
//! | `parts` | the scheduler with a machine that does next to nothing: reads, commits, aborts, wake-ups; the recovery of senders ([`parts`]) |
//! | `root` | the state root of blocks over large states, against bare hashing and an incremental root on `alloy-trie`; bulk builds; how cost grows ([`root`]) |
//! | `stores` | durable stores: random transfers by Citius' store and by redb, how the store grows, what a durable block costs, pages against one node a key ([`stores`]) |
//!
//! ```text
//! cargo bench -p citius-benches                         everything
//! cargo bench -p citius-benches --bench blocks -- amm   what has `amm` in its name
//! cargo bench -p citius-benches --bench root -- block   of `block`, `bulk` and `growth` the first; `--json FILE`, `--svg FILE`
//! CITIUS_CORPUS=DIR cargo bench -p citius-benches       some recorded blocks in DIR/mainnet too
//! cargo test -p citius-benches --benches                each once, at its smoke size
//! ```
//!
//! Everything that is measured is a function of this library that checks its answer before it is timed.
//! `tests/smoke.rs` calls each at [`Size::Smoke`], so that none can rot; numbers are quoted at [`Size::Canonical`].
//!
//! criterion measures one bench after another, and a machine that others share drifts meanwhile. So the numbers are
//! for comparing a change with what was there before it (`-- --save-baseline`, `-- --baseline`); for ratios between
//! strategies `citius stress` and `citius replay` interleave them.

pub mod blocks;
pub mod bounds;
pub mod caches;
pub mod keccak;
pub mod parts;
pub mod root;
pub mod stores;

use std::{env, num::NonZeroUsize, process::Command, thread};

/// Threads that the parallel benches use: what every machine has, so that numbers can be compared.
pub const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// How much a bench does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Enough to see that it works.
    Smoke,
    /// What numbers are quoted at.
    Canonical,
}

impl Size {
    /// The size for this process: [`Size::Smoke`] where `cargo test` runs a bench.
    #[must_use]
    pub fn of_this_run() -> Self {
        let is_measured = env::args().any(|argument| argument == "--bench");
        if is_measured { Self::Canonical } else { Self::Smoke }
    }

    fn pick<T>(self, smoke: T, canonical: T) -> T {
        match self {
            Self::Smoke => smoke,
            Self::Canonical => canonical,
        }
    }
}

/// An answer that a bench must not be timed on.
#[derive(Debug, thiserror::Error)]
#[error("{bench}: {reason}")]
pub struct WrongAnswer {
    /// The bench.
    pub bench: String,
    /// What is wrong with the answer.
    pub reason: String,
}

/// A bench of what several threads do has too few of them.
#[derive(Debug, thiserror::Error)]
#[error("{bench} needs {THREADS} threads, not {at_hand}")]
pub struct TooFewThreads {
    /// The bench.
    pub bench: String,
    /// The threads at hand.
    pub at_hand: NonZeroUsize,
}

impl TooFewThreads {
    fn check(bench: &str, at_hand: NonZeroUsize) -> Result<(), Self> {
        if at_hand < THREADS { Err(Self { bench: bench.to_owned(), at_hand }) } else { Ok(()) }
    }
}

/// Threads that this process may use at one time.
#[must_use]
pub fn threads_at_hand() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// What to quote along with the numbers: the commit, how it was built, the threads at hand. The date is criterion's.
#[must_use]
pub fn banner() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".into());
    let is_clean = git(&["status", "--porcelain"]).is_some_and(|changes| changes.is_empty());
    let changed = if is_clean { "" } else { ", changed since" };
    let build = if cfg!(debug_assertions) { "with debug assertions" } else { "optimised" };
    let threads = threads_at_hand();
    format!("commit {commit}{changed}; built {build}; {threads} threads at hand, {THREADS} used in parallel")
}
