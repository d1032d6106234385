use super::{Entry, Total, table::Table, text::ratio};
use crate::limits::{Bounds, LANES, Limits, Speedups};
use serde::Serialize;

/// What perfect scheduling would make of several blocks. Empty ones do not count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LimitsTotal {
    /// With all that transactions need.
    pub with_sender_chains: BoundsTotal,
    /// If a transaction need not wait for its sender's nonce.
    pub without_sender_chains: BoundsTotal,
}

/// Speed-ups of several blocks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BoundsTotal {
    /// Serial over scheduled time, of the sums.
    pub total: Speedups,
    /// Geometric means of the blocks' own.
    pub geomean: Speedups,
}

impl LimitsTotal {
    /// Sums up; `None` if no entry has limits.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Option<Self> {
        let counted = entries.iter().filter(|entry| entry.speedup().is_some());
        let limits: Vec<Limits> = counted.filter_map(|entry| entry.limits).collect();
        let of = |bounds: fn(&Limits) -> &Bounds| {
            let speedups: Vec<Speedups> = limits.iter().map(|limits| bounds(limits).speedups()).collect();
            let geomean = Speedups::geomean(&speedups)?;
            Some(BoundsTotal { total: Bounds::sum(limits.iter().map(bounds)).speedups(), geomean })
        };
        Some(Self {
            with_sender_chains: of(|limits| &limits.with_sender_chains)?,
            without_sender_chains: of(|limits| &limits.without_sender_chains)?,
        })
    }
}

/// The limits beside what was reached, block by block and in total; nothing if nobody asked for them.
pub(super) fn text(entries: &[Entry], total: &Total, large: Option<&Total>) -> String {
    if entries.iter().all(|entry| entry.limits.is_none()) {
        return String::new();
    }
    let mut table = Table::default();
    table.row(header());
    entries.iter().for_each(|entry| table.row(entry_row(entry)));
    for (name, total) in [("", Some(total)), ("large blocks, ", large)] {
        total.into_iter().flat_map(|total| total_rows(name, total)).for_each(|row| table.row(row));
    }
    format!(
        "\nlimits: speed-ups of perfect scheduling, by lanes; * without the chains of one sender's transactions\n{}\n",
        table.lines().join("\n")
    )
}

fn header() -> Vec<String> {
    let mut row: Vec<String> = ["", "threads", "reached"].map(String::from).into();
    row.extend(LANES.map(|(lanes, _)| lanes.to_owned()));
    row.extend(LANES.map(|(lanes, _)| format!("{lanes}*")));
    row.extend(["heaviest tx", "longest chain", "longest of one sender", ""].map(String::from));
    row
}

fn entry_row(entry: &Entry) -> Vec<String> {
    let mut row = vec![entry.dir.clone(), entry.threads.to_string(), ratio(entry.speedup())];
    let bounds = entry.limits.map(|limits| (limits.with_sender_chains, limits.without_sender_chains));
    row.extend(cells(bounds.map(|(with, without)| (with.speedups(), without.speedups()))));
    row.extend(match entry.limits {
        Some(limits) => [
            format!("{:.0}%", limits.heaviest_share * 100.0),
            limits.longest_chain.to_string(),
            limits.longest_sender_chain.to_string(),
        ],
        None => ["-"; 3].map(String::from),
    });
    row
}

fn total_rows(name: &str, total: &Total) -> [Vec<String>; 2] {
    let limits = total.limits.map(|limits| (limits.with_sender_chains, limits.without_sender_chains));
    let row = |what: &str, reached, of: fn(&BoundsTotal) -> Speedups| {
        let mut row = vec![format!("{name}{what}"), String::new(), ratio(reached)];
        row.extend(cells(limits.map(|(with, without)| (of(&with), of(&without)))));
        row
    };
    [
        row("total", total.speedup, |bounds| bounds.total),
        row("geometric mean", total.speedup_geomean, |bounds| bounds.geomean),
    ]
}

/// Speed-ups with and without the chains of senders.
fn cells(speedups: Option<(Speedups, Speedups)>) -> Vec<String> {
    match speedups {
        Some((with, without)) => [with.0, without.0].concat().into_iter().map(Some).map(ratio).collect(),
        None => vec![ratio(None); 2 * LANES.len()],
    }
}
