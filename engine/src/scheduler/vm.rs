use super::{
    ids::{EntryIndex, LocationId, ReadId},
    plan::Plan,
};
use citius_state::Ticket;
use std::{fmt, hash::Hash, ops::Range, sync::Arc, time::Duration};

/// A machine whose entries the scheduler runs in parallel as if in order.
///
/// The scheduler knows locations and values, not opcodes. An entry (a transaction, a system call, ...) reads and
/// writes values at locations named by opaque keys. What it learnt of a value is an *observation*: a predicate
/// that must still hold when the entry's turn comes to commit. A narrow observation ("the balance was at least
/// 5") survives writes that an exact one would not.
///
/// One value of the implementing type is one stream: the entries, the state before them, the rules.
pub trait Vm: fmt::Debug + Send + Sync + Sized + 'static {
    /// Names a location; interned by full equality, never by hash alone.
    type Key: Clone + Eq + Hash + fmt::Debug + Send + Sync;
    /// A set of keys that can be read as one (a phantom is a key that appears in it later).
    type Range: Clone + fmt::Debug + Send + Sync;
    /// What a location holds.
    type Value: Clone + PartialEq + fmt::Debug + Send + Sync;
    /// What an entry does to a location: absolute, or relative to what stands there.
    type Write: Clone + fmt::Debug + Send + Sync;
    /// A predicate over a value.
    type Observation: fmt::Debug + Send + Sync;
    /// An entry's result.
    type Output: fmt::Debug + Send;
    /// Why the state before the stream could not be read.
    type ReadError: Clone + fmt::Debug + Send + Sync;
    /// Why a committed entry ends the stream: a verdict on the input.
    type Refusal: Clone + fmt::Debug + Send + Sync;
    /// What accumulates in commit order (receipts, gas, ...).
    type Ledger: Send;
    /// What is known beforehand of an entry; `Infallible` for machines of which nothing is.
    type Plan: Plan<Self>;
    /// What an execution works with, kept from one to the next (an EVM and its buffers).
    type Local<W: View<Self>>: Send + 'static;

    /// The value before the stream. A child is asked for only by entries that read its parent. Does not wait for a value
    /// that is on its way: who asks has locks, and stands on a stack that may have to be left.
    ///
    /// # Errors
    ///
    /// [`Interrupt::Read`], or [`Interrupt::Pending`] if it should be asked again when a ticket completes.
    fn base_value(&self, key: &Self::Key, parent: Option<&Self::Key>)
    -> Result<Self::Value, Interrupt<Self>>;

    /// Whether reads may be on their way, so that it is worth to be able to park executions.
    fn may_wait(&self) -> bool {
        false
    }

    /// Lets reads go on that the calling thread submitted, as [`StateReader::progress`](citius_state::StateReader::progress)
    /// says. Whether any are in flight.
    fn progress(&self, _wait: Option<Duration>) -> bool {
        false
    }

    /// These entries are about to be executed: asks ahead for what they will read. Called where reads may be on their way, of
    /// each entry once or seldom, by any thread; what that begins counts as its own.
    fn prefetch(&self, _entries: Range<u32>) {}

    /// Memory that a write holds besides its own size, in bytes.
    fn heap_bytes_of_write(_write: &Self::Write) -> usize {
        0
    }

    /// All keys of a range that have a value before the stream.
    fn base_range(&self, range: &Self::Range) -> Result<Vec<Self::Key>, Self::ReadError>;

    /// Whether a key lies in a range.
    fn in_range(range: &Self::Range, key: &Self::Key) -> bool;

    /// Whether a scan shows a location that holds this value.
    fn is_visible(value: &Self::Value) -> bool;

    /// Applies a write to a value.
    fn apply(value: &mut Self::Value, write: &Self::Write);

    /// Makes one write of two that one entry makes to one location, not necessarily of the same kind: applying
    /// it must give what applying both in order gives.
    /// Asked only where entries have several steps (see [`Vm::step_count`]), as is [`Vm::before`].
    fn merge(first: &mut Self::Write, second: Self::Write) {
        panic!("{second:?} follows {first:?} in one entry of one step")
    }

    /// What an observation tells of the value `start`, if it was made behind some writes of the same entry to that
    /// value: for every value of which the answer holds, applying `writes` to it must give one of which the
    /// observation holds. `None` if there is no such value: the execution went on from a prediction that its own
    /// writes contradict.
    fn before<'a>(
        observation: Self::Observation,
        start: &Self::Value,
        _writes: impl Iterator<Item = &'a Self::Write> + Clone,
    ) -> Option<Self::Observation> {
        panic!("{observation:?} of {start:?} follows a write in one entry of one step")
    }

    /// Whether a write says what the location holds whatever stood there before.
    fn is_absolute(write: &Self::Write) -> bool;

    /// Whether a write also resets every location whose parent it is written to.
    fn resets_children(write: &Self::Write) -> bool;

    /// What a child location holds right after its parent was reset.
    fn value_after_reset(key: &Self::Key) -> Self::Value;

    /// Whether readers should wait when this write is about to be computed again. A relative write hardly ever
    /// breaks an observation, so its readers go on.
    fn is_worth_waiting_for(write: &Self::Write) -> bool;

    /// Whether what was observed still holds of a value.
    fn holds(observation: &Self::Observation, value: &Self::Value) -> bool;

    /// Whether what was observed holds of a value, or may come to hold once more entries in between were executed: a
    /// prediction need not be given up before.
    fn may_come_to_hold(observation: &Self::Observation, value: &Self::Value) -> bool {
        Self::holds(observation, value)
    }

    /// Whether what an entry observed of the location `key` holds of a value, apart from what the entry's place in the
    /// order tells beforehand: a counter, say, of which the entry itself states how far it is by then.
    fn holds_but_for_order(
        &self,
        _entry: EntryIndex,
        _key: &Self::Key,
        observation: &Self::Observation,
        value: &Self::Value,
    ) -> bool {
        Self::holds(observation, value)
    }

    /// A worker's state, around a view through which all its executions read and write.
    fn local<W: View<Self>>(&self, view: W) -> Self::Local<W>;

    /// Prepares a worker's state, made for an earlier stream, for this one.
    fn rebind<W: View<Self>>(self: &Arc<Self>, local: &mut Self::Local<W>);

    /// Lets go of the stream; what helps with a later one may stay.
    fn unbind<W: View<Self>>(local: &mut Self::Local<W>);

    /// The view inside a worker's state.
    fn view<W: View<Self>>(local: &mut Self::Local<W>) -> &mut W;

    /// Executes one entry. Reads and writes go through the local's view.
    ///
    /// # Errors
    ///
    /// Only with what the view gave; an entry that fails by its own fault has an output that says so.
    fn execute<W: View<Self>>(
        &self,
        local: &mut Self::Local<W>,
        entry: EntryIndex,
    ) -> Result<Self::Output, Interrupt<Self>>;

    /// What an entry is going to write, if that can be told without looking at the state; see [`Plan`].
    fn plan<W: View<Self>>(&self, _local: &mut Self::Local<W>, _entry: EntryIndex) -> Option<Self::Plan> {
        None
    }

    /// Whether an entry without plan may take so long that it should not begin before it is sure that all before it went
    /// as planned.
    fn is_long(&self, _entry: EntryIndex) -> bool {
        false
    }

    /// A fresh ledger.
    fn ledger(&self) -> Self::Ledger;

    /// Whether an entry may stand after what the ledger holds, whatever it does.
    ///
    /// # Errors
    ///
    /// A refusal, as from [`Vm::commit`], which must give the same one for any output of such an entry.
    fn admit(&self, ledger: &Self::Ledger, entry: EntryIndex) -> Result<(), Self::Refusal>;

    /// Takes an entry's output into the ledger, in order: it is validated, or planned.
    ///
    /// # Errors
    ///
    /// A refusal ends the stream before this entry: its writes are not applied, everything before it stands.
    fn commit(
        &self,
        ledger: &mut Self::Ledger,
        entry: EntryIndex,
        output: Self::Output,
    ) -> Result<(), Self::Refusal>;

    /// The refusal for an entry whose read of the base state failed.
    fn refuse_read(&self, entry: EntryIndex, error: Self::ReadError) -> Self::Refusal;

    /// The segment (block) that an entry belongs to.
    fn segment_of(&self, entry: EntryIndex) -> u32;

    /// The entries of a segment: first, and one past the last.
    fn entries_of(&self, segment: u32) -> (EntryIndex, EntryIndex);

    /// Entries of a segment that are expected to take so long that they should begin before their turn: the second of
    /// each pair, at the turn of the first, in the order of these turns.
    fn early_entries_of(&self, _segment: u32) -> Vec<(EntryIndex, EntryIndex)> {
        Vec::new()
    }

    /// An earlier entry whose writes this one is expected to need: it need not begin before that was executed.
    fn follows(&self, _entry: EntryIndex) -> Option<EntryIndex> {
        None
    }

    /// Executions of an entry were thrown away before the one that is committed now.
    fn note_thrown_away(&self, _entry: EntryIndex) {}

    /// Steps that the entry executes one after another (at least one), with [`View::end_step`] behind each if there
    /// are several.
    fn step_count(&self, _entry: EntryIndex) -> u32 {
        1
    }

    /// How many of the entry's steps are transactions (block begin and end steps are not).
    fn transaction_count(&self, entry: EntryIndex) -> u32;

    /// Transactions of the stream up to the end of an entry.
    fn transactions_through(&self, entry: EntryIndex) -> u32;

    /// Notes in the ledger what a commit changed, at a location's first change in its segment. Gives a number by which
    /// [`Vm::note_again`] finds it. Follows the [`Vm::commit`] of the entry that wrote.
    fn note_change(&self, ledger: &mut Self::Ledger, change: Change<'_, Self>) -> u32;

    /// Notes that a location changed once more in the same segment.
    fn note_again(&self, ledger: &mut Self::Ledger, number: u32, after: &Self::Value, resets_children: bool);

    /// Adds to a ledger what was noted of other locations, in the same segment, in a ledger that holds nothing else.
    /// Asked only where entries are planned.
    fn add_notes(&self, _ledger: &mut Self::Ledger, _notes: Self::Ledger) {}

    /// How many values were noted that are not told yet: none if nobody wants to be told. Looked at behind every commit.
    fn untold(&self, _ledger: &Self::Ledger) -> usize {
        0
    }

    /// Tells whoever wants to know what was noted since it was told last, all of one segment. Called as commits are, when
    /// all writes of an entry are made; `lookup` is that of [`Vm::seal`].
    fn tell(
        &self,
        _ledger: &mut Self::Ledger,
        _segment: u32,
        _lookup: &dyn Fn(LocationId) -> (Self::Key, Self::Value),
    ) {
    }

    /// Ends a segment whose entries are all committed, and whose changes are noted and told. `lookup` gives key and committed
    /// value of any location that was read or written: of a child it may be another than was noted last, if its parent
    /// was reset since.
    fn seal(
        &self,
        ledger: &mut Self::Ledger,
        segment: u32,
        lookup: &dyn Fn(LocationId) -> (Self::Key, Self::Value),
    );
}

