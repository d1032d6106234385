//! The scheduler with another machine: nothing in it knows the EVM.

#[path = "../common/fuzz.rs"]
mod fuzz;
#[path = "../common/late.rs"]
mod late;
mod machine;

use citius_engine::{
    WorkerPool,
    scheduler::{
        Optimistic, Partitioned, RunSettings, ScheduleFuzz, SegmentMetrics, Serial, Stop, Strategy, Tracer,
    },
};
use fuzz::{Rates, SeededFuzz, cases, first_seed, hash};
use late::Late;
use machine::{Key, Op, Programs, Sealed};
use rand::{
    Rng, SeedableRng,
    seq::{IndexedRandom, SliceRandom},
};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

type Result = (Vec<Sealed>, Option<(u32, String)>);

fn run(
    programs: &Programs,
    strategy: &dyn Strategy<Programs>,
    pool: &Arc<WorkerPool>,
    fuzz: Option<Arc<dyn ScheduleFuzz>>,
) -> Result {
    run_counted(programs, strategy, pool, fuzz).0
}

/// The result, and how many executions were thrown away.
fn run_counted(
    programs: &Programs,
    strategy: &dyn Strategy<Programs>,
    pool: &Arc<WorkerPool>,
    fuzz: Option<Arc<dyn ScheduleFuzz>>,
) -> (Result, u64) {
    let (result, metrics) = run_late(programs, strategy, pool, fuzz, None);
    (result, metrics.iter().map(|metrics| metrics.aborts).sum())
}

/// The result where reads come later, if `late` gives a seed and the most that a worker parks, and how each segment went.
fn run_late(
    programs: &Programs,
    strategy: &dyn Strategy<Programs>,
    pool: &Arc<WorkerPool>,
    fuzz: Option<Arc<dyn ScheduleFuzz>>,
    late: Option<(u64, u32)>,
) -> (Result, Vec<SegmentMetrics>) {
    let vm = Arc::new(Programs {
        base: programs.base.clone(),
        entries: programs.entries.clone(),
        bounds: programs.bounds.clone(),
        late: late.map(|(seed, _)| Arc::new(Late::new(seed))),
        sealed: Mutex::default(),
    });
    let mut settings = RunSettings::new(Arc::clone(pool));
    if let Some((_, parked_max)) = late {
        settings = settings.with_parked_max(parked_max);
    }
    if let Some(fuzz) = fuzz {
        settings = settings.with_fuzz(fuzz);
    }
    let run = strategy.start(Arc::clone(&vm), settings);
    for segment in 0..programs.bounds.len() as u32 - 1 {
        run.submit(segment, 1 << 24);
    }
    run.drive(&|| false);
    let stop = match run.stopped() {
        None => None,
        Some(Stop::Refused { segment, refusal }) => Some((segment, refusal)),
        Some(other) => panic!("{other:?}"),
    };
    let metrics = (0..programs.bounds.len() as u32 - 1).map(|segment| run.metrics(segment)).collect();
    run.close();
    let sealed = vm.sealed.lock().unwrap().clone();
    ((sealed, stop), metrics)
}

fn key(rng: &mut ChaCha8Rng) -> Key {
    match rng.random_range(0..10) {
        0..6 => Key::Plain(rng.random_range(0..8)),
        6 => Key::Group(rng.random_range(0..2)),
        _ => Key::Child(rng.random_range(0..2), rng.random_range(0..3)),
    }
}

fn programs(seed: u64) -> Programs {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let base = (0..rng.random_range(0..12)).map(|_| (key(&mut rng), rng.random_range(0..50))).collect();
    let segments = rng.random_range(1..4);
    let mut bounds = vec![0];
    let mut entries = Vec::new();
    for _ in 0..segments {
        for _ in 0..rng.random_range(1..14) {
            entries.push(program(&mut rng));
        }
        bounds.push(entries.len() as u32);
    }
    Programs { base, entries, bounds, late: None, sealed: Mutex::default() }
}

fn program(rng: &mut ChaCha8Rng) -> Vec<Op> {
    let mut ops = Vec::new();
    if rng.random_bool(0.2) {
        let start = rng.random_range(0..8);
        ops.push(Op::Scan(start..rng.random_range(start..=8)));
    }
    for _ in 0..rng.random_range(0..6) {
        let key = key(rng);
        let amount = *[1, 3, 10, 40].choose(rng).unwrap();
        ops.push(match rng.random_range(0..20) {
            0..6 => Op::Read(key),
            6..10 => Op::Write(key),
            10..12 => Op::Delete(key),
            12..15 => Op::Add(key, amount),
            15..18 => Op::Spend(key, amount),
            18 => Op::Reset(rng.random_range(0..2)),
            _ if rng.random_bool(0.1) => Op::Read(Key::Plain(u8::MAX)),
            _ => Op::RefuseIfDivisible(rng.random_range(3..60)),
        });
    }
    ops
}

