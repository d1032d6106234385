use super::{
    ids::{Incarnation, LocationId},
    marks::ReadMarks,
    memory::{Read, Scan},
    vm::{Interrupt, Vm, Writes},
};
use crate::sync::{AtomicU32, Mutex, Ordering};
use smallvec::SmallVec;
use std::time::Duration;

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    /// To be executed.
    Ready = 0,
    /// A worker executes it.
    Running = 1,
    /// Executed; its writes are in place.
    Done = 2,
    /// The frontier decides on it.
    Committing = 3,
    /// Committed.
    Committed = 4,
    /// Stopped at a value that an earlier entry computes again; that entry makes it ready.
    Waiting = 5,
    /// Somebody found its reads stale and is marking its writes as guesses.
    Invalidating = 6,
}

const STATE_MASK: u32 = 0b111;
/// Set while running: somebody wrote what this execution read.
const SUSPECT: u32 = 0b1000;
const INCARNATION_SHIFT: u32 = 4;

/// Reads, and writes, whose memory an entry keeps from one run to the next.
const KEPT_READS_MAX: usize = 256;

/// One entry of a stream in flight: a small state machine and what its last execution left.
///
/// Status and marks are what others look at; together they are one cache line.
#[repr(C, align(64))]
pub(crate) struct Entry<V: Vm> {
    status: AtomicU32,
    /// What the execution at hand, or the last one, read.
    pub(crate) marks: ReadMarks,
    pub(crate) record: Mutex<Record<V>>,
    /// Entries that wait for this one to be executed.
    pub(crate) dependents: Mutex<SmallVec<[u32; 2]>>,
}

/// What an execution read, wrote and gave.
pub(crate) struct Record<V: Vm> {
    pub(crate) reads: Vec<Read<V>>,
    pub(crate) scans: Vec<Scan<V>>,
    pub(crate) written: Vec<LocationId>,
    /// What takes effect when the entry commits (see [`View::write_late`](super::vm::View::write_late)).
    pub(crate) late_writes: Writes<V>,
    pub(crate) result: Option<Result<V::Output, Interrupt<V>>>,
    /// The execution contradicted a prediction of its own: it has to run again.
    pub(crate) is_contradicted: bool,
    /// Nothing that was read can have changed since: no validation is needed.
    pub(crate) is_final: bool,
    /// Memory that reads and writes are accounted for with.
    pub(crate) charged_bytes: usize,
    pub(crate) executions: u32,
    pub(crate) waits: u32,
    /// Of all executions together.
    pub(crate) execute_time: Duration,
    pub(crate) latest_time: Duration,
}

impl<V: Vm> Record<V> {
    fn new() -> Self {
        Self {
            reads: Vec::new(),
            scans: Vec::new(),
            written: Vec::new(),
            late_writes: Vec::new(),
            result: None,
            is_contradicted: false,
            is_final: false,
            charged_bytes: 0,
            executions: 0,
            waits: 0,
            execute_time: Duration::ZERO,
            latest_time: Duration::ZERO,
        }
    }
}

impl<V: Vm> Entry<V> {
    pub(crate) fn new() -> Self {
        Self {
            status: AtomicU32::new(State::Ready as u32),
            marks: ReadMarks::default(),
            record: Mutex::new(Record::new()),
            dependents: Mutex::new(SmallVec::new()),
        }
    }

    /// Makes the entry as new, but for the memory of its lists.
    pub(crate) fn reset(&mut self) {
        let Self { status, marks, record, dependents } = self;
        *status = AtomicU32::new(State::Ready as u32);
        marks.clear();
        dependents.get_mut().clear();
        let record = record.get_mut();
        record.reads.clear();
        record.scans.clear();
        record.written.clear();
        // What a rare large entry needed is let go.
        record.reads.shrink_to(KEPT_READS_MAX);
        record.written.shrink_to(KEPT_READS_MAX);
        record.late_writes.clear();
        let (reads, scans) = (std::mem::take(&mut record.reads), std::mem::take(&mut record.scans));
        let (written, late_writes) =
            (std::mem::take(&mut record.written), std::mem::take(&mut record.late_writes));
        *record = Record { reads, scans, written, late_writes, ..Record::new() };
    }

