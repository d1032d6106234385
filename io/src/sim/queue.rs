//! A queue of a simulated disk: operations complete in the order of chance.

use super::world::{Flight, World};
use crate::{Completion, DiskError, Queue, QueueFull, Request};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};

#[derive(Debug)]
pub(super) struct SimQueue {
    world: Arc<Mutex<World>>,
    flights: Vec<Flight>,
    failed: Vec<Completion>,
    capacity: usize,
}

impl SimQueue {
    pub(super) fn new(world: Arc<Mutex<World>>, capacity: usize) -> Self {
        Self { world, flights: Vec::new(), failed: Vec::new(), capacity }
    }

    /// Completes `at_least` operations, if so many are in flight, and further ones by chance. How many.
    fn advance(&mut self, at_least: usize, completions: &mut Vec<Completion>) -> usize {
        let mut count = self.failed.len();
        completions.append(&mut self.failed);
        let world = &mut *self.world.lock();
        let is_slow = world.config.slow_per_million;
        while !self.flights.is_empty() {
            if count >= at_least && world.rng.per_million(is_slow) {
                break;
            }
            let next =
                if world.config.reorder { world.rng.below(self.flights.len() as u64) as usize } else { 0 };
            let (tag, result, buffer) = world.finish(self.flights.remove(next));
            completions.push(Completion { tag, result, buffer });
            count += 1;
        }
        count
    }
}

impl Queue for SimQueue {
    fn submit(&mut self, request: Request) -> Result<(), QueueFull> {
        if self.in_flight() == self.capacity {
            return Err(QueueFull { request, capacity: self.capacity });
        }
        let Request { tag, file, operation } = request;
        match self.world.lock().submit(tag, file, operation.into_parts()) {
            Ok(flight) => self.flights.push(flight),
            Err((parts, error)) => {
                self.failed.push(Completion { tag, result: Err(error), buffer: parts.buffer });
            }
        }
        Ok(())
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> Result<usize, DiskError> {
        Ok(self.advance(0, completions))
    }

    /// There is no time in here: what is waited for completes, whatever the timeout.
    fn wait(
        &mut self,
        at_least: usize,
        _timeout: Option<Duration>,
        completions: &mut Vec<Completion>,
    ) -> Result<usize, DiskError> {
        Ok(self.advance(at_least, completions))
    }

    fn in_flight(&self) -> usize {
        self.flights.len() + self.failed.len()
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

impl Drop for SimQueue {
    fn drop(&mut self) {
        self.advance(usize::MAX, &mut Vec::new());
    }
}
