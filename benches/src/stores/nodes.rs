//! The same accounts as a trie of pages and as a trie of one node a key: what reading and writing them costs.

use super::{
    NodeTrie, Options, StoresError, Transfers, Write, change_set, filling, forget_files, redb::Counted,
};
use crate::root::{Threads, Times};
use alloy_primitives::B256;
use alloy_rlp::Encodable;
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};
use citius_hashing::Hasher;
use citius_io::{Disk, DiskConfig, Metered, open_disk};
use citius_state::{
    Account, Workers,
    cold::{Store, StoreConfig},
};
use serde::Serialize;
use std::{
    fmt, fs,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// Reads that are timed, one after the other.
const READS: u32 = 5_000;
/// Accounts that a block writes.
const BLOCK_ACCOUNTS: u32 = 1_300;

/// Pages beside one node a key.
#[derive(Debug, Clone, Serialize)]
pub struct NodesFigures {
    /// Accounts.
    pub accounts: u32,
    /// Memory for each one's cache, in MiB.
    pub cache_mib: usize,
    /// Random accounts read one after the other.
    pub reads: u32,
    /// Blocks written.
    pub blocks: u32,
    /// Accounts that each of them writes, about.
    pub block_accounts: u32,
    /// Blocks of each checkpoint.
    pub checkpoint_every: u64,
    /// The store of Citius.
    pub pages: SideFigures,
    /// One node a key in redb.
    pub node_a_key: SideFigures,
}

/// One of the two.
#[derive(Debug, Clone, Serialize)]
pub struct SideFigures {
    /// Bytes of its files before anything is timed.
    pub disk_bytes: u64,
    /// A read.
    pub read: Times,
    /// Operations a read.
    pub operations_per_read: f64,
    /// Bytes read, a read.
    pub bytes_per_read: f64,
    /// A block, all that goes on in the background included.
    pub ms_per_block: f64,
    /// Reads from the disk, a block.
    pub reads_per_block: f64,
    /// Writes to the disk, a block.
    pub writes_per_block: f64,
    /// Bytes read and written, a block.
    pub bytes_per_block: f64,
    /// Syncs a block.
    pub syncs_per_block: f64,
}

/// Operations until now.
#[derive(Debug, Clone, Copy, Default)]
struct Operations {
    reads: u64,
    writes: u64,
    bytes: u64,
    syncs: u64,
}

impl Operations {
    fn of_disk(metered: &Metered) -> Self {
        let metrics = metered.metrics();
        let (writes, appends) = (metrics.writes, metrics.appends);
        Self {
            reads: metrics.reads.operations,
            writes: writes.operations + appends.operations,
            bytes: metrics.reads.bytes + writes.bytes + appends.bytes,
            syncs: metrics.syncs.operations,
        }
    }

    fn of_file(counted: &Counted) -> Self {
        let [reads, read_bytes, writes, written_bytes, syncs] =
            [&counted.reads, &counted.read_bytes, &counted.writes, &counted.written_bytes, &counted.syncs]
                .map(|counter| counter.load(Ordering::Relaxed));
        Self { reads, writes, bytes: read_bytes + written_bytes, syncs }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            writes: self.writes - before.writes,
            bytes: self.bytes - before.bytes,
            syncs: self.syncs - before.syncs,
        }
    }
}

/// One of the two, as it is measured.
#[derive(Default)]
struct Side {
    reads: Vec<Duration>,
    of_reads: Operations,
    blocks: Duration,
    of_blocks: Operations,
    disk_bytes: u64,
}

impl Side {
    fn figures(&self, blocks: u32) -> Result<SideFigures, StoresError> {
        let reads = self.reads.len() as f64;
        let each = |count: u64| count as f64 / f64::from(blocks);
        let nothing = || StoresError::wrong("nodes", "nothing was timed");
        Ok(SideFigures {
            disk_bytes: self.disk_bytes,
            read: Times::of(&self.reads).ok_or_else(nothing)?,
            operations_per_read: self.of_reads.reads as f64 / reads,
            bytes_per_read: self.of_reads.bytes as f64 / reads,
            ms_per_block: self.blocks.as_secs_f64() * 1e3 / f64::from(blocks),
            reads_per_block: each(self.of_blocks.reads),
            writes_per_block: each(self.of_blocks.writes),
            bytes_per_block: each(self.of_blocks.bytes),
            syncs_per_block: each(self.of_blocks.syncs),
        })
    }
}

