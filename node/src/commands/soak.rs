use super::{
    Verdict,
    bench::Bench,
    measure_args::RunArgs,
    number::whole_number,
    output::{self, JsonFile},
    progress::Progress,
};
use crate::soak::{self, SoakReport, SoakSettings};
use anyhow::{Context, Result};
use citius_topology::ProfileChoice;
use citius_workloads::{WorkloadKind, WorkloadSpec, generate};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  citius soak --datadir state/                     Token transfers, ten blocks
  citius soak --datadir state/ --kind mainnet-like --blocks 100 --json soak.json
  citius soak --datadir state/ --kind amm-pairs --accounts 200000 --profile small.toml

The profile says how much memory nodes, values and pages may take, how much of the disk the state, and how it is read. What is made in
the directory is left there: `citius state stats --datadir state/` tells of it.

Exit codes: 0 all results match, 1 some do not, 2 bad input or usage.";

/// Execute generated blocks over a state on disk, each durable before the next, and compare them with the state in memory
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SoakArgs {
    /// Where the state is made: an empty directory, or one that is made
    #[arg(long, value_name = "DIR")]
    datadir: PathBuf,

    /// What transactions do [kinds: as of `citius stress`]
    #[arg(long, value_name = "KIND", default_value = "erc20")]
    kind: WorkloadKind,

    /// Consecutive blocks
    #[arg(long, value_name = "N", default_value = "10", value_parser = whole_number::<u32, 1, 10_000>)]
    blocks: u32,

    /// Transactions in every block
    #[arg(long, value_name = "N")]
    transactions: Option<u32>,

    /// Accounts that send [default: two per transaction of all blocks]
    #[arg(long, value_name = "N")]
    accounts: Option<u32>,

    /// Chooses everything that is random
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,

    /// Blocks that no reorganisation reaches any more, and that the profile does not retain, from which on they are brought to the pages
    #[arg(long, value_name = "N", default_value = "64", value_parser = whole_number::<usize, 1, 1_000_000>)]
    checkpoint_every: usize,

    #[command(flatten)]
    run: RunArgs,
}

/// The machine-readable report.
#[derive(Serialize)]
struct Report<'a> {
    profile: &'a ProfileChoice,
    #[serde(flatten)]
    soak: &'a SoakReport,
}

pub(crate) fn soak(args: &SoakArgs) -> Result<Verdict> {
    output::with_report(args.run.json.as_deref(), |file| run(args, file))
}

fn run(args: &SoakArgs, file: Option<&JsonFile>) -> Result<Verdict> {
    let standard = WorkloadSpec::standard(args.kind);
    let transactions = args.transactions.unwrap_or(standard.transactions_per_block);
    let all = transactions.saturating_mul(2).saturating_mul(args.blocks);
    let spec = WorkloadSpec {
        transactions_per_block: transactions,
        accounts: args.accounts.unwrap_or(all.min(10_000_000)),
        blocks: args.blocks,
        seed: args.seed.unwrap_or(standard.seed),
        ..standard
    };
    spec.validate()?;
    let bench = Bench::start(&args.run, 1)?;
    let progress = Progress::new(args.blocks as usize);
    progress.say(&spec.to_string());
    let settings = SoakSettings {
        directory: args.datadir.clone(),
        strategy: args.run.strategy,
        checkpoint_every: args.checkpoint_every,
    };
    let soaked = soak::run(&bench.executor, &bench.plan, &settings, generate(&spec)?, || progress.step());
    drop(progress);
    let report = soaked.with_context(|| format!("the state in {}", args.datadir.display()))?;
    if let Some(file) = file {
        file.write(&Report { profile: &bench.plan.profile, soak: &report })?;
    }
    bench.tell_of_devices();
    output::print(&report.text())?;
    Ok(Verdict::of(report.matches))
}
