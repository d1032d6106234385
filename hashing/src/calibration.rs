use crate::{
    backend::{Backend, BackendError},
    fit::{Sample, fit},
    shape::{BatchShape, SizeClass},
};
use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use std::{
    ops::Range,
    time::{Duration, Instant},
};

/// Messages in the batches that are measured.
pub const CALIBRATION_MESSAGES: [usize; 4] = [1, 64, 1_024, 16_384];

/// Runs before those that count: a device compiles, a processor raises its clock.
const WARM_UPS: usize = 2;

/// Runs that count, of which the median is taken.
const RUNS: usize = 5;

/// What a batch costs: `fixed + messages * per message + bytes / bandwidth`, for messages of one size class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Whatever there is of it, in nanoseconds.
    pub fixed_ns: f64,
    /// For each message, in nanoseconds.
    pub per_message_ns: f64,
    /// For each byte of each message, in nanoseconds: the bandwidth's reciprocal.
    pub per_byte_ns: f64,
}

/// What batches cost on one backend, by size class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// [`Backend::identity`] of what was measured.
    pub identity: String,
    /// The costs, in the order of [`SizeClass::ALL`].
    pub costs: [Cost; 4],
}

impl Calibration {
    /// Measures a backend: in each size class batches of [`CALIBRATION_MESSAGES`] of the class's shortest and longest
    /// messages, which tells apart what a message costs and what a byte. Takes as long as some 700,000 messages do.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub fn measure(backend: &dyn Backend) -> Result<Self, BackendError> {
        let mut costs = [Cost { fixed_ns: 0.0, per_message_ns: 0.0, per_byte_ns: 0.0 }; 4];
        for (cost, class) in costs.iter_mut().zip(SizeClass::ALL) {
            let mut samples: Vec<Sample> = Vec::new();
            for len in lengths(class) {
                for count in CALIBRATION_MESSAGES {
                    let time = time_of(backend, count, len)?.as_nanos().max(1) as f64;
                    samples.push(([1.0, count as f64, (count * len) as f64], time));
                }
            }
            let [fixed_ns, per_message_ns, per_byte_ns] = fit(&samples);
            *cost = Cost { fixed_ns, per_message_ns, per_byte_ns };
        }
        Ok(Self { identity: backend.identity(), costs })
    }

    /// How long a batch will take, in nanoseconds, on a backend that does nothing else.
    #[must_use]
    pub fn predict_ns(&self, batch: &BatchShape) -> f64 {
        let mut fixed = 0.0_f64;
        let mut rest = 0.0;
        for (class, messages, bytes) in batch.classes() {
            let cost = &self.costs[class as usize];
            fixed = fixed.max(cost.fixed_ns);
            rest += messages * cost.per_message_ns + bytes * cost.per_byte_ns;
        }
        fixed + rest
    }

    /// From how many messages of `len` bytes on this backend takes less than `other`, by `margin_percent` of its own
    /// time; `None` if it never does. It is searched up to 2^32 messages.
    #[must_use]
    pub fn crossover(&self, other: &Self, len: usize, margin_percent: u32) -> Option<u64> {
        let (class, messages) = SizeClass::of(len);
        let wins = |count: u64| {
            let mut batch = BatchShape::default();
            batch.messages[class as usize] = messages * count;
            batch.bytes[class as usize] = len as u64 * count;
            beats(self.predict_ns(&batch), other.predict_ns(&batch), margin_percent)
        };
        // Costs are linear, so who wins changes once at most.
        let (mut loses, mut won) = (0, 1_u64 << 32);
        if !wins(won) {
            return None;
        }
        while won - loses > 1 {
            let middle = loses + (won - loses) / 2;
            if wins(middle) { won = middle } else { loses = middle }
        }
        Some(won)
    }
}

/// Whether a time is less than another by a margin of its own, in percent.
pub(crate) fn beats(time: f64, other: f64, margin_percent: u32) -> bool {
    time * (1.0 + f64::from(margin_percent) / 100.0) < other
}

/// The lengths that are measured of a class: hardly more and hardly less than the next has.
fn lengths(class: SizeClass) -> [usize; 2] {
    let longest = class.blocks_max() * citius_kernels::RATE - 1;
    // Half the blocks and one byte of the next; a message of one block has at least a word.
    let shortest = match class {
        SizeClass::Blocks1 => 8,
        _ => class.blocks_max() / 2 * citius_kernels::RATE,
    };
    [shortest, longest]
}

fn time_of(backend: &dyn Backend, count: usize, len: usize) -> Result<Duration, BackendError> {
    let arena: Vec<u8> =
        (0..count * len).map(|index| (index.wrapping_mul(0x9e37_79b9) >> 11) as u8).collect();
    let ranges: Vec<Range<usize>> = (0..count).map(|index| index * len..(index + 1) * len).collect();
    let mut digests = vec![B256::ZERO; count];
    let mut times = Vec::with_capacity(RUNS);
    for run in 0..WARM_UPS + RUNS {
        let start = Instant::now();
        backend.hash_batch(&arena, &ranges, &mut digests)?;
        if run >= WARM_UPS {
            times.push(start.elapsed());
        }
    }
    times.sort_unstable();
    Ok(times[RUNS / 2])
}
