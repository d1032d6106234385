use super::{
    Verdict,
    bench::{Bench, Placement},
    measure_args::MeasureArgs,
    number::whole_number,
    output::{self, JsonFile},
    progress::Progress,
    recorded_blocks::RecordedBlocks,
    workload_blocks::{Finds, as_stream, block_by_block},
};
use crate::{
    chain,
    recorded::block_folders,
    report::{self, Entry, GainsRow, StreamEntry},
};
use anyhow::Result;
use citius_engine::chain::ChainSpec;
use citius_topology::ProfileChoice;
use citius_workloads::{WorkloadKind, WorkloadSpec, generate, standard_suite};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  citius table                            What the generated workloads gain
  citius table --blocks blocks/           And recorded blocks
  citius table --threads 2 --repeat 12 --json table.json
  citius table --shrink 100 --repeat 1    Whether it works; figures tell nothing

Columns: `Serial` over `CacheDB` is the time of a plain revm loop over a CacheDB in terms of the engine's
serial strategy; parallel over the faster is the shorter of these two in terms of the strategy asked for,
one block at a time, and as a stream of consecutive blocks; CPU time is that strategy's, all threads, in
terms of serial's; perfect on 2 lanes is what a schedule would gain over the transactions' serial times
that knows all beforehand and costs nothing.

Exit codes: 0 all results match, 1 some do not, 2 bad input or usage.";

/// Execute generated workloads and recorded blocks in every way, and print what is gained as a Markdown table
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TableArgs {
    /// A recorded block's folder, or a folder of such folders; may be given several times. Blocks of at least 4 Mgas
    /// and 30 transactions are summed up, and those that follow one another run as streams too
    #[arg(long, value_name = "DIR")]
    blocks: Vec<PathBuf>,

    /// The recorded blocks' chain: mainnet, sepolia, hoodi, or the path of a geth genesis file
    #[arg(long, value_name = "CHAIN", default_value = "mainnet")]
    chain: String,

    /// Generate so many times fewer transactions and accounts
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole_number::<u32, 1, SHRINK_MAX>)]
    shrink: u32,

    #[command(flatten)]
    measure: MeasureArgs,
}

/// From here on every workload is of one transaction.
const SHRINK_MAX: u64 = 10_000;

/// Consecutive blocks of the workload that is mixed like the main network.
const MAINNET_LIKE_BLOCKS: u32 = 20;

/// The machine-readable report.
#[derive(Serialize)]
struct Report<'a> {
    profile: &'a ProfileChoice,
    placement: &'a Placement,
    repeat: usize,
    shrink: u32,
    #[serde(flatten)]
    measured: &'a Measured,
}

/// All that was measured.
#[derive(Default, Serialize)]
struct Measured {
    rows: Vec<GainsRow>,
    /// Blocks one at a time.
    blocks: Vec<Entry>,
    /// Blocks as parts of streams.
    stream_blocks: Vec<Entry>,
    streams: Vec<StreamEntry>,
}

pub(crate) fn table(args: &TableArgs) -> Result<Verdict> {
    output::with_report(args.measure.run.json.as_deref(), |file| run(args, file))
}

fn run(args: &TableArgs, file: Option<&JsonFile>) -> Result<Verdict> {
    let chain = chain::from_argument(&args.chain)?;
    let folders = block_folders(&args.blocks)?;
    let bench = Bench::start(&args.measure.run, args.measure.repeat)?;
    let mut measured = Measured::default();
    generated(&bench, &specs(args.shrink), &mut measured)?;
    if !folders.is_empty() {
        recorded(&bench, chain, &folders, &mut measured)?;
    }

    if let Some(file) = file {
        file.write(&Report {
            profile: &bench.plan.profile,
            placement: &bench.placement,
            repeat: bench.repeat,
            shrink: args.shrink,
            measured: &measured,
        })?;
    }
    bench.tell_of_devices();
    let Measured { rows, blocks, stream_blocks, .. } = measured;
    let entries = [blocks, stream_blocks].concat();
    output::print(&report::markdown(&rows, &entries))?;
    Ok(Verdict::of(entries.iter().all(|entry| entry.matches)))
}

