use super::{Entry, StreamEntry, Total, text};
use serde::Serialize;
use std::slice;

/// One line of the table of what is gained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GainsRow {
    /// What was executed.
    pub name: String,
    /// Its blocks that were executed.
    pub blocks: u64,
    /// Their transactions.
    pub txs: u64,
    /// The gas that they used.
    pub gas: u64,
    /// What is gained, block by block.
    #[serde(flatten)]
    pub gains: Gains,
    /// The same blocks as streams: parallel over the faster of serial and `CacheDB`.
    pub stream_over_faster: Option<f64>,
}

/// Times in terms of one another; `None` of what was not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Gains {
    /// How much shorter `Serial`'s wall time is than `CacheDB`'s.
    pub serial_over_cachedb: Option<f64>,
    /// How much shorter the parallel wall time is than the shorter of both.
    pub parallel_over_faster: Option<f64>,
    /// The parallel CPU time of the serial one.
    pub cpu: Option<f64>,
    /// How much shorter than the transactions' serial times perfect scheduling on 2 lanes would be.
    pub bound_on_2_lanes: Option<f64>,
}

impl Gains {
    /// Of the sums over some blocks.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        Self::of_total(&Total::of(entries))
    }

    /// The geometric means of the blocks' own.
    #[must_use]
    pub fn geomean(entries: &[Entry]) -> Self {
        let gains: Vec<Self> = entries.iter().map(|entry| Self::of(slice::from_ref(entry))).collect();
        Self {
            serial_over_cachedb: mean(gains.iter().filter_map(|gains| gains.serial_over_cachedb)),
            parallel_over_faster: mean(gains.iter().filter_map(|gains| gains.parallel_over_faster)),
            cpu: mean(gains.iter().filter_map(|gains| gains.cpu)),
            bound_on_2_lanes: mean(gains.iter().filter_map(|gains| gains.bound_on_2_lanes)),
        }
    }

    fn of_total(Total { executed, compared, speedup_over_faster, limits, .. }: &Total) -> Self {
        Self {
            serial_over_cachedb: over(compared.cachedb_ns, compared.serial_ns),
            parallel_over_faster: *speedup_over_faster,
            cpu: over(executed.parallel_cpu_ns, executed.serial_cpu_ns),
            bound_on_2_lanes: limits.map(|limits| limits.with_sender_chains.total.0[0]),
        }
    }
}

impl GainsRow {
    /// The line of some blocks, in total.
    #[must_use]
    pub fn of(name: impl Into<String>, entries: &[Entry]) -> Self {
        let total = Total::of(entries);
        let executed = total.executed;
        Self {
            name: name.into(),
            blocks: executed.blocks,
            txs: executed.txs,
            gas: executed.gas,
            gains: Gains::of_total(&total),
            stream_over_faster: None,
        }
    }

    /// The line of some blocks, on the average.
    #[must_use]
    pub fn geomean(name: impl Into<String>, entries: &[Entry]) -> Self {
        Self { gains: Gains::geomean(entries), ..Self::of(name, entries) }
    }

    /// Adds what the same blocks gain as streams. `entries` are those of the blocks there: where one was refused, or
    /// `CacheDB` did other work, the times cannot be compared.
    #[must_use]
    pub fn with_streams(self, entries: &[Entry], streams: &[StreamEntry]) -> Self {
        let is_compared = |entry: &Entry| entry.is_executed() && entry.cachedb_note.is_none();
        let sum = |time: fn(&StreamEntry) -> u64| streams.iter().map(time).sum::<u64>();
        let faster_ns = sum(|stream| stream.serial_ns).min(sum(|stream| stream.cachedb_ns));
        let gain = over(faster_ns, sum(|stream| stream.parallel_ns));
        Self { stream_over_faster: gain.filter(|_| entries.iter().all(is_compared)), ..self }
    }
}

/// What the table's columns say.
const COLUMNS: [&str; 9] = [
    "workload",
    "blocks",
    "transactions",
    "gas per transaction",
    "`Serial` over `CacheDB`",
    "parallel over the faster",
    "as a stream",
    "CPU time",
    "perfect on 2 lanes",
];

