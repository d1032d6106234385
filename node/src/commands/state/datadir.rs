//! Commands about a store on disk.

use super::super::{Verdict, number::whole_number, output, progress::Progress};
use crate::{
    clock,
    configs::{disk_config, store_config},
};
use alloy_primitives::B256;
use anyhow::{Context, Result, bail};
use citius_hashing::Hasher;
use citius_io::{Disk, DiskConfig, open_disk};
use citius_state::cold::{ColdError, Opened, SpaceStats, Store, StoreConfig};
use citius_topology::{MachineSource, ProfileSource, resolve};
use clap::Args;
use serde::Serialize;
use std::{
    collections::hash_map::RandomState,
    fs,
    hash::{BuildHasher, Hasher as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

const VERIFY_EXAMPLES: &str = "\
Examples:
  citius state verify --datadir state/
  citius state verify --datadir state/ --json

Exit codes: 0 all is right, 1 something is damaged, 2 bad input or usage.";

const STATS_EXAMPLES: &str = "\
Examples:
  citius state stats --datadir state/
  citius state stats --datadir state/ --json

Exit codes: 0 done, 2 bad input or usage.";

const COMPACT_EXAMPLES: &str = "\
Examples:
  citius state compact --datadir state/
  citius state compact --datadir state/ --step-pages 1000 --json

Exit codes: 0 done, 2 bad input or usage.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  citius state export --datadir state/ --out snapshot/
  citius state export --datadir state/ --out snapshot/ --ranges 64 --json

Exit codes: 0 done, 2 bad input or usage.";

/// Where a store is, and how its disk is used.
#[derive(Debug, Args)]
pub(super) struct DatadirArgs {
    /// The store's directory
    #[arg(long, value_name = "DIR")]
    pub(super) datadir: PathBuf,

    /// Hardware profile that says how much of the disk the store may take, and how the disk is read: a shipped one's name or a
    /// TOML file [default: all of it, and the best way that works]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
}

impl DatadirArgs {
    /// How the store and its disk are configured.
    pub(super) fn configs(&self) -> Result<(DiskConfig, StoreConfig)> {
        let Some(profile) = &self.profile else { return Ok(Default::default()) };
        let profile = ProfileSource::from_argument(Some(profile));
        let plan = resolve(MachineSource::ThisMachine, profile).context("cannot plan this machine")?.plan;
        Ok((disk_config(&plan), store_config(&plan)))
    }

    /// Opens a store that is there.
    fn open(&self) -> Result<Opened> {
        let (disk, store) = self.configs()?;
        let directory = self.datadir.display();
        let disk = disk_of(&self.datadir, &disk)?;
        let names = disk.names().with_context(|| format!("{directory}: cannot be read"))?;
        if !names.iter().any(|name| name == "pages") {
            bail!("{directory}: holds no state: expected a directory made by `citius state import`");
        }
        Store::open(disk, store, drawn()).with_context(|| format!("{directory}: cannot be opened"))
    }
}

/// Read a whole store, and compute every hash again
#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    at: DatadirArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Print what a store holds, and what it takes of the disk
#[derive(Debug, Args)]
#[command(after_help = STATS_EXAMPLES)]
pub(super) struct StatsArgs {
    #[command(flatten)]
    at: DatadirArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Move pages to the beginning of a store's file, and give its end back to the file system
#[derive(Debug, Args)]
#[command(after_help = COMPACT_EXAMPLES)]
pub(super) struct CompactArgs {
    #[command(flatten)]
    at: DatadirArgs,

    /// Pages that are moved at a time, 1 to 16777216
    #[arg(long, value_name = "N", default_value = "16384", value_parser = whole_number::<u64, 1, 16_777_216>)]
    step_pages: u64,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Write a store's state as a snapshot: files by ranges of keys, each checked alone; goes on where an earlier one ended
#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    at: DatadirArgs,

    /// The snapshot's directory, made if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Files that the state is cut into, 1 to 256
    #[arg(long, value_name = "N", default_value = "16", value_parser = whole_number::<u16, 1, 256>)]
    ranges: u16,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct VerifyResult {
    block: u64,
    hash: B256,
    root: B256,
    pages: u64,
    accounts: u64,
    slots: u64,
    codes: u64,
    /// Subtries and storage tries known by their hash only.
    blinded: u64,
    /// Pages in use that nothing refers to.
    lost: u64,
    /// What is wrong first.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
    total_ns: u64,
}

#[derive(Debug, Serialize)]
struct StatsResult {
    /// The block of the pages.
    block: u64,
    hash: B256,
    root: B256,
    /// The last block.
    last_block: u64,
    last_hash: B256,
    /// Blocks in the journal alone.
    pending_blocks: usize,
    checkpoint: u64,
    #[serde(flatten)]
    space: SpaceResult,
    journal_bytes: u64,
}

#[derive(Debug, Serialize)]
struct SpaceResult {
    /// Bytes of pages that hold the state.
    live_bytes: u64,
    /// Those, and of pages that are kept for the older superblock.
    used_bytes: u64,
    /// Bytes of the file of pages.
    file_bytes: u64,
    /// Bytes of the file for each that is live.
    space_amplification: f64,
}

#[derive(Debug, Serialize)]
struct CompactResult {
    before: SpaceResult,
    after: SpaceResult,
    pages_written: u64,
    checkpoints: u64,
    total_ns: u64,
}

#[derive(Debug, Serialize)]
struct ExportResult {
    block: u64,
    hash: B256,
    root: B256,
    ranges: usize,
    /// Ranges that were there already.
    kept: usize,
    accounts: u64,
    slots: u64,
    codes: u64,
    bytes: u64,
    total_ns: u64,
}

/// The disk of a directory.
pub(super) fn disk_of(directory: &Path, config: &DiskConfig) -> Result<Arc<dyn Disk>> {
    let (disk, _) =
        open_disk(directory, config).with_context(|| format!("{}: cannot be used", directory.display()))?;
    Ok(disk)
}

/// The disk of a directory, which is made if there is none.
pub(super) fn disk_at(directory: &Path, config: &DiskConfig) -> Result<Arc<dyn Disk>> {
    fs::create_dir_all(directory).with_context(|| format!("{}: cannot be made", directory.display()))?;
    disk_of(directory, config)
}

/// A number that nobody else knows.
pub(super) fn drawn() -> u64 {
    RandomState::new().build_hasher().finish()
}

pub(super) fn print_json(result: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(result).context("cannot write the result as JSON")?;
    output::print(&(json + "\n"))
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

pub(super) fn verify(args: &VerifyArgs) -> Result<Verdict> {
    let Opened { store, .. } = args.at.open()?;
    let start = Instant::now();
    let (block, root) = store.checkpoint_block();
    let pages = store.space().live_bytes / citius_io::PAGE_BYTES as u64;
    let progress = Progress::new(usize::try_from(pages).unwrap_or(usize::MAX));
    progress.say("pages");
    let mut seen = citius_state::cold::Verified::default();
    let verified = store.verify(&Hasher::cpu(), &mut |found| {
        seen = *found;
        if found.pages.is_multiple_of(1_024) {
            progress.at(found.pages);
        }
    });
    drop(progress);
    let (found, damage) = match verified {
        Ok(found) => (found, None),
        Err(error @ (ColdError::Damaged { .. } | ColdError::WrongRoot { .. })) => {
            (seen, Some(error.to_string()))
        }
        Err(error) => return Err(error).context("the store cannot be read"),
    };
    let result = VerifyResult {
        block: block.number,
        hash: block.hash,
        root,
        pages: found.pages,
        accounts: found.accounts,
        slots: found.slots,
        codes: found.codes,
        blinded: found.blinded,
        lost: found.lost,
        damage,
        total_ns: clock::nanoseconds(start.elapsed()),
    };
    if args.json {
        print_json(&result)?;
    } else {
        output::print(&result.text())?;
    }
    Ok(Verdict::of(result.damage.is_none()))
}

impl VerifyResult {
    fn text(&self) -> String {
        let Self { block, hash, root, pages, accounts, slots, codes, blinded, lost, .. } = self;
        let verdict = match &self.damage {
            None => "right: every hash follows from what is there".to_owned(),
            Some(damage) => format!("DAMAGED: {damage}"),
        };
        format!(
            "{verdict}\n\
             block    {block} {hash}\n\
             root     {root}\n\
             read     {accounts} accounts, {slots} slots, {codes} codes on {pages} pages\n\
             besides  {blinded} known by their hash only, {lost} pages lost\n\
             time     {:.3} s\n",
            seconds(self.total_ns)
        )
    }
}

impl From<SpaceStats> for SpaceResult {
    fn from(space: SpaceStats) -> Self {
        let SpaceStats { live_bytes, used_bytes, file_bytes } = space;
        Self { live_bytes, used_bytes, file_bytes, space_amplification: space.amplification() }
    }
}

pub(super) fn stats(args: &StatsArgs) -> Result<Verdict> {
    let Opened { store, blocks } = args.at.open()?;
    let (block, root) = store.checkpoint_block();
    let (last, stats) = (store.last(), store.stats());
    let result = StatsResult {
        block: block.number,
        hash: block.hash,
        root,
        last_block: last.number,
        last_hash: last.hash,
        pending_blocks: blocks.len(),
        checkpoint: stats.checkpoint,
        space: store.space().into(),
        journal_bytes: stats.journal_bytes,
    };
    if args.json {
        print_json(&result)?;
    } else {
        let StatsResult { block, hash, root, last_block, last_hash, pending_blocks, .. } = &result;
        let SpaceResult { live_bytes, used_bytes, file_bytes, space_amplification } = &result.space;
        output::print(&format!(
            "pages    after block {block} {hash}, checkpoint {}\n\
             root     {root}\n\
             last     block {last_block} {last_hash}, {pending_blocks} blocks in the journal alone\n\
             bytes    {live_bytes} live, {used_bytes} in use, {file_bytes} of the file ({space_amplification:.3} a live one)\n\
             journal  {} bytes\n",
            result.checkpoint, result.journal_bytes
        ))?;
    }
    Ok(Verdict::Match)
}

pub(super) fn compact(args: &CompactArgs) -> Result<Verdict> {
    let Opened { store, .. } = args.at.open()?;
    let start = Instant::now();
    let before = store.space();
    let steps = (before.file_bytes.saturating_sub(before.used_bytes)) / citius_io::PAGE_BYTES as u64;
    let progress = Progress::new(usize::try_from(steps).unwrap_or(usize::MAX));
    progress.say("pages given back");
    let compacted = store
        .compact(args.step_pages, &mut |space| {
            let given = before.file_bytes.saturating_sub(space.file_bytes);
            progress.at(given / citius_io::PAGE_BYTES as u64);
        })
        .context("the store cannot be compacted")?;
    drop(progress);
    let result = CompactResult {
        before: compacted.before.into(),
        after: compacted.after.into(),
        pages_written: compacted.written,
        checkpoints: compacted.checkpoints,
        total_ns: clock::nanoseconds(start.elapsed()),
    };
    if args.json {
        print_json(&result)?;
    } else {
        let line = |what, space: &SpaceResult| {
            format!(
                "{what:8} {} bytes of the file, {} live ({:.3} a live one)\n",
                space.file_bytes, space.live_bytes, space.space_amplification
            )
        };
        output::print(&format!(
            "{}{}written  {} pages in {} checkpoints, {:.3} s\n",
            line("before", &result.before),
            line("after", &result.after),
            result.pages_written,
            result.checkpoints,
            seconds(result.total_ns)
        ))?;
    }
    Ok(Verdict::Match)
}

pub(super) fn export(args: &ExportArgs) -> Result<Verdict> {
    let Opened { store, blocks } = args.at.open()?;
    if !blocks.is_empty() {
        eprintln!(
            "note: {} blocks of the journal are not in the pages, and not in the snapshot",
            blocks.len()
        );
    }
    let target = disk_at(&args.out, &DiskConfig::default())?;
    let start = Instant::now();
    let progress = Progress::new(args.ranges.into());
    progress.say("ranges");
    let exported = store
        .export(&target, args.ranges, &Hasher::cpu(), &mut |done| progress.at(done.ranges_done as u64))
        .with_context(|| format!("{}: the snapshot cannot be written", args.out.display()))?;
    drop(progress);
    let sum = |count: fn(&citius_state::cold::RangeEntry) -> u64| exported.ranges.iter().map(count).sum();
    let result = ExportResult {
        block: exported.block.number,
        hash: exported.block.hash,
        root: exported.root,
        ranges: exported.ranges.len(),
        kept: exported.kept,
        accounts: sum(|range| range.accounts),
        slots: sum(|range| range.slots),
        codes: sum(|range| range.codes),
        bytes: sum(|range| range.file_bytes),
        total_ns: clock::nanoseconds(start.elapsed()),
    };
    if args.json {
        print_json(&result)?;
    } else {
        let ExportResult { block, hash, root, ranges, kept, accounts, slots, codes, bytes, .. } = &result;
        output::print(&format!(
            "block    {block} {hash}\n\
             root     {root}\n\
             ranges   {ranges}, {kept} of them there before\n\
             written  {accounts} accounts, {slots} slots, {codes} codes; {bytes} bytes\n\
             time     {:.3} s\n",
            seconds(result.total_ns)
        ))?;
    }
    Ok(Verdict::Match)
}
