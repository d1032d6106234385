use std::{fmt, num::NonZeroUsize, sync::Arc};

/// Work that any number of workers can share: called with the number of the worker that runs it.
///
/// A piece of work must be whole whatever workers come: the caller's own call (worker 0) returns only when nothing
/// is left that nobody has begun. A call that begins late, behind the end of the caller's own, finds nothing to do.
pub type SharedWork = dyn Fn(usize) + Send + Sync;

/// Threads that the state trie works on: the engine's pool, or the caller alone.
pub trait Workers: fmt::Debug + Send + Sync {
    /// How many workers there are, the caller included; they are numbered from 0, the caller. Of a pool a number always means
    /// the same thread, on the core that the plan gives the worker of that number; 0 is whoever calls.
    fn count(&self) -> NonZeroUsize;

    /// The NUMA node whose memory is a worker's own.
    fn memory_node(&self, _worker: usize) -> u32 {
        0
    }

    /// Calls `work(0)` on the calling thread and `work(n)` on those of the other workers that are free, each at most
    /// once; returns when all calls that began have returned. A panic of one of them is passed on.
    fn run(&self, work: &Arc<SharedWork>);
}

/// Work that can be done at any time in short pieces, by threads that have nothing better to do.
///
/// It is lent to a pool of workers, which call it while no block gives them anything to do, in the middle of a block too. A
/// block always comes first: so a piece takes at most some 20 µs, and waits for nothing that another worker does.
pub trait IdleWork: Send + Sync {
    /// Whether there is something to do. Asked often: a load or two, no lock that is held for long.
    fn has_work(&self) -> bool;

    /// Does one short piece as worker `worker` (numbered as in [`Workers`]; several threads that are callers may be
    /// worker 0 at one time). Returns whether there was one: after a `false` the worker may go to sleep, and it takes a
    /// wake-up to make it look again.
    fn help(&self, worker: usize) -> bool;
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