#[test]
fn programs_with_scans_equal_their_serial_run() {
    let serial = Serial::default();
    let pools: Vec<_> =
        [1, 2, 3, 8].map(|size| WorkerPool::unpinned(NonZeroUsize::new(size).unwrap()).unwrap()).into();
    let optimistic = Optimistic::default();
    let (mut refused, mut in_order) = (0, 0);
    for seed in first_seed()..first_seed() + cases(400, 20_000) {
        let programs = programs(seed);
        let expected = run(&programs, &serial, &pools[0], None);
        refused += u64::from(expected.1.is_some());
        in_order += u64::from(expected.1.is_none());
        for pool in &pools {
            let fuzz = Arc::new(SeededFuzz::new(
                hash((seed, pool.size())),
                Rates::from_seed(seed),
                Vec::new(),
                false,
            ));
            let got = run(&programs, &optimistic, pool, Some(fuzz));
            assert_eq!(
                got,
                expected,
                "{} threads; replay with CITIUS_SEED={seed} CITIUS_CASES=1 cargo nextest run -p \
                 citius-engine --test key_value\n{programs:#?}",
                pool.size()
            );
        }
    }
    assert!(refused > 0 && in_order > 0, "the generator makes both: {refused} refused, {in_order} whole");
}

/// Executions parked at most, besides one that runs.
const PARKED_MAX: [u32; 4] = [0, 1, 2, 32];

#[test]
fn programs_whose_reads_come_later_equal_their_serial_run() {
    let serial = Serial::default();
    let pools: Vec<_> =
        [1, 2, 3, 8].map(|size| WorkerPool::unpinned(NonZeroUsize::new(size).unwrap()).unwrap()).into();
    let (optimistic, partitioned) = (Optimistic::default(), Partitioned::default());
    let mut total = SegmentMetrics::default();
    for seed in first_seed()..first_seed() + cases(250, 10_000) {
        let replay = format!(
            "replay with CITIUS_SEED={seed} CITIUS_CASES=1 cargo nextest run -p citius-engine --test key_value"
        );
        let parked_max = PARKED_MAX[seed as usize % PARKED_MAX.len()];
        let plain = programs(seed);
        let expected = run(&plain, &serial, &pools[0], None);
        let late = run_late(&plain, &serial, &pools[0], None, Some((seed, parked_max))).0;
        assert_eq!(late, expected, "serial; {replay}\n{plain:#?}");
        for pool in &pools {
            let rates = Rates::from_seed(seed);
            let fuzz = Arc::new(SeededFuzz::new(hash((seed, pool.size())), rates, Vec::new(), false));
            let late = hash((seed, pool.size(), "late"));
            let (got, metrics) = run_late(&plain, &optimistic, pool, Some(fuzz), Some((late, parked_max)));
            assert_eq!(got, expected, "{} threads, {parked_max} parked; {replay}\n{plain:#?}", pool.size());
            for metrics in metrics {
                assert!(parked_max > 0 || metrics.parks == 0, "parking is off");
                assert!(metrics.parked <= metrics.parks);
                total.parked += metrics.parked;
                total.parks += metrics.parks;
                total.reads_waited_for += metrics.reads_waited_for;
            }
        }
        let planned = planned_programs(seed);
        let expected = run(&planned, &serial, &pools[0], None);
        let pool = &pools[seed as usize / 4 % pools.len()];
        let (got, _) = run_late(&planned, &partitioned, pool, None, Some((seed, parked_max)));
        assert_eq!(got, expected, "partitioned, {} threads; {replay}\n{planned:#?}", pool.size());
    }
    eprintln!("{total:?}");
    assert!(total.parks > total.parked && total.parked > 0 && total.reads_waited_for > 0, "{total:?}");
}

