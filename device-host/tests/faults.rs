//! A dead, late or lying device costs one batch redone on the processor: the digests are right each time, and the next
//! batches go to the device again.

mod common;

use alloy_primitives::B256;
use citius_hashing::{
    Backend, BackendError,
    device::{
        BatchDeadline, DeviceBackend, DeviceClass, DeviceError, DeviceHost, DeviceInfo, DeviceOptions,
        DeviceSpec, Kernel,
    },
};
use common::{Batch, Events, LONG, oracle, patient, seeded, wait_until_ready};
use rand::Rng;
use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// The one device of the host that fails on demand.
fn spec() -> DeviceSpec {
    let device = DeviceInfo {
        id: "processor:0:sha3".into(),
        api: "processor".into(),
        name: "sha3".into(),
        driver: String::new(),
        class: DeviceClass::Gpu,
        kernels: vec![Kernel::NdRange],
    };
    DeviceSpec { device, kernel: Kernel::NdRange, program: None }
}

fn faulty(fault: &str) -> DeviceHost {
    DeviceHost::new(env!("CARGO_BIN_EXE_citius-device-host-faulty"))
        .with_argument("--fault")
        .with_argument(fault)
}

fn start(host: DeviceHost, options: DeviceOptions) -> DeviceBackend {
    DeviceBackend::start(host, spec(), options).unwrap()
}

/// A batch is late after two seconds: short enough to wait for, long enough for a busy machine.
fn impatient() -> DeviceOptions {
    let base = Duration::from_secs(2);
    DeviceOptions { batch_deadline: BatchDeadline { base, per_block: Duration::ZERO }, ..patient() }
}

/// What a dispatcher does: on the device, or else on the processor. Also why.
fn hash_anyway(batch: &Batch, backend: &DeviceBackend) -> (Vec<B256>, Option<BackendError>) {
    match batch.hash(backend) {
        Ok(digests) => (digests, None),
        Err(error) => {
            (batch.ranges.iter().map(|range| oracle(&batch.arena[range.clone()])).collect(), Some(error))
        }
    }
}

fn batch(random: &mut impl Rng) -> Batch {
    let lengths = (0..random.random_range(100..300)).map(|_| random.random_range(0..600)).collect();
    Batch::new(random, lengths)
}

fn process_exists(id: u32) -> bool {
    Path::new("/proc").join(id.to_string()).exists()
}

/// Hashes batches on a device that has `fault` once; gives the one error and the counters.
#[track_caller]
fn survive(fault: &str, options: DeviceOptions) -> (BackendError, citius_hashing::device::DeviceCounters) {
    let mut random = seeded();
    let folder = tempfile::tempdir().unwrap();
    let once = folder.path().join("once");
    let host = faulty(fault).with_argument("--once").with_argument(&once);
    let events = Events::default();
    let backend = start(host, DeviceOptions { observer: events.observer(), ..options });
    wait_until_ready(&backend);
    let first_host = backend.host_process_id().unwrap();
    let mut errors = Vec::new();
    for _ in 0..5 {
        let batch = batch(&mut random);
        let (digests, error) = hash_anyway(&batch, &backend);
        batch.assert_digests(&digests, fault);
        errors.extend(error);
        wait_until_ready(&backend);
    }
    assert_eq!(errors.len(), 1, "{fault}: {errors:?}");
    let counters = backend.counters();
    assert_eq!((counters.starts, counters.batches), (2, 4), "{fault}: {counters:?}");
    assert!(events.contains("goes to the processor"), "it is told");
    assert!(!process_exists(first_host), "{fault}: the first host is gone, and no zombie either");
    let host = backend.host_process_id().unwrap();
    drop(backend);
    assert!(!process_exists(host), "{fault}: the second host ends with its backend");
    (errors.remove(0), counters)
}

#[test]
fn a_driver_that_crashes_in_the_middle_of_a_batch_costs_that_batch() {
    let (error, counters) = survive("crash", patient());
    assert!(matches!(error, BackendError::Unavailable { .. }), "{error}");
    assert_eq!(counters.batches_lost, 1);
}

