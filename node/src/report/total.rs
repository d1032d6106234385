use super::{ColdReads, Entry, LimitsTotal, RootsTotal};
use serde::Serialize;

/// What a report's entries come to. Rates and speed-ups are of blocks that were executed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Total {
    /// Sums over all entries.
    #[serde(flatten)]
    pub all: Sums,
    /// Entries that were refused.
    pub refused: u64,
    /// Sums over the entries that were executed.
    pub executed: Sums,
    /// Sums over those of them that `CacheDB` executed too, with the same gas.
    pub compared: Sums,
    /// Serial over parallel time, of the sums over what was executed.
    pub speedup: Option<f64>,
    /// `CacheDB`'s over parallel time, of the sums over what both executed.
    pub speedup_over_cachedb: Option<f64>,
    /// The shorter of serial and `CacheDB`'s over parallel time, of the same sums.
    pub speedup_over_faster: Option<f64>,
    /// Geometric mean of the blocks' speed-ups over serial.
    pub speedup_geomean: Option<f64>,
    /// The block with the lowest speed-up over serial.
    pub worst: Option<Worst>,
    /// What perfect scheduling would make of the entries that were asked.
    pub limits: Option<LimitsTotal>,
    /// What the state roots of the entries that were executed come to, if any was found.
    pub roots: Option<RootsTotal>,
    /// Whether every entry matches.
    pub matches: bool,
}

/// Sums over some entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Number of entries.
    pub blocks: u64,
    /// Transactions.
    pub txs: u64,
    /// Gas used.
    pub gas: u64,
    /// Serial wall times.
    pub serial_ns: u64,
    /// Parallel wall times.
    pub parallel_ns: u64,
    /// The `CacheDB` loop's wall times.
    pub cachedb_ns: u64,
    /// Serial CPU times.
    pub serial_cpu_ns: u64,
    /// Parallel CPU times.
    pub parallel_cpu_ns: u64,
    /// Thread times of executions.
    pub execute_ns: u64,
    /// The part of these that was thrown away.
    pub repeated_ns: u64,
    /// Thread times of commits.
    pub commit_ns: u64,
    /// Sender recovery.
    pub recover_ns: u64,
    /// Executions.
    pub executions: u64,
    /// Aborts.
    pub aborts: u64,
    /// What cold reads made executions do.
    #[serde(flatten)]
    pub cold_reads: ColdReads,
}

/// The block with the lowest speed-up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worst {
    /// Its name.
    pub dir: String,
    /// Its speed-up.
    pub speedup: f64,
}

impl Sums {
    fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut sums = Self::default();
        for entry in entries {
            sums.blocks += 1;
            sums.txs += entry.txs;
            sums.gas += entry.gas;
            sums.serial_ns += entry.serial_ns;
            sums.parallel_ns += entry.parallel_ns;
            sums.cachedb_ns += entry.cachedb_ns;
            sums.serial_cpu_ns += entry.serial_cpu_ns;
            sums.parallel_cpu_ns += entry.parallel_cpu_ns;
            sums.execute_ns += entry.execute_ns;
            sums.repeated_ns += entry.repeated_ns;
            sums.commit_ns += entry.commit_ns;
            sums.recover_ns += entry.recover_ns;
            sums.executions += entry.executions;
            sums.aborts += entry.aborts;
            sums.cold_reads.add(&entry.cold_reads);
        }
        sums
    }

    /// How much shorter the parallel time is than `sequential_ns`.
    fn speedup_over(&self, sequential_ns: u64) -> Option<f64> {
        (self.parallel_ns > 0).then(|| sequential_ns as f64 / self.parallel_ns as f64)
    }
}

impl Total {
    /// Sums entries up.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let all = Sums::of(entries);
        let executed = Sums::of(entries.iter().filter(|entry| entry.is_executed()));
        let is_compared = |entry: &&Entry| entry.is_executed() && entry.cachedb_note.is_none();
        let compared = Sums::of(entries.iter().filter(is_compared));
        let speedups: Vec<(&Entry, f64)> =
            entries.iter().filter_map(|entry| Some((entry, entry.speedup()?))).collect();
        let logs: f64 = speedups.iter().map(|(_, speedup)| speedup.ln()).sum();
        let worst = speedups.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        Self {
            all,
            refused: all.blocks - executed.blocks,
            executed,
            compared,
            speedup: executed.speedup_over(executed.serial_ns),
            speedup_over_cachedb: compared.speedup_over(compared.cachedb_ns),
            speedup_over_faster: compared.speedup_over(compared.serial_ns.min(compared.cachedb_ns)),
            speedup_geomean: (!speedups.is_empty()).then(|| (logs / speedups.len() as f64).exp()),
            worst: worst.map(|(entry, speedup)| Worst { dir: entry.dir.clone(), speedup: *speedup }),
            limits: LimitsTotal::of(entries),
            roots: RootsTotal::of(entries.iter().filter(|entry| entry.is_executed())),
            matches: entries.iter().all(|entry| entry.matches),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::entry::tests::entry, *};
    use serde_json::json;

    fn refused(dir: &str, serial_ns: u64, parallel_ns: u64) -> Entry {
        Entry { gas: 0, txs: 100, error: Some("no".to_owned()), ..entry(dir, serial_ns, parallel_ns, 1) }
    }

    #[test]
    fn speedups_leave_refused_and_empty_blocks_out() {
        let empty = Entry { txs: 0, ..entry("empty", 1, 100, 1) };
        let total =
            Total::of(&[entry("a", 400, 100, 1), empty, entry("b", 100, 100, 1), refused("c", 1, 100)]);
        assert_eq!(total.speedup_geomean.map(|mean| (mean * 1e9).round() / 1e9), Some(2.0));
        assert_eq!(total.worst.unwrap().dir, "b");
        assert_eq!((total.all.serial_ns, total.all.blocks, total.refused), (502, 4, 1));
    }

    #[test]
    fn what_never_ran_counts_in_the_sums_alone() {
        let total = Total::of(&[entry("a", 300, 100, 150), refused("b", 7, 9_000)]);
        assert_eq!((total.all.txs, total.executed.txs), (101, 1));
        assert_eq!((total.all.parallel_ns, total.executed.parallel_ns), (9_100, 100));
        assert_eq!((total.speedup, total.speedup_over_cachedb), (Some(3.0), Some(1.5)));
        assert_eq!(total.speedup_over_faster, Some(1.5));
        let json = serde_json::to_value(&total).unwrap();
        assert_eq!(
            (&json["txs"], &json["parallel_ns"], &json["blocks"]),
            (&json!(101), &json!(9_100), &json!(2))
        );
        assert_eq!(json["speedup_over_cachedb"], json!(1.5));
    }

    #[test]
    fn where_cachedb_did_other_work_it_is_not_compared_with() {
        let noted = Entry { cachedb_note: Some("refuses".to_owned()), ..entry("noted", 100, 100, 1) };
        let total = Total::of(&[entry("a", 300, 100, 400), noted]);
        assert_eq!((total.speedup, total.speedup_over_cachedb), (Some(2.0), Some(4.0)));
        assert_eq!(total.speedup_over_faster, Some(3.0));
    }

    #[test]
    fn a_report_of_nothing_has_no_speedup() {
        let total = Total::of(&[]);
        assert_eq!((total.speedup, total.speedup_over_cachedb, total.worst), (None, None, None));
        assert!(total.matches);
    }
}
