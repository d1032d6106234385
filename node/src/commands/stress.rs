use super::{
    Verdict,
    bench::{Bench, Placement},
    measure_args::{MeasureArgs, ModeArgs},
    number::whole_number,
    output::{self, JsonFile},
    progress::Progress,
    workload_blocks::{Finds, as_stream, block_by_block},
};
use crate::report::{self, Entry, StreamEntry, Subject, Total};
use anyhow::Result;
use citius_topology::ProfileChoice;
use citius_workloads::{WorkloadKind, WorkloadSpec, generate, standard_suite};
use clap::Args;
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  citius stress                                     The standard suite
  citius stress --kind erc20 --conflict-percent 20  A fifth in conflict
  citius stress --kind amm-pairs --transactions 5000 --accounts 20000 --seed 7
  citius stress --kind transfers-chain --kind mint-rush --threads 4 --repeat 9
  citius stress --kind mainnet-like --blocks 20     Blocks like recorded ones
  citius stress --kind erc20 --blocks 10 --stream --json stream.json
  citius stress --limits                            What scheduling leaves on the table

Exit codes: 0 all results match, 1 some do not, 2 bad input or usage.";

/// Execute generated workloads serially and in parallel, and compare the results
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StressArgs {
    /// What transactions do; may be given several times [default: the standard suite] [kinds: transfers-independent,
    /// transfers-one-to-many, transfers-many-to-one, transfers-chain, erc20, amm-pairs, amm-clusters, mint-rush,
    /// mainnet-like]
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<WorkloadKind>,

    /// Transactions in every block
    #[arg(long, value_name = "N")]
    transactions: Option<u32>,

    /// Accounts that send [default: two per transaction of a block]
    #[arg(long, value_name = "N")]
    accounts: Option<u32>,

    /// Consecutive blocks
    #[arg(long, value_name = "N")]
    blocks: Option<u32>,

    /// How many of a block's transactions conflict, in percent; not in mainnet-like, which has conflicts of its own
    #[arg(long, value_name = "PERCENT", value_parser = whole_number::<u8, 0, 100>)]
    conflict_percent: Option<u8>,

    /// Groups of traders that share nothing, in amm-clusters
    #[arg(long, value_name = "N")]
    clusters: Option<u32>,

    /// Chooses everything that is random
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,

    #[command(flatten)]
    measure: MeasureArgs,

    #[command(flatten)]
    mode: ModeArgs,
}

/// The machine-readable report.
#[derive(Serialize)]
struct Report<'a> {
    profile: &'a ProfileChoice,
    placement: &'a Placement,
    repeat: usize,
    workloads: &'a [Entry],
    streams: &'a [StreamEntry],
    total: &'a Total,
}

pub(crate) fn stress(args: &StressArgs) -> Result<Verdict> {
    output::with_report(args.measure.run.json.as_deref(), |file| run(args, file))
}

fn run(args: &StressArgs, file: Option<&JsonFile>) -> Result<Verdict> {
    let specs = specs(args);
    for spec in &specs {
        spec.validate()?;
    }
    let bench = Bench::start(&args.measure.run, args.measure.repeat)?;
    let runs_of = |spec: &WorkloadSpec| if args.mode.stream { 1 } else { spec.blocks as usize };
    let progress = Progress::new(specs.iter().map(runs_of).sum::<usize>() * bench.repeat);
    let (mut entries, mut streams) = (Vec::new(), Vec::new());
    let finds = Finds { limits: args.mode.limits, roots: true };
    for spec in &specs {
        progress.say(&spec.to_string());
        let workload = generate(spec)?;
        if args.mode.stream {
            let (blocks, stream) = as_stream(&bench, &progress, finds, spec, workload)?;
            entries.extend(blocks);
            streams.push(stream);
        } else {
            entries.extend(block_by_block(&bench, &progress, finds, spec, workload)?);
        }
    }
    drop(progress);

    let total = Total::of(&entries);
    if let Some(file) = file {
        file.write(&Report {
            profile: &bench.plan.profile,
            placement: &bench.placement,
            repeat: bench.repeat,
            workloads: &entries,
            streams: &streams,
            total: &total,
        })?;
    }
    bench.tell_of_devices();
    output::print(&report::text(Subject::Workload, &entries, &streams, &total))?;
    Ok(Verdict::of(total.matches))
}

/// The kinds asked for at their standard size, or the standard suite; then whatever else was asked for.
fn specs(args: &StressArgs) -> Vec<WorkloadSpec> {
    let base = match args.kinds.as_slice() {
        [] => standard_suite(),
        kinds => kinds.iter().map(|kind| WorkloadSpec::standard(*kind)).collect(),
    };
    let mut specs: Vec<WorkloadSpec> = Vec::with_capacity(base.len());
    for mut spec in base {
        if let Some(transactions) = args.transactions {
            spec.transactions_per_block = transactions;
            spec.accounts = transactions.saturating_mul(2);
        }
        spec.accounts = args.accounts.unwrap_or(spec.accounts);
        spec.blocks = args.blocks.unwrap_or(spec.blocks);
        if spec.kind.has_conflict_percent() {
            spec.conflict_percent = args.conflict_percent.unwrap_or(spec.conflict_percent);
        }
        spec.seed = args.seed.unwrap_or(spec.seed);
        spec.clusters = match args.clusters {
            Some(clusters) if spec.kind == WorkloadKind::AmmClusters => clusters,
            _ => spec.clusters.min(spec.accounts.max(1)),
        };
        // Specs of the suite may fall together.
        if !specs.contains(&spec) {
            specs.push(spec);
        }
    }
    specs
}