#[test]
fn a_driver_that_fails_costs_that_batch() {
    let (error, counters) = survive("fail", patient());
    assert!(error.to_string().contains("no more"), "{error}");
    assert_eq!(counters.batches_lost, 1);
}

#[test]
fn a_driver_that_hangs_costs_its_deadline() {
    let start = Instant::now();
    let (error, counters) = survive("hang", impatient());
    assert!(matches!(error, BackendError::Late { deadline_ms: 2000, .. }), "{error}");
    assert_eq!(counters.batches_late, 1);
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[test]
fn a_flipped_bit_is_found_where_all_digests_are_checked() {
    let (error, counters) = survive("flip-one-bit", DeviceOptions { checked_one_in: 1, ..patient() });
    assert!(matches!(error, BackendError::Wrong { .. }), "{error}");
    assert_eq!(counters.batches_wrong, 1);
}

#[test]
fn a_device_that_is_always_wrong_is_found_by_a_sample() {
    let (error, counters) = survive("flip-every-digest", DeviceOptions { checked_one_in: 1000, ..patient() });
    assert!(matches!(error, BackendError::Wrong { .. }), "{error}");
    assert_eq!((counters.batches_wrong, counters.messages_checked), (1, 5), "one a batch");
}

#[test]
fn a_device_that_says_done_and_does_nothing_is_found() {
    let (error, _) = survive("stale", DeviceOptions { checked_one_in: 64, ..patient() });
    assert!(matches!(error, BackendError::Wrong { .. }), "{error}");
}

#[test]
fn a_host_that_writes_all_over_the_shared_memory_is_found() {
    let (error, _) = survive("scribble", DeviceOptions { checked_one_in: 64, ..patient() });
    assert!(matches!(error, BackendError::Wrong { .. }), "{error}");
}

#[test]
fn a_host_that_talks_nonsense_costs_that_batch() {
    for fault in ["noise", "wrong-sequence", "flood"] {
        let (error, counters) = survive(fault, patient());
        assert!(error.to_string().contains("answered"), "{fault}: {error}");
        assert_eq!(counters.batches_lost, 1, "{fault}");
    }
}

#[test]
fn a_host_killed_in_the_middle_of_a_batch_costs_that_batch() {
    let mut random = seeded();
    // `slow` takes seconds in each batch, so this one is under way when the host is killed.
    let backend = start(faulty("slow"), patient());
    wait_until_ready(&backend);
    let host = backend.host_process_id().unwrap();
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        assert!(Command::new("kill").args(["-9", &host.to_string()]).status().unwrap().success());
    });
    let batch = batch(&mut random);
    let (digests, error) = hash_anyway(&batch, &backend);
    killer.join().unwrap();
    batch.assert_digests(&digests, "killed");
    assert!(matches!(error, Some(BackendError::Unavailable { .. })), "{error:?}");
    wait_until_ready(&backend);
    assert_eq!(batch.hash(&backend).unwrap(), batch.digests);
}