/// What one write did to a location.
#[derive(Debug)]
pub struct Change<'a, V: Vm> {
    /// The location's id in its stream.
    pub location: LocationId,
    /// The location's key.
    pub key: &'a V::Key,
    /// The parent location, whose reset resets this one.
    pub parent: Option<LocationId>,
    /// The value before.
    pub before: &'a V::Value,
    /// The value after.
    pub after: &'a V::Value,
    /// The write resets this location's children.
    pub resets_children: bool,
}

/// Writes to be made, in order.
pub(crate) type Writes<V> = Vec<(LocationId, <V as Vm>::Write)>;

/// What a scan showed: keys and values of all visible locations of a range.
pub type Scanned<V> = Vec<(<V as Vm>::Key, <V as Vm>::Value)>;

/// What one execution sees of the state.
pub trait View<V: Vm>: Send + 'static {
    /// Whether observations are used at all; where not, their computation can be left out.
    const OBSERVES: bool;

    /// Reads a location, parked while the value is on its way. What the entry learnt of it must be said with
    /// [`View::observe`].
    fn read(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<(ReadId, V::Value), Interrupt<V>>;

    /// Says what was learnt of a value that was read. A read without observation is never invalidated.
    fn observe(&mut self, read: ReadId, observation: V::Observation);

    /// The location that a read went to.
    fn location(&self, read: ReadId) -> LocationId;

    /// Reads all visible locations of a range, exactly, in no particular order.
    fn scan(&mut self, range: V::Range) -> Result<Scanned<V>, Interrupt<V>>;

    /// The id of a location that may never be read.
    fn locate(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<LocationId, Interrupt<V>>;

    /// Writes a location, at most once a step.
    fn write(&mut self, location: LocationId, write: V::Write);

    /// Writes a location after all other writes of the step, at most once, in a way that the entry's successors
    /// need not see before it is committed: for what every entry writes and hardly any reads. Whoever reads it all the
    /// same, and observes what the write changes, runs again. The write must not reset children.
    fn write_late(&mut self, location: LocationId, write: V::Write);

    /// Ends a step of an entry with several: its later steps see what this one wrote.
    ///
    /// # Errors
    ///
    /// If what stands where the step wrote can not be read: a step of its own would fail at its commit.
    fn end_step(&mut self) -> Result<(), Interrupt<V>>;

    /// Waits, parked or not, until a ticket completes that whatever else was asked answered with.
    ///
    /// # Errors
    ///
    /// If the execution should end before.
    fn wait(&mut self, ticket: &Ticket) -> Result<(), Interrupt<V>>;

    /// Whether all earlier entries are committed: nothing that is read can change any more.
    fn is_final(&self) -> bool;

    /// Whether the execution should stop at once. Looks at the clock: long work asks now and then.
    fn is_cancelled(&self) -> bool;
}

/// Why an execution stopped before its end.
#[derive(Debug)]
pub enum Interrupt<V: Vm> {
    /// An earlier entry is about to compute a value again that this one needs.
    Blocked(EntryIndex),
    /// What the execution read has changed since: it would be thrown away.
    Stale,
    /// The state before the stream could not be read.
    Read(V::ReadError),
    /// The state before the stream is on its way: it is to be asked again when the ticket completes. No execution ends so:
    /// views wait.
    Pending(Ticket),
    /// The stream was cancelled or failed elsewhere.
    Cancelled,
    /// The stream's memory budget is used up.
    MemoryLimit,
    /// The machine panicked.
    Panicked {
        /// The panic's message.
        message: String,
    },
}

impl<V: Vm> Clone for Interrupt<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Blocked(entry) => Self::Blocked(*entry),
            Self::Stale => Self::Stale,
            Self::Read(error) => Self::Read(error.clone()),
            Self::Pending(ticket) => Self::Pending(ticket.clone()),
            Self::Cancelled => Self::Cancelled,
            Self::MemoryLimit => Self::MemoryLimit,
            Self::Panicked { message } => Self::Panicked { message: message.clone() },
        }
    }
}
