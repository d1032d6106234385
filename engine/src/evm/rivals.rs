use alloy_primitives::Address;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, Ordering};

/// Contracts whose callers keep disturbing each other in this run: calls of one are better executed one after another,
/// beside those of others.
///
/// Conflicts weigh more than commits take off. A contract that weighs enough is contended; its calls then hardly
/// conflict any more, so what it weighs wears off slowly, until it is tried again.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    /// Whether there is any: most blocks need not look.
    exist: AtomicBool,
    contracts: Mutex<Vec<Rival>>,
}

#[derive(Debug)]
struct Rival {
    contract: Address,
    weight: u32,
}

/// Contracts that are looked after; conflicts of more are not noted.
const CONTRACTS_MAX: usize = 32;
/// What a conflict weighs, in commits of calls that were not kept apart.
const CONFLICT_WEIGHT: u32 = 4 * SLOWNESS;
/// Commits of calls that were kept apart for one that was not.
const SLOWNESS: u32 = 4;
/// A contract of this weight is contended: after two conflicts close together.
const CONTENDED_FROM: u32 = 2 * CONFLICT_WEIGHT;
const WEIGHT_MAX: u32 = 8 * CONFLICT_WEIGHT;

/// The contracts that are contended at a time.
pub(super) type Contended = SmallVec<[Address; 4]>;

impl Rivals {
    /// An execution of a call of this contract was in vain for what an earlier one wrote.
    pub(super) fn note_conflict(&self, contract: Address) {
        let mut contracts = self.contracts.lock();
        if let Some(rival) = contracts.iter_mut().find(|rival| rival.contract == contract) {
            rival.weight = (rival.weight + CONFLICT_WEIGHT).min(WEIGHT_MAX);
            // For more than one commit.
            if rival.weight >= CONTENDED_FROM {
                rival.weight = rival.weight.max(CONTENDED_FROM + CONFLICT_WEIGHT);
            }
        } else if contracts.len() < CONTRACTS_MAX {
            contracts.push(Rival { contract, weight: CONFLICT_WEIGHT });
            // Relaxed here and below: whoever misses it only executes something in vain.
            self.exist.store(true, Ordering::Relaxed);
        }
    }

    /// Calls of these contracts were committed.
    pub(super) fn note_commit(&self, calls: impl Iterator<Item = Address>) {
        let calls: SmallVec<[Address; 8]> = calls.collect();
        let mut contracts = self.contracts.lock();
        for rival in contracts.iter_mut().filter(|rival| rival.weight > 0) {
            if calls.contains(&rival.contract) {
                let step = if rival.weight >= CONTENDED_FROM { 1 } else { SLOWNESS };
                rival.weight = rival.weight.saturating_sub(step);
            }
        }
    }

    /// Whether any contract was ever noted.
    #[inline]
    pub(super) fn exist(&self) -> bool {
        self.exist.load(Ordering::Relaxed)
    }

    pub(super) fn contended(&self) -> Contended {
        if !self.exist() {
            return Contended::new();
        }
        let contracts = self.contracts.lock();
        let contended = contracts.iter().filter(|rival| rival.weight >= CONTENDED_FROM);
        contended.map(|rival| rival.contract).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOT: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);

    /// Commits of calls of a contract until it is no longer contended.
    fn commits_until_tried_again(rivals: &Rivals) -> usize {
        (0..1_000)
            .find(|_| {
                let is_over = rivals.contended().is_empty();
                rivals.note_commit([HOT].into_iter());
                is_over
            })
            .unwrap()
    }

    #[test]
    fn two_conflicts_close_together_make_a_contract_contended_for_a_while() {
        let rivals = Rivals::default();
        assert!(rivals.contended().is_empty());
        rivals.note_conflict(HOT);
        rivals.note_conflict(OTHER);
        assert!(rivals.contended().is_empty());
        rivals.note_conflict(HOT);
        assert_eq!(rivals.contended().as_slice(), [HOT]);
        rivals.note_commit([OTHER].into_iter());
        assert_eq!(rivals.contended().as_slice(), [HOT], "others do not count");
        assert!((10..20).contains(&commits_until_tried_again(&rivals)));
    }

    #[test]
    fn what_conflicts_whenever_it_is_tried_is_tried_seldom() {
        let rivals = Rivals::default();
        (0..20).for_each(|_| rivals.note_conflict(HOT));
        assert!(commits_until_tried_again(&rivals) > 60);
    }

    #[test]
    fn a_conflict_now_and_then_is_no_matter() {
        let rivals = Rivals::default();
        for _ in 0..100 {
            rivals.note_conflict(HOT);
            assert!(rivals.contended().is_empty());
            (0..5).for_each(|_| rivals.note_commit([HOT].into_iter()));
        }
    }

    #[test]
    fn what_is_looked_after_is_bounded() {
        let rivals = Rivals::default();
        for byte in 0..=255 {
            (0..2).for_each(|_| rivals.note_conflict(Address::repeat_byte(byte)));
        }
        assert_eq!(rivals.contended().len(), CONTRACTS_MAX);
    }
}
