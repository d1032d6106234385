use super::{
    Verdict,
    bench::{Bench, Placement},
    measure_args::{MeasureArgs, ModeArgs},
    output::{self, JsonFile},
    recorded_blocks::{RecordedBlocks, has_status},
    workload_blocks::Finds,
};
use crate::{
    chain,
    contest::BlockContest,
    recorded::{RecordedBlock, RecordedOutcome, block_folders},
    report::{self, Entry, StreamEntry, Subject, Total},
};
use anyhow::{Context, Result, bail};
use citius_engine::chain::ChainSpec;
use citius_topology::ProfileChoice;
use clap::Args;
use serde::Serialize;
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  citius replay blocks/20852412                     One block
  citius replay blocks/ --repeat 9 --json run.json  All blocks in a folder
  citius replay blocks/ --strategy optimistic --threads 8
  citius replay blocks/7279999 blocks/7280000 --stream --out results/
  citius replay blocks/ --chain my-genesis.json
  citius replay blocks/ --limits                    What scheduling leaves on the table

A block's folder holds block.json, pre_state.json, block_hashes.json and, to compare with,
expected.json, each plain or zstd-compressed (.json.zst).

Exit codes: 0 all results match, 1 some do not, 2 bad input or usage.";

/// Execute recorded blocks serially and in parallel, and check the results
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReplayArgs {
    /// A block's folder, or a folder of such folders
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,

    #[command(flatten)]
    measure: MeasureArgs,

    #[command(flatten)]
    mode: ModeArgs,

    /// Write each block's parallel result as DIR/<name of the block's folder>.json, in the form of expected.json
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// mainnet, sepolia, hoodi, or the path of a geth genesis file
    #[arg(long, value_name = "CHAIN", default_value = "mainnet")]
    chain: String,
}

/// The machine-readable report.
#[derive(Serialize)]
struct Report<'a> {
    profile: &'a ProfileChoice,
    placement: &'a Placement,
    repeat: usize,
    blocks: &'a [Entry],
    streams: &'a [StreamEntry],
    total: &'a Total,
}

pub(crate) fn replay(args: &ReplayArgs) -> Result<Verdict> {
    output::with_report(args.measure.run.json.as_deref(), |file| run(args, file))
}

fn run(args: &ReplayArgs, file: Option<&JsonFile>) -> Result<Verdict> {
    let chain = chain::from_argument(&args.chain)?;
    let folders = block_folders(&args.folders)?;
    let bench = Bench::start(&args.measure.run, args.measure.repeat)?;
    let mut blocks = RecordedBlocks::load(&bench, chain, &folders)?;
    if let Some(out) = &args.out {
        check_names(&blocks)?;
        fs::create_dir_all(out).with_context(|| format!("{}: cannot be created", out.display()))?;
    }
    let groups = if args.mode.stream { blocks.groups() } else { blocks.singles() };
    let write = |chain: &ChainSpec, recorded: &RecordedBlock, found: &BlockContest| match &args.out {
        Some(out) => write_result(out, chain, recorded, found),
        None => Ok(()),
    };
    let finds = Finds { limits: args.mode.limits, roots: true };
    let (entries, streams) = blocks.contest(&bench, finds, groups, write)?;

    let total = Total::of(&entries);
    if let Some(file) = file {
        file.write(&Report {
            profile: &bench.plan.profile,
            placement: &bench.placement,
            repeat: bench.repeat,
            blocks: &entries,
            streams: &streams,
            total: &total,
        })?;
    }
    bench.tell_of_devices();
    output::print(&report::text(Subject::Block, &entries, &streams, &total))?;
    Ok(Verdict::of(total.matches))
}

fn check_names(blocks: &RecordedBlocks) -> Result<()> {
    let mut names = HashSet::new();
    for name in blocks.names() {
        if !names.insert(name) {
            bail!("two folders are named {name}: with --out, expected folders of different names");
        }
    }
    Ok(())
}

/// A refused block has no result to write, and keeps none of an earlier run.
fn write_result(out: &Path, chain: &ChainSpec, recorded: &RecordedBlock, found: &BlockContest) -> Result<()> {
    let path = out.join(format!("{}.json", recorded.name));
    match &found.parallel {
        Ok(outcome) => {
            let result = RecordedOutcome::of(outcome, has_status(chain, recorded));
            JsonFile::create(&path)?.write(&result)
        }
        Err(_) => output::remove(&path),
    }
}
