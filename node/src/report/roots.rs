use super::{Entry, text};
use crate::{contest::ContestTimes, roots_contest::RootContest};
use alloy_primitives::B256;
use serde::Serialize;

/// A block's state root, and what it takes. Times are nanoseconds, medians of interleaved runs; 0 without a root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RootEntry {
    /// Wall time of the root's work alone, after the execution, on the same threads.
    pub root_ns: u64,
    /// CPU time of that, all threads.
    pub root_cpu_ns: u64,
    /// Wall time from decoded transactions with known senders to the state root; in a stream from the root of the block
    /// before to its own.
    pub e2e_ns: u64,
    /// CPU time of that, all threads.
    pub e2e_cpu_ns: u64,
    /// Wall time from the block's last commit to the root, of single runs between the timed ones.
    pub seal_ns: u64,
    /// What `e2e_ns` is for plain revm over a `CacheDB` and a root of `alloy-trie` over all accounts and slots that are
    /// listed; 0 if not measured.
    pub cachedb_e2e_ns: u64,
    /// CPU time of that.
    pub cachedb_e2e_cpu_ns: u64,
    /// What `e2e_ns` cannot be below, however well all overlaps: the longest of `parallel_ns`, `root_ns`, and the CPU time
    /// of both divided among the threads.
    pub e2e_bound_ns: u64,
    /// Trie nodes hashed for the root, but for the at most 17 above the shards.
    pub nodes_hashed: u64,
    /// The state root; without a witness that of the listed part of the state.
    pub post_root: Option<B256>,
    /// Whether it is the header's; null without a witness, or with uncles, of which only hashes are recorded.
    pub root_matches: Option<bool>,
}

impl RootEntry {
    /// Of a block that took these times on so many threads.
    #[must_use]
    pub fn new(found: Option<&RootContest>, times: &ContestTimes, threads: usize) -> Self {
        let Some(found) = found else { return Self::default() };
        let cpu_ns = times.parallel.cpu_ns + found.alone.cpu_ns;
        let bounds = [times.parallel.wall_ns, found.alone.wall_ns, cpu_ns / threads.max(1) as u64];
        Self {
            root_ns: found.alone.wall_ns,
            root_cpu_ns: found.alone.cpu_ns,
            e2e_ns: found.end_to_end.wall_ns,
            e2e_cpu_ns: found.end_to_end.cpu_ns,
            seal_ns: found.seal_ns,
            cachedb_e2e_ns: found.cachedb.wall_ns,
            cachedb_e2e_cpu_ns: found.cachedb.cpu_ns,
            e2e_bound_ns: bounds.into_iter().max().unwrap_or_default(),
            nodes_hashed: found.nodes_hashed,
            post_root: Some(found.root),
            root_matches: None,
        }
    }
}

/// What the roots of several blocks come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RootsTotal {
    /// Blocks with a root.
    pub blocks: u64,
    /// Of these, blocks whose root could be compared with the header's.
    pub compared_with_header: u64,
    /// Sums over the blocks with a root.
    pub root_ns: u64,
    /// As `root_ns`.
    pub root_cpu_ns: u64,
    /// As `root_ns`.
    pub e2e_ns: u64,
    /// As `root_ns`.
    pub e2e_cpu_ns: u64,
    /// As `root_ns`.
    pub seal_ns: u64,
    /// As `root_ns`.
    pub e2e_bound_ns: u64,
    /// As `root_ns`.
    pub nodes_hashed: u64,
    /// `CacheDB`'s and `alloy-trie`'s times, of the blocks in which `CacheDB` did the same work.
    pub cachedb_e2e_ns: u64,
    /// CPU time of that.
    pub cachedb_e2e_cpu_ns: u64,
    /// The engine's and the trie's, of the same blocks.
    pub cachedb_compared_e2e_ns: u64,
    /// How much shorter the second is than the first.
    pub e2e_speedup_over_cachedb: Option<f64>,
    /// `e2e_ns` in terms of `e2e_bound_ns`.
    pub e2e_over_bound: Option<f64>,
}

