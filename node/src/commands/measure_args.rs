use super::{device_args::DeviceArgs, number::whole_number};
use citius_engine::StrategyChoice;
use clap::Args;
use std::path::PathBuf;

/// Most threads: far beyond any machine's cores, and still started in a moment.
pub(super) const THREADS_MAX: u64 = 1 << 13;
/// Most repetitions.
const REPEAT_MAX: u64 = 1_000_000;

/// Options of the commands that execute.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Threads that work during a block, the caller included, 1 to 8192; may exceed the cores, which are then shared
    /// [default: the plan's workers]
    #[arg(long, value_name = "N", value_parser = whole_number::<usize, 1, THREADS_MAX>)]
    pub(super) threads: Option<usize>,

    /// How blocks are executed: auto, serial, optimistic or partitioned
    #[arg(long, value_name = "STRATEGY", default_value = "auto")]
    pub(super) strategy: StrategyChoice,

    /// Hardware profile: a shipped one's name or a TOML file [default: picked for this machine]
    #[arg(long, value_name = "PROFILE")]
    pub(super) profile: Option<String>,

    /// Write the results as JSON into this file as well
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,

    #[command(flatten)]
    pub(super) devices: DeviceArgs,
}

/// Options of the commands that measure.
#[derive(Debug, Args)]
pub(super) struct MeasureArgs {
    #[command(flatten)]
    pub(super) run: RunArgs,

    /// Interleaved repetitions, of which medians are taken; multiples of six have each runner in each place equally
    /// often
    #[arg(long, value_name = "R", default_value = "6", value_parser = whole_number::<usize, 1, REPEAT_MAX>)]
    pub(super) repeat: usize,
}

/// Options of the commands that measure whatever they are given.
#[derive(Debug, Args)]
pub(super) struct ModeArgs {
    /// Execute consecutive blocks as one stream: the next begins while the last still runs
    #[arg(long)]
    pub(super) stream: bool,

    /// Print beside what each block reached what perfect scheduling would: its transactions' serial times, laid out
    /// over 2, 4, 16 and unlimited lanes so that none begins before those are done from which it learns something; with
    /// the chains of one sender's transactions, and without. With --stream too these are limits of the single blocks
    #[arg(long)]
    pub(super) limits: bool,
}
