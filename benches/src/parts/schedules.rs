use super::machine::{CONSTANTS, Counters, Program, READS, WRITTEN, Write, count, look, set, sum, write_all};
use crate::{Size, THREADS, WrongAnswer};
use citius_engine::{
    WorkerPool,
    scheduler::{EntryIndex, Interrupt, Optimistic, RunSettings, Serial, Strategy, View},
};
use std::{collections::BTreeMap, num::NonZeroUsize};

/// What the entries of a schedule do, and so which part of the scheduler their time goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// None does anything: starting an entry and committing it.
    Nothing,
    /// Each counts at a location of its own: starting, landing and committing an entry.
    Independent,
    /// All count at one location, each on what the one before left: stale reads, waiting, running again.
    Dependent,
    /// All add to one location without looking: many versions in one place.
    Sums,
    /// Each reads 16 locations, half of them nobody else's: naming locations, reading values.
    Reads,
    /// Each reads 64 locations that nobody writes: reading what stood there before. Against `Nothing`, a read.
    ReadsUntouched,
    /// Each reads 64 locations that the first entry wrote: reading committed versions, where one thread works. Against
    /// `ReadsUntouched`, what a version adds to a read.
    ReadsWritten,
    /// Each writes the same 64 locations without looking: landing and committing writes. Against `Nothing`, a write's
    /// landing and commit.
    Writes,
}

/// Locations that an entry of [`Shape::Writes`] writes.
const WRITES: u32 = 64;

impl Shape {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Nothing,
        Self::Independent,
        Self::Dependent,
        Self::Sums,
        Self::Reads,
        Self::ReadsUntouched,
        Self::ReadsWritten,
        Self::Writes,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Independent => "independent",
            Self::Dependent => "dependent",
            Self::Sums => "sums",
            Self::Reads => "reads-16",
            Self::ReadsUntouched => "reads-64-untouched",
            Self::ReadsWritten => "reads-64-written",
            Self::Writes => "writes-64",
        }
    }

    /// The values that so many entries leave, in order, by key.
    fn leaves(self, entries: u32) -> BTreeMap<u32, u64> {
        let each = |value| (1..entries).map(move |entry| (entry, value));
        let written = (WRITTEN..WRITTEN + READS).map(|key| (key, 1));
        match self {
            Self::Nothing => BTreeMap::new(),
            Self::Independent | Self::Reads => (0..entries).map(|entry| (entry, 1)).collect(),
            Self::Dependent | Self::Sums => [(0, u64::from(entries))].into(),
            Self::ReadsUntouched => written.chain(each(1)).collect(),
            Self::ReadsWritten => written.chain(each(1 + u64::from(READS))).collect(),
            Self::Writes => (0..WRITES).map(|key| (key, u64::from(entries))).collect(),
        }
    }
}

impl Program for Shape {
    fn execute<W: View<Counters<Self>>>(
        &self,
        view: &mut W,
        entry: EntryIndex,
    ) -> Result<(), Interrupt<Counters<Self>>> {
        match self {
            Self::Nothing => Ok(()),
            Self::Independent => count(view, entry.0),
            Self::Dependent => count(view, 0),
            Self::Sums => {
                let location = view.locate(0, None)?;
                view.write(location, Write::Add(1));
                Ok(())
            }
            Self::Reads => {
                for shared in 0..8 {
                    look(view, CONSTANTS + shared)?;
                }
                for own in 1..8 {
                    look(view, CONSTANTS + entry.0 * 8 + 8 + own)?;
                }
                count(view, entry.0)
            }
            Self::ReadsUntouched | Self::ReadsWritten if entry.0 == 0 => write_all(view),
            Self::ReadsUntouched => write_sum(view, entry, CONSTANTS),
            Self::ReadsWritten => write_sum(view, entry, WRITTEN),
            Self::Writes => (0..WRITES).try_for_each(|key| set(view, key, u64::from(entry.0) + 1)),
        }
    }
}

/// Writes what a sum of locations came to, and one, so that it is a change, where nobody else writes.
fn write_sum<W: View<Counters<Shape>>>(
    view: &mut W,
    entry: EntryIndex,
    first: u32,
) -> Result<(), Interrupt<Counters<Shape>>> {
    let sum = sum(view, first)?;
    set(view, entry.0, 1 + sum)
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
    strategy: Box<dyn Strategy<Counters<Shape>>>,
    settings: RunSettings,
}

impl SchedulingBench {
    /// Entries of a shape.
    #[must_use]
    pub fn new(shape: Shape, scheduling: Scheduling, size: Size) -> Self {
        let threads = if scheduling == Scheduling::Optimistic { THREADS } else { NonZeroUsize::MIN };
        let pool = WorkerPool::unpinned(threads).unwrap_or_else(|error| panic!("{error}"));
        let strategy: Box<dyn Strategy<Counters<Shape>>> = match scheduling {
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
        Counters::new(self.shape, self.entries).run(&*self.strategy, &self.settings).values
    }

    /// Checks what the entries left.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`] if it is not what they leave in order.
    pub fn verify(&self) -> Result<(), WrongAnswer> {
        let left = self.run();
        if left == self.shape.leaves(self.entries) {
            return Ok(());
        }
        let sum: u64 = left.values().sum();
        let reason =
            format!("left {} values with sum {sum}, not those of {} entries", left.len(), self.entries);
        Err(WrongAnswer { bench: format!("{} {}", self.strategy.name(), self.shape.name()), reason })
    }
}
