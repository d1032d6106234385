use crate::{Size, THREADS, WrongAnswer};
use citius_engine::{
    WorkerPool,
    scheduler::{
        Change, EntryIndex, Interrupt, LocationId, Optimistic, RunSettings, Serial, Strategy, View, Vm,
    },
};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

/// What the entries of a schedule do, and so which part of the scheduler their time goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Each counts at a location of its own: starting, landing and committing an entry.
    Independent,
    /// All count at one location, each on what the one before left: stale reads, waiting, running again.
    Dependent,
    /// All add to one location without looking: many versions in one place.
    Sums,
    /// Each reads 16 locations, half of them nobody else's: naming locations, reading values.
    Reads,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Independent, Self::Dependent, Self::Sums, Self::Reads];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Dependent => "dependent",
            Self::Sums => "sums",
            Self::Reads => "reads-16",
        }
    }
}

/// How entries are scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduling {
    /// One after the other.
    Serial,
    /// Optimistically, with nobody to run ahead of: what optimism costs.
    OptimisticAlone,
    /// Optimistically on [`THREADS`] threads.
    Optimistic,
}

impl Scheduling {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Serial, Self::OptimisticAlone, Self::Optimistic];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::OptimisticAlone => "optimistic-1",
            Self::Optimistic => "optimistic-2",
        }
    }
}

/// Some entries that do next to nothing: what is left is the scheduler.
pub struct SchedulingBench {
    shape: Shape,
    entries: u32,
    strategy: Box<dyn Strategy<Counters>>,
    settings: RunSettings,
}

impl SchedulingBench {
    /// Entries of a shape.
    #[must_use]
    pub fn new(shape: Shape, scheduling: Scheduling, size: Size) -> Self {
        let threads = if scheduling == Scheduling::Optimistic { THREADS } else { NonZeroUsize::MIN };
        let pool = WorkerPool::unpinned(threads).unwrap_or_else(|error| panic!("{error}"));
        let strategy: Box<dyn Strategy<Counters>> = match scheduling {
            Scheduling::Serial => Box::new(Serial::default()),
            Scheduling::OptimisticAlone | Scheduling::Optimistic => Box::new(Optimistic::default()),
        };
        Self { shape, entries: size.pick(50, 1_000), strategy, settings: RunSettings::new(pool) }
    }

    /// Number of entries.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.into()
    }

    /// Runs all entries. Returns the values that they left, by key.
    #[must_use]
    pub fn run(&self) -> BTreeMap<u32, u64> {
        let vm = Arc::new(Counters { shape: self.shape, entries: self.entries, changes: Mutex::default() });
        let run = self.strategy.start(Arc::clone(&vm), self.settings.clone());
        run.submit(0, 1 << 30);
        run.drive(&|| false);
        run.close();
        let mut changes = vm.changes.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut changes)
    }

    /// Checks what the entries left.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`] if it is not what they leave in order.
    pub fn verify(&self) -> Result<(), WrongAnswer> {
        let all = u64::from(self.entries);
        let expected: BTreeMap<u32, u64> = match self.shape {
            Shape::Independent | Shape::Reads => (0..self.entries).map(|entry| (entry, 1)).collect(),
            Shape::Dependent | Shape::Sums => [(0, all)].into(),
        };
        let left = self.run();
        if left == expected {
            return Ok(());
        }
        let sum: u64 = left.values().sum();
        let reason = format!("left {} values with sum {sum}, not those of {all} entries", left.len());
        Err(WrongAnswer { bench: format!("{} {}", self.strategy.name(), self.shape.name()), reason })
    }
}

/// A machine of numbers that begin at 0.
#[derive(Debug)]
struct Counters {
    shape: Shape,
    entries: u32,
    changes: Mutex<BTreeMap<u32, u64>>,
}

#[derive(Debug, Clone)]
enum Write {
    Set(u64),
    Add(u64),
}

/// The first of the locations that nobody writes.
const CONSTANTS: u32 = 1 << 20;

impl Vm for Counters {
    type Key = u32;
    type Range = Infallible;
    type Value = u64;
    type Write = Write;
    /// The value itself.
    type Observation = u64;
    type Output = ();
    type ReadError = Infallible;
    type Refusal = Infallible;
    type Ledger = ();
    type Local<W: View<Self>> = W;

    fn base_value(
        &self,
        _key: &u32,
        _parent: Option<&u32>,
        _should_stop: &dyn Fn() -> bool,
    ) -> Result<u64, Interrupt<Self>> {
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
        match self.shape {
            Shape::Independent => count(view, entry.0),
            Shape::Dependent => count(view, 0),
            Shape::Sums => {
                let location = view.locate(0, None)?;
                view.write(location, Write::Add(1));
                Ok(())
            }
            Shape::Reads => {
                for shared in 0..8 {
                    look(view, CONSTANTS + shared)?;
                }
                for own in 1..8 {
                    look(view, CONSTANTS + entry.0 * 8 + 8 + own)?;
                }
                count(view, entry.0)
            }
        }
    }

    fn ledger(&self) {}

    fn admit(&self, _ledger: &(), _entry: EntryIndex) -> Result<(), Infallible> {
        Ok(())
    }

    fn commit(&self, _ledger: &mut (), _entry: EntryIndex, _output: ()) -> Result<(), Infallible> {
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

    fn seal(
        &self,
        _ledger: &mut (),
        _segment: u32,
        changes: Vec<Change<Self>>,
        _lookup: &dyn Fn(LocationId) -> (u32, u64),
    ) {
        let changes = changes.into_iter().map(|change| (change.key, change.after)).collect();
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner) = changes;
    }
}

fn look<W: View<Counters>>(view: &mut W, key: u32) -> Result<(LocationId, u64), Interrupt<Counters>> {
    let (read, value) = view.read(key, None)?;
    view.observe(read, value);
    Ok((view.location(read), value))
}

fn count<W: View<Counters>>(view: &mut W, key: u32) -> Result<(), Interrupt<Counters>> {
    let (location, value) = look(view, key)?;
    view.write(location, Write::Set(value + 1));
    Ok(())
}
