//! A tiny machine of its own: programs over keys with scans, relative writes and resets.

use crate::late::Late;
use citius_engine::scheduler::{Change, EntryIndex, Interrupt, LocationId, Plan, View, Vm};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A location: a plain key, a group, or a child of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    Plain(u8),
    Group(u8),
    Child(u8, u8),
}

/// What an entry does to a location.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    Set(Option<i64>),
    /// Relative: adds to what stands there; nothing counts as zero.
    Add(i64),
    /// Of a group: sets its value and empties its children.
    Reset(i64),
}

/// What an entry learnt of a value.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Exactly(Option<i64>),
    AtLeast(i64),
    Below(i64),
}

/// One instruction. Every one mixes what it learns into an accumulator that is the entry's output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    Read(Key),
    Write(Key),
    Delete(Key),
    Add(Key, i64),
    /// Takes the amount if it is there.
    Spend(Key, i64),
    Scan(Range<u8>),
    Reset(u8),
    /// Refuses the stream here if the accumulator is divisible.
    RefuseIfDivisible(i64),
}

/// A stream of programs: segments of entries over a base state.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) base: BTreeMap<Key, i64>,
    pub(crate) entries: Vec<Vec<Op>>,
    /// Reads whose answers come later, if any do.
    pub(crate) late: Option<Arc<Late>>,
    /// First entries of the segments, and the end.
    pub(crate) bounds: Vec<u32>,
    pub(crate) sealed: Mutex<Vec<Sealed>>,
}

fn dice(entry: EntryIndex) -> u32 {
    entry.0.wrapping_mul(2_654_435_761) >> 7
}

/// A sealed segment: outputs in order, and what changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sealed {
    pub(crate) outputs: Vec<i64>,
    pub(crate) changes: Vec<(Key, Option<i64>, Option<i64>)>,
}

pub(crate) struct Local<W> {
    view: W,
}

/// What a segment gave and changed so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    outputs: Vec<i64>,
    changes: Vec<(LocationId, Key, Option<i64>, Option<i64>)>,
}

impl Vm for Programs {
    type Key = Key;
    type Range = Range<u8>;
    type Value = Option<i64>;
    type Write = Write;
    type Observation = Seen;
    type Output = Result<i64, i64>;
    type ReadError = String;
    type Refusal = String;
    type Ledger = Ledger;
    type Plan = Planned;
    type Local<W: View<Self>> = Local<W>;

    fn base_value(&self, key: &Key, _parent: Option<&Key>) -> Result<Option<i64>, Interrupt<Self>> {
        if let Some(late) = &self.late {
            late.ask(*key).map_err(Interrupt::Pending)?;
        }
        // One key that cannot be read, to see that only those fail who need it in order.
        if *key == Key::Plain(u8::MAX) {
            return Err(Interrupt::Read("unreadable".into()));
        }
        Ok(self.base.get(key).copied())
    }

    fn may_wait(&self) -> bool {
        self.late.is_some()
    }

    fn progress(&self, wait: Option<Duration>) -> bool {
        self.late.as_ref().is_some_and(|late| late.progress(wait))
    }

    fn base_range(&self, range: &Range<u8>) -> Result<Vec<Key>, String> {
        Ok(range.clone().map(Key::Plain).filter(|key| self.base.contains_key(key)).collect())
    }

    fn in_range(range: &Range<u8>, key: &Key) -> bool {
        matches!(key, Key::Plain(key) if range.contains(key))
    }

    fn is_visible(value: &Option<i64>) -> bool {
        value.is_some()
    }

    fn apply(value: &mut Option<i64>, write: &Write) {
        *value = match write {
            Write::Set(new) => *new,
            Write::Add(amount) => Some(value.unwrap_or(0).wrapping_add(*amount)),
            Write::Reset(new) => Some(*new),
        };
    }

    fn is_absolute(write: &Write) -> bool {
        !matches!(write, Write::Add(_))
    }

