//! `citius state import`: a store out of a file or a snapshot, step by step.

use super::{
    super::{Verdict, number::whole_number, output, progress::Progress},
    datadir::{DatadirArgs, disk_at, disk_of, drawn, print_json},
};
use crate::{clock, leaves::Leaves};
use alloy_primitives::{B256, keccak256};
use anyhow::{Context, Result, bail};
use citius_hashing::Hasher;
use citius_io::{Disk, DiskConfig};
use citius_state::{
    AccountChange, ChangeSet,
    cold::{BlockId, ColdError, Import, ImportStep, Snapshot, Store, StoreConfig},
};
use citius_topology::{MachineSource, ProfileSource, data_parallel_pool, resolve};
use clap::Args;
use serde::Serialize;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

const EXAMPLES: &str = "\
Examples:
  citius state import --datadir state/ genesis.json
  citius state import --datadir state/ leaves.jsonl.zst --block 7 --block-hash 0x… --root 0x…
  citius state import --datadir state/ dump.json --block 7 --block-hash 0x…
  citius state import --datadir state/ snapshot/ --root 0x…
  citius state import --datadir state/ genesis.json --profile reference-server

What was imported is durable after each step: the same command continues after an interruption, behind the last step.

Exit codes: 0 done, 2 bad input or usage, or another root than expected.";

/// Bytes that tell one source from another, at its beginning and at its end.
const SAMPLE_BYTES: u64 = 1 << 20;
/// Accounts of a file that is read at once, in a step.
const STEP_ACCOUNTS: usize = 1 << 16;

