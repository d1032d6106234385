use super::shards::{SHARDS, Shards};
use crate::scheduler::{plan::Plan, vm::Vm};
use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

/// A segment's plans.
pub(super) struct Planned<V: Vm> {
    pub(super) segment: u32,
    pub(super) first: u32,
    pub(super) end: u32,
    chunks: Box<[OnceLock<Chunk<V>>]>,
    /// Entries that are to be executed in their turn after all, for what stands where they write.
    exceptions: Box<[AtomicBool]>,
    /// The shards, those with the most to do first.
    order: OnceLock<Vec<u32>>,
}

/// Entries that are planned at one go.
pub(super) const CHUNK: u32 = 64;

/// What planning some consecutive entries gave.
pub(super) struct Chunk<V: Vm> {
    plans: Vec<Option<V::Plan>>,
    /// Planned parts, in order, by shard: the entry and the number of the part.
    parts: [Vec<(u32, u32)>; SHARDS],
}

impl<V: Vm> Chunk<V> {
    pub(super) fn with_capacity(entries: usize) -> Self {
        Self {
            plans: Vec::with_capacity(entries),
            parts: std::array::from_fn(|_| Vec::with_capacity(4 * entries / SHARDS)),
        }
    }

    /// Adds the next entry.
    pub(super) fn push(&mut self, entry: u32, plan: Option<V::Plan>, shards: &Shards<V>) {
        if let Some(plan) = &plan {
            for part in 0..plan.parts() {
                let shard = Shards::<V>::number(shards.hash(&plan.key(part)));
                self.parts[shard].push((entry, part));
            }
        }
        self.plans.push(plan);
    }

    /// Memory that it holds, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.plans) + self.parts.iter().map(|parts| size_of_val(&**parts)).sum::<usize>()
    }
}

impl<V: Vm> Planned<V> {
    pub(super) fn new(segment: u32, first: u32, end: u32) -> Self {
        let count = end - first;
        Self {
            segment,
            first,
            end,
            chunks: std::iter::repeat_with(OnceLock::new).take(count.div_ceil(CHUNK) as usize).collect(),
            exceptions: std::iter::repeat_with(AtomicBool::default).take(count as usize).collect(),
            order: OnceLock::new(),
        }
    }

    pub(super) fn chunks(&self) -> u32 {
        self.chunks.len() as u32
    }

    /// The entries of a chunk.
    pub(super) fn entries_of(&self, chunk: u32) -> std::ops::Range<u32> {
        let first = self.first + chunk * CHUNK;
        first..self.end.min(first + CHUNK)
    }

    pub(super) fn set_chunk(&self, number: u32, chunk: Chunk<V>) {
        let is_first = self.chunks[number as usize].set(chunk).is_ok();
        debug_assert!(is_first, "a task is taken once");
    }

    /// The plan of an entry whose chunk is there, if it goes as planned.
    pub(super) fn plan(&self, entry: u32) -> Option<&V::Plan> {
        let place = entry - self.first;
        let chunk = self.chunks[(place / CHUNK) as usize].get()?;
        let plan = chunk.plans[(place % CHUNK) as usize].as_ref()?;
        (!self.exceptions[place as usize].load(Ordering::Relaxed)).then_some(plan)
    }

    /// Leaves an entry to its turn. Called before any part is made.
    pub(super) fn except(&self, entry: u32) {
        // Relaxed: the phase that looks comes later.
        self.exceptions[(entry - self.first) as usize].store(true, Ordering::Relaxed);
    }

    /// The parts in a shard, with their plans, in order.
    pub(super) fn parts(&self, shard: usize) -> impl Iterator<Item = (u32, u32, &V::Plan)> {
        let chunks = self.chunks.iter().filter_map(OnceLock::get);
        chunks.flat_map(move |chunk| chunk.parts[shard].iter().map(move |part| (chunk, *part))).filter_map(
            move |(chunk, (entry, part))| {
                let plan = chunk.plans[((entry - self.first) % CHUNK) as usize].as_ref()?;
                Some((entry, part, plan))
            },
        )
    }

    /// Puts the shards with the most to do first. All chunks are there.
    pub(super) fn sort_shards(&self) {
        let chunks = || self.chunks.iter().filter_map(OnceLock::get);
        let size = |shard: &u32| chunks().map(|chunk| chunk.parts[*shard as usize].len()).sum::<usize>();
        let mut order: Vec<u32> = (0..SHARDS as u32).collect();
        order.sort_by_cached_key(|shard| std::cmp::Reverse(size(shard)));
        let _ = self.order.set(order);
    }

    /// The shard that a task is about.
    pub(super) fn shard_of(&self, task: u32) -> usize {
        self.order.get().map_or(task, |order| order[task as usize]) as usize
    }

    /// The first entry from `from` on that is executed in its turn; the end if there is none.
    pub(super) fn next_in_turn(&self, from: u32) -> u32 {
        (from..self.end).find(|entry| self.plan(*entry).is_none()).unwrap_or(self.end)
    }
}
