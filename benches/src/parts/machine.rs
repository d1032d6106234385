//! A machine that does next to nothing, so that what is left of its time is the scheduler's.

use citius_engine::scheduler::{
    Change, EntryIndex, Interrupt, LocationId, RunSettings, SegmentMetrics, Strategy, View, Vm,
};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

/// What the entries of a run do.
pub(super) trait Program: Debug + Send + Sync + Sized + 'static {
    /// Executes one entry.
    fn execute<W: View<Counters<Self>>>(
        &self,
        view: &mut W,
        entry: EntryIndex,
    ) -> Result<(), Interrupt<Counters<Self>>>;
}

/// A machine of numbers that begin at 0, named by numbers.
#[derive(Debug)]
pub(super) struct Counters<P: Program> {
    pub(super) program: P,
    entries: u32,
    left: Mutex<BTreeMap<u32, u64>>,
}

/// What a run left.
#[derive(Debug)]
pub(super) struct Left {
    /// Values by key, of the locations that were written.
    pub(super) values: BTreeMap<u32, u64>,
    /// How the work went.
    pub(super) metrics: SegmentMetrics,
}

/// What an entry does to a number.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Set(u64),
    Add(u64),
}

/// The first of the locations that nobody writes.
pub(super) const CONSTANTS: u32 = 1 << 20;

impl<P: Program> Counters<P> {
    /// Entries that are to be run once.
    pub(super) fn new(program: P, entries: u32) -> Arc<Self> {
        Arc::new(Self { program, entries, left: Mutex::default() })
    }

    /// Runs all entries as one segment.
    pub(super) fn run(self: &Arc<Self>, strategy: &dyn Strategy<Self>, settings: &RunSettings) -> Left {
        let run = strategy.start(Arc::clone(self), settings.clone());
        run.submit(0, 1 << 30);
        run.drive(&|| false);
        let metrics = run.metrics(0);
        run.close();
        let values = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        Left { values, metrics }
    }
}

impl<P: Program> Vm for Counters<P> {
    type Key = u32;
    type Range = Infallible;
    type Value = u64;
    type Write = Write;
    /// The value itself.
    type Observation = u64;
    type Output = ();
    type ReadError = Infallible;
    type Refusal = Infallible;
    /// The numbers that were written.
    type Ledger = Vec<(u32, u64)>;
    type Plan = Infallible;
    type Local<W: View<Self>> = W;

    fn base_value(&self, _key: &u32, _parent: Option<&u32>) -> Result<u64, Interrupt<Self>> {
        Ok(0)
    }

    fn base_range(&self, range: &Infallible) -> Result<Vec<u32>, Infallible> {
        match *range {}
    }

    fn in_range(range: &Infallible, _key: &u32) -> bool {
        match *range {}
    }

    fn is_visible(_value: &u64) -> bool {
        true
    }

    fn apply(value: &mut u64, write: &Write) {
        match write {
            Write::Set(new) => *value = *new,
            Write::Add(amount) => *value += amount,
        }
    }

    fn is_absolute(write: &Write) -> bool {
        matches!(write, Write::Set(_))
    }

    fn resets_children(_write: &Write) -> bool {
        false
    }

    fn value_after_reset(_key: &u32) -> u64 {
        0
    }

    fn is_worth_waiting_for(write: &Write) -> bool {
        Self::is_absolute(write)
    }

    fn holds(seen: &u64, value: &u64) -> bool {
        seen == value
    }

    fn local<W: View<Self>>(&self, view: W) -> W {
        view
    }

    fn rebind<W: View<Self>>(self: &Arc<Self>, _local: &mut W) {}

    fn unbind<W: View<Self>>(_local: &mut W) {}

    fn view<W: View<Self>>(local: &mut W) -> &mut W {
        local
    }

    fn execute<W: View<Self>>(&self, view: &mut W, entry: EntryIndex) -> Result<(), Interrupt<Self>> {
        self.program.execute(view, entry)
    }

    fn ledger(&self) -> Vec<(u32, u64)> {
        Vec::new()
    }

    fn admit(&self, _ledger: &Vec<(u32, u64)>, _entry: EntryIndex) -> Result<(), Infallible> {
        Ok(())
    }

    fn commit(
        &self,
        _ledger: &mut Vec<(u32, u64)>,
        _entry: EntryIndex,
        _output: (),
    ) -> Result<(), Infallible> {
        Ok(())
    }

    fn refuse_read(&self, _entry: EntryIndex, error: Infallible) -> Infallible {
        error
    }

    fn segment_of(&self, _entry: EntryIndex) -> u32 {
        0
    }

    fn entries_of(&self, _segment: u32) -> (EntryIndex, EntryIndex) {
        (EntryIndex(0), EntryIndex(self.entries))
    }

    fn transaction_count(&self, _entry: EntryIndex) -> u32 {
        1
    }

    fn transactions_through(&self, entry: EntryIndex) -> u32 {
        entry.0 + 1
    }

    fn note_change(&self, ledger: &mut Vec<(u32, u64)>, change: Change<'_, Self>) -> u32 {
        ledger.push((*change.key, *change.after));
        ledger.len() as u32 - 1
    }

    fn note_again(&self, ledger: &mut Vec<(u32, u64)>, number: u32, after: &u64, _resets_children: bool) {
        ledger[number as usize].1 = *after;
    }

    fn seal(&self, ledger: &mut Vec<(u32, u64)>, _segment: u32, _lookup: &dyn Fn(LocationId) -> (u32, u64)) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = ledger.drain(..).collect();
    }
}

/// Reads a location, and says that its value was learnt.
pub(super) fn look<P: Program, W: View<Counters<P>>>(
    view: &mut W,
    key: u32,
) -> Result<(LocationId, u64), Interrupt<Counters<P>>> {
    let (read, value) = view.read(key, None)?;
    view.observe(read, value);
    Ok((view.location(read), value))
}

/// Adds one to a location that was read.
pub(super) fn count<P: Program, W: View<Counters<P>>>(
    view: &mut W,
    key: u32,
) -> Result<(), Interrupt<Counters<P>>> {
    let (location, value) = look(view, key)?;
    view.write(location, Write::Set(value + 1));
    Ok(())
}

/// Writes a location that was not read.
pub(super) fn set<P: Program, W: View<Counters<P>>>(
    view: &mut W,
    key: u32,
    value: u64,
) -> Result<(), Interrupt<Counters<P>>> {
    let location = view.locate(key, None)?;
    view.write(location, Write::Set(value));
    Ok(())
}

/// Reads [`READS`] locations from `first` on. Returns the sum of their values.
pub(super) fn sum<P: Program, W: View<Counters<P>>>(
    view: &mut W,
    first: u32,
) -> Result<u64, Interrupt<Counters<P>>> {
    let mut sum = 0;
    for key in first..first + READS {
        sum += look(view, key)?.1;
    }
    Ok(sum)
}

/// Locations that an entry reads, where reading is what is measured.
pub(super) const READS: u32 = 64;

/// The first of the locations that one entry writes for others to read.
pub(super) const WRITTEN: u32 = 1 << 21;

/// Writes 1 to each of the [`READS`] locations from [`WRITTEN`] on.
pub(super) fn write_all<P: Program, W: View<Counters<P>>>(
    view: &mut W,
) -> Result<(), Interrupt<Counters<P>>> {
    (WRITTEN..WRITTEN + READS).try_for_each(|key| set(view, key, 1))
}
