//! What the device tests share: messages, the oracle, and the devices of this machine.

#![allow(dead_code, reason = "each test uses a part")]

use alloy_primitives::B256;
use citius_hashing::{
    Backend,
    device::{
        BatchDeadline, DeviceBackend, DeviceEvent, DeviceHost, DeviceInfo, DeviceOptions, DeviceSpec, Kernel,
        Observer, Program,
    },
};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use sha3::{Digest, Keccak256};
use std::{
    env, fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Long enough for any machine: where a test ends by it, it fails by it.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// Where `./setup --tests --fpga-emulator` puts Intel's emulator.
const EMULATOR: &str = "../.tools/fpga-emulator/lib";

/// Keccak-256, by the crate `sha3`.
pub(crate) fn oracle(message: &[u8]) -> B256 {
    B256::new(Keccak256::digest(message).into())
}

/// A generator whose seed is that of `CITIUS_SEED`, or a new one; prints the command that replays the test.
pub(crate) fn seeded() -> ChaCha8Rng {
    let seed = match env::var("CITIUS_SEED") {
        Ok(text) => text.parse().expect("CITIUS_SEED is a number below 2^64"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
    };
    let (package, binary) = (env!("CARGO_PKG_NAME"), env!("CARGO_CRATE_NAME"));
    let thread = thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    println!("replay: CITIUS_SEED={seed} cargo nextest run -p {package} --test {binary} {test}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// Messages in one arena, and their digests by the oracle.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) arena: Vec<u8>,
    pub(crate) ranges: Vec<Range<usize>>,
    pub(crate) digests: Vec<B256>,
}

impl Batch {
    /// Random messages of these lengths, in random order, anywhere in a random arena: they overlap.
    pub(crate) fn new(random: &mut impl Rng, mut lengths: Vec<usize>) -> Self {
        lengths.shuffle(random);
        let mut arena = vec![0; lengths.iter().max().copied().unwrap_or(0) + 4096];
        random.fill(arena.as_mut_slice());
        let place = |length| {
            let start = random.random_range(0..=arena.len() - length);
            start..start + length
        };
        let ranges: Vec<Range<usize>> = lengths.into_iter().map(place).collect();
        let digests = ranges.iter().map(|range| oracle(&arena[range.clone()])).collect();
        Self { arena, ranges, digests }
    }

    /// Hashes it on the device.
    pub(crate) fn hash(&self, backend: &DeviceBackend) -> Result<Vec<B256>, citius_hashing::BackendError> {
        let mut digests = vec![B256::repeat_byte(0xee); self.ranges.len()];
        backend.hash_batch(&self.arena, &self.ranges, &mut digests).map(|()| digests)
    }

    /// Compares all digests, naming the first wrong one.
    #[track_caller]
    pub(crate) fn assert_digests(&self, found: &[B256], what: &str) {
        assert_eq!(found.len(), self.digests.len());
        for (index, (found, expected)) in found.iter().zip(&self.digests).enumerate() {
            let length = self.ranges[index].len();
            assert_eq!(found, expected, "{what}: message {index} of {length} bytes");
        }
    }
}

/// Options with which nothing is late and nothing is checked but by the test itself.
pub(crate) fn patient() -> DeviceOptions {
    DeviceOptions {
        start_deadline: LONG,
        batch_deadline: BatchDeadline { base: LONG, per_block: Duration::ZERO },
        checked_one_in: 0,
        retry_min: Duration::from_millis(10),
        retry_max: Duration::from_millis(100),
        ..DeviceOptions::default()
    }
}

/// What an observer was told, as text.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    pub(crate) fn observer(&self) -> Observer {
        let events = Arc::clone(&self.0);
        Observer::new(move |event: &DeviceEvent| {
            eprintln!("{event}");
            events.lock().unwrap().push(event.to_string());
        })
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|event| event.contains(text))
    }
}

/// Waits until the device takes batches.
#[track_caller]
pub(crate) fn wait_until_ready(backend: &DeviceBackend) {
    while !backend.is_available() {
        let is_hopeless = backend.is_off() || backend.counters().starts_failed > 9;
        assert!(!is_hopeless, "{} does not start", backend.name());
        thread::sleep(Duration::from_millis(2));
    }
}

/// The host under test, with threads for two cores, which others use too.
pub(crate) fn host() -> DeviceHost {
    DeviceHost::new(env!("CARGO_BIN_EXE_citius-device-host"))
        .with_environment("POCL_MAX_PTHREAD_COUNT", "2")
        .with_environment("LP_NUM_THREADS", "2")
        .with_environment("CL_CONFIG_CPU_TBB_NUM_WORKERS", "2")
}

/// A host and a device of it, with one of its kernels.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) host: DeviceHost,
    pub(crate) device: DeviceInfo,
    pub(crate) kernel: Kernel,
}

impl Target {
    pub(crate) fn start(&self, program: Option<Program>, options: DeviceOptions) -> DeviceBackend {
        let spec = DeviceSpec { device: self.device.clone(), kernel: self.kernel, program };
        DeviceBackend::start(self.host.clone(), spec, options).unwrap()
    }

    pub(crate) fn is(&self, api: &str, kernel: Kernel) -> bool {
        self.device.api == api && self.kernel == kernel
    }
}

/// Every device of this machine with each of its kernels, Intel's emulator of an FPGA among them where it is
/// installed. What is missing is reported as skipped.
pub(crate) fn targets() -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |host: DeviceHost| {
        for device in host.list(LONG).unwrap() {
            for kernel in device.kernels.clone() {
                targets.push(Target { host: host.clone(), device: device.clone(), kernel });
            }
        }
    };
    add(host());
    let folder = tempfile::tempdir().unwrap();
    match emulator(folder.path()) {
        Some(host) => add(host),
        None => eprintln!("skipped: no FPGA emulator (./setup --tests --fpga-emulator)"),
    }
    // The host reads the folder once more at each start.
    let _ = folder.keep();
    for (api, package) in [("vulkan", "mesa-vulkan-drivers"), ("opencl", "pocl-opencl-icd")] {
        if !targets.iter().any(|target| target.device.api == api) {
            eprintln!("skipped: no {api} device ({package} gives one)");
        }
    }
    targets
}

/// A host that sees the emulator alone. `folder` is for the file that names its driver.
fn emulator(folder: &Path) -> Option<DeviceHost> {
    let libraries: PathBuf = Path::new(EMULATOR).canonicalize().ok()?;
    let driver = libraries.join("libintelocl_emu.so");
    if !driver.exists() {
        return None;
    }
    fs::write(folder.join("emulator.icd"), driver.to_str()?).unwrap();
    Some(
        host()
            .with_environment("OCL_ICD_VENDORS", folder)
            .with_environment("VK_DRIVER_FILES", "none")
            .with_environment("LD_LIBRARY_PATH", libraries),
    )
}
