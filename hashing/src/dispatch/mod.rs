//! Where a batch is hashed, when there are devices.
//!
//! Each batch goes where it is predicted to be finished first: on the processor, which begins at once, or on a device
//! behind what waits there, if that wins by a margin. Predictions are calibrations, times how far the last batches
//! were from them. Whatever a device does, the digests are right: a share of them is checked, and a batch that fails
//! is hashed again on the processor.

mod candidate;
mod config;
mod event;
mod sample;
mod tracker;

pub use candidate::DeviceCounters;
pub use config::{DispatchConfig, OnEvent};
pub use event::Event;

use crate::{
    backend::{Backend, BackendError},
    calibration::{Calibration, beats},
    cpu::Cpu,
    group::{Messages, hash_all},
    shape::BatchShape,
};
use alloy_primitives::B256;
use candidate::Candidate;
use sample::Sampler;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use tracker::Tracker;

/// Batches that the processor is predicted to take less for say nothing about its speed.
const TIMED_FROM_NS: f64 = 20_000.0;

/// What was done so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Counters {
    /// Batches that were hashed on the processor, those that a device failed on included.
    pub cpu_batches: u64,
    /// Messages in them.
    pub cpu_messages: u64,
    /// How much longer the processor takes than predicted, by the last batches.
    pub cpu_slowness: f64,
    /// Of each device, in the order given.
    pub devices: Vec<DeviceCounters>,
}

/// Sends batches where they finish first.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    cpu: Cpu,
    cpu_calibration: Calibration,
    cpu_slowness: Tracker,
    cpu_batches: AtomicU64,
    cpu_messages: AtomicU64,
    devices: Vec<Candidate>,
    sampler: Sampler,
    config: DispatchConfig,
}

impl Dispatcher {
    pub(crate) fn new(
        cpu: Cpu,
        cpu_calibration: Calibration,
        devices: Vec<(Arc<dyn Backend>, Calibration)>,
        config: DispatchConfig,
    ) -> Self {
        let candidate = |(backend, calibration)| Candidate::new(backend, calibration);
        Self {
            cpu,
            cpu_calibration,
            cpu_slowness: Tracker::default(),
            cpu_batches: AtomicU64::new(0),
            cpu_messages: AtomicU64::new(0),
            devices: devices.into_iter().map(candidate).collect(),
            sampler: Sampler::new(config.check_one_in),
            config,
        }
    }

    pub(crate) fn hash(&self, messages: &(impl Messages + ?Sized), digests: &mut [B256]) {
        let shape = BatchShape::of((0..messages.count()).map(|index| messages.get(index).len()));
        let predicted = self.cpu_calibration.predict_ns(&shape);
        if let Some(device) = self.choose(&shape, predicted * self.cpu_slowness.ratio()) {
            let hashed = device.run(&shape, digests.len(), self.config.margin_percent, |backend| {
                messages.with_arena(|arena, ranges| backend.hash_batch(arena, ranges, digests))?;
                self.check(backend, messages, digests)
            });
            match hashed {
                Ok(notice) => return self.tell(notice),
                Err(error) => {
                    let is_quarantined = device.fail(&error, &self.config);
                    let backend = device.name();
                    self.tell(Some(Event::Redone { error, messages: digests.len() }));
                    self.tell(is_quarantined.then_some(Event::Quarantined { backend }));
                }
            }
        }
        let start = Instant::now();
        hash_all(self.cpu, messages, digests);
        if predicted >= TIMED_FROM_NS {
            self.cpu_slowness.observe(start.elapsed().as_nanos() as f64 / predicted);
        }
        self.cpu_batches.fetch_add(1, Ordering::Relaxed);
        self.cpu_messages.fetch_add(digests.len() as u64, Ordering::Relaxed);
    }

    /// The device that finishes first, if it beats the processor; or one that would at its calibrated speed, and was
    /// passed over often enough to be tried again.
    fn choose(&self, shape: &BatchShape, cpu_ns: f64) -> Option<&Candidate> {
        let margin = self.config.margin_percent;
        let mut best: Option<(f64, &Candidate)> = None;
        for device in &self.devices {
            let forecast = device.forecast(shape);
            // Nothing more is asked of a device that could not win at its best.
            if !beats(forecast.calibrated_ns, cpu_ns, margin) || !device.may_be_tried() {
                continue;
            }
            if beats(forecast.finish_ns, cpu_ns, margin) {
                if best.is_none_or(|(finish, _)| forecast.finish_ns < finish) {
                    best = Some((forecast.finish_ns, device));
                }
            } else if device.is_probe_due(self.config.probe_every) {
                return Some(device);
            }
        }
        best.map(|(_, device)| device)
    }

    /// Checks a share of a device's digests.
    fn check(
        &self,
        backend: &dyn Backend,
        messages: &(impl Messages + ?Sized),
        digests: &[B256],
    ) -> Result<(), BackendError> {
        let places = self.sampler.draw(digests.len());
        let chosen: Vec<&[u8]> = places.iter().map(|place| messages.get(*place)).collect();
        let mut expected = vec![B256::ZERO; places.len()];
        hash_all(self.cpu, chosen.as_slice(), &mut expected);
        match places.iter().zip(expected).find(|(place, expected)| digests[**place] != *expected) {
            Some((index, _)) => {
                Err(BackendError::Wrong { backend: backend.name().to_owned(), index: *index })
            }
            None => Ok(()),
        }
    }

    fn tell(&self, event: Option<Event>) {
        if let Some(event) = event {
            (self.config.on_event.0)(&event);
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters {
            cpu_batches: self.cpu_batches.load(Ordering::Relaxed),
            cpu_messages: self.cpu_messages.load(Ordering::Relaxed),
            cpu_slowness: self.cpu_slowness.ratio(),
            devices: self.devices.iter().map(Candidate::counters).collect(),
        }
    }
}
