//! What perfect scheduling would make of a block: its entries' serial times, laid out over lanes so that none begins
//! before what it needs is done.
//!
//! The schedule is [list scheduling][graham] in block order, which knows all times and needs beforehand, never executes
//! anything twice and costs nothing itself. It is at most twice as long as the shortest schedule there is, and mostly
//! close to it; without a bound on lanes it is the shortest: the critical path.
//!
//! [graham]: https://doi.org/10.1137/0117039

use crate::clock;
use citius_engine::{Block, BlockTrace, EntryTrace};
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    num::NonZeroUsize,
};

/// The numbers of lanes that bounds are given for, by name; `None` is as many as there are entries.
pub const LANES: [(&str, Option<NonZeroUsize>); 4] = [
    ("2", NonZeroUsize::new(2)),
    ("4", NonZeroUsize::new(4)),
    ("16", NonZeroUsize::new(16)),
    ("unlimited", None),
];

/// What limits the speed-up of one block.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// The sum of the entries' times: what the bounds are over. The block's serial time has its seal besides.
    pub entries_ns: u64,
    /// With all that entries need.
    pub with_sender_chains: Bounds,
    /// If a transaction need not wait for its sender's nonce.
    pub without_sender_chains: Bounds,
    /// The longest transaction's share of the time.
    pub heaviest_share: f64,
    /// The share of the block's gas that its transaction with most gas used.
    pub heaviest_gas_share: f64,
    /// Transactions in the longest chain of transactions that need one another, sender chains included.
    pub longest_chain: usize,
    /// Transactions of the sender with most.
    pub longest_sender_chain: usize,
}

/// How long entries take on one lane, and on as many as [`LANES`] names. Serialized as the [`Speedups`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The time on one lane.
    pub entries_ns: u64,
    /// The times in the order of [`LANES`].
    pub makespans_ns: [u64; LANES.len()],
}

/// Speed-ups over one lane, in the order of [`LANES`]. Serialized as a map from the names there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speedups(pub [f64; LANES.len()]);

impl Limits {
    /// The limits of a block that was traced.
    #[must_use]
    pub fn of(block: &Block, trace: &BlockTrace) -> Self {
        Self::of_entries(&trace.entries, longest_sender_chain(block))
    }

    fn of_entries(entries: &[EntryTrace], longest_sender_chain: usize) -> Self {
        let times_ns: Vec<u64> = entries.iter().map(|entry| clock::nanoseconds(entry.time)).collect();
        let with: Vec<&[usize]> = entries.iter().map(|entry| entry.needs.as_slice()).collect();
        let without: Vec<&[usize]> =
            entries.iter().map(|entry| entry.needs_but_for_nonce.as_slice()).collect();
        let entries_ns = times_ns.iter().sum();
        let transactions = entries.iter().zip(&times_ns).filter(|(entry, _)| entry.transaction.is_some());
        let gas = entries.iter().map(|entry| entry.gas_used);
        Self {
            entries_ns,
            with_sender_chains: Bounds::of(&times_ns, &with),
            without_sender_chains: Bounds::of(&times_ns, &without),
            heaviest_share: share(transactions.map(|(_, ns)| *ns).max(), entries_ns),
            heaviest_gas_share: share(gas.clone().max(), gas.sum()),
            longest_chain: longest_chain(entries),
            longest_sender_chain,
        }
    }
}

impl Bounds {
    fn of(times_ns: &[u64], needs: &[&[usize]]) -> Self {
        let makespans_ns = LANES.map(|(_, lanes)| match lanes {
            Some(lanes) => makespan(times_ns, needs, lanes),
            None => critical_path(times_ns, needs),
        });
        Self { entries_ns: times_ns.iter().sum(), makespans_ns }
    }

    /// What several blocks come to, one after the other.
    #[must_use]
    pub fn sum<'a>(bounds: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self { entries_ns: 0, makespans_ns: [0; LANES.len()] };
        for bounds in bounds {
            sum.entries_ns += bounds.entries_ns;
            sum.makespans_ns.iter_mut().zip(bounds.makespans_ns).for_each(|(sum, ns)| *sum += ns);
        }
        sum
    }

    /// The speed-ups; 1 where there is nothing to do.
    #[must_use]
    pub fn speedups(&self) -> Speedups {
        Speedups(self.makespans_ns.map(|ns| if ns == 0 { 1.0 } else { self.entries_ns as f64 / ns as f64 }))
    }
}

impl Serialize for Bounds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.speedups().serialize(serializer)
    }
}

impl Speedups {
    /// Geometric means; `None` of nothing.
    #[must_use]
    pub fn geomean(speedups: &[Self]) -> Option<Self> {
        let mean = |lanes: usize| {
            let logs: f64 = speedups.iter().map(|speedups| speedups.0[lanes].ln()).sum();
            (logs / speedups.len() as f64).exp()
        };
        (!speedups.is_empty()).then(|| Self(std::array::from_fn(mean)))
    }
}

impl Serialize for Speedups {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(LANES.len()))?;
        for ((name, _), speedup) in LANES.iter().zip(self.0) {
            map.serialize_entry(name, &speedup)?;
        }
        map.end()
    }
}

