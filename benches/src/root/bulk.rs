use super::{Shape, Threads, Times, World, contest::wrong, times::median_ratio};
use crate::{THREADS, WrongAnswer};
use alloy_primitives::{B256, keccak256};
use alloy_rlp::Encodable;
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles, TrieAccount};
use citius_hashing::Hasher;
use citius_state::{
    ChangeSet, Workers,
    ssmt::{Sealed, Ssmt, SsmtConfig, SsmtError, SsmtMemory},
};
use serde::Serialize;
use std::{
    fmt, fs,
    hint::black_box,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// What it costs to build a state out of nothing, and to hold it.
#[derive(Debug, Clone, Serialize)]
pub struct BulkFigures {
    /// The state.
    pub state: Shape,
    /// Nodes hashed, those above the shards not counted.
    pub nodes: u64,
    /// [`Ssmt::seal`] of the whole state on one thread.
    pub seal_1: Times,
    /// The same on two threads.
    pub seal_2: Times,
    /// Keys hashed, sorted, and built by `alloy-trie` on one thread.
    pub alloy_1: Times,
    /// Leaves a second on two threads, in the median.
    pub leaves_per_second: f64,
    /// Median of `alloy_1` by `seal_2`, each by those next to it.
    pub alloy_1_by_seal_2: f64,
    /// What holding it takes, once the versions before are dropped.
    pub memory: MemoryFigures,
}

/// Bytes a leaf, accounts and slots together.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MemoryFigures {
    /// Nodes.
    pub nodes: f64,
    /// What the arenas took beyond them.
    pub slack: f64,
    /// The levels above the shards.
    pub tops: f64,
    /// What is noted for dropping and discarding versions.
    pub logs: f64,
    /// What the process grew by while it was built.
    pub resident: f64,
}

/// Builds a state some times by [`Ssmt`] on one and two threads, and by `alloy-trie`, in turn.
///
/// # Errors
///
/// [`WrongAnswer`] if the roots differ.
pub fn bulk(shape: Shape, threads: &Threads, repeats: usize) -> Result<BulkFigures, WrongAnswer> {
    let genesis = Arc::new(World::new(shape).genesis());
    // What earlier states left with the allocator would be used again, and not be counted.
    settled_resident_bytes();
    let hasher = Arc::new(Hasher::cpu());
    let mut memory = None;
    let (mut seal_1, mut seal_2, mut alloy_1) = (Vec::new(), Vec::new(), Vec::new());
    let mut nodes = 0;
    for repeat in 0..repeats.max(1) {
        let mut roots = Vec::new();
        for turn in 0..3 {
            match (repeat + turn) % 3 {
                0 => {
                    let before = resident_bytes();
                    let built = Built::by(&genesis, &hasher, Arc::clone(&threads.two) as Arc<dyn Workers>)?;
                    if memory.is_none() {
                        let grown = settled_resident_bytes().saturating_sub(before);
                        memory = Some(MemoryFigures::of(&built.trie.memory(), grown, shape.leaves()));
                    }
                    nodes = built.sealed.nodes_hashed;
                    roots.push(built.sealed.root);
                    seal_2.push(built.took);
                }
                1 => {
                    let start = Instant::now();
                    roots.push(alloy_root(&genesis));
                    alloy_1.push(start.elapsed());
                }
                _ => {
                    let built = Built::by(&genesis, &hasher, Arc::clone(&threads.one) as Arc<dyn Workers>)?;
                    roots.push(built.sealed.root);
                    seal_1.push(built.took);
                }
            }
        }
        if roots.iter().any(|root| *root != roots[0]) {
            return Err(wrong(format!("roots differ: {roots:?}")));
        }
    }
    let nothing = || wrong("nothing was timed".into());
    let two = Times::of(&seal_2).ok_or_else(nothing)?;
    Ok(BulkFigures {
        state: shape,
        nodes,
        seal_1: Times::of(&seal_1).ok_or_else(nothing)?,
        seal_2: two,
        alloy_1: Times::of(&alloy_1).ok_or_else(nothing)?,
        leaves_per_second: shape.leaves() as f64 / two.median_ms * 1e3,
        alloy_1_by_seal_2: median_ratio(&alloy_1, &seal_2),
        memory: memory.ok_or_else(nothing)?,
    })
}

/// A state that was built, and how long that took.
struct Built {
    trie: Ssmt,
    sealed: Sealed,
    took: Duration,
}

