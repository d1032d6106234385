use super::{
    machine::{CONSTANTS, Counters, Left, Program, READS, WRITTEN, look, set, sum, write_all},
    signs::Signs,
};
use crate::{Size, THREADS, TooFewThreads, WrongAnswer};
use citius_engine::{
    WorkerPool,
    scheduler::{EntryIndex, Interrupt, Optimistic, RunSettings, View},
};
use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

/// What entries do of which one waits until another, on another thread, has got somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// While the first holds back all commits, each reads 64 locations that nobody writes: a speculative read of what
    /// stood there before, and its check.
    UntouchedReads,
    /// While the first holds back all commits, each reads 64 locations that the second wrote: against
    /// `UntouchedReads`, what an uncommitted version adds to a read and to its check.
    UncommittedReads,
    /// Of each two the first waits until the second has read what neither writes: what the meeting costs.
    Pairs,
    /// Of each two the first waits until the second has read what the first then writes: against `Pairs`, finding that
    /// out, throwing the second's result away and running it again.
    Aborts,
}

impl Meeting {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::UntouchedReads, Self::UncommittedReads, Self::Pairs, Self::Aborts];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UntouchedReads => "reads-64-untouched",
            Self::UncommittedReads => "reads-64-uncommitted",
            Self::Pairs => "pairs",
            Self::Aborts => "aborts",
        }
    }

    /// The values that so many entries leave, in order, by key.
    fn leaves(self, entries: u32) -> BTreeMap<u32, u64> {
        let written = (WRITTEN..WRITTEN + READS).map(|key| (key, 1));
        let readers = |value| (2..entries).map(move |entry| (entry, value));
        let pairs = |second| (0..entries).map(move |entry| (entry, if entry % 2 == 0 { 1 } else { second }));
        match self {
            Self::UntouchedReads => written.chain(readers(1)).collect(),
            Self::UncommittedReads => written.chain(readers(1 + u64::from(READS))).collect(),
            Self::Pairs => pairs(1).collect(),
            Self::Aborts => pairs(2).collect(),
        }
    }

    /// Executions that so many entries throw away.
    fn aborts(self, entries: u32) -> u64 {
        if self == Self::Aborts { u64::from(entries / 2) } else { 0 }
    }

    /// Whether the first entry is executed last, with all others behind it.
    fn holds_back(self) -> bool {
        matches!(self, Self::UntouchedReads | Self::UncommittedReads)
    }
}

/// A run's entries and the signs that they give.
#[derive(Debug)]
struct Met {
    meeting: Meeting,
    entries: u32,
    signs: Signs,
}

impl Program for Met {
    fn execute<W: View<Counters<Self>>>(
        &self,
        view: &mut W,
        entry: EntryIndex,
    ) -> Result<(), Interrupt<Counters<Self>>> {
        match self.meeting {
            Meeting::UntouchedReads => self.read_all(view, entry.0, CONSTANTS),
            Meeting::UncommittedReads => self.read_all(view, entry.0, WRITTEN),
            Meeting::Pairs => self.pair(view, entry.0, CONSTANTS),
            Meeting::Aborts => self.pair(view, entry.0, entry.0 & !1),
        }
    }
}

impl Met {
    /// The first waits for the last, the second writes, the others read the locations from `first` on.
    fn read_all<W: View<Counters<Self>>>(
        &self,
        view: &mut W,
        entry: u32,
        first: u32,
    ) -> Result<(), Interrupt<Counters<Self>>> {
        match entry {
            0 => self.signs.wait_for(self.entries - 1),
            1 => write_all(view)?,
            _ => {
                let sum = sum(view, first)?;
                set(view, entry, 1 + sum)?;
                self.signs.give(entry);
            }
        }
        Ok(())
    }

    /// The first of two writes when the second has read `key`.
    fn pair<W: View<Counters<Self>>>(
        &self,
        view: &mut W,
        entry: u32,
        key: u32,
    ) -> Result<(), Interrupt<Counters<Self>>> {
        if entry.is_multiple_of(2) {
            self.signs.wait_for(entry + 1);
            return set(view, entry, 1);
        }
        let (_, seen) = look(view, key)?;
        self.signs.give(entry);
        set(view, entry, 1 + seen)
    }
}

/// Some entries on two threads, which meet.
pub struct MeetingBench {
    meeting: Meeting,
    entries: u32,
    strategy: Optimistic<Counters<Met>>,
    settings: RunSettings,
}

impl MeetingBench {
    /// Entries that meet on two of the threads at hand.
    ///
    /// # Errors
    ///
    /// [`TooFewThreads`] if there are not two.
    pub fn new(meeting: Meeting, at_hand: NonZeroUsize, size: Size) -> Result<Self, TooFewThreads> {
        TooFewThreads::check(meeting.name(), at_hand)?;
        let pool = WorkerPool::unpinned(THREADS).unwrap_or_else(|error| panic!("{error}"));
        // All of them within the window ahead of the frontier.
        let entries = size.pick(50, 500);
        Ok(Self {
            meeting,
            entries,
            strategy: Optimistic::default(),
            settings: RunSettings::new(pool).without_pauses(),
        })
    }

    /// How often what is measured is done: reads, or pairs.
    #[must_use]
    pub fn operations(&self) -> u64 {
        match self.meeting {
            Meeting::UntouchedReads | Meeting::UncommittedReads => u64::from((self.entries - 2) * READS),
            Meeting::Pairs | Meeting::Aborts => u64::from(self.entries / 2),
        }
    }

    /// Runs all entries. Returns the number of executions that were thrown away.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.meet().1.metrics.aborts
    }

    /// Checks what the entries left, that all met, and that as many executions were thrown away as should be.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`] if one of these is not so.
    pub fn verify(&self) -> Result<(), WrongAnswer> {
        let (machine, Left { values, metrics }) = self.meet();
        let aborts = self.meeting.aborts(self.entries);
        let reason = if values != self.meeting.leaves(self.entries) {
            format!("left {values:?}")
        } else if machine.program.signs.is_missed() {
            "an entry waited in vain for another".to_owned()
        } else if metrics.aborts != aborts {
            format!("made {} aborts instead of {aborts}", metrics.aborts)
        } else if self.meeting.holds_back() && metrics.max_in_flight != u64::from(self.entries) {
            format!("had only {} of {} entries uncommitted", metrics.max_in_flight, self.entries)
        } else {
            return Ok(());
        };
        Err(WrongAnswer { bench: self.meeting.name().to_owned(), reason })
    }

    fn meet(&self) -> (Arc<Counters<Met>>, Left) {
        let met = Met { meeting: self.meeting, entries: self.entries, signs: Signs::new(self.entries) };
        let machine = Counters::new(met, self.entries);
        let left = machine.run(&self.strategy, &self.settings);
        (machine, left)
    }
}