/// When the last of some entries is done, in nanoseconds from the start, if at any time a free lane takes the first
/// entry in order of which all needs are done. `needs[i]` names entries before `i`; the slices are of one length.
#[must_use]
pub fn makespan(times_ns: &[u64], needs: &[&[usize]], lanes: NonZeroUsize) -> u64 {
    let mut waits_for: Vec<usize> = needs.iter().map(|needs| needs.len()).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); times_ns.len()];
    for (entry, needs) in needs.iter().enumerate() {
        needs.iter().for_each(|needed| needed_by[*needed].push(entry));
    }
    let is_free = |entry: &usize| needs[*entry].is_empty();
    let mut ready: BinaryHeap<Reverse<usize>> = (0..times_ns.len()).filter(is_free).map(Reverse).collect();
    let mut running: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut now_ns = 0;
    loop {
        while running.len() < lanes.get() {
            let Some(Reverse(entry)) = ready.pop() else { break };
            running.push(Reverse((now_ns + times_ns[entry], entry)));
        }
        let Some(Reverse((end_ns, _))) = running.peek().copied() else { return now_ns };
        now_ns = end_ns;
        // All that end now, before anybody begins.
        while running.peek().is_some_and(|Reverse((end_ns, _))| *end_ns == now_ns) {
            let Some(Reverse((_, ended))) = running.pop() else { break };
            for entry in &needed_by[ended] {
                waits_for[*entry] -= 1;
                if waits_for[*entry] == 0 {
                    ready.push(Reverse(*entry));
                }
            }
        }
    }
}

/// The sum of the weights on the heaviest path through entries that need one another. Of times it is what [`makespan`]
/// comes to with a lane for each entry.
#[must_use]
pub fn critical_path(weights: &[u64], needs: &[&[usize]]) -> u64 {
    let mut ends: Vec<u64> = Vec::with_capacity(weights.len());
    for (weight, needs) in weights.iter().zip(needs) {
        let start = needs.iter().map(|needed| ends[*needed]).max().unwrap_or(0);
        ends.push(start + weight);
    }
    ends.into_iter().max().unwrap_or(0)
}

/// What begins and ends a block does not count.
fn longest_chain(entries: &[EntryTrace]) -> usize {
    let weights: Vec<u64> = entries.iter().map(|entry| u64::from(entry.transaction.is_some())).collect();
    let needs: Vec<&[usize]> = entries.iter().map(|entry| entry.needs.as_slice()).collect();
    usize::try_from(critical_path(&weights, &needs)).unwrap_or(usize::MAX)
}

fn longest_sender_chain(block: &Block) -> usize {
    let mut counts = HashMap::new();
    for transaction in &block.transactions {
        *counts.entry(transaction.env().caller).or_insert(0) += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// A part of a sum, between 0 and 1; 0 of nothing.
fn share(part: Option<u64>, sum: u64) -> f64 {
    if sum == 0 { 0.0 } else { part.unwrap_or(0) as f64 / sum as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn entry(transaction: Option<usize>, ns: u64, needs: &[usize], but_for_nonce: &[usize]) -> EntryTrace {
        EntryTrace {
            transaction,
            time: Duration::from_nanos(ns),
            gas_used: ns * 10 * u64::from(transaction.is_some()),
            needs: needs.to_vec(),
            needs_but_for_nonce: but_for_nonce.to_vec(),
        }
    }

    #[test]
    fn limits_are_with_and_without_the_chains_of_senders() {
        let entries = [
            entry(None, 60, &[], &[]),
            entry(Some(0), 10, &[0], &[0]),
            entry(Some(1), 10, &[1], &[]),
            entry(Some(2), 20, &[2], &[]),
        ];
        let limits = Limits::of_entries(&entries, 3);
        assert_eq!(limits.with_sender_chains.makespans_ns, [100; 4]);
        assert_eq!(limits.without_sender_chains.makespans_ns, [70; 4]);
        assert_eq!(limits.without_sender_chains.speedups().0, [100.0 / 70.0; 4]);
        assert_eq!((limits.heaviest_share, limits.heaviest_gas_share), (0.2, 0.5));
        assert_eq!((limits.longest_chain, limits.longest_sender_chain), (3, 3));
        let json = serde_json::to_value(limits).unwrap();
        assert_eq!(json["with_sender_chains"]["unlimited"], serde_json::json!(1.0), "{json:#}");
    }

    #[test]
    fn a_block_of_nothing_has_nothing_to_spread() {
        let limits = Limits::of_entries(&[], 0);
        assert_eq!(limits.with_sender_chains.speedups().0, [1.0; 4]);
        assert_eq!((limits.heaviest_share, limits.longest_chain), (0.0, 0));
    }

    #[test]
    fn sums_and_means_are_over_blocks() {
        let [one, other] = [(100, 50), (300, 300)]
            .map(|(entries_ns, ns)| Bounds { entries_ns, makespans_ns: [ns, ns, ns, ns / 2] });
        let total = Bounds::sum([&one, &other]);
        assert_eq!((total.entries_ns, total.makespans_ns), (400, [350, 350, 350, 175]));
        let mean = Speedups::geomean(&[one.speedups(), other.speedups()]).unwrap();
        assert!(
            (mean.0[0] - 2_f64.sqrt()).abs() < 1e-9 && (mean.0[3] - 8_f64.sqrt()).abs() < 1e-9,
            "{mean:?}"
        );
        assert_eq!(Speedups::geomean(&[]), None);
    }
}
