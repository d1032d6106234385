use super::{Entry, StreamEntry, Total, table::Table};
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
    for entry in entries {
        if let Some(error) = &entry.error {
            let _ = writeln!(text, "{}: refused: {error}", entry.dir);
        }
        if let Some(mismatch) = &entry.mismatch {
            let _ = writeln!(text, "{}: does not match: {mismatch}", entry.dir);
        }
    }
    text.push('\n');
    for stream in streams {
        let _ = writeln!(
            text,
            "stream {}: serial {} ms, parallel {} ms, speed-up {}",
            stream_name(&stream.dirs),
            milliseconds(stream.serial_ns),
            milliseconds(stream.parallel_ns),
            ratio(speedup(stream.serial_ns, stream.parallel_ns)),
        );
    }
    text + &sums(subject, total)
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
        "",
    ];
    table.row(columns.map(String::from));
    for entry in entries {
        table.row([
            entry.dir.clone(),
            entry.txs.to_string(),
            format!("{:.3}", entry.gas as f64 / 1e6),
            if entry.error.is_some() { "refused".to_owned() } else { entry.strategy.clone() },
            entry.threads.to_string(),
            mgas_per_second(entry.gas, entry.serial_ns),
            mgas_per_second(entry.gas, entry.parallel_ns),
            mgas_per_second(entry.gas, entry.cachedb_ns),
            per_second(entry.txs, entry.serial_ns),
            per_second(entry.txs, entry.parallel_ns),
            ratio(entry.speedup()),
            aborts(entry.aborts, entry.txs),
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
        refused => format!(" ({refused} refused)"),
    };
    format!(
        "total: {} {noun}{refused}, {} transactions, {:.3} Mgas\n\
         \x20 serial   {} Mgas/s, {} tx/s, {} ms, CPU {} ms\n\
         \x20 parallel {} Mgas/s, {} tx/s, {} ms, CPU {} ms, {} aborts per transaction\n\
         \x20 CacheDB  {} Mgas/s, {} tx/s, {} ms\n\
         \x20 speed-up {} in total, {} geometric mean, worst {worst}\n\
         \x20 results equal: {}\n\
         not counted: sender recovery ({} ms), state root, disk\n",
        total.blocks,
        total.txs,
        total.gas as f64 / 1e6,
        mgas_per_second(total.gas, total.serial_ns),
        per_second(total.txs, total.serial_ns),
        milliseconds(total.serial_ns),
        milliseconds(total.serial_cpu_ns),
        mgas_per_second(total.gas, total.parallel_ns),
        per_second(total.txs, total.parallel_ns),
        milliseconds(total.parallel_ns),
        milliseconds(total.parallel_cpu_ns),
        aborts(total.aborts, total.txs),
        mgas_per_second(total.gas, total.cachedb_ns),
        per_second(total.txs, total.cachedb_ns),
        milliseconds(total.cachedb_ns),
        ratio(total.speedup),
        ratio(total.speedup_geomean),
        if total.matches { "yes" } else { "NO" },
        milliseconds(total.recover_ns),
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

fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.3}", nanoseconds as f64 / 1e6)
}

fn speedup(serial_ns: u64, parallel_ns: u64) -> Option<f64> {
    (parallel_ns > 0).then(|| serial_ns as f64 / parallel_ns as f64)
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}x"))
}

fn aborts(aborts: u64, txs: u64) -> String {
    if txs == 0 { "-".to_owned() } else { format!("{:.3}", aborts as f64 / txs as f64) }
}