impl Built {
    fn by(
        genesis: &Arc<ChangeSet>,
        hasher: &Arc<Hasher>,
        workers: Arc<dyn Workers>,
    ) -> Result<Self, WrongAnswer> {
        let failed = |error: SsmtError| wrong(error.to_string());
        let config = SsmtConfig { history: 0, ..SsmtConfig::default() };
        let trie = Ssmt::new(config, Arc::clone(hasher), workers);
        let start = Instant::now();
        let sealed = trie.seal(trie.head(), genesis).map_err(failed)?;
        let took = start.elapsed();
        trie.set_head(sealed.version).map_err(failed)?;
        Ok(Self { trie, sealed, took })
    }
}

fn alloy_root(changes: &ChangeSet) -> B256 {
    let mut rlp = Vec::new();
    let mut accounts: Vec<(B256, TrieAccount)> = Vec::with_capacity(changes.accounts.len());
    for change in &changes.accounts {
        let Some(account) = change.after else { continue };
        let mut storage_root = EMPTY_ROOT_HASH;
        if !change.storage.is_empty() {
            let keyed =
                change.storage.iter().map(|slot| (keccak256(slot.slot.to_be_bytes::<32>()), slot.after));
            let mut slots: Vec<_> = keyed.collect();
            slots.sort_unstable_by_key(|(key, _)| *key);
            let mut builder = HashBuilder::default();
            for (key, value) in slots {
                rlp.clear();
                value.encode(&mut rlp);
                builder.add_leaf_unchecked(Nibbles::unpack(key), &rlp);
            }
            storage_root = builder.root();
        }
        let (nonce, balance, code_hash) = (account.nonce, account.balance, account.code_hash);
        let leaf = TrieAccount { nonce, balance, storage_root, code_hash };
        accounts.push((keccak256(change.address), leaf));
    }
    accounts.sort_unstable_by_key(|(key, _)| *key);
    let mut builder = HashBuilder::default();
    for (key, account) in accounts {
        rlp.clear();
        account.encode(&mut rlp);
        builder.add_leaf_unchecked(Nibbles::unpack(key), &rlp);
    }
    builder.root()
}

/// [`resident_bytes`] once the allocator has given back what is free: it keeps that for a while.
fn settled_resident_bytes() -> u64 {
    const TRIES: usize = 40;
    let mut least = resident_bytes();
    let mut since = 0;
    for _ in 0..TRIES {
        // It looks at what it keeps only when it is asked for more.
        thread::sleep(Duration::from_millis(100));
        for size in [1 << 10, 1 << 16, 1 << 20, 1 << 26] {
            black_box(vec![0_u8; size]);
        }
        let now = resident_bytes();
        since = if now + (now >> 7) < least { 0 } else { since + 1 };
        least = least.min(now);
        if since > TRIES / 2 {
            break;
        }
    }
    least
}

/// Memory that the process has in use, in whole pages; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    kib << 10
}

impl MemoryFigures {
    fn of(memory: &SsmtMemory, resident_bytes: u64, leaves: usize) -> Self {
        let each = |bytes: u64| bytes as f64 / leaves.max(1) as f64;
        Self {
            nodes: each(memory.node_bytes),
            slack: each(memory.arena_bytes.saturating_sub(memory.node_bytes)),
            tops: each(memory.top_bytes),
            logs: each(memory.log_bytes),
            resident: each(resident_bytes),
        }
    }

    /// All that the trie says it holds.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.nodes + self.slack + self.tops + self.logs
    }
}

impl fmt::Display for BulkFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, nodes, memory, .. } = self;
        writeln!(f, "{} accounts, {} slots out of nothing: {nodes} nodes", state.accounts, state.slots)?;
        writeln!(f, "{:<44} {:>10} {:>10} {:>10}", "ms", "median", "min", "worst")?;
        for (name, times) in [
            ("seal, 1 thread", self.seal_1),
            ("seal, 2 threads", self.seal_2),
            ("alloy-trie, 1 thread", self.alloy_1),
        ] {
            writeln!(f, "{name:<44} {times}")?;
        }
        let (rate, ratio) = (self.leaves_per_second / 1e6, self.alloy_1_by_seal_2);
        writeln!(f, "{rate:.2} M leaves/s on {THREADS} threads; alloy-trie by that: {ratio:.2}x")?;
        let MemoryFigures { nodes, slack, tops, logs, resident } = memory;
        let total = memory.total();
        writeln!(
            f,
            "bytes a leaf: nodes {nodes:.1}, slack {slack:.1}, tops {tops:.1}, logs {logs:.1}, together {total:.1}; \
             resident {resident:.1}"
        )
    }
}