    fn resets_children(write: &Write) -> bool {
        matches!(write, Write::Reset(_))
    }

    fn value_after_reset(_key: &Key) -> Option<i64> {
        None
    }

    fn is_worth_waiting_for(write: &Write) -> bool {
        Self::is_absolute(write)
    }

    fn holds(seen: &Seen, value: &Option<i64>) -> bool {
        match seen {
            Seen::Exactly(then) => then == value,
            Seen::AtLeast(amount) => value.unwrap_or(0) >= *amount,
            Seen::Below(amount) => value.unwrap_or(0) < *amount,
        }
    }

    fn local<W: View<Self>>(&self, view: W) -> Local<W> {
        Local { view }
    }

    fn rebind<W: View<Self>>(self: &Arc<Self>, _local: &mut Local<W>) {}

    fn unbind<W: View<Self>>(_local: &mut Local<W>) {}

    fn view<W: View<Self>>(local: &mut Local<W>) -> &mut W {
        &mut local.view
    }

    fn execute<W: View<Self>>(
        &self,
        local: &mut Local<W>,
        entry: EntryIndex,
    ) -> Result<Result<i64, i64>, Interrupt<Self>> {
        let mut execution = Execution { view: &mut local.view, own: HashMap::new(), acc: i64::from(entry.0) };
        for op in &self.entries[entry.0 as usize] {
            if let Some(refused) = execution.step(op)? {
                return Ok(Err(refused));
            }
        }
        let acc = execution.acc;
        execution.finish();
        Ok(Ok(acc))
    }

    fn plan<W: View<Self>>(&self, _local: &mut Local<W>, entry: EntryIndex) -> Option<Planned> {
        let ops = &self.entries[entry.0 as usize];
        ops.iter().all(Planned::knows).then(|| Planned { entry, ops: ops.clone() })
    }

    fn ledger(&self) -> Ledger {
        Ledger::default()
    }

    fn admit(&self, _ledger: &Ledger, _entry: EntryIndex) -> Result<(), String> {
        Ok(())
    }

    fn commit(&self, ledger: &mut Ledger, entry: EntryIndex, output: Result<i64, i64>) -> Result<(), String> {
        ledger.outputs.push(output.map_err(|acc| format!("{entry} refused at {acc}"))?);
        Ok(())
    }

    fn refuse_read(&self, entry: EntryIndex, error: String) -> String {
        format!("{entry}: {error}")
    }

    fn segment_of(&self, entry: EntryIndex) -> u32 {
        self.bounds.partition_point(|first| *first <= entry.0) as u32 - 1
    }

    fn entries_of(&self, segment: u32) -> (EntryIndex, EntryIndex) {
        let segment = segment as usize;
        (EntryIndex(self.bounds[segment]), EntryIndex(self.bounds[segment + 1]))
    }

    /// Hints that have nothing to do with what the entries do: they must not matter.
    fn follows(&self, entry: EntryIndex) -> Option<EntryIndex> {
        let dice = dice(entry);
        (entry.0 > 0 && dice.is_multiple_of(4)).then(|| EntryIndex(dice % entry.0))
    }

    fn early_entries_of(&self, segment: u32) -> Vec<(EntryIndex, EntryIndex)> {
        let (first, end) = self.entries_of(segment);
        let some = (first.0..end.0).rev().map(EntryIndex).filter(|entry| dice(*entry).is_multiple_of(5));
        // At any turn, that of an earlier segment or one behind the entry's own included.
        some.map(|entry| (EntryIndex(dice(entry) % (end.0 + 1)), entry)).collect()
    }

    fn transaction_count(&self, _entry: EntryIndex) -> u32 {
        1
    }

    fn transactions_through(&self, entry: EntryIndex) -> u32 {
        entry.0 + 1
    }

    fn note_change(&self, ledger: &mut Ledger, change: Change<'_, Self>) -> u32 {
        assert_eq!(change.parent.is_some(), matches!(change.key, Key::Child(..)));
        ledger.changes.push((change.location, *change.key, *change.before, *change.after));
        ledger.changes.len() as u32 - 1
    }

