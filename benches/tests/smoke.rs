//! Every bench at its smoke size: it gives the right answer, and still runs.

use citius_benches::{
    Size, THREADS,
    blocks::{self, BlockBench, Runner},
    bounds::{BoundsBench, BoundsSummary},
    caches, cold,
    keccak::KeccakBench,
    parts::{Meeting, MeetingBench, Scheduling, SchedulingBench, SendersBench, Shape, WakeUpBench},
    root::{self, Contest, Contestants, Threads, World, Writes},
    stores,
};
use std::{
    io::{Write, stderr},
    num::NonZeroUsize,
    time::Duration,
};

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

/// What holds of any bounds, on however slow a machine.
fn check_bounds(bench: &BoundsBench) {
    let limits = bench.run().unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(!limits.is_empty(), "{}", bench.name());
    let BoundsSummary { medians, geomeans } = BoundsSummary::of(&limits).unwrap();
    for bounds in [medians, geomeans] {
        for (bound, most) in bounds.0.into_iter().zip([2.0, 4.0, 16.0, f64::INFINITY]) {
            assert!(bound >= 1.0 && bound <= most.min(bounds.0[3]) + 1e-9, "{}: {bounds:?}", bench.name());
        }
    }
}

#[test]
fn bounds_of_generated_blocks_are_possible() {
    check_bounds(&BoundsBench::mainnet_like(Size::Smoke));
}

/// Bounds are of times, and times differ; who needs whom does not.
#[test]
fn transactions_need_one_another_as_recorded_ones_do() {
    const RECORDED_MEDIAN: usize = 12;
    let limits = BoundsBench::mainnet_like(Size::Canonical).run().unwrap_or_else(|wrong| panic!("{wrong}"));
    let mut chains: Vec<usize> = limits.iter().map(|limits| limits.longest_chain).collect();
    chains.sort_unstable();
    let median = chains[chains.len() / 2];
    assert!(median.abs_diff(RECORDED_MEDIAN) * 5 <= RECORDED_MEDIAN, "{chains:?}");
}

