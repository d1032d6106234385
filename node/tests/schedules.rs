//! The schedules of `limits` against an obvious twin, and what holds of every schedule.

#[path = "../../topology/tests/common/seeded.rs"]
mod seeded;

use citius_node::limits::{critical_path, makespan};
use proptest::prelude::*;
use seeded::seeded;
use std::num::NonZeroUsize;

fn lanes(lanes: usize) -> NonZeroUsize {
    NonZeroUsize::new(lanes).unwrap()
}

fn slices(needs: &[Vec<usize>]) -> Vec<&[usize]> {
    needs.iter().map(Vec::as_slice).collect()
}

/// The obvious twin: nanosecond after nanosecond, lane after lane.
fn ticks(times_ns: &[u64], needs: &[Vec<usize>], lanes: usize) -> u64 {
    let mut left_ns = times_ns.to_vec();
    let mut has_begun = vec![false; times_ns.len()];
    let mut working: Vec<Option<usize>> = vec![None; lanes];
    for now_ns in 0.. {
        loop {
            let is_done = |entry: usize| has_begun[entry] && left_ns[entry] == 0;
            for lane in &mut working {
                *lane = lane.filter(|entry| !is_done(*entry));
            }
            let may_begin =
                |entry: &usize| !has_begun[*entry] && needs[*entry].iter().all(|needed| is_done(*needed));
            let next = (0..times_ns.len()).find(may_begin);
            let free = working.iter_mut().find(|lane| lane.is_none());
            let (Some(next), Some(free)) = (next, free) else { break };
            *free = Some(next);
            has_begun[next] = true;
        }
        if working.iter().all(Option::is_none) {
            assert!(has_begun.iter().all(|begun| *begun));
            return now_ns;
        }
        working.iter().flatten().for_each(|entry| left_ns[*entry] -= 1);
    }
    unreachable!("every entry ends")
}

prop_compose! {
    /// Up to 24 entries of some nanoseconds, each of which needs up to 3 before it.
    fn entries(least_ns: u64)(
        entries in prop::collection::vec((least_ns..20, prop::collection::vec(any::<prop::sample::Index>(), 0..4)), 0..24)
    ) -> (Vec<u64>, Vec<Vec<usize>>) {
        let need = |(entry, needs): (usize, Vec<prop::sample::Index>)| {
            let mut needs: Vec<usize> =
                needs.into_iter().filter(|_| entry > 0).map(|index| index.index(entry)).collect();
            needs.sort_unstable();
            needs.dedup();
            needs
        };
        let (times_ns, needs): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        (times_ns, needs.into_iter().enumerate().map(need).collect())
    }
}

proptest! {
    #![proptest_config(seeded(512))]

    #[test]
    fn schedules_are_those_of_the_obvious_twin((times_ns, needs) in entries(1), count in 1..6_usize) {
        prop_assert_eq!(makespan(&times_ns, &slices(&needs), lanes(count)), ticks(&times_ns, &needs, count));
    }

    #[test]
    fn no_schedule_beats_its_lanes_or_the_critical_path((times_ns, needs) in entries(0), count in 1..6_usize) {
        let needs = slices(&needs);
        let sum_ns: u64 = times_ns.iter().sum();
        let made_ns = makespan(&times_ns, &needs, lanes(count));
        let critical_ns = critical_path(&times_ns, &needs);
        prop_assert!(made_ns * count as u64 >= sum_ns && made_ns >= critical_ns && made_ns <= sum_ns);
        prop_assert_eq!(makespan(&times_ns, &needs, NonZeroUsize::MIN), sum_ns);
        prop_assert_eq!(makespan(&times_ns, &needs, lanes(times_ns.len().max(1))), critical_ns);
        // Graham's bound.
        prop_assert!(made_ns * count as u64 <= sum_ns + critical_ns * (count as u64 - 1));
    }
}

#[test]
fn the_first_that_may_begin_begins() {
    // The third needs the first; the second is done when the fourth begins.
    let needs: [&[usize]; 4] = [&[], &[], &[0], &[]];
    assert_eq!(makespan(&[5, 2, 4, 3], &needs, lanes(2)), 9);
    assert_eq!(critical_path(&[5, 2, 4, 3], &needs), 9);
    assert_eq!(makespan(&[5, 2, 4, 3], &needs, lanes(1)), 14);
    assert_eq!((makespan(&[], &[], lanes(2)), critical_path(&[], &[])), (0, 0));
}