/// Mostly programs that only add and spend.
fn planned_programs(seed: u64) -> Programs {
    let mut programs = programs(seed);
    let mut rng = ChaCha8Rng::seed_from_u64(!seed);
    let spends = rng.random_bool(0.5);
    let most = rng.random_range(2..120);
    for bounds in 1..programs.bounds.len() {
        let more = rng.random_range(0..most);
        let at = programs.bounds[bounds] as usize;
        let planned = (0..more).map(|_| planned_program(&mut rng, spends)).collect::<Vec<_>>();
        programs.entries.splice(at..at, planned);
        programs.bounds[bounds..].iter_mut().for_each(|bound| *bound += more);
    }
    // So that those to be executed in their turn stand anywhere.
    for bounds in programs.bounds.windows(2) {
        programs.entries[bounds[0] as usize..bounds[1] as usize].shuffle(&mut rng);
    }
    programs
}

fn planned_program(rng: &mut ChaCha8Rng, spends: bool) -> Vec<Op> {
    let ops = (0..rng.random_range(0..4)).map(|_| {
        let key = match rng.random_range(0..10) {
            0..9 => Key::Plain(rng.random_range(0..40)),
            _ => Key::Group(rng.random_range(0..2)),
        };
        if spends && rng.random_bool(0.1) { Op::Spend(key, 1) } else { Op::Add(key, rng.random_range(1..4)) }
    });
    ops.collect()
}

#[test]
fn planned_programs_equal_their_serial_run() {
    let serial = Serial::default();
    let pools: Vec<_> =
        [1, 2, 3, 8].map(|size| WorkerPool::unpinned(NonZeroUsize::new(size).unwrap()).unwrap()).into();
    let partitioned = Partitioned::default();
    let (mut as_planned, mut otherwise) = (0, 0);
    for seed in first_seed()..first_seed() + cases(400, 20_000) {
        let programs = planned_programs(seed);
        let expected = run(&programs, &serial, &pools[0], None);
        for pool in &pools {
            let (got, aborts) = run_counted(&programs, &partitioned, pool, None);
            assert_eq!(
                got,
                expected,
                "{} threads; replay with CITIUS_SEED={seed} CITIUS_CASES=1 cargo nextest run -p \
                 citius-engine --test key_value\n{programs:#?}",
                pool.size()
            );
            as_planned += u64::from(aborts == 0);
            otherwise += u64::from(aborts > 0);
        }
    }
    assert!(as_planned > 0 && otherwise > 0, "{as_planned} runs went as planned, {otherwise} did not");
}

#[test]
fn a_phantom_in_a_scanned_range_is_caught() {
    // The second entry scans while the first, which writes into the range, is held back.
    let programs = Programs {
        base: [(Key::Plain(1), 5)].into(),
        entries: vec![vec![Op::Read(Key::Plain(7)), Op::Write(Key::Plain(3))], vec![Op::Scan(0..6)]],
        bounds: vec![0, 2],
        late: None,
        sealed: Mutex::default(),
    };
    let pool = WorkerPool::unpinned(NonZeroUsize::new(2).unwrap()).unwrap();
    let expected = run(&programs, &Serial::default(), &pool, None);
    let rates = Rates { delay_percent: 0, abort_percent: 0, replay_percent: 0 };
    for _ in 0..50 {
        let fuzz = Arc::new(SeededFuzz::new(1, rates, vec![(0, 2)], true));
        assert_eq!(run(&programs, &Optimistic::default(), &pool, Some(fuzz)), expected);
    }
}

/// Executes the entries that `keeps` names; the others do nothing.
fn only(programs: &Programs, keeps: impl Fn(u32) -> bool) -> Programs {
    let entries = programs.entries.iter().zip(0..);
    let entries = entries.map(|(ops, index)| if keeps(index) { ops.clone() } else { Vec::new() }).collect();
    Programs {
        base: programs.base.clone(),
        entries,
        bounds: programs.bounds.clone(),
        late: None,
        sealed: Mutex::default(),
    }
}

/// What each entry needs, from its segment's entries and from what these need; all of the segments before counts.
fn closures(programs: &Programs) -> Vec<BTreeSet<u32>> {
    let vm = Arc::new(only(programs, |_| true));
    let mut tracer = Tracer::new(Arc::clone(&vm));
    let mut closures: Vec<BTreeSet<u32>> = Vec::new();
    for (segment, bounds) in programs.bounds.windows(2).enumerate() {
        let Ok(needs) = tracer.run_segment(segment as u32) else { break };
        assert_eq!(needs.len() as u32, bounds[1] - bounds[0]);
        for (entry, needs) in (bounds[0]..).zip(needs) {
            assert_eq!(needs.entries, needs.but_for_order, "this machine knows no order beforehand");
            let mut closure: BTreeSet<u32> = (0..bounds[0]).collect();
            for needed in needs.entries {
                assert!((bounds[0]..entry).contains(&needed.0), "{entry} needs {needed}");
                closure.extend(&closures[needed.0 as usize]);
                closure.insert(needed.0);
            }
            closures.push(closure);
        }
    }
    let sealed = vm.sealed.lock().unwrap().clone();
    let pool = WorkerPool::unpinned(NonZeroUsize::MIN).unwrap();
    assert_eq!(sealed, run(programs, &Serial::default(), &pool, None).0, "{programs:#?}");
    closures
}

