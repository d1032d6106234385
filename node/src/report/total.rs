use super::Entry;
use serde::Serialize;

/// Sums over a report's entries. Speed-ups are of blocks with transactions that were executed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Total {
    /// Number of entries.
    pub blocks: u64,
    /// Entries that were refused.
    pub refused: u64,
    /// Sum of transactions.
    pub txs: u64,
    /// Sum of gas used.
    pub gas: u64,
    /// Sum of serial wall times.
    pub serial_ns: u64,
    /// Sum of parallel wall times.
    pub parallel_ns: u64,
    /// Sum of the `CacheDB` loop's wall times.
    pub cachedb_ns: u64,
    /// Sum of serial CPU times.
    pub serial_cpu_ns: u64,
    /// Sum of parallel CPU times.
    pub parallel_cpu_ns: u64,
    /// Sum of sender recovery.
    pub recover_ns: u64,
    /// Sum of executions.
    pub executions: u64,
    /// Sum of aborts.
    pub aborts: u64,
    /// Serial over parallel time, of the sums.
    pub speedup: Option<f64>,
    /// Geometric mean of the blocks' speed-ups.
    pub speedup_geomean: Option<f64>,
    /// The block with the lowest speed-up.
    pub worst: Option<Worst>,
    /// Whether every entry matches.
    pub matches: bool,
}

/// The block with the lowest speed-up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worst {
    /// Its name.
    pub dir: String,
    /// Its speed-up.
    pub speedup: f64,
}

impl Total {
    /// Sums entries up.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let sum = |field: fn(&Entry) -> u64| entries.iter().map(field).sum::<u64>();
        let (serial_ns, parallel_ns) = (sum(|entry| entry.serial_ns), sum(|entry| entry.parallel_ns));
        let speedups: Vec<(&Entry, f64)> =
            entries.iter().filter_map(|entry| Some((entry, entry.speedup()?))).collect();
        let logs: f64 = speedups.iter().map(|(_, speedup)| speedup.ln()).sum();
        let worst = speedups.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        Self {
            blocks: entries.len() as u64,
            refused: entries.iter().filter(|entry| entry.error.is_some()).count() as u64,
            txs: sum(|entry| entry.txs),
            gas: sum(|entry| entry.gas),
            serial_ns,
            parallel_ns,
            cachedb_ns: sum(|entry| entry.cachedb_ns),
            serial_cpu_ns: sum(|entry| entry.serial_cpu_ns),
            parallel_cpu_ns: sum(|entry| entry.parallel_cpu_ns),
            recover_ns: sum(|entry| entry.recover_ns),
            executions: sum(|entry| entry.executions),
            aborts: sum(|entry| entry.aborts),
            speedup: (parallel_ns > 0).then(|| serial_ns as f64 / parallel_ns as f64),
            speedup_geomean: (!speedups.is_empty()).then(|| (logs / speedups.len() as f64).exp()),
            worst: worst.map(|(entry, speedup)| Worst { dir: entry.dir.clone(), speedup: *speedup }),
            matches: entries.iter().all(|entry| entry.matches),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(dir: &str, serial_ns: u64, parallel_ns: u64) -> Entry {
        Entry {
            dir: dir.to_owned(),
            workload: None,
            number: 1,
            txs: 1,
            gas: 21_000,
            serial_ns,
            parallel_ns,
            cachedb_ns: 0,
            serial_cpu_ns: 0,
            parallel_cpu_ns: 0,
            recover_ns: 0,
            threads: 2,
            strategy: "optimistic".to_owned(),
            reason: String::new(),
            executions: 1,
            aborts: 0,
            max_in_flight: 1,
            matches: true,
            mismatch: None,
            error: None,
            error_tx: None,
        }
    }

    #[test]
    fn speedups_leave_refused_and_empty_blocks_out() {
        let empty = Entry { txs: 0, ..entry("empty", 1, 100) };
        let refused = Entry { error: Some("no".to_owned()), ..entry("refused", 1, 100) };
        let total = Total::of(&[entry("a", 400, 100), empty, entry("b", 100, 100), refused]);
        assert_eq!(total.speedup_geomean.map(|mean| (mean * 1e9).round() / 1e9), Some(2.0));
        assert_eq!(total.worst.unwrap().dir, "b");
        assert_eq!((total.serial_ns, total.blocks, total.refused), (502, 4, 1));
    }

    #[test]
    fn a_report_of_nothing_has_no_speedup() {
        let total = Total::of(&[]);
        assert_eq!((total.speedup, total.speedup_geomean, total.worst), (None, None, None));
        assert!(total.matches);
    }
}