fn leaf(write: &Write) -> (B256, Vec<u8>) {
    let mut rlp = Vec::new();
    let (nonce, balance, code_hash) = (write.after.nonce, write.after.balance, write.after.code_hash);
    TrieAccount { nonce, balance, storage_root: EMPTY_ROOT_HASH, code_hash }.encode(&mut rlp);
    (write.key, rlp)
}

/// Fills both with the same accounts, reads the same at random, writes the same blocks; roots are compared.
///
/// # Errors
///
/// [`StoresError`] of either, and if answers differ.
pub fn nodes(options: &Options) -> Result<NodesFigures, StoresError> {
    let plan = Transfers {
        accounts: options.accounts,
        transfers: BLOCK_ACCOUNTS / 2,
        commits: options.blocks,
        filled_at_a_time: options.accounts.div_ceil(16).clamp(1, 250_000),
    };
    let threads = Threads::unpinned().map_err(|error| StoresError::Peer(error.to_string()))?;
    let roots: Vec<B256> = plan
        .expected(Arc::clone(&threads.two) as Arc<dyn Workers>)?
        .iter()
        .map(|expected| expected.root)
        .collect();
    let directory = options.directory.join("nodes");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(directory.join("pages"))?;
    let (disk, _) = open_disk(&directory.join("pages"), &DiskConfig::default())?;
    let metered = Arc::new(Metered::new(disk));
    let disk: Arc<dyn Disk> = Arc::clone(&metered) as Arc<dyn Disk>;
    let page_cache_bytes = (options.cache_mib as u64) << 20;
    let config = StoreConfig { page_cache_bytes, ..StoreConfig::default() };
    let store = Store::open(disk, config, super::random())?.store;
    let trie = NodeTrie::open(&directory.join("node-a-key"), options.cache_mib)?;
    let hasher = Hasher::cpu();
    let fills = plan.fills() as usize;
    for (number, root) in roots[..fills].iter().enumerate() {
        let writes = plan.fill(number as u32);
        let number = number as u64 + 1;
        store.append(vec![filling::record(number, *root, change_set(&writes))])?;
        store.checkpoint(number, &hasher)?;
        same(*root, trie.write(writes.iter().map(leaf).collect())?)?;
    }
    forget_files(&directory)?;
    let (mut pages, mut node_a_key) = (Side::default(), Side::default());
    pages.disk_bytes = store.stats().page_bytes;
    node_a_key.disk_bytes = fs::metadata(directory.join("node-a-key"))?.len();
    read(&plan, &store, &metered, &mut pages, &trie, &mut node_a_key, &directory)?;

    let mut blocks = Vec::new();
    let mut accounts: Vec<Account> = (0..plan.accounts).map(Transfers::filled).collect();
    for commit in 0..plan.commits {
        let touched = plan.touched(commit);
        let before: Vec<_> = touched.iter().map(|(account, ..)| Some(accounts[*account as usize])).collect();
        let writes = plan.apply(commit, &touched, &before);
        for (account, _, key) in &touched {
            if let Ok(at) = writes.binary_search_by_key(key, |write| write.key) {
                accounts[*account as usize] = writes[at].after;
            }
        }
        blocks.push(writes);
    }
    // In turns of one checkpoint, so that what else goes on hits both alike.
    let every = options.checkpoint_every as usize;
    for (turn, part) in blocks.chunks(every).enumerate() {
        let place = |at: usize| fills + turn * every + at;
        let records: Vec<_> = part
            .iter()
            .enumerate()
            .map(|(at, writes)| filling::record(place(at) as u64 + 1, roots[place(at)], change_set(writes)))
            .collect();
        let last = records.last().map_or(0, |record| record.number);
        let before = Operations::of_disk(&metered);
        let start = Instant::now();
        for record in records {
            store.append(vec![record])?;
        }
        store.checkpoint(last, &hasher)?;
        pages.blocks += start.elapsed();
        add(&mut pages.of_blocks, Operations::of_disk(&metered).since(&before));

        for (at, writes) in part.iter().enumerate() {
            let values: Vec<_> = writes.iter().map(leaf).collect();
            forget_files(&directory)?;
            let before = Operations::of_file(trie.counted());
            let start = Instant::now();
            let root = trie.write(values)?;
            node_a_key.blocks += start.elapsed();
            add(&mut node_a_key.of_blocks, Operations::of_file(trie.counted()).since(&before));
            same(roots[place(at)], root)?;
        }
    }
    drop((store, trie));
    fs::remove_dir_all(&directory)?;
    Ok(NodesFigures {
        accounts: plan.accounts,
        cache_mib: options.cache_mib,
        reads: READS.min(plan.accounts),
        blocks: plan.commits,
        block_accounts: BLOCK_ACCOUNTS,
        checkpoint_every: options.checkpoint_every,
        pages: pages.figures(plan.commits)?,
        node_a_key: node_a_key.figures(plan.commits)?,
    })
}