#[test]
fn a_host_killed_while_it_has_nothing_to_do_is_replaced() {
    let backend = start(faulty("none"), patient());
    wait_until_ready(&backend);
    let host = backend.host_process_id().unwrap();
    assert!(Command::new("kill").args(["-9", &host.to_string()]).status().unwrap().success());
    while backend.counters().starts < 2 {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(!process_exists(host), "no zombie is left");
}

#[test]
fn a_device_that_was_wrong_too_often_is_never_used_again() {
    let mut random = seeded();
    let events = Events::default();
    let observer = events.observer();
    let backend = start(
        faulty("flip-every-digest"),
        DeviceOptions { checked_one_in: 64, wrong_max: 2, observer, ..patient() },
    );
    while !backend.is_off() {
        let batch = batch(&mut random);
        batch.assert_digests(&hash_anyway(&batch, &backend).0, "lying");
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!((backend.counters().batches_wrong, backend.counters().batches), (2, 0));
    assert!(events.contains("not used any more"));
    assert!(!backend.is_available());
}

#[test]
fn a_device_whose_first_digests_are_wrong_is_never_used() {
    let host = faulty("flip-one-bit").with_argument("--at").with_argument("1");
    let backend = start(host, patient());
    while !backend.is_off() {
        assert!(!backend.is_available());
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(backend.counters().starts, 0);
}

#[test]
fn a_refused_device_is_not_asked_for_again() {
    let backend = start(faulty("refuse"), patient());
    while !backend.is_off() {
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!((backend.counters().starts, backend.counters().starts_failed), (0, 1));
    let error = seeded_batch().hash(&backend).unwrap_err();
    assert!(error.to_string().contains("cannot run it"), "{error}");
    assert_eq!(backend.counters().batches_refused, 1);
}

#[test]
fn a_driver_that_hangs_or_crashes_at_its_start_keeps_nobody_waiting() {
    for fault in ["hang-at-open", "crash-at-open"] {
        let start_deadline = Duration::from_millis(50);
        let backend = start(faulty(fault), DeviceOptions { start_deadline, ..patient() });
        while backend.counters().starts_failed < 3 {
            assert!(!backend.is_available());
            assert!(seeded_batch().hash(&backend).is_err());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn a_backend_ends_at_once_while_its_driver_hangs() {
    let backend = start(faulty("hang-at-open"), patient());
    thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    drop(backend);
    assert!(start.elapsed() < LONG / 10, "not after the deadline of the start");
}

#[test]
fn an_absent_program_is_no_device() {
    let host = DeviceHost::new("no/such/citius-device-host");
    assert!(matches!(host.list(LONG), Err(DeviceError::Spawn { .. })));
    let events = Events::default();
    let backend = start(host, DeviceOptions { observer: events.observer(), ..patient() });
    while backend.counters().starts_failed < 2 {
        assert!(!backend.is_available());
        thread::sleep(Duration::from_millis(2));
    }
    assert!(events.contains("cannot start no/such/citius-device-host"));
    let batch = seeded_batch();
    batch.assert_digests(&hash_anyway(&batch, &backend).0, "absent");
}

#[test]
fn a_program_that_is_no_host_is_no_device() {
    for program in ["true", "cat"] {
        assert!(DeviceHost::new(program).list(Duration::from_secs(5)).is_err(), "{program}");
    }
}

#[test]
fn listing_has_a_deadline_and_survives_a_crash() {
    let late = faulty("hang-at-list").list(Duration::from_millis(50)).unwrap_err();
    assert!(matches!(late, DeviceError::Channel(_)), "{late}");
    assert!(faulty("crash-at-list").list(LONG).is_err());
    let devices = faulty("none").list(LONG).unwrap();
    assert_eq!(devices.len(), 1);
    assert_eq!((&devices[0].id, devices[0].kernels.len()), (&spec().device.id, 1));
}

#[test]
fn without_any_driver_there_are_no_devices() {
    let host = common::host()
        .with_environment("VK_DRIVER_FILES", "none")
        .with_environment("VK_ICD_FILENAMES", "none")
        .with_environment("OCL_ICD_VENDORS", "none");
    assert!(host.list(LONG).unwrap().is_empty());
}

#[test]
fn callers_at_the_same_time_take_turns() {
    let backend = start(faulty("none"), patient());
    wait_until_ready(&backend);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut random = seeded();
                for _ in 0..20 {
                    let batch = batch(&mut random);
                    assert_eq!(batch.hash(&backend).unwrap(), batch.digests);
                }
            });
        }
    });
    assert_eq!(backend.counters().batches, 80);
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    for (arena_bytes, messages_max) in [(8192, 10), (20_000, 10), (1 << 30, 10), (65536, 0), (65536, 1 << 21)]
    {
        let options = DeviceOptions { arena_bytes, messages_max, ..patient() };
        let error = DeviceBackend::start(faulty("none"), spec(), options).unwrap_err();
        assert!(matches!(error, DeviceError::Layout(_)), "{error}");
    }
}

#[test]
#[should_panic = "leaves the arena"]
fn a_range_outside_the_arena_panics() {
    let backend = start(faulty("none"), patient());
    let _ = backend.hash_batch(&[0; 8], &[0..4, 4..9], &mut [B256::ZERO; 2]);
}

fn seeded_batch() -> Batch {
    batch(&mut seeded())
}
