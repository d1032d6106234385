//! Devices that are dead, late, lying, slow or busy: digests are right all the same, and what happened is told.

use crate::fake::{Behaviour, FakeDevice, calibration};
use alloy_primitives::B256;
use citius_hashing::{
    Backend, BackendError, Calibration, Calibrations, CpuBackend, CpuKind, DispatchConfig, Event, Hasher,
    HasherError, OnEvent, keccak256,
};
use std::sync::{Arc, Mutex};

/// What the processor is said to take for [`MESSAGES`] of [`LEN`] bytes, and the device, in nanoseconds.
const CPU_NS: f64 = 5_000_000.0;
const DEVICE_NS: f64 = 100_000.0;
const MESSAGES: usize = 64;
const LEN: usize = 100;

struct Bench {
    hasher: Hasher,
    device: Arc<FakeDevice>,
    told: Arc<Mutex<Vec<Event>>>,
}

impl Bench {
    fn new(device_ns: f64, cpu_ns: f64, config: DispatchConfig) -> Self {
        let device = Arc::new(FakeDevice::default());
        let told = Arc::new(Mutex::new(Vec::new()));
        let on_event = OnEvent(Arc::new({
            let told = told.clone();
            move |event| told.lock().unwrap().push(event.clone())
        }));
        let kind = Hasher::cpu().cpu_kind();
        let mut calibrations = Calibrations::default();
        calibrations.insert(calibration(&device.identity(), device_ns, 0.0));
        calibrations.insert(calibration(&CpuBackend::new(kind).unwrap().identity(), cpu_ns, 0.0));
        let config = DispatchConfig { on_event, ..config };
        let hasher = Hasher::new(kind, vec![device.clone()], &calibrations, config).unwrap();
        Self { hasher, device, told }
    }

    fn winning(config: DispatchConfig) -> Self {
        Self::new(DEVICE_NS, CPU_NS, config)
    }

    /// Hashes a batch and checks it.
    fn batch(&self) {
        let bytes: Vec<u8> = (0..MESSAGES + LEN).map(|index| (index * index) as u8).collect();
        let messages: Vec<&[u8]> = (0..MESSAGES).map(|index| &bytes[index..index + LEN]).collect();
        let expected: Vec<B256> = messages.iter().map(|message| keccak256(message)).collect();
        let mut digests = vec![B256::ZERO; MESSAGES];
        self.hasher.hash_each(&messages, &mut digests);
        assert_eq!(digests, expected);
        let ranges: Vec<_> = (0..MESSAGES).map(|index| index..index + LEN).collect();
        digests.fill(B256::ZERO);
        if self.device.behaviour() == Behaviour::Right {
            self.hasher.hash_batch(&bytes, &ranges, &mut digests);
            assert_eq!(digests, expected);
        }
    }

    fn calls(&self) -> usize {
        self.device.calls()
    }

