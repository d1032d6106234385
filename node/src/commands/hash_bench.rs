use super::{
    Verdict,
    number::whole_number,
    output::{self, JsonFile},
    progress::Progress,
};
use crate::{
    hashing::{HashLoad, HashResult, contest},
    report::{self, Crossover},
};
use anyhow::{Context, Result};
use citius_hashing::{
    Backend, Calibration, Calibrations, CpuBackend, CpuKind, DispatchConfig, Hasher, processor,
};
use clap::Args;
use serde::Serialize;
use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

const EXAMPLES: &str = "\
Examples:
  citius hash-bench                                 Every way of this processor, and the devices
  citius hash-bench --threads 2 --json hash.json    Two threads at once; as JSON too
  citius hash-bench --sizes 32,532,24576            Messages of these lengths, in bytes
  citius hash-bench --calibrations hash-calibrations.json

Speeds are medians of samples taken in turns; ratios are to `scalar`, which is keccak-asm, one message at a time. A
device pays from the crossover on: batches of as many messages it finishes 20 % earlier than the processor.

Exit codes: 0 all digests are right, 1 some are not, 2 bad input or usage.";

/// The lengths that are measured if no others are asked for: keys, keys of mappings, a block and a byte, full branches.
const SIZES: [usize; 4] = [32, 64, 136, 532];
/// Longest message.
const SIZE_MAX: u64 = 1 << 20;
/// Seed of the mix; any does.
const MIX_SEED: u64 = 1;

/// Measure how fast Keccak-256 is, by every way of this processor and by devices, and from where devices pay
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HashBenchArgs {
    /// Lengths of messages in bytes, with commas between; beside them a mix as of a state trie is measured, and
    /// messages one by one [default: 32,64,136,532]
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = whole_number::<usize, 0, SIZE_MAX>)]
    sizes: Vec<usize>,

    /// Messages in a batch
    #[arg(long, value_name = "N", default_value = "1024", value_parser = whole_number::<usize, 1, 1_000_000>)]
    messages: usize,

    /// Threads that hash at the same time, each its own batches
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole_number::<usize, 1, 8192>)]
    threads: usize,

    /// Samples of each, taken in turns, of which medians are taken
    #[arg(long, value_name = "R", default_value = "11", value_parser = whole_number::<usize, 1, 1_000_000>)]
    repeat: usize,

    /// Write the results as JSON into this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Keep the calibrations in this file, beside those of other machines and devices that it holds
    #[arg(long, value_name = "FILE")]
    calibrations: Option<PathBuf>,
}

/// The machine-readable report.
#[derive(Serialize)]
struct Report<'a> {
    processor: &'a str,
    threads: usize,
    messages: usize,
    repeat: usize,
    results: &'a [HashResult],
    calibrations: &'a [Calibration],
    crossovers: &'a [Crossover],
}

pub(crate) fn hash_bench(args: &HashBenchArgs) -> Result<Verdict> {
    output::with_report(args.json.as_deref(), |file| run(args, &devices(), file))
}

/// The devices of this machine. None are spoken to yet: only the processor is measured.
fn devices() -> Vec<Arc<dyn Backend>> {
    Vec::new()
}

fn run(args: &HashBenchArgs, devices: &[Arc<dyn Backend>], file: Option<&JsonFile>) -> Result<Verdict> {
    // Before anything is measured: it may be no file of calibrations.
    let known = args.calibrations.as_deref().map(Calibrations::load).transpose()?;
    let processor = processor();
    let threads = NonZeroUsize::new(args.threads).unwrap_or(NonZeroUsize::MIN);
    output::print(&format!("{processor}; threads: {threads}\n\n"))?;

    // The scalar way first: ratios are to it.
    let mut backends: Vec<Arc<dyn Backend>> = Vec::new();
    for kind in [CpuKind::Scalar, CpuKind::Generic, CpuKind::Avx2, CpuKind::Avx512] {
        match CpuBackend::new(kind) {
            Ok(backend) => backends.push(Arc::new(backend)),
            Err(unsupported) => eprintln!("skipped: {unsupported}"),
        }
    }
    backends.extend(devices.iter().cloned());

    let loads = loads(args);
    let progress = Progress::new(loads.len() * args.repeat * backends.len() + backends.len());
    let mut results = Vec::new();
    for load in &loads {
        progress.say(&load.name);
        match contest(&backends, load, threads, args.repeat, || progress.step())? {
            Ok(of_load) => results.extend(of_load),
            Err(wrong) => {
                drop(progress);
                eprintln!("error: {wrong}");
                return Ok(Verdict::Mismatch);
            }
        }
    }
    progress.say("calibration");
    // Nobody chooses the twin, and it takes longest.
    backends.retain(|backend| backend.name() != CpuKind::Generic.name());
    let measure = |backend: &Arc<dyn Backend>| {
        let measured = Calibration::measure(&**backend);
        progress.step();
        measured.with_context(|| format!("cannot calibrate {}", backend.name()))
    };
    let calibrations = backends.iter().map(measure).collect::<Result<Vec<_>>>()?;
    drop(progress);

    let crossovers = crossovers(args, &backends, devices.len(), &calibrations);
    if let (Some(mut known), Some(path)) = (known, args.calibrations.as_deref()) {
        calibrations.iter().for_each(|calibration| known.insert(calibration.clone()));
        known.save(path)?;
    }
    if let Some(file) = file {
        file.write(&Report {
            processor: &processor,
            threads: args.threads,
            messages: args.messages,
            repeat: args.repeat,
            results: &results,
            calibrations: &calibrations,
            crossovers: &crossovers,
        })?;
    }
    let names: Vec<&str> = backends.iter().map(|backend| backend.name()).collect();
    output::print(&report::hash_text(&names, &results, &calibrations, &crossovers))?;
    Ok(Verdict::Match)
}

fn sizes(args: &HashBenchArgs) -> &[usize] {
    if args.sizes.is_empty() { &SIZES } else { &args.sizes }
}

fn loads(args: &HashBenchArgs) -> Vec<HashLoad> {
    let mut loads: Vec<HashLoad> =
        sizes(args).iter().map(|len| HashLoad::uniform(*len, args.messages)).collect();
    loads.push(HashLoad::trie_mix(args.messages, MIX_SEED));
    loads.extend(sizes(args).iter().map(|len| HashLoad::uniform(*len, args.messages).one_by_one()));
    loads
}

/// From where each device pays, by length: against the way of the processor that batches are hashed by.
fn crossovers(
    args: &HashBenchArgs,
    backends: &[Arc<dyn Backend>],
    devices: usize,
    calibrations: &[Calibration],
) -> Vec<Crossover> {
    let best = Hasher::cpu().cpu_kind().name();
    let cpu = backends.iter().zip(calibrations).find(|(backend, _)| backend.name() == best);
    let Some((_, cpu)) = cpu else { return Vec::new() };
    let margin = DispatchConfig::default().margin_percent;
    let mut crossovers = Vec::new();
    for (backend, calibration) in backends.iter().zip(calibrations).skip(backends.len() - devices) {
        for len in sizes(args) {
            let messages = calibration.crossover(cpu, *len, margin);
            crossovers.push(Crossover { device: backend.name().to_owned(), len: *len, messages });
        }
    }
    crossovers
}
