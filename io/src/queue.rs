//! The trait of queues.

use crate::{Completion, DiskError, Request};
use std::{fmt, time::Duration};
use thiserror::Error;

/// Operations in flight, for one thread at a time: each worker has its own, so that what it waits for completes
/// where it waits.
///
/// Completions come in any order. Dropping a queue waits for what is in flight; the completions are lost, their
/// buffers go back to the pool.
pub trait Queue: Send + fmt::Debug {
    /// Takes a request. It reaches the disk with the next [`poll`](Self::poll) or [`wait`](Self::wait) at the
    /// latest: many requests, one system call. A request that cannot be carried out completes with the reason.
    ///
    /// # Errors
    ///
    /// [`QueueFull`], with the request, when [`in_flight`](Self::in_flight) has reached
    /// [`capacity`](Self::capacity).
    fn submit(&mut self, request: Request) -> Result<(), QueueFull>;

    /// Sends what was submitted and appends what is complete, without waiting. How many were appended.
    ///
    /// # Errors
    ///
    /// [`DiskError::System`], if the queue itself fails. Operations stay in flight then.
    fn poll(&mut self, completions: &mut Vec<Completion>) -> Result<usize, DiskError>;

    /// As [`poll`](Self::poll), but sleeps until `at_least` completions were appended (or all that are in flight,
    /// if fewer are), or until `timeout` is over; forever without one. How many were appended.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    fn wait(
        &mut self,
        at_least: usize,
        timeout: Option<Duration>,
        completions: &mut Vec<Completion>,
    ) -> Result<usize, DiskError>;

    /// Requests taken whose completions were not handed over yet.
    fn in_flight(&self) -> usize;

    /// The most requests that may be in flight.
    fn capacity(&self) -> usize;
}

/// As many requests are in flight as the queue takes. Wait for a completion, and submit it again.
#[derive(Debug, Error)]
#[error("the queue is full: {capacity} requests are in flight")]
pub struct QueueFull {
    /// The request, as it was.
    pub request: Request,
    /// The most requests that may be in flight.
    pub capacity: usize,
}