    fn events(&self) -> Vec<String> {
        self.told.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

#[test]
fn a_device_that_wins_gets_the_batch() {
    let bench = Bench::winning(DispatchConfig::default());
    bench.batch();
    assert_eq!(bench.calls(), 2);
    let counters = bench.hasher.counters().unwrap();
    assert_eq!((counters.cpu_batches, counters.devices[0].batches), (0, 2));
    assert_eq!(counters.devices[0].messages, 2 * MESSAGES as u64);
    assert!(counters.devices[0].busy_ns > 0);
}

#[test]
fn a_device_must_win_by_the_margin() {
    for (device_ns, calls) in [(CPU_NS / 1.25, 1), (CPU_NS / 1.15, 0), (CPU_NS * 2.0, 0)] {
        let bench = Bench::new(device_ns, CPU_NS, DispatchConfig::default());
        bench.hasher.hash_each(&[b"one", b"two"], &mut [B256::ZERO; 2]);
        assert_eq!(bench.calls(), calls, "{device_ns}");
    }
    let bench = Bench::winning(DispatchConfig::default());
    bench.hasher.hash_each(&[b"alone"], &mut [B256::ZERO]);
    bench.hasher.hash_each(&[], &mut []);
    assert_eq!(bench.calls(), 0);
}

#[test]
fn a_batch_that_fails_is_hashed_again_and_its_device_rests() {
    for behaviour in [Behaviour::Dead, Behaviour::Late] {
        let bench = Bench::winning(DispatchConfig { probe_every: 4, ..DispatchConfig::default() });
        bench.device.behave(behaviour);
        let calls: Vec<usize> = (0..16)
            .map(|_| {
                bench.batch();
                bench.calls()
            })
            .collect();
        // Tried, passed over four times, tried, passed over eight times, tried.
        assert_eq!(calls, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3], "{behaviour:?}");
        let counters = bench.hasher.counters().unwrap();
        let device = &counters.devices[0];
        assert_eq!(counters.cpu_batches, 16);
        assert_eq!((device.unavailable + device.late, device.wrong, device.batches), (3, 0, 0));
        assert_eq!(device.late > 0, behaviour == Behaviour::Late);
        assert_eq!(bench.events().len(), 3);
        assert!(bench.events()[0].contains("64 messages on the processor"), "{:?}", bench.events());
        bench.device.behave(Behaviour::Right);
        while bench.calls() == 3 {
            bench.batch();
        }
        assert!(bench.hasher.counters().unwrap().devices[0].batches > 0, "it came back");
    }
}

#[test]
fn a_device_that_says_it_is_gone_is_not_asked() {
    let bench = Bench::winning(DispatchConfig::default());
    bench.device.behave(Behaviour::Gone);
    bench.batch();
    assert_eq!(bench.calls(), 0);
    assert!(bench.events().is_empty());
    bench.device.behave(Behaviour::Right);
    bench.batch();
    assert_eq!(bench.calls(), 2);
}

#[test]
fn a_device_that_lies_is_found_out_and_put_into_quarantine() {
    let bench = Bench::winning(DispatchConfig { probe_every: 1, wrong_max: 2, ..DispatchConfig::default() });
    bench.device.behave(Behaviour::Lying);
    for _ in 0..20 {
        bench.batch();
    }
    assert_eq!(bench.calls(), 2);
    let device = &bench.hasher.counters().unwrap().devices[0];
    assert_eq!((device.wrong, device.batches, device.is_quarantined), (2, 0, true));
    let events = bench.events();
    assert_eq!(events.len(), 3, "{events:?}");
    assert!(events[0].contains("wrong digest"), "{events:?}");
    assert!(events[2].contains("not used any more"), "{events:?}");
    bench.device.behave(Behaviour::Right);
    bench.batch();
    assert_eq!(bench.calls(), 2, "for good");
}

/// One wrong digest among 64 may be missed once, but not again and again.
#[test]
fn a_single_wrong_digest_is_found_in_time_and_at_once_if_all_are_checked() {
    let bench = Bench::winning(DispatchConfig { check_one_in: 1, ..DispatchConfig::default() });
    bench.device.behave(Behaviour::LyingOnce);
    bench.batch();
    assert_eq!(bench.hasher.counters().unwrap().devices[0].wrong, 1);

    let bench = Bench::winning(DispatchConfig::default());
    bench.device.behave(Behaviour::LyingOnce);
    let messages: Vec<&[u8]> = vec![b"same"; MESSAGES];
    while bench.hasher.counters().unwrap().devices[0].wrong == 0 {
        bench.hasher.hash_each(&messages, &mut [B256::ZERO; MESSAGES]);
        assert!(bench.calls() < 10_000, "never found");
    }
}

#[test]
fn a_device_that_turns_slow_loses_batches_is_probed_and_comes_back() {
    let bench = Bench::winning(DispatchConfig { probe_every: 8, ..DispatchConfig::default() });
    bench.batch();
    bench.device.behave(Behaviour::Slow);
    while bench.hasher.counters().unwrap().cpu_batches == 0 {
        bench.batch();
        assert!(bench.calls() < 100, "{:?}", bench.hasher.counters());
    }
    assert!(bench.events()[0].contains("times as long as calibrated"), "{:?}", bench.events());
    let before = bench.calls();
    for _ in 0..24 {
        bench.batch();
    }
    assert_eq!(bench.calls() - before, 3, "one in eight");
    assert_eq!(bench.hasher.counters().unwrap().devices[0].probes, 3);
    bench.device.behave(Behaviour::Right);
    // However slow this machine is at the moment: some time the fake device is fast enough.
    while !bench.events().iter().any(|event| event.contains("as fast as calibrated again")) {
        bench.batch();
    }
    assert!(bench.hasher.counters().unwrap().devices[0].slowness < 2.0);
}

#[test]
fn what_waits_at_a_device_counts() {
    // Alone it wins; behind another batch it does not.
    let bench = Bench::new(1_000_000.0, 1_500_000.0, DispatchConfig::default());
    bench.device.behave(Behaviour::Held);
    std::thread::scope(|scope| {
        scope.spawn(|| bench.batch());
        bench.device.wait_until_called();
        bench.batch();
        let (calls, counters) = (bench.calls(), bench.hasher.counters().unwrap());
        // Before anything is claimed: a thread that waits for ever would hide that the claim fails.
        bench.device.let_go();
        assert_eq!((calls, counters.cpu_batches), (1, 1));
    });
    assert!(bench.hasher.counters().unwrap().devices[0].batches >= 1);
}

#[test]
fn a_backend_without_calibration_is_refused() {
    let device: Arc<dyn Backend> = Arc::new(FakeDevice::default());
    let refused =
        Hasher::new(CpuKind::Scalar, vec![device], &Calibrations::default(), DispatchConfig::default());
    let HasherError::NotCalibrated { name, identity } = refused.unwrap_err() else { panic!() };
    assert_eq!((name.as_str(), identity.starts_with("cpu scalar ")), ("scalar", true));
    let none = Hasher::new(CpuKind::Scalar, vec![], &Calibrations::default(), DispatchConfig::default());
    assert_eq!(none.unwrap().counters(), None);
}

#[test]
fn a_device_that_fails_cannot_be_calibrated() {
    let device = FakeDevice::default();
    device.behave(Behaviour::Dead);
    assert!(matches!(Calibration::measure(&device), Err(BackendError::Unavailable { .. })));
}