/// The table in Markdown; behind it, what there is to say of single blocks.
#[must_use]
pub fn markdown(rows: &[GainsRow], entries: &[Entry]) -> String {
    let rule = COLUMNS.iter().enumerate().map(|(column, _)| if column == 0 { "---" } else { "---:" });
    let header = [line(COLUMNS.map(String::from)), line(rule.map(String::from))];
    let table: String = header.into_iter().chain(rows.iter().map(|row| line(cells(row)))).collect();
    match text::notes(entries) {
        notes if notes.is_empty() => table,
        notes => format!("{table}\n{notes}"),
    }
}

fn cells(row: &GainsRow) -> [String; COLUMNS.len()] {
    let GainsRow { name, blocks, txs, gas, gains, stream_over_faster } = row;
    let gas_per_tx = over(*gas, *txs).map_or_else(|| "-".to_owned(), |gas| format!("{gas:.0}"));
    [
        name.clone(),
        blocks.to_string(),
        txs.to_string(),
        gas_per_tx,
        text::ratio(gains.serial_over_cachedb),
        text::ratio(gains.parallel_over_faster),
        text::ratio(*stream_over_faster),
        text::ratio(gains.cpu),
        text::ratio(gains.bound_on_2_lanes),
    ]
}

fn line(cells: impl IntoIterator<Item = String>) -> String {
    format!("| {} |\n", cells.into_iter().collect::<Vec<_>>().join(" | "))
}

fn over(time: u64, unit: u64) -> Option<f64> {
    (unit > 0).then(|| time as f64 / unit as f64)
}

/// The geometric mean; `None` of nothing.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let logs: Vec<f64> = values.map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::{super::entry::tests::entry, *};

    fn with_cpu(entry: Entry, serial_cpu_ns: u64, parallel_cpu_ns: u64) -> Entry {
        Entry { serial_cpu_ns, parallel_cpu_ns, ..entry }
    }

    fn stream(serial_ns: u64, parallel_ns: u64, cachedb_ns: u64) -> StreamEntry {
        StreamEntry {
            serial_ns,
            parallel_ns,
            cachedb_ns,
            ..StreamEntry::new(None, Vec::new(), &Default::default())
        }
    }

    #[test]
    fn totals_are_of_sums_and_means_of_blocks() {
        let blocks = [
            with_cpu(entry("a", 800, 200, 1_600), 800, 1_600),
            with_cpu(entry("b", 200, 200, 100), 200, 100),
        ];
        let total = Gains::of(&blocks);
        assert_eq!((total.serial_over_cachedb, total.parallel_over_faster), (Some(1.7), Some(2.5)));
        assert_eq!((total.cpu, total.bound_on_2_lanes), (Some(1.7), None));
        let mean = Gains::geomean(&blocks);
        let round = |mean: Option<f64>| mean.map(|mean| (mean * 1e9).round() / 1e9);
        assert_eq!((round(mean.serial_over_cachedb), round(mean.cpu)), (Some(1.0), Some(1.0)));
        assert_eq!(round(mean.parallel_over_faster), round(Some(2_f64.sqrt())), "4 and 0.5");
    }

    #[test]
    fn a_stream_is_compared_where_all_did_the_same_work() {
        let row = GainsRow::of("a", &[entry("a", 4, 2, 4)]);
        let executed = [entry("a", 4, 2, 4)];
        let refused = [Entry { error: Some("no".to_owned()), ..entry("a", 4, 2, 4) }];
        let streams = [stream(6, 2, 9), stream(2, 2, 1)];
        let gain = |entries: &[Entry]| row.clone().with_streams(entries, &streams).stream_over_faster;
        assert_eq!((gain(&executed), gain(&refused)), (Some(2.0), None));
        assert_eq!(row.with_streams(&executed, &[]).stream_over_faster, None);
    }

    #[test]
    fn what_was_not_measured_is_a_dash_and_what_does_not_match_is_said() {
        let text = markdown(&[GainsRow::of("none", &[])], &[]);
        assert!(text.ends_with("\n| none | 0 | 0 | - | - | - | - | - | - |\n"), "{text}");
        let mut wrong = entry("a", 4, 2, 4);
        wrong.add_mismatch(Some("gas".to_owned()));
        let text = markdown(&[], &[wrong]);
        assert!(text.ends_with("---: |\n\na: does not match: gas\n"), "{text}");
    }
}