fn same(expected: B256, found: B256) -> Result<(), StoresError> {
    if expected == found {
        return Ok(());
    }
    Err(StoresError::wrong("nodes", format!("one node a key has the root {found}, not {expected}")))
}

fn add(sum: &mut Operations, more: Operations) {
    sum.reads += more.reads;
    sum.writes += more.writes;
    sum.bytes += more.bytes;
    sum.syncs += more.syncs;
}

/// Random accounts, of both in turn.
fn read(
    plan: &Transfers,
    store: &Store,
    metered: &Metered,
    pages: &mut Side,
    trie: &NodeTrie,
    node_a_key: &mut Side,
    directory: &Path,
) -> Result<(), StoresError> {
    /// Reads of one turn.
    const TURN: usize = 100;
    // Accounts that no block writes first.
    let wanted = Transfers { transfers: READS.min(plan.accounts), ..*plan }.touched(1_000_000);
    for keys in wanted[..wanted.len().min(READS as usize)].chunks(TURN) {
        let before = Operations::of_disk(metered);
        for (number, _, key) in keys {
            let start = Instant::now();
            let account = store.account(key)?;
            pages.reads.push(start.elapsed());
            if account != Some(Transfers::filled(*number)) {
                return Err(StoresError::wrong("nodes", "the pages do not have what was written"));
            }
        }
        add(&mut pages.of_reads, Operations::of_disk(metered).since(&before));
        // Otherwise what redb keeps by its budget would not be all that is in memory of it.
        forget_files(directory)?;
        let before = Operations::of_file(trie.counted());
        for (number, address, key) in keys {
            let start = Instant::now();
            let value = trie.get(key)?;
            node_a_key.reads.push(start.elapsed());
            let after = Transfers::filled(*number);
            let expected = leaf(&Write { address: *address, key: *key, before: None, after });
            if value != Some(expected.1) {
                return Err(StoresError::wrong("nodes", "one node a key does not have what was written"));
            }
        }
        add(&mut node_a_key.of_reads, Operations::of_file(trie.counted()).since(&before));
    }
    Ok(())
}

impl fmt::Display for NodesFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} accounts; {} reads one after the other; {} blocks of {} writes, a checkpoint every {}; {} MiB of cache",
            self.accounts,
            self.reads,
            self.blocks,
            self.block_accounts,
            self.checkpoint_every,
            self.cache_mib
        )?;
        writeln!(f, "{:<32} {:>12} {:>12} {:>8}", "", "pages", "node a key", "ratio")?;
        let (pages, node) = (&self.pages, &self.node_a_key);
        for (name, ours, theirs) in [
            ("MB on disk", pages.disk_bytes as f64 / 1e6, node.disk_bytes as f64 / 1e6),
            ("read, us (median)", 1e3 * pages.read.median_ms, 1e3 * node.read.median_ms),
            ("operations a read", pages.operations_per_read, node.operations_per_read),
            ("bytes a read", pages.bytes_per_read, node.bytes_per_read),
            ("ms a block", pages.ms_per_block, node.ms_per_block),
            ("reads a block", pages.reads_per_block, node.reads_per_block),
            ("writes a block", pages.writes_per_block, node.writes_per_block),
            (
                "reads and writes a block",
                pages.reads_per_block + pages.writes_per_block,
                node.reads_per_block + node.writes_per_block,
            ),
            ("KB a block", pages.bytes_per_block / 1e3, node.bytes_per_block / 1e3),
            ("syncs a block", pages.syncs_per_block, node.syncs_per_block),
        ] {
            writeln!(f, "{name:<32} {ours:>12.2} {theirs:>12.2} {:>7.2}x", ours / theirs)?;
        }
        Ok(())
    }
}
