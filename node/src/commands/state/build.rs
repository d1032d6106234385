use super::super::{
    Verdict, device_args::DeviceArgs, measure_args::THREADS_MAX, number::whole_number, output,
    progress::Progress,
};
use crate::{
    clock,
    hashing::{device_hasher, tell_of_devices},
    leaves::Leaves,
};
use alloy_primitives::B256;
use anyhow::{Context, Result};
use citius_engine::WorkerPool;
use citius_state::ssmt::{Ssmt, SsmtConfig};
use citius_topology::{MachineSource, ProfileSource, data_parallel_pool, resolve};
use clap::Args;
use serde::Serialize;
use std::{path::PathBuf, sync::Arc, time::Instant};

const BUILD_EXAMPLES: &str = "\
Examples:
  citius state build genesis.json            A geth genesis file
  citius state build leaves.jsonl --threads 2
  citius state build leaves.jsonl.zst --json > built.json

Exit codes: 0 done, 2 bad input or usage.";

const ROOT_EXAMPLES: &str = "\
Examples:
  citius state root genesis.json
  citius state root leaves.jsonl.zst

Exit codes: 0 done, 2 bad input or usage.";

/// Options of the commands that build a state.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// A geth genesis file, or a file of one account a line (see `citius state --help`)
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Threads that work, 1 to 8192 [default: the plan's workers]
    #[arg(long, value_name = "N", value_parser = whole_number::<usize, 1, THREADS_MAX>)]
    threads: Option<usize>,

    /// Hardware profile: a shipped one's name or a TOML file [default: picked for this machine]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,

    #[command(flatten)]
    devices: DeviceArgs,
}

/// Build the state trie, and print its root and what it takes
#[derive(Debug, Args)]
#[command(after_help = BUILD_EXAMPLES)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    source: SourceArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Print the state root
#[derive(Debug, Args)]
#[command(after_help = ROOT_EXAMPLES)]
pub(super) struct RootArgs {
    #[command(flatten)]
    source: SourceArgs,
}

/// What a state is, and what building it took.
#[derive(Debug, Serialize)]
struct Built {
    /// The state root.
    root: B256,
    /// Accounts.
    accounts: u64,
    /// Slots that are not zero.
    slots: u64,
    /// Trie nodes hashed, some of them several times in a large state, which is built in parts.
    nodes_hashed: u64,
    /// Bytes of the trie's nodes.
    node_bytes: u64,
    /// Bytes that the trie takes from the system.
    memory_bytes: u64,
    /// Threads that worked.
    threads: usize,
    /// Wall time of the trie's work alone.
    seal_ns: u64,
    /// Wall time with reading and decoding the file.
    total_ns: u64,
    /// Accounts and slots a second, of `seal_ns`.
    leaves_per_second: u64,
}

/// A state in memory.
pub(super) struct BuiltState {
    pub(super) ssmt: Ssmt,
    built: Built,
}

pub(super) fn build(args: &BuildArgs) -> Result<Verdict> {
    let BuiltState { built, .. } = build_state(&args.source)?;
    if args.json {
        let json = serde_json::to_string_pretty(&built).context("cannot write the result as JSON")?;
        output::print(&(json + "\n"))?;
    } else {
        output::print(&built.text())?;
    }
    Ok(Verdict::Match)
}

pub(super) fn root(args: &RootArgs) -> Result<Verdict> {
    let BuiltState { built, .. } = build_state(&args.source)?;
    output::print(&format!("{}\n", built.root))?;
    Ok(Verdict::Match)
}

/// Reads a file part by part, and builds its trie on the plan's workers.
pub(super) fn build_state(args: &SourceArgs) -> Result<BuiltState> {
    let mut leaves = Leaves::open(&args.file)?;
    let profile = ProfileSource::from_argument(args.profile.as_deref());
    let report = resolve(MachineSource::ThisMachine, profile).context("cannot plan this machine")?;
    let plan = match args.threads {
        Some(threads) => report.plan.with_threads(threads),
        None => report.plan,
    };
    let data_pool = data_parallel_pool(&plan).context("cannot start the pool that decodes")?;
    // Before this thread is pinned: hosts of devices run where it may.
    let hasher = device_hasher(args.devices.settings(&plan)).context("cannot choose what hashes")?;
    let hasher = Arc::new(hasher);
    let workers = WorkerPool::new(&plan).context("cannot start the workers")?;
    // Where it is matters to measurements alone.
    let _ = workers.pin_caller();
    let threads = workers.size().get();
    // Nobody goes back to what is half built.
    let config = SsmtConfig { history: 0, ..SsmtConfig::default() };
    let ssmt = Ssmt::new(config, Arc::clone(&hasher), workers);

    let progress = Progress::new(usize::try_from(leaves.progress().1).unwrap_or(usize::MAX));
    progress.say("bytes read");
    let start = Instant::now();
    let (mut accounts, mut slots, mut nodes_hashed, mut seal_ns) = (0, 0, 0, 0);
    while let Some(batch) = leaves.next_batch(&data_pool)? {
        accounts += batch.accounts.len() as u64;
        slots += batch.slot_count() as u64;
        let batch = Arc::new(batch);
        let began = Instant::now();
        let sealed = ssmt.seal(ssmt.head(), &batch).context("the state trie")?;
        ssmt.set_head(sealed.version).context("the state trie")?;
        seal_ns += clock::nanoseconds(began.elapsed());
        nodes_hashed += sealed.nodes_hashed;
        progress.at(leaves.progress().0);
    }
    drop(progress);
    tell_of_devices(&hasher);
    let memory = ssmt.memory();
    let built = Built {
        root: ssmt.root(ssmt.head()).context("the state trie")?,
        accounts,
        slots,
        nodes_hashed,
        node_bytes: memory.node_bytes,
        memory_bytes: memory.arena_bytes + memory.top_bytes + memory.log_bytes,
        threads,
        seal_ns,
        total_ns: clock::nanoseconds(start.elapsed()),
        leaves_per_second: ((accounts + slots) as f64 * 1e9 / seal_ns.max(1) as f64) as u64,
    };
    Ok(BuiltState { ssmt, built })
}

impl Built {
    fn text(&self) -> String {
        let Self { root, accounts, slots, nodes_hashed, node_bytes, memory_bytes, threads, .. } = self;
        let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        format!(
            "root     {root}\n\
             accounts {accounts}\n\
             slots    {slots}\n\
             nodes    {nodes_hashed} hashed; {node_bytes} bytes, {memory_bytes} taken from the system\n\
             time     {:.3} ms on {threads} threads, {} leaves/s; {:.3} ms with reading\n",
            milliseconds(self.seal_ns),
            self.leaves_per_second,
            milliseconds(self.total_ns),
        )
    }
}