#[test]
fn bounds_of_recorded_blocks_are_possible() {
    match BoundsBench::recorded(Size::Smoke).unwrap() {
        Some(bench) => check_bounds(&bench),
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

/// However few cores there are: whoever waits lets others work.
#[test]
fn entries_meet_as_often_as_they_should_and_abort_where_they_should() {
    for meeting in Meeting::ALL {
        let bench = MeetingBench::new(meeting, THREADS, Size::Smoke).unwrap();
        for _ in 0..2 {
            bench.verify().unwrap_or_else(|wrong| panic!("{wrong}"));
        }
        let aborts = if meeting == Meeting::Aborts { bench.operations() } else { 0 };
        assert_eq!(bench.run(), aborts, "{}", meeting.name());
    }
}

#[test]
fn a_second_thread_wakes_up() {
    let bench = WakeUpBench::new(THREADS).unwrap();
    for _ in 0..3 {
        let time = bench.run().unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(time > Duration::ZERO);
    }
}

#[test]
fn what_needs_two_threads_says_so() {
    let of_one = NonZeroUsize::MIN;
    let meetings = Meeting::ALL.map(|meeting| MeetingBench::new(meeting, of_one, Size::Smoke).err());
    for too_few in meetings.into_iter().chain([WakeUpBench::new(of_one).err()]) {
        let said = too_few.unwrap().to_string();
        assert!(said.ends_with("needs 2 threads, not 1"), "{said}");
    }
}

#[test]
fn digests_are_right_by_every_way_to_hash() {
    for bench in KeccakBench::all(Size::Smoke) {
        bench.verify().unwrap_or_else(|wrong| panic!("{wrong}"));
        let ratios = bench.ratios(1).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(ratios.contains("scalar 1.00x") && ratios.contains("sha3 "), "{ratios}");
    }
}

#[test]
fn senders_are_those_who_signed() {
    SendersBench::new(Size::Smoke).verify().unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn everyone_finds_the_roots_of_tries_built_anew() {
    let threads = Threads::unpinned().unwrap();
    let world = World::new(root::Shape::of_leaves(20_000));
    let mut contest =
        Contest::new(&world, Contestants::All, &threads, true).unwrap_or_else(|wrong| panic!("{wrong}"));
    let figures = contest.run(Writes::MAINNET_BLOCK, 4).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(figures.blocks, 4);
    assert!(figures.seal_1.is_some() && figures.incremental_2.is_some());
    assert!(figures.nodes > Writes::MAINNET_BLOCK.total(), "{figures}");
    assert!(figures.permutations > figures.nodes, "{figures}");
}

#[test]
fn seals_behind_one_another_have_the_same_roots_on_one_thread_and_on_two() {
    let world = World::new(root::Shape::of_leaves(20_000));
    let figures = root::sealing(&world, Writes::MAINNET_BLOCK, 4, &Threads::unpinned().unwrap());
    let figures = figures.unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(figures.blocks, 4);
    assert!(figures.seal_1.min_ms > 0.0, "{figures}");
}

#[test]
fn a_state_built_in_bulk_has_the_root_of_a_trie_built_anew() {
    let threads = Threads::unpinned().unwrap();
    let figures =
        root::bulk(root::Shape::of_leaves(20_000), &threads, 1).unwrap_or_else(|wrong| panic!("{wrong}"));
    // A node for each leaf, and those above them.
    assert!(figures.nodes > 20_000, "{figures}");
    assert!(figures.memory.nodes > 64.0, "{figures}");
}

#[test]
fn growth_is_drawn_for_every_state() {
    let threads = Threads::unpinned().unwrap();
    let points = root::growth(&[1_000, 5_000], &[100, 2_000], &threads, true);
    let points = points.unwrap_or_else(|wrong| panic!("{wrong}"));
    // More writes than leaves are not asked of the small one.
    assert_eq!(points.len(), 3);
    let svg = root::plot(&points, "a < b");
    assert_eq!(svg.matches("<polyline").count(), 2 * 3);
    assert!(svg.contains("a &lt; b") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn caches_hit_more_with_more_room_and_never_more_than_is_possible() {
    let mut traces = caches::generated(Size::Smoke);
    match caches::recorded(Size::Smoke).unwrap() {
        Some(trace) => traces.push(trace),
        None => stderr().write_all(b"SKIPPED: CITIUS_CORPUS is not set\n").unwrap(),
    }
    for trace in &traces {
        let figures = caches::compare(trace).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(figures.keys > 1 && figures.keys < figures.reads, "{figures}");
        for pair in figures.rows.windows(2) {
            assert!(pair[0].lru_hits <= pair[1].lru_hits, "{figures}");
            assert!(pair[0].best_hits <= pair[1].best_hits, "{figures}");
        }
        // Half of the keys may be all that are read twice. And quick_cache draws lots: of two sizes either may hit more.
        let (Some(least), Some(most)) = (figures.rows.first(), figures.rows.last()) else {
            panic!("{figures}")
        };
        assert!(least.best_hits < most.best_hits, "{figures}");
        assert!(least.quick_cache_hits < most.quick_cache_hits, "{figures}");
        let most = (figures.reads - figures.keys) as u64;
        assert_eq!(caches::lru_hits(&trace.reads, figures.keys), most, "{}", trace.name);
        assert_eq!(caches::best_hits(&trace.reads, figures.keys), most, "{}", trace.name);
    }
}

/// The options of a bench of stores at its smoke size, in a directory that goes with it.
fn stores_options() -> (stores::Options, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (stores::Options::of(Size::Smoke, directory.path().to_owned()), directory)
}

#[test]
fn every_store_knows_what_transfers_left() {
    let (options, _directory) = stores_options();
    let names = stores::NAMES.map(String::from);
    let figures =
        stores::contest_here(&options, stores::roster, &names).unwrap_or_else(|wrong| panic!("{wrong}"));
    for contender in &figures.contenders {
        assert!(contender.transfers_per_second > 0.0 && contender.syncs > Some(0.0), "{figures}");
    }
}

#[test]
fn a_store_is_measured_at_every_size_and_drawn() {
    let (options, directory) = stores_options();
    let mut told = 0;
    let points = stores::curves(&options.leaves, options.journalled, directory.path(), &mut |_| told += 1)
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!((points.len(), told), (options.leaves.len(), points.len()));
    for point in &points {
        // Some of a block's writes are to the same account.
        assert!(
            point.page_bytes_per_leaf > 40.0 && point.journalled > options.journalled as u64 / 2,
            "{point}"
        );
    }
    let svg = stores::plot_curves(&points, "a < b");
    assert_eq!(svg.matches("<polyline").count(), 8);
    assert!(svg.contains("a &lt; b") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn a_block_takes_one_sync_with_checkpoints_and_without() {
    let (options, directory) = stores_options();
    let figures = stores::commits(options.state, options.blocks, directory.path())
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!((figures.syncs_per_block - 1.0).abs() < 1e-9, "{figures}");
}

#[test]
fn pages_and_one_node_a_key_have_the_same_accounts_and_roots() {
    let (options, _directory) = stores_options();
    let figures = stores::nodes(&options).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(figures.pages.reads_per_block > 0.0 && figures.node_a_key.writes_per_block > 0.0, "{figures}");
}

#[test]
fn cold_blocks_come_to_what_warm_ones_do_and_their_roots_are_those_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let options = cold::Options::of(Size::Smoke, directory.path().join("cold"));
    let figures = cold::execution(&options, &mut |_| ()).unwrap_or_else(|wrong| panic!("{wrong}"));
    for figures in figures {
        for done in [figures.done, figures.done_on_disk] {
            assert!(done.reads > 0 && done.parked > 0, "{figures}");
        }
    }
    let figures = cold::corpus(&options, &mut |_| ()).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(figures.iter().map(|figures| figures.percent).collect::<Vec<_>>(), [100, 10, 1]);
    for figures in &figures[1..] {
        assert!(figures.evicted_nodes > 0 && figures.page_reads > 0, "{figures}");
    }
}
