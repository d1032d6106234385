use std::{fmt, num::NonZeroUsize, sync::Arc};

/// Work that any number of workers can share: called with the number of the worker that runs it.
///
/// A piece of work must be whole whatever workers come: the caller's own call (worker 0) returns only when nothing
/// is left that nobody has begun.
pub type SharedWork = dyn Fn(usize) + Send + Sync;

/// Threads that the state trie works on: the engine's pool, or the caller alone.
pub trait Workers: fmt::Debug + Send + Sync {
    /// How many workers there are, the caller included; they are numbered from 0, the caller.
    fn count(&self) -> NonZeroUsize;

    /// Calls `work(0)` on the calling thread and `work(n)` on those of the other workers that are free, each at most
    /// once; returns when all calls that began have returned. A panic of one of them is passed on.
    fn run(&self, work: &Arc<SharedWork>);
}

/// No threads but the caller's.
#[derive(Debug, Clone, Copy, Default)]
pub struct CallerAlone;

impl Workers for CallerAlone {
    fn count(&self) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    fn run(&self, work: &Arc<SharedWork>) {
        work(0);
    }
}
