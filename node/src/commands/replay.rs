use super::{
    Verdict,
    bench::{Bench, Placement},
    measure_args::MeasureArgs,
    output::{self, JsonFile},
    progress::Progress,
};
use crate::{
    chain, clock, compare,
    contest::BlockContest,
    execution::Case,
    recorded::{RecordedBlock, RecordedError, RecordedOutcome, block_folders},
    report::{self, Entry, StreamEntry, Subject, Total},
    streams,
};
use anyhow::{Context, Result, bail};
use citius_engine::{Block, chain::ChainSpec};
use citius_topology::ProfileChoice;
use clap::Args;
use rayon::prelude::*;
use revm::primitives::hardfork::SpecId;
use serde::Serialize;
use std::{
    collections::HashSet,
    fs, mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
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

    /// Write each block's parallel result as DIR/<name of the block's folder>.json, in the form of expected.json
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// mainnet, sepolia, hoodi, or the path of a geth genesis file
    #[arg(long, value_name = "CHAIN", default_value = "mainnet")]
    chain: String,
}

/// How often senders are recovered, for a median.
const RECOVERIES: usize = 5;

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

/// A block ready to be executed.
struct Prepared {
    recorded: RecordedBlock,
    block: Arc<Block>,
    recover_ns: u64,
}

pub(crate) fn replay(args: &ReplayArgs) -> Result<Verdict> {
    output::with_report(args.measure.json.as_deref(), |file| run(args, file))
}

fn run(args: &ReplayArgs, file: Option<&JsonFile>) -> Result<Verdict> {
    let chain = chain::from_argument(&args.chain)?;
    let folders = block_folders(&args.folders)?;
    let bench = Bench::start(&args.measure)?;
    let blocks = prepare(&bench, &chain, &folders)?;
    if let Some(out) = &args.out {
        check_names(&blocks)?;
        fs::create_dir_all(out).with_context(|| format!("{}: cannot be created", out.display()))?;
    }
    let (entries, streams) = execute(args, &bench, &chain, blocks)?;

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
    output::print(&report::text(Subject::Block, &entries, &streams, &total))?;
    Ok(Verdict::of(total.matches))
}

/// Reads and decodes all blocks, then recovers their senders, block by block.
fn prepare(bench: &Bench, chain: &ChainSpec, folders: &[PathBuf]) -> Result<Vec<Prepared>> {
    let progress = Progress::new(folders.len());
    progress.say("reading blocks");
    let load = |folder: &PathBuf| {
        let block = RecordedBlock::load(folder);
        progress.step();
        block
    };
    let loaded: Vec<Result<RecordedBlock, RecordedError>> =
        bench.data_pool.install(|| folders.par_iter().map(load).collect());
    let prepare = |recorded: Result<RecordedBlock, RecordedError>| {
        let recorded = recorded?;
        let recover = || {
            let start = Instant::now();
            let block = recorded.recover(chain, &bench.data_pool)?;
            Ok::<_, RecordedError>((block, clock::nanoseconds(start.elapsed())))
        };
        let (block, first_ns) = recover()?;
        let mut samples_ns = vec![first_ns];
        for _ in 1..RECOVERIES {
            samples_ns.push(recover()?.1);
        }
        Ok(Prepared { recorded, block: Arc::new(block), recover_ns: clock::median(samples_ns) })
    };
    loaded.into_iter().map(prepare).collect()
}

fn check_names(blocks: &[Prepared]) -> Result<()> {
    let mut names = HashSet::new();
    for Prepared { recorded, .. } in blocks {
        if !names.insert(&recorded.name) {
            bail!("two folders are named {}: with --out, expected folders of different names", recorded.name);
        }
    }
    Ok(())
}

/// Executes all blocks; entries come in the order of `blocks`.
fn execute(
    args: &ReplayArgs,
    bench: &Bench,
    chain: &ChainSpec,
    mut blocks: Vec<Prepared>,
) -> Result<(Vec<Entry>, Vec<StreamEntry>)> {
    let groups = if args.measure.stream {
        streams::group(blocks.iter().map(|block| &block.recorded))
    } else {
        (0..blocks.len()).map(|index| vec![index]).collect()
    };
    let progress = Progress::new(groups.len() * bench.repeat);
    let mut entries: Vec<Option<Entry>> = blocks.iter().map(|_| None).collect();
    let mut streams = Vec::new();
    for group in groups {
        let case = case(bench, chain, &mut blocks, &group);
        let dirs: Vec<String> = group.iter().map(|index| blocks[*index].recorded.name.clone()).collect();
        progress.say(&dirs.join(" + "));
        let contest = bench.contest(&case, &progress);
        for (position, (index, found)) in group.iter().zip(&contest.blocks).enumerate() {
            let prepared = &blocks[*index];
            let mut entry = Entry::new(prepared.recorded.name.clone(), &case, position, found);
            entry.recover_ns = prepared.recover_ns;
            check(&mut entry, chain, &prepared.recorded, found);
            if let Some(out) = &args.out {
                write_result(out, chain, &prepared.recorded, found)?;
            }
            entries[*index] = Some(entry);
        }
        if dirs.len() > 1 {
            streams.push(StreamEntry::new(None, dirs, &contest.whole));
        }
    }
    Ok((entries.into_iter().flatten().collect(), streams))
}

/// The blocks of one group; takes their pre-states, which nothing else needs.
fn case(bench: &Bench, chain: &ChainSpec, blocks: &mut [Prepared], group: &[usize]) -> Case {
    let state = if let [single] = group {
        mem::take(&mut blocks[*single].recorded.pre_state)
    } else {
        let stream: Vec<(&RecordedBlock, Arc<Block>)> =
            group.iter().map(|index| (&blocks[*index].recorded, Arc::clone(&blocks[*index].block))).collect();
        streams::state_before(&bench.executor, chain, &stream)
    };
    Case {
        chain: chain.clone(),
        state: Arc::new(state),
        blocks: group.iter().map(|index| Arc::clone(&blocks[*index].block)).collect(),
    }
}

/// Compares an executed block with its header and with what was recorded of it.
fn check(entry: &mut Entry, chain: &ChainSpec, recorded: &RecordedBlock, found: &BlockContest) {
    entry.record_note = recorded.contradiction();
    let Ok(outcome) = &found.parallel else { return };
    let has_status = has_status(chain, recorded);
    entry.add_mismatch(compare::header(outcome, &recorded.header, has_status));
    if let Some(expected) = &recorded.expected {
        entry.add_mismatch(compare::recorded(outcome, expected, has_status));
    }
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

/// Receipts hold a status from Byzantium on ([EIP-658](https://eips.ethereum.org/EIPS/eip-658)).
fn has_status(chain: &ChainSpec, recorded: &RecordedBlock) -> bool {
    chain.spec_id(&recorded.header).is_enabled_in(SpecId::BYZANTIUM)
}
