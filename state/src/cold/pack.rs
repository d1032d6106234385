//! How records and entries come on pages: cut into whole subtries that fit, and these put together in order.

use super::{
    inner::{Entry, inner_page},
    leaf::leaf_page,
    merkle::{Batch, Node},
    page::{BODY_BYTES, Page},
    prefix::Prefix,
    record::Record,
};
use std::ops::Range;

/// What a page holds many of, in order.
pub(crate) trait Packed {
    /// Its place in the trie.
    fn prefix(&self) -> Prefix;

    /// Bytes that it takes on a page, those that it shares with its neighbours included.
    fn bytes(&self) -> usize;

    /// Adds it to a subtrie.
    fn add_to(&self, batch: &mut Batch);

    /// A page of these, which must fit, so far above the leaves.
    fn page(items: &[Self], level: u8) -> Page
    where
        Self: Sized;
}

impl<R: Record> Packed for R {
    fn prefix(&self) -> Prefix {
        Prefix::whole(self.key())
    }

    fn bytes(&self) -> usize {
        let mut record = Vec::new();
        self.write(&mut record);
        2 + 32 + record.len()
    }

    fn add_to(&self, batch: &mut Batch) {
        batch.leaf(*self.key(), |out| self.write_value(out));
    }

    fn page(items: &[Self], _level: u8) -> Page {
        leaf_page(items)
    }
}

/// What is on a page below: a part of `Entry` that is not yet one.
impl Packed for Entry {
    fn prefix(&self) -> Prefix {
        self.prefix
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }

    fn add_to(&self, batch: &mut Batch) {
        batch.node(self.prefix, self.node.clone());
    }

    fn page(items: &[Self], level: u8) -> Page {
        inner_page(items, level)
    }
}

/// The sizes of some items, to know those of any run of them.
#[derive(Debug)]
pub(crate) struct Sizes {
    /// Bytes before each item, and behind the last.
    sums: Vec<usize>,
}

impl Sizes {
    pub(crate) fn of<I: Packed>(items: &[I]) -> Self {
        let mut sums = Vec::with_capacity(items.len() + 1);
        let mut sum = 0;
        sums.push(sum);
        sums.extend(items.iter().map(|item| {
            sum += item.bytes();
            sum
        }));
        Self { sums }
    }

    /// Bytes of a page's body that a run of items takes.
    pub(crate) fn bytes<I: Packed>(&self, items: &[I], run: &Range<usize>) -> usize {
        let all = self.sums[run.end] - self.sums[run.start];
        let shared = match &items[run.clone()] {
            [first, .., last] => usize::from(first.prefix().common(&last.prefix()) / 2),
            _ => 0,
        };
        1 + shared + all - run.len() * shared
    }
}

/// The nearest places outside of some items, before them and behind them: no subtrie of the items may hold these.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outside {
    pub(crate) before: Option<Prefix>,
    pub(crate) behind: Option<Prefix>,
}

/// Items of a page, and the whole subtries that they are: items and depth of each.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) items: Range<usize>,
    pub(crate) subtries: Vec<(Range<usize>, u8)>,
}

/// Puts items on pages, as few as they need, about evenly.
pub(crate) fn pack<I: Packed>(items: &[I], outside: Outside) -> Vec<Packet> {
    let sizes = Sizes::of(items);
    let mut subtries = Vec::new();
    cut(items, 0..items.len(), 0, &sizes, outside, &mut subtries);
    let all = sizes.bytes(items, &(0..items.len()));
    let even = all.div_ceil(all.div_ceil(BODY_BYTES).max(1));
    let mut packets: Vec<Packet> = Vec::new();
    for (run, depth) in subtries {
        if let Some(packet) = packets.last_mut() {
            let with = packet.items.start..run.end;
            let is_room = sizes.bytes(items, &packet.items) < even && sizes.bytes(items, &with) <= BODY_BYTES;
            if is_room {
                packet.items = with;
                packet.subtries.push((run, depth));
                continue;
            }
        }
        packets.push(Packet { items: run.clone(), subtries: vec![(run, depth)] });
    }
    packets
}

/// Cuts items into whole subtries that fit on a page, each as large as it may be.
fn cut<I: Packed>(
    items: &[I],
    run: Range<usize>,
    depth: u8,
    sizes: &Sizes,
    outside: Outside,
    subtries: &mut Vec<(Range<usize>, u8)>,
) {
    let Some(first) = items.get(run.start) else { return };
    let first = first.prefix();
    let root = Prefix::of(first.key(), depth);
    let holds = |place: Option<Prefix>| place.is_some_and(|place| root.contains(&place));
    let is_whole = !holds(outside.before) && !holds(outside.behind);
    if is_whole && (run.len() == 1 || sizes.bytes(items, &run) <= BODY_BYTES) {
        subtries.push((run, depth));
        return;
    }
    let mut start = run.start;
    while start < run.end {
        let nibble = items[start].prefix().nibble(depth);
        let count = items[start..run.end].partition_point(|item| item.prefix().nibble(depth) == nibble);
        cut(items, start..start + count, depth + 1, sizes, outside, subtries);
        start += count;
    }
}

/// Adds the subtries of some packets to a batch.
pub(crate) fn add_subtries<I: Packed>(items: &[I], packets: &[Packet], batch: &mut Batch) {
    for (run, depth) in packets.iter().flat_map(|packet| &packet.subtries) {
        for item in &items[run.clone()] {
            item.add_to(batch);
        }
        batch.end(*depth);
    }
}

/// The entries of a packet that was written to a page.
pub(crate) fn entries_of<I: Packed>(
    items: &[I],
    packet: &Packet,
    page: super::page::PageNumber,
    nodes: &mut impl Iterator<Item = Node>,
    entries: &mut Vec<Entry>,
) {
    for ((run, depth), node) in packet.subtries.iter().zip(nodes) {
        let prefix = Prefix::of(items[run.start].prefix().key(), *depth);
        entries.push(Entry { prefix, node, page });
    }
}