    fn note_again(&self, ledger: &mut Ledger, number: u32, after: &Option<i64>, _resets_children: bool) {
        ledger.changes[number as usize].3 = *after;
    }

    fn add_notes(&self, ledger: &mut Ledger, notes: Ledger) {
        assert!(notes.outputs.is_empty());
        ledger.changes.extend(notes.changes);
    }

    fn seal(&self, ledger: &mut Ledger, _segment: u32, lookup: &dyn Fn(LocationId) -> (Key, Option<i64>)) {
        let Ledger { outputs, changes } = std::mem::take(ledger);
        let settled = |(location, key, before, after)| {
            let (_, now) = lookup(location);
            // Only a reset of the parent is not noted.
            assert!(now == after || (now.is_none() && matches!(key, Key::Child(..))), "{key:?}");
            (key, before, now)
        };
        let changes = changes.into_iter().map(settled);
        let mut changes: Vec<_> = changes.filter(|(_, before, after)| before != after).collect();
        changes.sort();
        self.sealed.lock().unwrap().push(Sealed { outputs, changes });
    }
}

/// A program that only adds and spends, and is expected to have what it spends.
#[derive(Debug)]
pub(crate) struct Planned {
    entry: EntryIndex,
    ops: Vec<Op>,
}

/// Values from which on a location is not for plans.
const UNSUITED_MIN: i64 = 45;

impl Planned {
    fn knows(op: &Op) -> bool {
        matches!(op, Op::Add(Key::Plain(_) | Key::Group(_), _) | Op::Spend(Key::Plain(_) | Key::Group(_), _))
    }
}

impl Plan<Programs> for Planned {
    fn parts(&self) -> u32 {
        self.ops.len() as u32
    }

    fn key(&self, part: u32) -> Key {
        match self.ops[part as usize] {
            Op::Add(key, _) | Op::Spend(key, _) => key,
            _ => unreachable!("a plan has no others"),
        }
    }

    fn suits(&self, _part: u32, value: &Option<i64>) -> bool {
        value.is_none_or(|value| value < UNSUITED_MIN)
    }

    fn act(&self, part: u32, value: &mut Option<i64>) -> bool {
        let now = value.unwrap_or(0);
        match self.ops[part as usize] {
            Op::Add(_, amount) => *value = Some(now.wrapping_add(amount)),
            Op::Spend(_, amount) if now >= amount => *value = Some(now - amount),
            _ => return false,
        }
        true
    }

    fn output(&self) -> Result<i64, i64> {
        let spends = self.ops.iter().filter(|op| matches!(op, Op::Spend(..)));
        Ok(spends.fold(i64::from(self.entry.0), |acc, _| acc.wrapping_mul(31).wrapping_add(1)))
    }
}

/// One run of a program: its own writes lie over the view until the end.
struct Execution<'v, W> {
    view: &'v mut W,
    own: HashMap<Key, (LocationId, Write)>,
    acc: i64,
}

