use super::{
    ids::{EntryIndex, Incarnation},
    locations::Location,
    vm::Vm,
};
use smallvec::SmallVec;
use std::borrow::Cow;

/// Versions whose memory a cell keeps from one run to the next.
const KEPT_VERSIONS_MAX: usize = 64;

/// A written location's value: what is committed, and what runs ahead of it.
///
/// Reading at an entry folds the versions of earlier entries onto the committed value, so relative writes need
/// no order among themselves. Invariants (checked by the models and the schedule fuzzer):
///
/// 1. `versions` is sorted by entry, one version an entry, all uncommitted.
/// 2. `committed` is the fold of all committed writes, in order, onto the base value.
#[derive(Debug)]
pub(crate) struct Cell<V: Vm> {
    /// The fold of what is committed onto the base value; `None` while that stands.
    pub(crate) committed: Option<V::Value>,
    /// One past the last committed writer; 0 while the base value stands.
    pub(crate) committed_by: u32,
    /// One past the last segment in which a change here was noted; 0 if there is none.
    pub(crate) logged_in: u32,
    /// By which number.
    pub(crate) logged_at: u32,
    versions: Versions<V>,
}

/// Versions by entry. Commits take them from the front: what is before `head` is taken and not yet moved over,
/// so that a location that every entry writes (the fee's) costs no more to commit than another.
#[derive(Debug)]
struct Versions<V: Vm> {
    list: SmallVec<[Version<V>; 1]>,
    head: usize,
}

#[derive(Debug)]
struct Version<V: Vm> {
    entry: u32,
    incarnation: Incarnation,
    /// Taken only in versions before the head.
    write: Option<V::Write>,
    /// The write is about to be computed again; its value is a guess.
    is_estimate: bool,
}

impl<V: Vm> Version<V> {
    fn write(&self) -> &V::Write {
        let Some(write) = &self.write else { unreachable!("a live version has its write") };
        write
    }
}

impl<V: Vm> Versions<V> {
    fn live(&self) -> &[Version<V>] {
        &self.list[self.head..]
    }

    /// The place of an entry's version, or where it belongs.
    fn find(&self, entry: u32) -> Result<usize, usize> {
        let found = self.live().binary_search_by_key(&entry, |version| version.entry);
        found.map(|place| place + self.head).map_err(|place| place + self.head)
    }

    fn take(&mut self, place: usize) -> Option<V::Write> {
        if place > self.head {
            return self.list.remove(place).write;
        }
        let write = self.list[place].write.take();
        self.head += 1;
        if self.head * 2 > self.list.len() {
            self.list.drain(..self.head);
            self.head = 0;
        }
        write
    }
}

/// What folding the versions below an entry gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fold<T> {
    /// The value.
    Value(T),
    /// An earlier entry is about to write this location again.
    Wait(EntryIndex),
}

impl<V: Vm> Default for Cell<V> {
    fn default() -> Self {
        Self {
            committed: None,
            committed_by: 0,
            logged_in: 0,
            logged_at: 0,
            versions: Versions { list: SmallVec::new(), head: 0 },
        }
    }
}

impl<V: Vm> Cell<V> {
    /// The value that uncommitted versions go on from, if it is known. `floor` is one past the parent's latest reset.
    pub(crate) fn start<'a>(&'a self, location: &'a Location<V>, floor: u32) -> Option<Cow<'a, V::Value>> {
        if self.committed_by < floor {
            return Some(Cow::Owned(V::value_after_reset(&location.key)));
        }
        self.committed.as_ref().or_else(|| location.base.get()).map(Cow::Borrowed)
    }

    /// As [`Cell::start`], for a value that is about to be replaced.
    pub(crate) fn take_start(&mut self, location: &Location<V>, floor: u32) -> Option<V::Value> {
        if self.committed_by < floor {
            return Some(V::value_after_reset(&location.key));
        }
        self.committed.take().or_else(|| location.base.get().cloned())
    }

    /// The value that `entry` sees, from the committed value `start` on. Versions with a stamp (entry + 1) below
    /// `floor` do not count: the parent's reset undid them.
    pub(crate) fn fold(&self, start: &V::Value, floor: u32, entry: u32) -> Fold<V::Value> {
        let versions = self.versions.live();
        let end = versions.partition_point(|version| version.entry < entry);
        let mut first = end;
        while first > 0 && versions[first - 1].entry + 1 >= floor {
            let version = &versions[first - 1];
            if version.is_estimate && V::is_worth_waiting_for(version.write()) {
                return Fold::Wait(EntryIndex(version.entry));
            }
            first -= 1;
            if V::is_absolute(version.write()) {
                break;
            }
        }
        let mut value = start.clone();
        for version in &versions[first..end] {
            V::apply(&mut value, version.write());
        }
        Fold::Value(value)
    }

    /// Whether `holds` is true of the value that `entry` sees; like [`Cell::fold`], without cloning where nothing is
    /// folded.
    pub(crate) fn holds(
        &self,
        start: &V::Value,
        floor: u32,
        entry: u32,
        holds: impl Fn(&V::Value) -> bool,
    ) -> bool {
        if self.versions.live().first().is_none_or(|version| version.entry >= entry) {
            return holds(start);
        }
        match self.fold(start, floor, entry) {
            Fold::Value(value) => holds(&value),
            Fold::Wait(_) => false,
        }
    }

    /// Makes the cell as new, but for its memory.
    pub(crate) fn reset(&mut self) {
        let Self { committed, committed_by, logged_in, logged_at, versions } = self;
        *committed = None;
        (*committed_by, *logged_in, *logged_at) = (0, 0, 0);
        versions.list.clear();
        if versions.list.capacity() > KEPT_VERSIONS_MAX {
            versions.list.shrink_to_fit();
        }
        versions.head = 0;
    }

    /// Puts an entry's version in its place, and returns the older incarnation's write if there was one.
    pub(crate) fn land(&mut self, entry: u32, incarnation: Incarnation, write: V::Write) -> Option<V::Write> {
        let version = Version { entry, incarnation, write: Some(write), is_estimate: false };
        match self.versions.find(entry) {
            Ok(place) => {
                debug_assert!(self.versions.list[place].incarnation < incarnation, "incarnations only grow");
                std::mem::replace(&mut self.versions.list[place], version).write
            }
            Err(place) => {
                self.versions.list.insert(place, version);
                None
            }
        }
    }

    /// Takes an entry's version away.
    pub(crate) fn remove(&mut self, entry: u32) -> Option<V::Write> {
        let place = self.versions.find(entry).ok()?;
        self.versions.take(place)
    }

    /// Marks an entry's version as a guess, since the entry will run again.
    pub(crate) fn mark_estimate(&mut self, entry: u32) {
        if let Ok(place) = self.versions.find(entry) {
            self.versions.list[place].is_estimate = true;
        }
    }

    /// The latest uncommitted write below `entry` that satisfies `predicate`: its entry.
    pub(crate) fn latest_below(&self, entry: u32, predicate: impl Fn(&V::Write) -> bool) -> Option<u32> {
        self.versions
            .live()
            .iter()
            .rev()
            .find(|version| version.entry < entry && predicate(version.write()))
            .map(|version| version.entry)
    }
}