/// Import a state into a store on disk: a genesis file, a list of accounts, what `geth dump` writes, or a snapshot's directory
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ImportArgs {
    /// A file (see `citius state --help`), or the directory of a snapshot
    #[arg(value_name = "SOURCE")]
    source: PathBuf,

    #[command(flatten)]
    at: DatadirArgs,

    /// The number of the block after which the state is [default: as the genesis file or the snapshot says]
    #[arg(long, value_name = "N", requires = "block_hash")]
    block: Option<u64>,

    /// The hash of that block
    #[arg(long, value_name = "HASH", requires = "block")]
    block_hash: Option<B256>,

    /// The root that the state must have [default: as a dump says]
    #[arg(long, value_name = "ROOT")]
    root: Option<B256>,

    /// MiB of the source that are made durable at a time, 1 to 65536: larger steps write fewer pages, and take more memory
    #[arg(long, value_name = "MIB", default_value = "256", value_parser = whole_number::<usize, 1, 65_536>)]
    step: usize,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct ImportResult {
    block: u64,
    hash: B256,
    root: B256,
    /// Accounts and slots that were imported, by earlier runs too; of a snapshot, as its manifest says.
    accounts: u64,
    slots: u64,
    /// All was there before.
    was_done: bool,
    /// Accounts that were there before.
    continued_behind: u64,
    live_bytes: u64,
    file_bytes: u64,
    total_ns: u64,
}

pub(super) fn import(args: &ImportArgs) -> Result<Verdict> {
    let start = Instant::now();
    let (disk, config) = args.at.configs()?;
    let disk = disk_at(&args.at.datadir, &disk)?;
    let is_snapshot = args.source.is_dir();
    let imported =
        if is_snapshot { import_snapshot(args, disk, config)? } else { import_file(args, disk, config)? };
    let Imported { store, accounts, slots, continued_behind, was_done } = imported;
    let (block, root) = store.checkpoint_block();
    let space = store.space();
    let result = ImportResult {
        block: block.number,
        hash: block.hash,
        root,
        accounts,
        slots,
        was_done,
        continued_behind,
        live_bytes: space.live_bytes,
        file_bytes: space.file_bytes,
        total_ns: clock::nanoseconds(start.elapsed()),
    };
    if args.json {
        print_json(&result)?;
        return Ok(Verdict::Match);
    }
    let ImportResult { block, hash, root, accounts, slots, live_bytes, file_bytes, .. } = &result;
    let before = if was_done { ", all of it before" } else { "" };
    output::print(&format!(
        "block    {block} {hash}\n\
         root     {root}\n\
         imported {accounts} accounts, {slots} slots{before}\n\
         bytes    {live_bytes} live, {file_bytes} of the file\n\
         time     {:.3} s\n",
        result.total_ns as f64 / 1e9
    ))?;
    Ok(Verdict::Match)
}

struct Imported {
    store: Store,
    accounts: u64,
    slots: u64,
    continued_behind: u64,
    was_done: bool,
}

/// A store into which the same was imported before.
fn done_before(
    disk: Arc<dyn Disk>,
    config: StoreConfig,
    block: Option<BlockId>,
    root: Option<B256>,
    error: ColdError,
) -> Result<Store> {
    if let ColdError::NotEmpty { block: number, hash, root: found } = &error
        && block == Some(BlockId { number: *number, hash: *hash })
        && root == Some(*found)
    {
        return Ok(Store::open(disk, config, drawn())?.store);
    }
    Err(error).context("cannot import")
}

fn import_snapshot(args: &ImportArgs, disk: Arc<dyn Disk>, config: StoreConfig) -> Result<Imported> {
    let source = disk_of(&args.source, &DiskConfig::default())?;
    let name = args.source.display();
    let snapshot = Snapshot::open(source).with_context(|| format!("{name}: no snapshot that is whole"))?;
    if let Some(root) = args.root
        && root != snapshot.root()
    {
        bail!("{name}: the snapshot has the root {}: expected {root}", snapshot.root());
    }
    let given = args.block.zip(args.block_hash).map(|(number, hash)| BlockId { number, hash });
    if let Some(BlockId { number, hash }) = given.filter(|given| *given != snapshot.block()) {
        bail!("{name}: the snapshot is of block {}: expected {number} ({hash})", snapshot.block().number);
    }
    let progress = Progress::new(snapshot.ranges().len());
    progress.say("ranges");
    let mut at = |done: &citius_state::cold::SnapshotProgress| progress.at(done.ranges_done as u64);
    let imported =
        snapshot.import(Arc::clone(&disk), config, drawn(), args.step << 20, &Hasher::cpu(), &mut at);
    let (store, was_done) = match imported {
        Ok(store) => (store, false),
        Err(error) => {
            (done_before(disk, config, Some(snapshot.block()), Some(snapshot.root()), error)?, true)
        }
    };
    drop(progress);
    let accounts = snapshot.ranges().iter().map(|range| range.accounts).sum();
    let slots = snapshot.ranges().iter().map(|range| range.slots).sum();
    Ok(Imported { store, accounts, slots, continued_behind: 0, was_done })
}

fn import_file(args: &ImportArgs, disk: Arc<dyn Disk>, config: StoreConfig) -> Result<Imported> {
    let mut leaves = Leaves::open(&args.source)?.with_codes();
    let source = source_of(&args.source)?;
    let given = args.block.zip(args.block_hash).map(|(number, hash)| BlockId { number, hash });
    if leaves.is_lines() && given.is_none() {
        bail!("{}: says nothing of a block: expected --block and --block-hash", args.source.display());
    }
    let hasher = Hasher::cpu();
    let mut import = match Import::open(Arc::clone(&disk), config, drawn(), source) {
        Ok(import) => import,
        Err(error) => {
            let root = args.root.or_else(|| leaves.stated_root());
            let store = done_before(disk, config, given, root, error)?;
            return Ok(Imported { store, accounts: 0, slots: 0, continued_behind: 0, was_done: true });
        }
    };
    let continued_behind = import.progress().accounts;
    if continued_behind > 0 {
        eprintln!("note: continues behind {continued_behind} accounts");
    }
    let report = resolve(MachineSource::ThisMachine, ProfileSource::from_argument(None))
        .context("cannot plan this machine")?;
    let pool = data_parallel_pool(&report.plan).context("cannot start the pool that decodes")?;
    let progress = Progress::new(usize::try_from(leaves.progress().1).unwrap_or(usize::MAX));
    progress.say("bytes read");
    if leaves.is_lines() {
        import_lines(&mut leaves, &mut import, args.step << 20, &pool, &hasher, &progress)?;
    } else if let Some(changes) = leaves.next_batch(&pool)? {
        import_at_once(changes, &mut import, &hasher)?;
    }
    drop(progress);
    let block = match given {
        Some(block) => block,
        None => genesis_block(&leaves, import.root())
            .with_context(|| format!("{}: expected --block and --block-hash", args.source.display()))?,
    };
    let (accounts, slots) = (import.progress().accounts, import.progress().slots);
    let store = import.finish(block, args.root.or_else(|| leaves.stated_root())).context("the state")?;
    Ok(Imported { store, accounts, slots, continued_behind, was_done: false })
}

/// Imports a file of one account a line; the cursor counts lines.
fn import_lines(
    leaves: &mut Leaves,
    import: &mut Import,
    step_bytes: usize,
    pool: &rayon::ThreadPool,
    hasher: &Hasher,
    progress: &Progress,
) -> Result<()> {
    leaves.skip_lines(import.progress().cursor)?;
    let mut step = ImportStep::default();
    let mut begun = leaves.progress().0;
    while let Some(changes) = leaves.next_batch(pool)? {
        step.create(changes, hasher);
        let read = leaves.progress().0;
        if read - begun >= step_bytes as u64 {
            import.add(std::mem::take(&mut step), leaves.lines(), hasher).context("cannot import")?;
            begun = read;
        }
        progress.at(read);
    }
    import.add(step, leaves.lines(), hasher).context("cannot import")
}

/// Imports what was read at once, in the order of addresses; the cursor counts accounts.
fn import_at_once(changes: ChangeSet, import: &mut Import, hasher: &Hasher) -> Result<()> {
    let ChangeSet { mut accounts, codes } = changes;
    accounts.sort_unstable_by_key(|change| change.address);
    let done = usize::try_from(import.progress().cursor)?.min(accounts.len());
    let mut rest: Vec<AccountChange> = accounts.split_off(done);
    let mut codes = Some(codes);
    let mut cursor = done;
    loop {
        let behind = rest.split_off(rest.len().min(STEP_ACCOUNTS));
        cursor += rest.len();
        let mut step = ImportStep::default();
        step.create(ChangeSet { accounts: rest, codes: codes.take().unwrap_or_default() }, hasher);
        import.add(step, cursor as u64, hasher).context("cannot import")?;
        rest = behind;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// The block of a genesis file.
fn genesis_block(leaves: &Leaves, root: B256) -> Result<BlockId> {
    let Some(header) = leaves.genesis_header() else {
        bail!("the file does not say of which block the state is")
    };
    let mut header = header.clone();
    header.state_root = root;
    Ok(BlockId { number: header.number, hash: header.hash_slow() })
}

/// What tells a file from others: its length, and what it begins and ends with.
fn source_of(path: &Path) -> Result<B256> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut sample = length.to_le_bytes().to_vec();
        file.by_ref().take(SAMPLE_BYTES).read_to_end(&mut sample)?;
        file.seek(SeekFrom::Start(length.saturating_sub(SAMPLE_BYTES)))?;
        file.take(SAMPLE_BYTES).read_to_end(&mut sample)?;
        Ok(sample)
    };
    Ok(keccak256(read().with_context(|| format!("{}: cannot be read", path.display()))?))
}
