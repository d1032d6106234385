use crate::block::Function;
use alloy_primitives::map::HashMap;
use citius_state::StateKey;
use parking_lot::RwLock;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicU32, Ordering};

/// What the last executions of each function of a contract read, so that the next one's reads can be asked for ahead. It
/// decides what is likely to be there in time, and nothing else.
///
/// Slots and accounts are remembered by their very keys: what a function computes from its arguments (a balance by the
/// holder's address) is found again only if the same holder comes.
#[derive(Debug, Default)]
pub(crate) struct Recall(RwLock<HashMap<Function, Remembered>>);

/// What one function read.
#[derive(Debug, Default)]
struct Remembered {
    /// Executions that were noted.
    runs: u32,
    /// All.
    calls: AtomicU32,
    keys: SmallVec<[(StateKey, u8); 8]>,
}

/// Functions that are remembered; beyond that all are forgotten.
const FUNCTIONS_MAX: usize = 1 << 12;
/// Keys that are remembered of each.
const KEYS_MAX: usize = 24;
/// A key's mark grows to this with the executions that read it, and shrinks with those that do not.
const MARK_MAX: u8 = 6;
/// Executions of a function that are all noted; of later ones some are.
const RUNS_ALL: u32 = 16;
/// Of these one in so many.
const NOTED_OF: u32 = 8;
/// From this on it is likely to be read again.
const MARK_LIKELY: u8 = 2;

impl Recall {
    /// What a call of this function will read, as far as that can be told.
    pub(crate) fn likely(&self, function: Function) -> SmallVec<[StateKey; KEYS_MAX]> {
        let all = self.0.read();
        let Some(Remembered { runs, keys, .. }) = all.get(&function) else { return SmallVec::new() };
        // Of a single run all of it may come again.
        keys.iter().filter(|(_, mark)| *mark >= MARK_LIKELY || *runs == 1).map(|(key, _)| *key).collect()
    }

    /// Whether an execution of this function is to be noted.
    pub(crate) fn is_due(&self, function: Function) -> bool {
        self.0.read().get(&function).is_none_or(|remembered| {
            // Relaxed: a counter.
            let calls = remembered.calls.fetch_add(1, Ordering::Relaxed);
            remembered.runs < RUNS_ALL || calls.is_multiple_of(NOTED_OF)
        })
    }

    /// An execution of this function read these.
    pub(crate) fn note(&self, function: Function, read: impl IntoIterator<Item = StateKey>) {
        let mut read: SmallVec<[StateKey; 32]> = read.into_iter().collect();
        let mut all = self.0.write();
        if all.len() >= FUNCTIONS_MAX && !all.contains_key(&function) {
            all.clear();
        }
        let Remembered { runs, keys, .. } = all.entry(function).or_default();
        *runs = runs.saturating_add(1);
        keys.retain(|(key, mark)| {
            match read.iter().position(|read| read == key) {
                Some(place) => {
                    read.swap_remove(place);
                    *mark = (*mark + 1).min(MARK_MAX);
                }
                None => *mark -= 1,
            }
            *mark > 0
        });
        let room = KEYS_MAX - keys.len();
        keys.extend(read.into_iter().take(room).map(|key| (key, 1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, U256};

    const CALL: Function = (Address::ZERO, [1; 4]);

    fn slot(number: u64) -> StateKey {
        StateKey::Storage(Address::ZERO, U256::from(number))
    }

    fn likely(recall: &Recall) -> Vec<u64> {
        let mut slots: Vec<u64> = (0..1_000).filter(|n| recall.likely(CALL).contains(&slot(*n))).collect();
        slots.sort_unstable();
        slots
    }

    #[test]
    fn what_comes_again_is_likely_and_what_does_not_is_forgotten() {
        let recall = Recall::default();
        assert!(recall.likely(CALL).is_empty());
        recall.note(CALL, [slot(1), slot(2)]);
        assert_eq!(likely(&recall), [1, 2], "all that is known");
        recall.note(CALL, [slot(1), slot(3)]);
        assert_eq!(likely(&recall), [1]);
        recall.note(CALL, [slot(3), slot(1)]);
        assert_eq!(likely(&recall), [1, 3]);
        for _ in 0..MARK_MAX {
            recall.note(CALL, [slot(4)]);
        }
        assert_eq!(likely(&recall), [4]);
        assert!(recall.likely((Address::ZERO, [2; 4])).is_empty(), "another function");
    }

    #[test]
    fn of_functions_that_are_known_some_executions_are_noted() {
        let recall = Recall::default();
        for execution in 1..=RUNS_ALL {
            assert!(recall.is_due(CALL), "{execution}");
            recall.note(CALL, [slot(1)]);
        }
        assert_eq!((0..8 * NOTED_OF).filter(|_| recall.is_due(CALL)).count(), 8);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let recall = Recall::default();
        recall.note(CALL, (0..1_000).map(slot));
        assert_eq!(recall.likely(CALL).len(), KEYS_MAX);
        for number in 0..FUNCTIONS_MAX as u32 * 2 {
            recall.note((Address::ZERO, number.to_be_bytes()), [slot(1)]);
            assert!(recall.0.read().len() <= FUNCTIONS_MAX);
        }
    }
}