#[test]
fn an_entry_says_the_same_when_only_what_it_needs_was_done() {
    let pool = WorkerPool::unpinned(NonZeroUsize::MIN).unwrap();
    let (mut needed, mut left_out) = (0, 0);
    for seed in first_seed()..first_seed() + cases(400, 20_000) {
        let mut programs = programs(seed);
        // What is known as a bound holds of the whole history, not of any part of it.
        let is_exact = |op: &Op| !matches!(op, Op::Spend(..) | Op::RefuseIfDivisible(..));
        programs.entries.iter_mut().for_each(|ops| ops.retain(is_exact));
        let outputs: Vec<i64> = run(&programs, &Serial::default(), &pool, None)
            .0
            .into_iter()
            .flat_map(|sealed| sealed.outputs)
            .collect();
        for (entry, closure) in closures(&programs).iter().enumerate() {
            needed += closure.len();
            left_out += entry - closure.len();
            let alone = only(&programs, |index| index as usize == entry || closure.contains(&index));
            let sealed = run(&alone, &Serial::default(), &pool, None).0;
            let output = sealed.into_iter().flat_map(|sealed| sealed.outputs).nth(entry);
            assert_eq!(
                output,
                Some(outputs[entry]),
                "entry {entry} after {closure:?}; replay with CITIUS_SEED={seed} CITIUS_CASES=1 cargo nextest run -p \
                 citius-engine --test key_value\n{programs:#?}"
            );
        }
    }
    assert!(needed > 0 && left_out > 0, "{needed} needed, {left_out} not");
}

#[test]
fn a_traced_run_equals_the_serial_one() {
    for seed in first_seed()..first_seed() + cases(400, 20_000) {
        closures(&programs(seed));
    }
}

#[test]
fn a_reset_is_needed_of_who_sees_what_it_left() {
    let (group, child) = (Key::Group(0), Key::Child(0, 1));
    let needs = |base: &[(Key, i64)], entries: Vec<Vec<Op>>| -> Vec<u32> {
        let bounds = vec![0, entries.len() as u32];
        let base = base.iter().copied().collect();
        let programs = Programs { base, entries, bounds, late: None, sealed: Mutex::default() };
        let mut needs = Tracer::new(Arc::new(programs)).run_segment(0).unwrap();
        needs.pop().unwrap().entries.iter().map(|entry| entry.0).collect()
    };
    let reset = || vec![Op::Reset(0)];
    let read = || vec![Op::Read(child)];
    // The group's own value is seen with the child, and the reset wrote that.
    assert_eq!(needs(&[(child, 4)], vec![read(), reset(), read()]), [1]);
    assert_eq!(needs(&[(child, 4)], vec![reset(), vec![Op::Write(child)], read()]), [0, 1]);
    // Of two resets with the same value (an entry that read nothing writes its index) the last that changed something.
    let rewrite = || vec![Op::Add(group, 3)];
    assert_eq!(needs(&[(group, 4)], vec![rewrite(), rewrite(), read()]), [0, 1]);
    assert_eq!(needs(&[(group, 0), (child, 4)], vec![reset(), read()]), [0], "for the child alone");
}

#[test]
fn a_scan_needs_who_changed_what_it_shows() {
    let entries = vec![
        vec![Op::Write(Key::Plain(3))],
        vec![Op::Write(Key::Plain(7))],
        vec![Op::Write(Key::Plain(4))],
        vec![Op::Delete(Key::Plain(4))],
        vec![Op::Delete(Key::Plain(5))],
        vec![Op::Scan(0..6)],
    ];
    let base = [(Key::Plain(5), 1)].into();
    let programs = Programs {
        base,
        bounds: vec![0, entries.len() as u32],
        entries,
        late: None,
        sealed: Mutex::default(),
    };
    let needs = Tracer::new(Arc::new(programs)).run_segment(0).unwrap();
    let last: Vec<u32> = needs.last().unwrap().entries.iter().map(|entry| entry.0).collect();
    assert_eq!(last, [0, 3, 4], "a key in the range, one that is gone again, one that is gone");
}
