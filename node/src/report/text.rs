use super::{
    Entry, RootsTotal, StreamEntry, Total,
    entry::{LARGE_GAS_MIN, LARGE_TXS_MIN},
    limits,
    table::Table,
};
use std::fmt::Write;

/// What a report's lines are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Recorded blocks.
    Block,
    /// Generated workloads.
    Workload,
}

/// The report for people: a line per entry, the total, and what is not counted.
#[must_use]
pub fn text(subject: Subject, entries: &[Entry], streams: &[StreamEntry], total: &Total) -> String {
    let mut text = table(subject, entries).lines().join("\n");
    text.push('\n');
    text.push_str(&notes(entries));
    text.push('\n');
    for stream in streams {
        let is_refused = entries.iter().any(|entry| !entry.is_executed() && stream.dirs.contains(&entry.dir));
        let speedup = if is_refused { None } else { speedup(stream.serial_ns, stream.parallel_ns) };
        let _ = writeln!(
            text,
            "stream {}: serial {} ms, parallel {} ms, speed-up {}",
            stream_name(&stream.dirs),
            milliseconds(stream.serial_ns),
            milliseconds(stream.parallel_ns),
            ratio(speedup),
        );
    }
    let large = large_blocks(subject, entries);
    text.push_str(&sums(subject, total));
    text.push_str(&large.as_ref().map(large_sums).unwrap_or_default());
    text + &limits::text(entries, total, large.as_ref())
}

/// What there is to say of single blocks, a line each: refused, not matching, not to be compared.
pub(super) fn notes(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        if let Some(error) = &entry.error {
            let _ = writeln!(text, "{}: refused: {error}", entry.dir);
        }
        if let Some(mismatch) = &entry.mismatch {
            let _ = writeln!(text, "{}: does not match: {mismatch}", entry.dir);
        }
        if let Some(note) = &entry.cachedb_note {
            let _ = writeln!(text, "{}: CacheDB {note}; its time is not compared", entry.dir);
        }
        if let Some(note) = &entry.record_note {
            let _ = writeln!(text, "{}: its record was changed: {note}", entry.dir);
        }
    }
    text
}

/// What the large blocks among others come to, by which engines are compared.
fn large_blocks(subject: Subject, entries: &[Entry]) -> Option<Total> {
    let large: Vec<Entry> = entries.iter().filter(|entry| entry.is_large()).cloned().collect();
    let tells_more = subject == Subject::Block && !large.is_empty() && large.len() < entries.len();
    tells_more.then(|| Total::of(&large))
}

fn large_sums(total: &Total) -> String {
    format!(
        "of at least {} Mgas and {LARGE_TXS_MIN} transactions: {} blocks, serial {} ms, parallel {} ms, CacheDB {} ms, CPU {} ms \
         serial, {} ms parallel, speed-up {} over serial ({} geometric mean), {} over CacheDB\n",
        LARGE_GAS_MIN / 1_000_000,
        total.executed.blocks,
        milliseconds(total.executed.serial_ns),
        milliseconds(total.executed.parallel_ns),
        milliseconds(total.compared.cachedb_ns),
        milliseconds(total.executed.serial_cpu_ns),
        milliseconds(total.executed.parallel_cpu_ns),
        ratio(total.speedup),
        ratio(total.speedup_geomean),
        ratio(total.speedup_over_cachedb),
    )
}

