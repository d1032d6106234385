use crate::scheduler::{
    EntryIndex, Interrupt, LocationId,
    vm::{Change, View, Vm},
};
use std::{
    convert::Infallible,
    ops::Range,
    sync::{Arc, Mutex},
};

/// A machine of a few numbers, all [`BASE`] at first.
#[derive(Debug)]
pub(super) struct Programs {
    /// One segment of entries.
    pub(super) entries: Vec<Op>,
    /// Outputs in order, and changes by key, once the segment is sealed.
    pub(super) sealed: Mutex<Option<Sealed>>,
}

pub(super) type Key = u8;
pub(super) type Sealed = (Vec<u64>, Vec<(Key, u64, u64)>);

/// What every location holds before the stream.
pub(super) const BASE: u64 = 100;
/// What a child holds after its parent's reset.
pub(super) const EMPTY: u64 = 0;

/// What an entry does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// Sets one location to one more than another holds.
    Next { of: Key, to: Key },
    /// Adds without looking.
    Add { to: Key, amount: u64 },
    /// Sets one location or another, by whether a third still holds [`BASE`].
    Fork { by: Key, same: Key, changed: Key },
}

/// What an entry does to a location.
#[derive(Debug, Clone, Copy)]
pub(super) enum Write {
    Set(u64),
    Add(u64),
    /// Sets, and empties the children.
    Reset(u64),
}

impl Programs {
    pub(super) fn new(entries: &[Op]) -> Arc<Self> {
        Arc::new(Self { entries: entries.to_vec(), sealed: Mutex::default() })
    }
}

/// What a segment gave so far, and what it changed: keys with values before.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    outputs: Vec<u64>,
    changes: Vec<(Key, u64, LocationId)>,
}

impl Vm for Programs {
    type Key = Key;
    type Range = Range<Key>;
    type Value = u64;
    type Write = Write;
    /// The value itself.
    type Observation = u64;
    /// What was read, if anything was.
    type Output = u64;
    type ReadError = Infallible;
    type Refusal = Infallible;
    type Ledger = Ledger;
    type Plan = Infallible;
    type Local<W: View<Self>> = W;

    fn base_value(&self, _key: &Key, _parent: Option<&Key>) -> Result<u64, Interrupt<Self>> {
        Ok(BASE)
    }

    fn base_range(&self, _range: &Range<Key>) -> Result<Vec<Key>, Infallible> {
        Ok(Vec::new())
    }

    fn in_range(range: &Range<Key>, key: &Key) -> bool {
        range.contains(key)
    }

    fn is_visible(value: &u64) -> bool {
        *value != BASE
    }

    fn apply(value: &mut u64, write: &Write) {
        match write {
            Write::Set(new) | Write::Reset(new) => *value = *new,
            Write::Add(amount) => *value += amount,
        }
    }

    fn is_absolute(write: &Write) -> bool {
        !matches!(write, Write::Add(_))
    }

    fn resets_children(write: &Write) -> bool {
        matches!(write, Write::Reset(_))
    }

    fn value_after_reset(_key: &Key) -> u64 {
        EMPTY
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

    fn execute<W: View<Self>>(&self, view: &mut W, entry: EntryIndex) -> Result<u64, Interrupt<Self>> {
        let (seen, to, write) = match self.entries[entry.0 as usize] {
            Op::Next { of, to } => {
                let seen = look(view, of)?;
                (seen, to, Write::Set(seen + 1))
            }
            Op::Add { to, amount } => (0, to, Write::Add(amount)),
            Op::Fork { by, same, changed } => {
                let seen = look(view, by)?;
                (seen, if seen == BASE { same } else { changed }, Write::Set(1))
            }
        };
        let to = view.locate(to, None)?;
        view.write(to, write);
        Ok(seen)
    }

    fn ledger(&self) -> Ledger {
        Ledger::default()
    }

    fn admit(&self, _ledger: &Ledger, _entry: EntryIndex) -> Result<(), Infallible> {
        Ok(())
    }

    fn commit(&self, ledger: &mut Ledger, entry: EntryIndex, output: u64) -> Result<(), Infallible> {
        assert_eq!(ledger.outputs.len(), entry.0 as usize, "entries commit in order, each once");
        ledger.outputs.push(output);
        Ok(())
    }

    fn refuse_read(&self, _entry: EntryIndex, error: Infallible) -> Infallible {
        error
    }

    fn segment_of(&self, _entry: EntryIndex) -> u32 {
        0
    }

    fn entries_of(&self, _segment: u32) -> (EntryIndex, EntryIndex) {
        (EntryIndex(0), EntryIndex(self.entries.len() as u32))
    }

    fn transaction_count(&self, _entry: EntryIndex) -> u32 {
        1
    }

    fn transactions_through(&self, entry: EntryIndex) -> u32 {
        entry.0 + 1
    }

    fn note_change(&self, ledger: &mut Ledger, change: Change<'_, Self>) -> u32 {
        ledger.changes.push((*change.key, *change.before, change.location));
        0
    }

    fn note_again(&self, _ledger: &mut Ledger, _number: u32, _after: &u64, _resets_children: bool) {}

    fn seal(&self, ledger: &mut Ledger, _segment: u32, lookup: &dyn Fn(LocationId) -> (Key, u64)) {
        let Ledger { outputs, changes } = std::mem::take(ledger);
        let changes = changes.into_iter().map(|(key, before, location)| (key, before, lookup(location).1));
        let mut changes: Vec<_> = changes.collect();
        changes.sort_unstable();
        let before = self.sealed.lock().unwrap().replace((outputs, changes));
        assert_eq!(before, None, "the segment is sealed once");
    }
}

fn look<W: View<Programs>>(view: &mut W, key: Key) -> Result<u64, Interrupt<Programs>> {
    let (read, value) = view.read(key, None)?;
    view.observe(read, value);
    Ok(value)
}
