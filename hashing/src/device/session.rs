//! A device that is ready: its host, and the memory shared with it.

use super::{
    DeviceError, DeviceHost, DeviceOptions, DeviceSpec,
    batch::{Order, piece_len},
    counters::{Counting, add},
    process::HostProcess,
};
use alloy_primitives::{B256, keccak256};
use citius_kernels::protocol::{ChannelError, Layout, Packet, Region};
use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Lengths of the messages with which a device is tested before it is used: all paths of the padding.
const TEST_LENGTHS: [usize; 16] = [0, 1, 7, 8, 9, 31, 32, 33, 134, 135, 136, 137, 271, 272, 273, 1200];
/// How often: more than a workgroup's messages.
const TEST_ROUNDS: usize = 9;

/// How often a waiting thread looks whether it still should.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// Until when an answer is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait<'a> {
    pub(super) deadline: Instant,
    /// The backend ended: nobody wants the answer any more.
    pub(super) is_ended: &'a AtomicBool,
}

impl Wait<'_> {
    fn for_answer(self, process: &HostProcess) -> Result<Packet, ChannelError> {
        loop {
            let look = self.deadline.min(Instant::now() + LOOK_PERIOD);
            match process.channel().receive(Some(look)) {
                Err(ChannelError::Late) if look < self.deadline && !self.is_ended.load(Ordering::Relaxed) => {
                }
                result => return result.map(|(packet, _)| packet),
            }
        }
    }
}

/// A host with its device opened.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) process: HostProcess,
    region: Region,
    sequence: u64,
    order: Order,
}

impl Session {
    /// Starts a host, opens the device in it and tests it.
    pub(super) fn start(
        host: &DeviceHost,
        spec: &DeviceSpec,
        options: &DeviceOptions,
        is_ended: &AtomicBool,
    ) -> Result<Self, DeviceError> {
        let wait = Wait { deadline: Instant::now() + options.start_deadline, is_ended };
        let layout = Layout::new(options.arena_bytes, options.messages_max)?;
        let (region, file) = Region::create(layout)?;
        let process = HostProcess::spawn(host)?;
        let open = Packet::Open {
            device: spec.device.id.clone(),
            kernel: spec.kernel,
            program: spec.program.clone(),
        };
        process.channel().send(&open, Some(&file))?;
        match wait.for_answer(&process)? {
            Packet::Opened => {}
            other => return Err(DeviceError::answer(other, "Opened")),
        }
        let mut session = Self { process, region, sequence: 0, order: Order::default() };
        session.test(wait)?;
        Ok(session)
    }

    /// Hashes messages whose digests are known: drivers were seen to take corrupted programs.
    fn test(&mut self, wait: Wait<'_>) -> Result<(), DeviceError> {
        let arena: Vec<u8> = (0..1200_u32).map(|index| (index * 151 % 251) as u8).collect();
        let ranges: Vec<Range<usize>> = TEST_LENGTHS
            .iter()
            .cycle()
            .take(TEST_ROUNDS * TEST_LENGTHS.len())
            .map(|length| 0..*length)
            .collect();
        let mut digests = vec![B256::ZERO; ranges.len()];
        self.order.set(&ranges);
        self.hash(&arena, &ranges, &mut digests, wait, &Counting::default())?;
        let right = |index: &usize| digests[*index] == keccak256(&arena[ranges[*index].clone()]);
        match (0..ranges.len()).find(|index| !right(index)) {
            None => Ok(()),
            Some(index) => Err(DeviceError::Wrong { index }),
        }
    }

    /// Sets the order of the next batch, and tells how many permutations it costs.
    pub(super) fn set_order(&mut self, ranges: &[Range<usize>]) -> &Order {
        self.order.set(ranges);
        &self.order
    }

    /// Hashes the batch whose order was set, piece by piece.
    pub(super) fn hash(
        &mut self,
        arena: &[u8],
        ranges: &[Range<usize>],
        digests: &mut [B256],
        wait: Wait<'_>,
        counters: &Counting,
    ) -> Result<(), DeviceError> {
        let mut places = self.order.short();
        while !places.is_empty() {
            let (piece, rest) = places.split_at(piece_len(self.region.layout(), ranges, places).max(1));
            places = rest;

            let start = Instant::now();
            let mut words = 0;
            for (index, place) in piece.iter().enumerate() {
                let message = &arena[ranges[*place as usize].clone()];
                let (start, length) = (words as u32, message.len() as u32);
                self.region.set_message(index, start, length);
                self.region.set_arena(words, message);
                words += message.len().div_ceil(8);
            }
            let sent = Instant::now();
            add(&counters.copy_ns, nanoseconds(start, sent));

            self.sequence += 1;
            let (sequence, count, arena_words) = (self.sequence, piece.len() as u64, words as u64);
            self.process.channel().send(&Packet::Hash { sequence, count, arena_words }, None)?;
            let device_ns = match wait.for_answer(&self.process)? {
                Packet::Done { sequence: of, device_ns } if of == sequence => device_ns,
                other => return Err(DeviceError::answer(other, "Done")),
            };
            let done = Instant::now();
            add(&counters.round_trip_ns, nanoseconds(sent, done));
            add(&counters.device_ns, device_ns.min(nanoseconds(sent, done)));

            for (index, place) in piece.iter().enumerate() {
                digests[*place as usize] = B256::new(self.region.digest(index));
            }
            add(&counters.copy_ns, nanoseconds(done, Instant::now()));
        }
        Ok(())
    }
}

pub(super) fn nanoseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}
