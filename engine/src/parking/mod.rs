//! Parking: an execution that waits for a cold read leaves its stack as it is, and its worker runs others meanwhile.
//!
//! [`Coroutine`] is an execution on a stack of its own, [`Stacks`] are these stacks, [`park`] is where such an execution
//! leaves. What a worker does with those it has parked is the strategy's (`scheduler/optimistic/parked.rs`). Whoever has
//! no such stack, or nobody else to run, waits in its place: [`in_place`], the slow twin.
//!
//! A coroutine stays with its thread: what is on its stack need not be able to move. So an execution goes on where it was
//! parked, and the thread that submitted a read is the one that goes on with it.

mod coroutine;
#[cfg(all(test, not(feature = "loom")))]
mod depth;
mod overflow;
mod stacks;
mod wait;

pub(crate) use coroutine::{Coroutine, Left, Wake, park};
pub(crate) use stacks::{OwnStack, Stacks};
pub(crate) use wait::{drain, in_place, settled};

/// How much a worker may have waiting for reads, see [`EngineConfig`](crate::EngineConfig).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Executions parked while the worker runs another one; 0 for no parking.
    pub(crate) parked_max: u32,
    /// Reads in flight with which a worker begins no further execution.
    pub(crate) reads_max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { parked_max: 32, reads_max: 64 }
    }
}