fn table(subject: Subject, entries: &[Entry]) -> Table {
    let mut table = Table::default();
    let name = match subject {
        Subject::Block => "block",
        Subject::Workload => "workload",
    };
    let columns = [
        name,
        "txs",
        "Mgas",
        "strategy",
        "threads",
        "serial Mgas/s",
        "parallel Mgas/s",
        "CacheDB Mgas/s",
        "serial tx/s",
        "parallel tx/s",
        "speed-up",
        "aborts/tx",
        "to root ms",
        "root ms",
        "",
    ];
    table.row(columns.map(String::from));
    for entry in entries {
        // Of a block that was refused nobody knows how much was done.
        let if_executed = |cell: String| if entry.is_executed() { cell } else { "-".to_owned() };
        let if_rooted = |time_ns: u64| match entry.roots.post_root {
            Some(_) => milliseconds(time_ns),
            None => "-".to_owned(),
        };
        let if_compared = |cell: String| if entry.cachedb_note.is_none() { cell } else { "-".to_owned() };
        table.row([
            entry.dir.clone(),
            entry.txs.to_string(),
            if_executed(format!("{:.3}", entry.gas as f64 / 1e6)),
            if entry.is_executed() { entry.strategy.clone() } else { "refused".to_owned() },
            entry.threads.to_string(),
            if_executed(mgas_per_second(entry.gas, entry.serial_ns)),
            if_executed(mgas_per_second(entry.gas, entry.parallel_ns)),
            if_executed(if_compared(mgas_per_second(entry.gas, entry.cachedb_ns))),
            if_executed(per_second(entry.txs, entry.serial_ns)),
            if_executed(per_second(entry.txs, entry.parallel_ns)),
            ratio(entry.speedup()),
            if_executed(aborts(entry.aborts, entry.txs)),
            if_rooted(entry.roots.e2e_ns),
            if_rooted(entry.roots.root_ns),
            format!("results equal: {}", if entry.matches { "yes" } else { "NO" }),
        ]);
    }
    table
}

fn sums(subject: Subject, total: &Total) -> String {
    let noun = match subject {
        Subject::Block => "blocks",
        Subject::Workload => "workload blocks",
    };
    let worst = match &total.worst {
        Some(worst) => format!("{} ({})", ratio(Some(worst.speedup)), worst.dir),
        None => ratio(None),
    };
    let refused = match total.refused {
        0 => String::new(),
        refused => format!(" and {refused} refused, which count no further"),
    };
    let recovery = match subject {
        Subject::Block => format!("sender recovery ({} ms)", milliseconds(total.all.recover_ns)),
        Subject::Workload => "sender recovery (unsigned)".to_owned(),
    };
    let (executed, compared) = (&total.executed, &total.compared);
    let roots = total.roots.as_ref().map(RootsTotal::text).unwrap_or_default();
    let uncounted =
        if roots.is_empty() { "state root, " } else { "state root but in the lines that say so, " };
    let others = match executed.blocks - compared.blocks {
        0 => String::new(),
        others => format!(" ({others} left out)"),
    };
    format!(
        "total: {} {noun}{refused}, {} transactions, {:.3} Mgas\n\
         \x20 serial   {} Mgas/s, {} tx/s, {} ms, CPU {} ms\n\
         \x20 parallel {} Mgas/s, {} tx/s, {} ms, CPU {} ms, {} aborts per transaction\n\
         \x20 CacheDB  {} Mgas/s, {} tx/s, {} ms{others}\n\
         \x20 speed-up {} over serial ({} geometric mean, worst {worst}), {} over the faster of serial and CacheDB\n\
         {roots}{}\x20 results equal: {}\n\
         not counted: {recovery}, {uncounted}disk\n",
        executed.blocks,
        executed.txs,
        executed.gas as f64 / 1e6,
        mgas_per_second(executed.gas, executed.serial_ns),
        per_second(executed.txs, executed.serial_ns),
        milliseconds(executed.serial_ns),
        milliseconds(executed.serial_cpu_ns),
        mgas_per_second(executed.gas, executed.parallel_ns),
        per_second(executed.txs, executed.parallel_ns),
        milliseconds(executed.parallel_ns),
        milliseconds(executed.parallel_cpu_ns),
        aborts(executed.aborts, executed.txs),
        mgas_per_second(compared.gas, compared.cachedb_ns),
        per_second(compared.txs, compared.cachedb_ns),
        milliseconds(compared.cachedb_ns),
        ratio(total.speedup),
        ratio(total.speedup_geomean),
        ratio(total.speedup_over_faster),
        executed.cold_reads.text(),
        if total.matches { "yes" } else { "NO" },
    )
}

