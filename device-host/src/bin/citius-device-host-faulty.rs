//! A device host that fails on demand, for the tests of what Citius then does. It has no drivers: its one device is the
//! processor, which hashes with the crate `sha3`.
//!
//! It is a binary of its own, and not a switch of the real host, so that no installed program can be told to lie.
//!
//!     citius-device-host-faulty serve --fault FAULT [--at BATCH] [--once FILE]
//!
//! The fault happens in the batch of that number (the device's test at its start is batch 1; 2 by default) and in all
//! later ones; with `--once` only if FILE is not there, and FILE is made.

use citius_device_host::{Api, Device, OpenError, serve};
use citius_kernels::{
    device::Kernel,
    protocol::{Channel, DeviceClass, DeviceInfo, Job, Packet, Program, Region},
};
use sha3::{Digest, Keccak256};
use std::{
    env,
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process, thread,
    time::Duration,
};

const FAULTS: [&str; 17] = [
    "none",
    "crash",
    "hang",
    "slow",
    "fail",
    "flip-one-bit",
    "flip-every-digest",
    "stale",
    "noise",
    "wrong-sequence",
    "flood",
    "scribble",
    "hang-at-open",
    "crash-at-open",
    "refuse",
    "hang-at-list",
    "crash-at-list",
];

/// How long the fault `slow` takes in the middle of a batch: long enough to be killed there.
const SLOW: Duration = Duration::from_secs(2);

struct Faulty {
    fault: String,
    at: u64,
    once: Option<PathBuf>,
    socket: OwnedFd,
}

impl Faulty {
    /// Whether the fault is to happen now.
    fn is(&self, fault: &str) -> bool {
        self.fault == fault
            && match &self.once {
                None => true,
                Some(file) => !file.exists() && fs::write(file, "").is_ok(),
            }
    }

    fn channel(&self) -> io::Result<Channel> {
        Ok(Channel::from_socket(self.socket.try_clone()?))
    }
}

impl Api for Faulty {
    fn list(&self) -> Vec<DeviceInfo> {
        if self.is("hang-at-list") {
            hang();
        }
        if self.is("crash-at-list") {
            process::abort();
        }
        vec![DeviceInfo {
            id: "processor:0:sha3".into(),
            api: "processor".into(),
            name: "sha3".into(),
            driver: String::new(),
            // Where it is used, a GPU would be: processors are not used unasked.
            class: DeviceClass::Gpu,
            kernels: vec![Kernel::NdRange],
        }]
    }

    fn open(
        &self,
        _id: &str,
        kernel: Kernel,
        _program: Option<&Program>,
    ) -> Option<Result<Box<dyn Device>, OpenError>> {
        if self.is("hang-at-open") {
            hang();
        }
        if self.is("crash-at-open") {
            process::abort();
        }
        if self.is("refuse") {
            return Some(Err(OpenError::Kernel { id: "processor:0:sha3".into(), kernel }));
        }
        let socket = self.socket.try_clone().expect("a descriptor is left");
        let faulty = Self { fault: self.fault.clone(), at: self.at, once: self.once.clone(), socket };
        Some(Ok(Box::new(Processor { faulty, batches: 0 })))
    }
}

struct Processor {
    faulty: Faulty,
    batches: u64,
}

impl Device for Processor {
    fn hash(&mut self, region: &Region, job: Job, table: &[(u32, u32)]) -> Result<(), OpenError> {
        self.batches += 1;
        let is_time = self.batches >= self.faulty.at;
        let is = |fault: &str| is_time && self.faulty.is(fault);
        if is("stale") {
            return Ok(());
        }
        if is("fail") {
            return Err(OpenError::driver("hashing", "no more"));
        }
        if is("noise") {
            // No packet: one that only a parent sends.
            self.faulty.channel().and_then(|c| c.send(&Packet::List, None).map_err(io::Error::other)).ok();
            hang();
        }
        if is("wrong-sequence") {
            let done = Packet::Done { sequence: u64::MAX, device_ns: u64::MAX };
            self.faulty.channel().and_then(|c| c.send(&done, None).map_err(io::Error::other)).ok();
            hang();
        }
        if is("flood") {
            let channel = self.faulty.channel().expect("a descriptor is left");
            loop {
                let _ = channel.send(&Packet::Opened, None);
            }
        }
        let (slow, crash, hangs) = (is("slow"), is("crash"), is("hang"));
        for (index, &(start, length)) in table.iter().enumerate() {
            if index == table.len() / 2 {
                if slow {
                    thread::sleep(SLOW);
                }
                if crash {
                    process::abort();
                }
                if hangs {
                    hang();
                }
            }
            let start = start as usize;
            let words = region.arena(start..start + (length as usize).div_ceil(8));
            let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).take(length as usize).collect();
            let digest: [u8; 32] = Keccak256::digest(&bytes).into();
            let (words, _) = digest.as_chunks::<8>();
            region.set_digest(index, [0, 1, 2, 3].map(|word: usize| u64::from_le_bytes(words[word])));
        }
        if is("flip-every-digest") {
            (0..job.count).for_each(|index| flip(region, index));
        }
        if is("flip-one-bit") {
            flip(region, job.count / 2);
        }
        if is("scribble") {
            // Writes where only the parent may, and says that all is well.
            for index in 0..region.layout().messages_max() {
                region.set_message(index, u32::MAX, u32::MAX);
                region.set_digest(index, [u64::MAX; 4]);
            }
            region.set_arena(0, &vec![0xff; region.layout().arena_bytes()]);
        }
        Ok(())
    }
}

fn flip(region: &Region, index: usize) {
    let mut digest = region.digest(index);
    digest[index % 32] ^= 1 << (index % 8);
    let (words, _) = digest.as_chunks::<8>();
    region.set_digest(index, [0, 1, 2, 3].map(|word: usize| u64::from_le_bytes(words[word])));
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}

fn main() {
    let mut faulty = Faulty {
        fault: "none".into(),
        at: 2,
        once: None,
        socket: io::stdin().as_fd().try_clone_to_owned().expect("a descriptor is left"),
    };
    let mut arguments = env::args().skip(1);
    assert_eq!(arguments.next().as_deref(), Some("serve"), "started by a test");
    while let Some(argument) = arguments.next() {
        let value = arguments.next().expect("a value behind each argument");
        match argument.as_str() {
            "--fault" if FAULTS.contains(&value.as_str()) => faulty.fault = value,
            "--at" => faulty.at = value.parse().expect("a number"),
            "--once" => faulty.once = Some(value.into()),
            _ => panic!("unknown: {argument} {value}"),
        }
    }
    rustix::stdio::dup2_stdin(File::open("/dev/null").expect("it is there")).expect("it is open");
    let socket = faulty.socket.try_clone().expect("a descriptor is left");
    if let Err(error) = serve(vec![Box::new(faulty)], socket) {
        eprintln!("citius-device-host-faulty: {error}");
    }
}