    /// State and incarnation.
    pub(crate) fn status(&self) -> (State, Incarnation) {
        // SeqCst here and below: a worker that stores its state and then looks at another's, and that other
        // doing the reverse, must not both see the old one (entry and dependent, entry and frontier).
        unpack(self.status.load(Ordering::SeqCst))
    }

    /// Moves from one state to another within one incarnation; false if somebody else was faster.
    pub(crate) fn transition(&self, incarnation: Incarnation, from: State, to: State) -> bool {
        self.status
            .compare_exchange(
                pack(from, incarnation),
                pack(to, incarnation),
                Ordering::SeqCst,
                Ordering::SeqCst,
            )
            .is_ok()
    }

    /// Claims a ready entry for execution.
    pub(crate) fn start(&self) -> Option<Incarnation> {
        let (state, incarnation) = self.status();
        (state == State::Ready && self.transition(incarnation, State::Ready, State::Running))
            .then_some(incarnation)
    }

    /// Makes the entry ready for its next incarnation, from a state that only the caller can leave.
    pub(crate) fn make_ready(&self, incarnation: Incarnation) {
        self.status.store(pack(State::Ready, Incarnation(incarnation.0 + 1)), Ordering::SeqCst);
    }

    /// As [`Entry::make_ready`], and claims it at once.
    pub(crate) fn restart(&self, incarnation: Incarnation) -> Incarnation {
        let next = Incarnation(incarnation.0 + 1);
        self.status.store(pack(State::Running, next), Ordering::SeqCst);
        next
    }

    /// Tells a running execution that something it may have read was written. False if it is not running.
    pub(crate) fn suspect(&self) -> bool {
        let mut status = self.status.load(Ordering::SeqCst);
        while unpack(status).0 == State::Running {
            match self.status.compare_exchange(status, status | SUSPECT, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return true,
                Err(now) => status = now,
            }
        }
        false
    }

    /// Whether a running execution is told that something it may have read was written.
    #[inline]
    pub(crate) fn is_suspect(&self) -> bool {
        // SeqCst: as everywhere here. Whoever misses the mark finds it when the execution ends.
        self.status.load(Ordering::SeqCst) & SUSPECT != 0
    }

    /// Takes the mark off a running execution, whose reads the caller looks at after that, and at its end.
    pub(crate) fn clear_suspect(&self) {
        self.status.fetch_and(!SUSPECT, Ordering::SeqCst);
    }

    /// Ends a running execution. False if it became suspect meanwhile: the mark is then cleared, and the
    /// caller has to look at its reads again.
    pub(crate) fn finish(&self, incarnation: Incarnation) -> bool {
        if self.transition(incarnation, State::Running, State::Done) {
            return true;
        }
        self.status.store(pack(State::Running, incarnation), Ordering::SeqCst);
        false
    }
}

fn pack(state: State, incarnation: Incarnation) -> u32 {
    state as u32 | incarnation.0 << INCARNATION_SHIFT
}

fn unpack(status: u32) -> (State, Incarnation) {
    let state = match status & STATE_MASK {
        0 => State::Ready,
        1 => State::Running,
        2 => State::Done,
        3 => State::Committing,
        4 => State::Committed,
        5 => State::Waiting,
        _ => State::Invalidating,
    };
    (state, Incarnation(status >> INCARNATION_SHIFT))
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_packing() {
        use State::{Committed, Committing, Done, Invalidating, Ready, Running, Waiting};
        for state in [Ready, Running, Done, Committing, Committed, Waiting, Invalidating] {
            for incarnation in [0, 1, 1 << 20] {
                let status = pack(state, Incarnation(incarnation));
                assert_eq!(unpack(status), (state, Incarnation(incarnation)));
                assert_eq!(unpack(status | SUSPECT), (state, Incarnation(incarnation)));
            }
        }
    }
}