fn stream_name(dirs: &[String]) -> String {
    match dirs {
        [first, .., last] => format!("{first} to {last} ({} blocks)", dirs.len()),
        dirs => dirs.concat(),
    }
}

fn mgas_per_second(gas: u64, nanoseconds: u64) -> String {
    if gas == 0 || nanoseconds == 0 {
        return "-".to_owned();
    }
    format!("{:.1}", gas as f64 * 1e3 / nanoseconds as f64)
}

fn per_second(count: u64, nanoseconds: u64) -> String {
    if count == 0 || nanoseconds == 0 {
        return "-".to_owned();
    }
    format!("{:.0}", count as f64 * 1e9 / nanoseconds as f64)
}

pub(super) fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.3}", nanoseconds as f64 / 1e6)
}

fn speedup(serial_ns: u64, parallel_ns: u64) -> Option<f64> {
    (parallel_ns > 0).then(|| serial_ns as f64 / parallel_ns as f64)
}

pub(super) fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}x"))
}

fn aborts(aborts: u64, txs: u64) -> String {
    if txs == 0 { "-".to_owned() } else { format!("{:.3}", aborts as f64 / txs as f64) }
}

#[cfg(test)]
mod tests {
    use super::{super::entry::tests::entry, *};

    #[test]
    fn what_cachedb_did_otherwise_is_said_and_not_compared() {
        let noted =
            Entry { cachedb_note: Some("uses 8 gas instead of 7".to_owned()), ..entry("b", 4_000, 2_000, 1) };
        let entries = [entry("a", 4_000, 2_000, 3_000), noted];
        let text = text(Subject::Block, &entries, &[], &Total::of(&entries));
        assert!(text.contains("\nb: CacheDB uses 8 gas instead of 7; its time is not compared\n"), "{text}");
        let cachedb = |line: usize| text.lines().nth(line).unwrap().split_whitespace().nth(7).unwrap();
        assert_eq!((cachedb(1), cachedb(2)), ("7000.0", "-"), "{text}");
        assert!(text.contains("CacheDB  7000.0 Mgas/s, 333333 tx/s, 0.003 ms (1 left out)"), "{text}");
        assert!(text.contains("speed-up 2.00x over serial"), "{text}");
        assert!(text.contains("1.50x over the faster of serial and CacheDB"), "{text}");
        assert!(text.contains("results equal: yes"), "a note is no mismatch: {text}");
    }

    #[test]
    fn large_blocks_are_summed_up_apart() {
        let large = |dir, gas, txs| Entry { gas, txs, ..entry(dir, 4_000_000, 2_000_000, 6_000_000) };
        let some =
            [large("a", LARGE_GAS_MIN, 30), large("b", LARGE_GAS_MIN - 1, 30), large("c", LARGE_GAS_MIN, 29)];
        let line = large_sums(&large_blocks(Subject::Block, &some).unwrap());
        assert!(line.contains("30 transactions: 1 blocks") && line.contains("3.00x over CacheDB"), "{line}");
        assert_eq!(large_blocks(Subject::Workload, &some), None);
        assert_eq!(large_blocks(Subject::Block, &some[..1]), None);
    }

    #[test]
    fn a_stream_with_a_refused_block_has_no_speedup() {
        let refused = Entry { error: Some("no".to_owned()), ..entry("b", 1, 1, 1) };
        let stream = |dir: &str| StreamEntry::new(None, vec![dir.to_owned()], &Default::default());
        let streams = [("a", 9), ("b", 9)].map(|(dir, ns)| StreamEntry {
            serial_ns: ns,
            parallel_ns: 3,
            ..stream(dir)
        });
        let entries = [entry("a", 1, 1, 1), refused];
        let text = text(Subject::Block, &entries, &streams, &Total::of(&entries));
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
        assert!(line("stream a").ends_with("speed-up 3.00x"), "{text}");
        assert!(line("stream b").ends_with("speed-up -"), "{text}");
    }
}
