use citius_engine::StrategyChoice;
use clap::Args;
use std::{num::NonZeroUsize, path::PathBuf};

/// Options of the commands that measure.
#[derive(Debug, Args)]
pub(super) struct MeasureArgs {
    /// Threads that work during a block, the caller included; may exceed the cores, which are then shared
    /// [default: the plan's workers]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<NonZeroUsize>,

    /// How blocks are executed: auto, serial or optimistic
    #[arg(long, value_name = "STRATEGY", default_value = "auto")]
    pub(super) strategy: StrategyChoice,

    /// Interleaved repetitions, of which medians are taken
    #[arg(long, value_name = "R", default_value = "5")]
    pub(super) repeat: NonZeroUsize,

    /// Hardware profile: a shipped one's name or a TOML file [default: picked for this machine]
    #[arg(long, value_name = "PROFILE")]
    pub(super) profile: Option<String>,

    /// Write the results as JSON into this file as well
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,

    /// Execute consecutive blocks as one stream: the next begins while the last still runs
    #[arg(long)]
    pub(super) stream: bool,
}
