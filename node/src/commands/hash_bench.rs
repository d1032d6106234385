use super::{
    Verdict,
    device_args::DeviceArgs,
    number::whole_number,
    output::{self, JsonFile},
    progress::Progress,
};
use crate::{
    hashing::{
        BackendFailed, DeviceChoice, HashLoad, HashResult, MEASURING_DEADLINE, WrongDigest, contest,
        find_devices, start_device, wait_for_device,
    },
    report::{self, Crossover},
};
use anyhow::{Context, Result};
use citius_hashing::{
    Backend, Calibration, Calibrations, CpuBackend, CpuKind, DispatchConfig, Hasher, SizeClass, processor,
};
use citius_kernels::{RATE, block_count};
use citius_topology::{MachineSource, ProfileSource, resolve};
use clap::Args;
use serde::Serialize;
use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

const EXAMPLES: &str = "\
Examples:
  citius hash-bench                                 Every way of this processor, and the devices
  citius hash-bench --threads 2 --json hash.json    Two threads at once; as JSON too
  citius hash-bench --sizes 32,532,24576            Messages of these lengths, in bytes
  citius hash-bench --calibrations calibrations.json     Keep what was measured, for `citius replay --calibrations`
  citius hash-bench --devices all                   Every device with each of its kernels

Speeds are medians of samples taken in turns; ratios are to `scalar`, which is keccak-asm, one message at a time. A
device pays from the crossover on: batches of as many messages it finishes 20 % earlier than the processor, one core of
it. A device that is absent or fails is told of on stderr.

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

    /// Hardware profile that names the program of FPGA cards: a shipped one's name or a TOML file [default: picked for
    /// this machine]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,

    #[command(flatten)]
    devices: DeviceArgs,
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
    output::with_report(args.json.as_deref(), |file| run(args, file))
}

