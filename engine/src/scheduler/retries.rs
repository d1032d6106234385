use parking_lot::Mutex;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    sync::atomic::{AtomicUsize, Ordering},
};

/// Entries to be executed again, lowest first.
///
/// Bound: an entry is here at most once an incarnation. An entry that somebody else claimed meanwhile is skipped
/// by whoever pops it.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    heap: Mutex<BinaryHeap<Reverse<u32>>>,
    count: AtomicUsize,
}

impl Retries {
    pub(crate) fn push(&self, entry: u32) {
        self.heap.lock().push(Reverse(entry));
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// The lowest entry, if it is below `end`.
    pub(crate) fn pop_below(&self, end: u32) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let mut heap = self.heap.lock();
        let lowest = heap.peek_mut().filter(|lowest| lowest.0 < end)?;
        let entry = PeekMut::pop(lowest);
        self.count.fetch_sub(1, Ordering::SeqCst);
        Some(entry.0)
    }

    /// Whether there is an entry below `end`.
    pub(crate) fn has_below(&self, end: u32) -> bool {
        !self.is_empty() && self.heap.lock().peek().is_some_and(|lowest| lowest.0 < end)
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }
}
