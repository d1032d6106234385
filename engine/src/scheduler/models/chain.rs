//! Readers against writers and against the frontier, on the multi-version memory.

use super::{
    machine::{BASE, EMPTY, Key, Programs, Write},
    model,
};
use crate::scheduler::{
    EntryIndex, Incarnation, Interrupt, LocationId, Vm,
    append_vec::Share,
    marks::ReadMarks,
    memory::{Landed, Memory, Shares},
};
use crate::sync::model_fence;
use loom::thread;
use std::sync::Arc;

/// A memory and the machine that it is of.
struct Store {
    vm: Arc<Programs>,
    memory: Memory<Programs>,
    /// What the entries marked.
    marks: [ReadMarks; 5],
}

/// What an entry saw.
#[derive(Debug, PartialEq)]
enum Saw {
    Value(u64),
    /// It should wait for this entry.
    Wait(u32),
}

impl Store {
    fn new() -> Arc<Self> {
        let memory = Memory::new(None, 0, Arc::default());
        memory.add_budget(1 << 20);
        Arc::new(Self { vm: Programs::new(&[]), memory, marks: Default::default() })
    }

    fn locate(&self, key: Key, parent: Option<LocationId>) -> LocationId {
        self.memory.table.intern(&key, parent, &mut Share::default()).0
    }

    /// Reads as an execution does that is not final.
    fn read(&self, location: LocationId, entry: u32) -> Saw {
        self.marks[entry as usize].add(location);
        match self.memory.read(&self.vm, location, EntryIndex(entry)) {
            Ok(value) => Saw::Value(value),
            Err(Interrupt::Blocked(on)) => Saw::Wait(on.0),
            Err(interrupt) => panic!("{interrupt:?}"),
        }
    }

    /// Puts one write in place. Returns whom that concerns.
    fn land(&self, location: LocationId, entry: u32, incarnation: u32, write: Write) -> Vec<u32> {
        let mut landed = Landed::default();
        let writes = std::iter::once((location, write));
        let writer = (EntryIndex(entry), Incarnation(incarnation));
        self.memory.land(&self.vm, writer, writes, usize::MAX, &mut Shares::default(), &mut landed);
        self.readers_of(EntryIndex(entry), landed)
    }

    fn withdraw(&self, location: LocationId, entry: u32) -> Vec<u32> {
        let mut landed = Landed::default();
        self.memory.withdraw(EntryIndex(entry), location, &mut landed);
        self.readers_of(EntryIndex(entry), landed)
    }

    /// As the scheduler looks for those whom a change concerns.
    fn readers_of(&self, writer: EntryIndex, Landed { touched, suspects, .. }: Landed) -> Vec<u32> {
        model_fence();
        let later = writer.0 + 1..self.marks.len() as u32;
        let readers = later.filter(|entry| self.marks[*entry as usize].may_hold(&touched));
        suspects.into_iter().chain(readers).collect()
    }

    fn commit(&self, location: LocationId, entry: u32) {
        let mut ledger = self.vm.ledger();
        let committed = self.memory.commit(&self.vm, EntryIndex(entry), 0, location, &mut ledger);
        committed.unwrap_or_else(|interrupt| panic!("{interrupt:?}"));
    }
}

/// A reader that leaves its mark after its look is lost, and so is one whose writer looks at the marks first.
#[test]
fn a_reader_sees_the_version_or_is_named_to_its_writer() {
    model(3, || {
        let store = Store::new();
        let location = store.locate(0, None);
        let writer = {
            let store = Arc::clone(&store);
            thread::spawn(move || store.land(location, 0, 0, Write::Set(7)))
        };
        let saw = store.read(location, 1);
        let suspects = writer.join().unwrap();
        match saw {
            Saw::Value(7) => {}
            Saw::Value(BASE) => assert!(suspects.contains(&1), "nobody tells the reader"),
            saw => panic!("{saw:?} was never there"),
        }
    });
}

/// Entry 0 writes, changes its write and takes it back; entry 1 adds. Whatever entry 2 sees of that meanwhile is
/// the value after some incarnations of both, and if it is not the last, somebody is told.
#[test]
fn what_a_reader_saw_is_explained_and_if_stale_called_into_question() {
    model(2, || {
        let store = Store::new();
        let location = store.locate(0, None);
        let changing = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                let mut suspects = store.land(location, 0, 0, Write::Set(10));
                store.memory.mark_estimate(EntryIndex(0), location);
                suspects.extend(store.land(location, 0, 1, Write::Set(20)));
                store.memory.mark_estimate(EntryIndex(0), location);
                suspects.extend(store.withdraw(location, 0));
                suspects
            })
        };
        let adding = {
            let store = Arc::clone(&store);
            thread::spawn(move || store.land(location, 1, 0, Write::Add(1)))
        };
        let saw = store.read(location, 2);
        let mut suspects = changing.join().unwrap();
        suspects.extend(adding.join().unwrap());
        match saw {
            Saw::Value(value) => {
                assert!([BASE, BASE + 1, 10, 11, 20, 21].contains(&value), "no prefix explains {value}");
                assert!(value == BASE + 1 || suspects.contains(&2), "nobody tells the reader of {value}");
            }
            Saw::Wait(on) => assert_eq!(on, 0, "a relative write is not worth waiting for"),
        }
        assert_eq!(store.read(location, 2), Saw::Value(BASE + 1));
    });
}