/// The standard suite, with a stream of the blocks that are mixed like the main network.
fn specs(shrink: u32) -> Vec<WorkloadSpec> {
    let mut specs = standard_suite();
    for spec in &mut specs {
        if spec.kind == WorkloadKind::MainnetLike {
            spec.blocks = MAINNET_LIKE_BLOCKS;
        }
        spec.transactions_per_block = (spec.transactions_per_block / shrink).max(1);
        spec.accounts = (spec.accounts / shrink).max(1);
        spec.clusters = spec.clusters.min(spec.accounts);
    }
    specs
}

/// Whatever its size: the kind, and what is not standard of it.
fn name(spec: &WorkloadSpec) -> String {
    let mut name = spec.kind.to_string();
    if spec.conflict_percent != WorkloadSpec::standard(spec.kind).conflict_percent {
        name += &format!(", {} % in conflict", spec.conflict_percent);
    }
    if spec.blocks > 1 {
        name += &format!(", {} blocks", spec.blocks);
    }
    name
}

/// A row for each workload: its blocks one at a time, and, if there are several, as a stream.
fn generated(bench: &Bench, specs: &[WorkloadSpec], measured: &mut Measured) -> Result<()> {
    let runs_of = |spec: &WorkloadSpec| spec.blocks as usize + usize::from(spec.blocks > 1);
    let progress = Progress::new(specs.iter().map(runs_of).sum::<usize>() * bench.repeat);
    for spec in specs {
        progress.say(&spec.to_string());
        let finds = Finds { limits: true, roots: false };
        let blocks = block_by_block(bench, &progress, finds, spec, generate(spec)?)?;
        let mut row = GainsRow::of(name(spec), &blocks);
        measured.blocks.extend(blocks);
        if spec.blocks > 1 {
            let finds = Finds { limits: false, roots: false };
            let (blocks, stream) = as_stream(bench, &progress, finds, spec, generate(spec)?)?;
            row = row.with_streams(&blocks, std::slice::from_ref(&stream));
            measured.stream_blocks.extend(blocks);
            measured.streams.push(stream);
        }
        measured.rows.push(row);
    }
    Ok(())
}

/// Rows for the large blocks, and for those that follow one another.
fn recorded(bench: &Bench, chain: ChainSpec, folders: &[PathBuf], measured: &mut Measured) -> Result<()> {
    let mut recorded = RecordedBlocks::load(bench, chain, folders)?;
    let mut consecutive = recorded.groups();
    consecutive.retain(|group| group.len() > 1);
    // First, as single blocks give their pre-states away.
    let (stream_blocks, streams) =
        recorded.contest(bench, Finds { limits: false, roots: false }, consecutive, |_, _, _| Ok(()))?;
    let singles = recorded.singles();
    let (blocks, _) =
        recorded.contest(bench, Finds { limits: true, roots: false }, singles, |_, _, _| Ok(()))?;
    measured.rows.extend(recorded_rows(&blocks, &stream_blocks, &streams));
    measured.blocks.extend(blocks);
    measured.stream_blocks.extend(stream_blocks);
    measured.streams.extend(streams);
    Ok(())
}

fn recorded_rows(blocks: &[Entry], stream_blocks: &[Entry], streams: &[StreamEntry]) -> [GainsRow; 4] {
    let mut large: Vec<Entry> = blocks.iter().filter(|entry| entry.is_large()).cloned().collect();
    large.sort_by_key(|entry| entry.serial_ns);
    let all_but_heaviest = &large[..large.len().saturating_sub(1)];
    let is_consecutive = |entry: &&Entry| streams.iter().any(|stream| stream.dirs.contains(&entry.dir));
    let consecutive: Vec<Entry> = blocks.iter().filter(is_consecutive).cloned().collect();
    [
        GainsRow::of("recorded large blocks, in total", &large),
        GainsRow::of("all but the heaviest, in total", all_but_heaviest),
        GainsRow::geomean("recorded large blocks, geometric mean", &large),
        GainsRow::of("recorded blocks that follow one another", &consecutive)
            .with_streams(stream_blocks, streams),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_row_has_a_name_of_its_own_and_can_be_generated_at_any_size() {
        for shrink in [1, 7, 1_000, u32::try_from(SHRINK_MAX).unwrap()] {
            let specs = specs(shrink);
            specs.iter().for_each(|spec| spec.validate().unwrap());
            let names: HashSet<String> = specs.iter().map(name).collect();
            assert_eq!(names.len(), specs.len(), "{names:?}");
        }
    }
}
