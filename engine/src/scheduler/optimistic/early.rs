use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
};

/// Entries that should begin before their turn, since they take long: begun last, they would keep one worker busy
/// and all others idle.
#[derive(Debug, Default)]
pub(super) struct Early {
    waiting: Mutex<VecDeque<Turn>>,
    count: AtomicUsize,
    /// The latest ones begun, plus one. Of one that is missing here nobody is told when its reads change: the
    /// frontier finds out.
    begun: [AtomicU32; 32],
    begun_count: AtomicUsize,
}

/// An entry, and the earlier one at whose turn it should begin.
#[derive(Debug, Clone, Copy)]
struct Turn {
    at: u32,
    entry: u32,
}

impl Early {
    /// Adds entries that were submitted: at whose turn each should begin, in order of these, and itself.
    pub(super) fn add(&self, turns: impl Iterator<Item = (u32, u32)>) {
        let mut waiting = self.waiting.lock();
        waiting.extend(turns.map(|(at, entry)| Turn { at, entry }));
        self.count.store(waiting.len(), Ordering::SeqCst);
    }

    /// The next one below `end`, if its time has come: the next entry in order is `cursor`.
    pub(super) fn take(&self, cursor: u32, end: u32) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let entry = waiting.front().filter(|turn| turn.at <= cursor && turn.entry < end)?.entry;
        waiting.pop_front();
        self.count.store(waiting.len(), Ordering::SeqCst);
        let place = self.begun_count.fetch_add(1, Ordering::SeqCst) % self.begun.len();
        self.begun[place].store(entry + 1, Ordering::SeqCst);
        Some(entry)
    }

    /// Those begun at or behind an entry, as far as they are known.
    pub(super) fn begun_from(&self, entry: u32) -> impl Iterator<Item = u32> {
        let begun = self.begun.iter().filter_map(|begun| begun.load(Ordering::SeqCst).checked_sub(1));
        begun.filter(move |begun| *begun >= entry)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_taken_in_the_order_given_in_time_and_within_the_window() {
        let early = Early::default();
        early.add([(0, 7), (0, 3), (5, 20)].into_iter());
        assert_eq!(early.take(0, 5), None, "the first is outside");
        assert_eq!([early.take(0, 10), early.take(1, 10), early.take(1, 10)], [Some(7), Some(3), None]);
        assert!(!early.is_empty());
        assert_eq!(early.begun_from(4).collect::<Vec<_>>(), [7]);
        assert_eq!(early.take(4, 21), None, "too early");
        assert_eq!(early.take(5, 21), Some(20));
        assert!(early.is_empty());
        assert_eq!(early.begun_from(0).collect::<Vec<_>>(), [7, 3, 20]);
    }
}