impl<W: View<Programs>> Execution<'_, W> {
    fn mix(&mut self, value: i64) {
        self.acc = self.acc.wrapping_mul(31).wrapping_add(value);
    }

    fn parent(&mut self, key: Key) -> Result<Option<LocationId>, Interrupt<Programs>> {
        let Key::Child(group, _) = key else { return Ok(None) };
        // A child is read by those who read its parent.
        let (read, value) = self.view.read(Key::Group(group), None)?;
        self.view.observe(read, Seen::Exactly(value));
        Ok(Some(self.view.location(read)))
    }

    fn is_reset(&self, key: Key) -> bool {
        let Key::Child(group, _) = key else { return false };
        matches!(self.own.get(&Key::Group(group)), Some((_, Write::Reset(_))))
    }

    /// The value with the entry's own writes, exactly observed where it shows through.
    fn read(&mut self, key: Key) -> Result<Option<i64>, Interrupt<Programs>> {
        match self.own.get(&key) {
            Some((_, Write::Set(value))) => return Ok(*value),
            Some((_, Write::Reset(value))) => return Ok(Some(*value)),
            _ if self.is_reset(key) => return Ok(None),
            _ => {}
        }
        let parent = self.parent(key)?;
        let (read, mut value) = self.view.read(key, parent)?;
        self.view.observe(read, Seen::Exactly(value));
        if let Some((_, write)) = self.own.get(&key) {
            Programs::apply(&mut value, write);
        }
        Ok(value)
    }

    fn write(&mut self, key: Key, write: Write) -> Result<(), Interrupt<Programs>> {
        let parent = self.parent(key)?;
        let location = self.view.locate(key, parent)?;
        let write = match (self.own.get(&key), write) {
            (Some((_, Write::Add(before))), Write::Add(more)) => Write::Add(before.wrapping_add(more)),
            (Some((_, Write::Set(before))), Write::Add(more)) => {
                Write::Set(Some(before.unwrap_or(0).wrapping_add(more)))
            }
            (Some((_, Write::Reset(before))), Write::Add(more)) => Write::Reset(before.wrapping_add(more)),
            (Some((_, Write::Reset(_))), Write::Set(value)) => Write::Reset(value.unwrap_or(0)),
            (_, write) => write,
        };
        self.own.insert(key, (location, write));
        Ok(())
    }

    fn step(&mut self, op: &Op) -> Result<Option<i64>, Interrupt<Programs>> {
        match op {
            Op::Read(key) => {
                let value = self.read(*key)?;
                self.mix(value.unwrap_or(-1));
            }
            Op::Write(key) => self.write(*key, Write::Set(Some(self.acc)))?,
            Op::Delete(key) => self.write(*key, Write::Set(None))?,
            Op::Add(key, amount) => self.write(*key, Write::Add(*amount))?,
            Op::Spend(key, amount) => self.spend(*key, *amount)?,
            Op::Scan(range) => {
                // A scan shows the state before the entry: a program scans before it writes.
                let mut seen = self.view.scan(range.clone())?;
                seen.sort_unstable();
                for (key, value) in seen {
                    let Key::Plain(key) = key else { continue };
                    self.mix(i64::from(key));
                    self.mix(value.unwrap_or(0));
                }
            }
            Op::Reset(group) => {
                self.own.retain(|key, _| !matches!(key, Key::Child(of, _) if of == group));
                self.write(Key::Group(*group), Write::Set(None))?;
                let location = self.own[&Key::Group(*group)].0;
                self.own.insert(Key::Group(*group), (location, Write::Reset(self.acc)));
            }
            Op::RefuseIfDivisible(by) => {
                if self.acc % by == 0 {
                    return Ok(Some(self.acc));
                }
            }
        }
        Ok(None)
    }

    fn spend(&mut self, key: Key, amount: i64) -> Result<(), Interrupt<Programs>> {
        if self.own.contains_key(&key) {
            let value = self.read(key)?.unwrap_or(0);
            if value >= amount {
                self.write(key, Write::Add(-amount))?;
            }
            self.mix(i64::from(value >= amount));
            return Ok(());
        }
        let parent = self.parent(key)?;
        let (read, value) = self.view.read(key, parent)?;
        let is_enough = value.unwrap_or(0) >= amount;
        self.view.observe(read, if is_enough { Seen::AtLeast(amount) } else { Seen::Below(amount) });
        self.mix(i64::from(is_enough));
        if is_enough {
            self.write(key, Write::Add(-amount))?;
        }
        Ok(())
    }

    fn finish(self) {
        // Groups before their children: a reset must be in place when the children written after it arrive.
        let mut writes: Vec<_> = self.own.into_iter().collect();
        writes.sort_by_key(|(key, _)| *key);
        for (_, (location, write)) in writes {
            self.view.write(location, write);
        }
    }
}