fn run(args: &HashBenchArgs, file: Option<&JsonFile>) -> Result<Verdict> {
    // Before anything is measured: it may be no file of calibrations.
    let path = args.devices.calibrations.as_deref();
    let known = path.map(Calibrations::load).transpose()?;
    let mut contestants = Contestants::processor();
    contestants.add_devices(args)?;
    let processor = processor();
    let threads = NonZeroUsize::new(args.threads).unwrap_or(NonZeroUsize::MIN);
    output::print(&format!("{processor}; threads: {threads}\n\n"))?;

    let loads = loads(args);
    let progress = Progress::new((loads.len() * args.repeat + 1) * contestants.backends.len());
    let mut results = Vec::new();
    for load in &loads {
        progress.say(&load.name);
        match contestants.contest(load, threads, args.repeat, &progress)? {
            Ok(of_load) => results.extend(of_load),
            Err(wrong) => {
                drop(progress);
                eprintln!("error: {wrong}");
                return Ok(Verdict::Mismatch);
            }
        }
    }
    progress.say("calibration");
    let calibrations = contestants.calibrate(&progress)?;
    drop(progress);

    let crossovers = contestants.crossovers(sizes(args), &calibrations);
    if let (Some(mut known), Some(path)) = (known, path) {
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
    let names: Vec<&str> = contestants.backends.iter().map(|backend| backend.name()).collect();
    output::print(&report::hash_text(&names, &results, &calibrations, &crossovers))?;
    Ok(Verdict::Match)
}

/// What is measured: the ways of the processor, then devices.
struct Contestants {
    backends: Vec<Arc<dyn Backend>>,
    /// The first so many are the processor's.
    processor_count: usize,
}

impl Contestants {
    /// The ways of this processor, the scalar one first: ratios are to it.
    fn processor() -> Self {
        let mut backends: Vec<Arc<dyn Backend>> = Vec::new();
        for kind in [CpuKind::Scalar, CpuKind::Generic, CpuKind::Avx2, CpuKind::Avx512] {
            match CpuBackend::new(kind) {
                Ok(backend) => backends.push(Arc::new(backend)),
                Err(unsupported) => eprintln!("skipped: {unsupported}"),
            }
        }
        Self { processor_count: backends.len(), backends }
    }

    /// Starts the devices asked for, and waits until each is ready or has failed. Measuring is what tells whether one
    /// pays, so `auto` looks at all, whatever the profile lets others use; the profile has the program of FPGAs.
    fn add_devices(&mut self, args: &HashBenchArgs) -> Result<()> {
        let choice = &args.devices.devices;
        if *choice == DeviceChoice::None {
            return Ok(());
        }
        let profile = ProfileSource::from_argument(args.profile.as_deref());
        let plan = resolve(MachineSource::ThisMachine, profile).context("cannot plan this machine")?.plan;
        let host = args.devices.device_host.as_deref();
        let Some((host, specs)) = find_devices(host, choice, plan.fpga_program.as_ref()) else {
            return Ok(());
        };
        for spec in specs {
            let name = spec.backend_name();
            match start_device(&host, spec, MEASURING_DEADLINE) {
                Ok(device) if wait_for_device(&device) => self.backends.push(Arc::new(device)),
                // Why is told by then.
                Ok(_) => eprintln!("skipped: {name} does not start"),
                Err(error) => eprintln!("skipped: {name} cannot be started: {error}"),
            }
        }
        Ok(())
    }

    /// Has all hash a load, devices only whole batches: nobody sends them one message. A device that fails takes no
    /// part from then on.
    fn contest(
        &mut self,
        load: &HashLoad,
        threads: NonZeroUsize,
        repeat: usize,
        progress: &Progress,
    ) -> Result<Result<Vec<HashResult>, WrongDigest>> {
        loop {
            let count = if load.batch > 1 { self.backends.len() } else { self.processor_count };
            match contest(&self.backends[..count], load, threads, repeat, || progress.step()) {
                Err(failed) if failed.place >= self.processor_count => self.leave_out(failed),
                results => return Ok(results?),
            }
        }
    }

    /// Measures what batches cost on each that is left, but for the twin: nobody chooses it, and it takes longest.
    fn calibrate(&mut self, progress: &Progress) -> Result<Vec<Calibration>> {
        let count = self.backends.len();
        self.backends.retain(|backend| backend.name() != CpuKind::Generic.name());
        self.processor_count -= count - self.backends.len();
        let mut calibrations = Vec::with_capacity(self.backends.len());
        while let Some(backend) = self.backends.get(calibrations.len()) {
            match Calibration::measure(&**backend) {
                Ok(calibration) => calibrations.push(calibration),
                Err(error) => {
                    let failed = BackendFailed { place: calibrations.len(), error };
                    if failed.place < self.processor_count {
                        return Err(failed).context("cannot calibrate the processor");
                    }
                    self.leave_out(failed);
                }
            }
            progress.step();
        }
        Ok(calibrations)
    }

    fn leave_out(&mut self, failed: BackendFailed) {
        self.backends.remove(failed.place);
        eprintln!("skipped from here on: {failed}");
    }

    /// From where each device pays, by length: against the way of the processor that batches are hashed by. The size
    /// classes that no length of `sizes` is of are there by their longest message.
    fn crossovers(&self, sizes: &[usize], calibrations: &[Calibration]) -> Vec<Crossover> {
        let best = Hasher::cpu().cpu_kind().name();
        let cpu = self.backends.iter().zip(calibrations).find(|(backend, _)| backend.name() == best);
        let Some((_, cpu)) = cpu else { return Vec::new() };
        let margin = DispatchConfig::default().margin_percent;
        let mut lengths = sizes.to_vec();
        for class in SizeClass::ALL.map(SizeClass::blocks_max) {
            if !sizes.iter().any(|len| class_of(*len) == class) {
                lengths.push(class * RATE - 1);
            }
        }
        let devices = self.backends.iter().zip(calibrations).skip(self.processor_count);
        let crossover = |backend: &Arc<dyn Backend>, calibration: &Calibration, len: usize| Crossover {
            device: backend.name().to_owned(),
            blocks: class_of(len),
            len,
            messages: calibration.crossover(cpu, len, margin),
        };
        devices
            .flat_map(|(backend, calibration)| {
                lengths.iter().map(move |len| crossover(backend, calibration, *len))
            })
            .collect()
    }
}

/// The most permutations of a message of the size class that this length is of; longer ones count as several.
fn class_of(len: usize) -> usize {
    block_count(len).next_power_of_two().min(SizeClass::Blocks8.blocks_max())
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
