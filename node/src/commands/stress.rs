use super::{
    Verdict,
    bench::{Bench, Placement},
    measure_args::MeasureArgs,
    number::whole_number,
    output::{self, JsonFile},
    progress::Progress,
};
use crate::{
    contest::BlockContest,
    execution::Case,
    report::{self, Entry, StreamEntry, Subject, Total, WorkloadLabel},
};
use anyhow::Result;
use citius_topology::ProfileChoice;
use citius_workloads::{Workload, WorkloadKind, WorkloadSpec, generate, standard_suite};
use clap::Args;
use serde::Serialize;
use std::sync::Arc;

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
    output::with_report(args.measure.json.as_deref(), |file| run(args, file))
}

fn run(args: &StressArgs, file: Option<&JsonFile>) -> Result<Verdict> {
    let specs = specs(args);
    for spec in &specs {
        spec.validate()?;
    }
    let bench = Bench::start(&args.measure)?;
    let runs_of = |spec: &WorkloadSpec| if args.measure.stream { 1 } else { spec.blocks as usize };
    let progress = Progress::new(specs.iter().map(runs_of).sum::<usize>() * bench.repeat);
    let (mut entries, mut streams) = (Vec::new(), Vec::new());
    for spec in &specs {
        progress.say(&spec.to_string());
        let workload = generate(spec)?;
        if args.measure.stream {
            as_stream(&bench, &progress, spec, workload, &mut entries, &mut streams);
        } else {
            block_by_block(&bench, &progress, spec, workload, &mut entries);
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

/// Each block on the state that the one before left.
fn block_by_block(
    bench: &Bench,
    progress: &Progress,
    spec: &WorkloadSpec,
    workload: Workload,
    entries: &mut Vec<Entry>,
) {
    let dirs = dirs(&workload);
    let mut state = Arc::new(workload.genesis);
    for (block, dir) in workload.blocks.into_iter().zip(dirs) {
        let hash = block.header.hash_slow();
        let number = block.header.number;
        let case =
            Case { chain: workload.chain.clone(), state: Arc::clone(&state), blocks: vec![Arc::new(block)] };
        let contest = bench.contest(&case, progress);
        let found = &contest.blocks[0];
        entries.push(entry(spec, &workload.name, dir, &case, 0, found));
        drop(case);
        if let Ok(outcome) = &found.serial {
            let state = Arc::make_mut(&mut state);
            state.apply(&outcome.changes);
            state.set_block_hash(number, hash);
        }
    }
}

/// All blocks as one stream.
fn as_stream(
    bench: &Bench,
    progress: &Progress,
    spec: &WorkloadSpec,
    workload: Workload,
    entries: &mut Vec<Entry>,
    streams: &mut Vec<StreamEntry>,
) {
    let (name, dirs) = (workload.name.clone(), dirs(&workload));
    let case = Case::stream(workload);
    let contest = bench.contest(&case, progress);
    for (index, (found, dir)) in contest.blocks.iter().zip(&dirs).enumerate() {
        entries.push(entry(spec, &name, dir.clone(), &case, index, found));
    }
    streams.push(StreamEntry::new(Some(label(spec, &name)), dirs, &contest.whole));
}

fn entry(
    spec: &WorkloadSpec,
    name: &str,
    dir: String,
    case: &Case,
    index: usize,
    found: &BlockContest,
) -> Entry {
    let entry = Entry::new(dir, case, index, found);
    Entry { workload: Some(label(spec, name)), ..entry }
}

fn label(spec: &WorkloadSpec, name: &str) -> WorkloadLabel {
    WorkloadLabel { name: name.to_owned(), conflict_percent: spec.conflict_percent, seed: spec.seed }
}

/// What a workload's blocks are called: as the workload, with their number if there are several.
fn dirs(workload: &Workload) -> Vec<String> {
    let name = &workload.name;
    match workload.blocks.as_slice() {
        [_] => vec![name.clone()],
        blocks => blocks.iter().map(|block| format!("{name}#{}", block.header.number)).collect(),
    }
}