/// A version goes from the chain into the committed value at once: with the lock let go in between, readers see
/// the value without it, or with it twice.
#[test]
fn committing_changes_no_value() {
    model(3, || {
        let store = Store::new();
        let location = store.locate(0, None);
        store.land(location, 0, 0, Write::Add(1));
        store.land(location, 1, 0, Write::Add(10));
        store.land(location, 3, 0, Write::Set(7));
        let frontier = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                store.commit(location, 0);
                store.commit(location, 1);
            })
        };
        assert_eq!(store.read(location, 2), Saw::Value(BASE + 11));
        assert!(store.memory.holds(location, EntryIndex(2), |value| *value == BASE + 11));
        assert_eq!(store.read(location, 4), Saw::Value(7));
        frontier.join().unwrap();
        assert_eq!(store.memory.committed(location), (0, BASE + 11));
        assert_eq!(store.read(location, 2), Saw::Value(BASE + 11));
    });
}

/// A reset announces itself before it lands: else a reader may see the parent after the reset, and its child still
/// from before.
#[test]
fn a_reset_hides_the_child_or_its_reader_is_named() {
    model(3, || {
        let store = Store::new();
        let parent = store.locate(0, None);
        let child = store.locate(1, Some(parent));
        let writer = {
            let store = Arc::clone(&store);
            thread::spawn(move || store.land(parent, 0, 0, Write::Reset(7)))
        };
        let saw = (store.read(parent, 1), store.read(child, 1));
        let suspects = writer.join().unwrap();
        let is_right = saw == (Saw::Value(7), Saw::Value(EMPTY));
        assert!(is_right || suspects.contains(&1), "nobody tells the reader of {saw:?}");
        assert_eq!(store.read(child, 1), Saw::Value(EMPTY));
    });
}

#[test]
fn a_reset_that_is_not_repeated_shows_the_child_or_its_reader_is_named() {
    model(3, || {
        let store = Store::new();
        let parent = store.locate(0, None);
        let child = store.locate(1, Some(parent));
        store.land(parent, 0, 0, Write::Reset(7));
        let writer = {
            let store = Arc::clone(&store);
            thread::spawn(move || store.land(parent, 0, 1, Write::Set(8)))
        };
        let saw = (store.read(parent, 1), store.read(child, 1));
        let suspects = writer.join().unwrap();
        let is_right = saw == (Saw::Value(8), Saw::Value(BASE));
        assert!(is_right || suspects.contains(&1), "nobody tells the reader of {saw:?}");
        assert_eq!(store.read(child, 1), Saw::Value(BASE));
    });
}

/// A child's value below, at and above a reset stays what it is while the frontier passes.
#[test]
fn committing_a_reset_changes_no_value() {
    model(3, || {
        let store = Store::new();
        let parent = store.locate(0, None);
        let [untouched, written] = [1, 2].map(|key| store.locate(key, Some(parent)));
        store.land(written, 0, 0, Write::Set(4));
        store.land(parent, 1, 0, Write::Reset(7));
        store.land(written, 2, 0, Write::Add(5));
        let frontier = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                store.commit(written, 0);
                store.commit(parent, 1);
                store.commit(written, 2);
            })
        };
        assert_eq!(store.read(untouched, 3), Saw::Value(EMPTY));
        assert_eq!(store.read(written, 3), Saw::Value(EMPTY + 5));
        assert!(store.memory.holds(written, EntryIndex(3), |value| *value == EMPTY + 5));
        frontier.join().unwrap();
        assert_eq!(store.memory.committed(untouched), (1, EMPTY));
        assert_eq!(store.memory.committed(written), (2, EMPTY + 5));
    });
}

/// A scan leaves its mark before it looks: else a key that appears in between is missed by both.
#[test]
fn a_scan_shows_the_key_or_is_named_to_its_writer() {
    model(3, || {
        let store = Store::new();
        let writer = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                let location = store.locate(3, None);
                store.land(location, 0, 0, Write::Set(7))
            })
        };
        // As a view scans.
        store.memory.add_range_reader(0..5, EntryIndex(1), 0);
        let seen = store.memory.scan(&store.vm, &(0..5), EntryIndex(1));
        let seen = seen.unwrap_or_else(|interrupt| panic!("{interrupt:?}"));
        let suspects = writer.join().unwrap();
        match seen.as_slice() {
            [(3, 7)] => {}
            [] => assert!(suspects.contains(&1), "nobody tells the reader"),
            seen => panic!("{seen:?} was never there"),
        }
    });
}
