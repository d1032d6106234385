//! Every bench at its smoke size: it gives the right answer, and still runs.

use citius_benches::{
    Size,
    blocks::{self, BlockBench, Runner},
    parts::{Scheduling, SchedulingBench, SendersBench, Shape},
};
use std::io::{Write, stderr};

fn check(bench: &BlockBench) {
    let gas = bench.verify().unwrap_or_else(|wrong| panic!("{wrong}"));
    for runner in Runner::ALL {
        assert_eq!(bench.run(runner), gas, "{} by {}", bench.name(), runner.name());
    }
}

#[test]
fn generated_blocks_give_the_same_by_every_runner() {
    let benches = blocks::generated(Size::Smoke);
    assert_eq!(benches.len(), 3);
    benches.iter().for_each(check);
}

#[test]
fn a_recorded_block_gives_the_same_by_every_runner() {
    match blocks::recorded(Size::Smoke).unwrap() {
        Some(benches) => benches.iter().for_each(check),
        // Not through the macro, whose output of a passing test is swallowed.
        None => stderr().write_all(b"SKIPPED: CITIUS_CORPUS is not set\n").unwrap(),
    }
}

#[test]
fn every_schedule_leaves_what_its_entries_leave_in_order() {
    for shape in Shape::ALL {
        for scheduling in Scheduling::ALL {
            let bench = SchedulingBench::new(shape, scheduling, Size::Smoke);
            // The second run is the one with tables that the first one left.
            for _ in 0..2 {
                bench.verify().unwrap_or_else(|wrong| panic!("{wrong}"));
            }
        }
    }
}

#[test]
fn senders_are_those_who_signed() {
    SendersBench::new(Size::Smoke).verify().unwrap_or_else(|wrong| panic!("{wrong}"));
}
