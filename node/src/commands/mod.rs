//! One module a command, and what those that measure share.

mod bench;
mod device_args;
mod hash_bench;
mod measure_args;
mod number;
mod output;
mod progress;
mod recorded_blocks;
mod replay;
mod soak;
mod state;
mod stress;
mod table;
mod topology;
mod workload_blocks;

pub(crate) use hash_bench::{HashBenchArgs, hash_bench};
pub(crate) use replay::{ReplayArgs, replay};
pub(crate) use soak::{SoakArgs, soak};
pub(crate) use state::{StateArgs, state};
pub(crate) use stress::{StressArgs, stress};
pub(crate) use table::{TableArgs, table};
pub(crate) use topology::{TopologyArgs, topology};

/// What a command's exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All results match, or there was nothing to compare.
    Match,
    /// Some result does not.
    Mismatch,
}

impl Verdict {
    fn of(matches: bool) -> Self {
        if matches { Self::Match } else { Self::Mismatch }
    }
}