impl RootsTotal {
    /// Sums up; `None` if no entry has a root.
    #[must_use]
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Option<Self> {
        let mut total = Self::default();
        for entry in entries.into_iter().filter(|entry| entry.roots.post_root.is_some()) {
            let roots = &entry.roots;
            total.blocks += 1;
            total.compared_with_header += u64::from(roots.root_matches.is_some());
            total.root_ns += roots.root_ns;
            total.root_cpu_ns += roots.root_cpu_ns;
            total.e2e_ns += roots.e2e_ns;
            total.e2e_cpu_ns += roots.e2e_cpu_ns;
            total.seal_ns += roots.seal_ns;
            total.e2e_bound_ns += roots.e2e_bound_ns;
            total.nodes_hashed += roots.nodes_hashed;
            if roots.cachedb_e2e_ns > 0 && entry.cachedb_note.is_none() {
                total.cachedb_e2e_ns += roots.cachedb_e2e_ns;
                total.cachedb_e2e_cpu_ns += roots.cachedb_e2e_cpu_ns;
                total.cachedb_compared_e2e_ns += roots.e2e_ns;
            }
        }
        let over = |time: u64, unit: u64| (time > 0 && unit > 0).then(|| time as f64 / unit as f64);
        total.e2e_speedup_over_cachedb = over(total.cachedb_e2e_ns, total.cachedb_compared_e2e_ns);
        total.e2e_over_bound = over(total.e2e_ns, total.e2e_bound_ns);
        (total.blocks > 0).then_some(total)
    }

    /// A line for people.
    pub(super) fn text(&self) -> String {
        let milliseconds = text::milliseconds;
        let baseline = match self.e2e_speedup_over_cachedb {
            Some(speedup) => format!(
                "; {} over CacheDB and alloy-trie ({} ms, CPU {} ms)",
                text::ratio(Some(speedup)),
                milliseconds(self.cachedb_e2e_ns),
                milliseconds(self.cachedb_e2e_cpu_ns),
            ),
            None => String::new(),
        };
        format!(
            "\x20 to root  {} ms, CPU {} ms; {} of the bound of {} ms{baseline}\n\
             \x20 root     {} ms alone, CPU {} ms, {} nodes hashed; {} ms behind the last commits; {} of {} compared with headers\n",
            milliseconds(self.e2e_ns),
            milliseconds(self.e2e_cpu_ns),
            text::ratio(self.e2e_over_bound),
            milliseconds(self.e2e_bound_ns),
            milliseconds(self.root_ns),
            milliseconds(self.root_cpu_ns),
            self.nodes_hashed,
            milliseconds(self.seal_ns),
            self.compared_with_header,
            self.blocks,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{super::entry::tests::entry, *};
    use crate::clock::Times;

    fn contest(e2e_ns: u64, root_ns: u64) -> RootContest {
        let times = |wall_ns| Times { wall_ns, cpu_ns: 2 * wall_ns };
        RootContest {
            root: B256::repeat_byte(1),
            is_whole: true,
            nodes_hashed: 5,
            alone: times(root_ns),
            end_to_end: times(e2e_ns),
            seal_ns: 3,
            cachedb: times(4 * e2e_ns),
        }
    }

    fn with_root(dir: &str, e2e_ns: u64, root_ns: u64) -> Entry {
        let times = ContestTimes { parallel: Times { wall_ns: 10, cpu_ns: 16 }, ..Default::default() };
        let roots = RootEntry::new(Some(&contest(e2e_ns, root_ns)), &times, 2);
        Entry { roots, ..entry(dir, 1, 1, 1) }
    }

    #[test]
    fn the_bound_is_the_longest_phase_or_all_work_divided() {
        let bound = |root_ns| with_root("a", 1, root_ns).roots.e2e_bound_ns;
        assert_eq!((bound(1), bound(4), bound(40)), (10, 12, 48));
        assert_eq!(RootEntry::new(None, &ContestTimes::default(), 2), RootEntry::default());
    }

    #[test]
    fn totals_compare_only_what_did_the_same_work() {
        let noted = Entry { cachedb_note: Some("no".to_owned()), ..with_root("b", 100, 1) };
        let mut unmeasured = with_root("c", 20, 1);
        unmeasured.roots.cachedb_e2e_ns = 0;
        let without = entry("d", 1, 1, 1);
        let total = RootsTotal::of(&[with_root("a", 30, 1), noted, unmeasured, without]).unwrap();
        assert_eq!((total.blocks, total.e2e_ns, total.nodes_hashed), (3, 150, 15));
        assert_eq!((total.cachedb_e2e_ns, total.cachedb_compared_e2e_ns), (120, 30));
        assert_eq!((total.e2e_speedup_over_cachedb, total.e2e_over_bound), (Some(4.0), Some(5.0)));
        assert_eq!(RootsTotal::of(&[entry("d", 1, 1, 1)]), None);
    }
}
