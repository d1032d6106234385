use parking_lot::Mutex;
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
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

    pub(crate) fn pop(&self) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let entry = self.heap.lock().pop()?;
        self.count.fetch_sub(1, Ordering::SeqCst);
        Some(entry.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }
}
