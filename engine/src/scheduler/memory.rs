use super::{
    append_vec::Share,
    cell::{Cell, Fold},
    ids::{EntryIndex, Incarnation, LocationId},
    locations::{Location, LocationTable},
    marks::Touched,
    serial,
    vm::{Change, Interrupt, Scanned, Vm},
};
use crate::{cancel::StopSign, parking::settled, sync::Mutex};
use citius_state::Ticket;
use crossbeam::utils::CachePadded;
use smallvec::SmallVec;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

/// The multi-version memory of one stream: every location with its committed value and the versions that run
/// ahead of it ([Block-STM, section 3](https://arxiv.org/abs/2203.06871), with folded relative writes).
pub(crate) struct Memory<V: Vm> {
    pub(crate) table: LocationTable<V>,
    stop_sign: Arc<StopSign>,
    /// Whether any write reset children: if none did, nobody need look at parents.
    has_resets: AtomicBool,
    /// Who scanned what. Empty for machines that do not scan.
    range_readers: Mutex<Vec<(V::Range, u32)>>,
    range_reader_count: AtomicUsize,
    /// Apart from what everybody reads all the time.
    used_bytes: CachePadded<AtomicUsize>,
    /// Locations that were accounted for.
    location_count: AtomicUsize,
    limit_bytes: AtomicUsize,
    /// Reads that a thread waited for in its place, and that were not counted yet.
    pub(crate) waited: AtomicU64,
}

/// What the writes of an execution that land change for others.
#[derive(Debug, Default)]
pub(crate) struct Landed {
    /// Where something is new.
    pub(crate) touched: Touched,
    /// Later entries that scanned where something is new.
    pub(crate) suspects: SmallVec<[u32; 8]>,
    /// Reads that were begun, for the commit, and are on their way.
    pub(crate) begun: SmallVec<[Ticket; 2]>,
}

/// What one thread has reserved for itself of a memory.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    pub(crate) locations: Share,
    pub(crate) cells: Share,
}

/// One read of an execution, with what was learnt of it.
#[derive(Debug)]
pub(crate) struct Read<V: Vm> {
    pub(crate) location: LocationId,
    pub(crate) observation: Option<V::Observation>,
}

/// One scan of an execution, with all it showed.
#[derive(Debug)]
pub(crate) struct Scan<V: Vm> {
    pub(crate) range: V::Range,
    pub(crate) seen: Scanned<V>,
}

impl<V: Vm> Memory<V> {
    /// An empty memory in the table of an earlier one, if there is any.
    pub(crate) fn new(
        spare: Option<LocationTable<V>>,
        expected_locations: usize,
        stop_sign: Arc<StopSign>,
    ) -> Self {
        let table = match spare {
            Some(mut table) => {
                table.clear(expected_locations);
                table
            }
            None => LocationTable::new(expected_locations),
        };
        Self {
            table,
            stop_sign,
            has_resets: AtomicBool::new(false),
            range_readers: Mutex::new(Vec::new()),
            range_reader_count: AtomicUsize::new(0),
            used_bytes: CachePadded::new(AtomicUsize::new(0)),
            location_count: AtomicUsize::new(0),
            limit_bytes: AtomicUsize::new(0),
            waited: AtomicU64::new(0),
        }
    }

    /// Adds to the budget of the stream.
    pub(crate) fn add_budget(&self, bytes: usize) {
        let add = |limit: usize| Some(limit.saturating_add(bytes));
        let _ = self.limit_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Accounts for memory about to be used.
    ///
    /// # Errors
    ///
    /// [`Interrupt::MemoryLimit`] once more is used than all budgets together allow.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), Interrupt<V>> {
        // Relaxed: a counter that publishes nothing.
        let used = self.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.limit_bytes.load(Ordering::Relaxed) { Err(Interrupt::MemoryLimit) } else { Ok(()) }
    }

    /// Memory that was accounted for is free again.
    pub(crate) fn release(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// As [`Memory::charge`], for this many locations that were made.
    pub(crate) fn charge_locations(&self, count: usize) -> Result<(), Interrupt<V>> {
        if count == 0 {
            return Ok(());
        }
        self.location_count.fetch_add(count, Ordering::Relaxed);
        self.charge(count * (size_of::<Location<V>>() + size_of::<Cell<V>>()))
    }

    /// Locations that were accounted for so far.
    pub(crate) fn location_count(&self) -> usize {
        self.location_count.load(Ordering::Relaxed)
    }

    /// The value that `entry` sees at a location, unless that is on its way.
    pub(crate) fn read(&self, vm: &V, id: LocationId, entry: EntryIndex) -> Result<V::Value, Interrupt<V>> {
        let location = self.table.get(id);
        // First whether it was written, then who reset it: whoever resets says so before it writes.
        let cell = self.table.cell(location);
        let floor = self.reset_floor(location, entry.0);
        let Some(cell) = cell else {
            return if floor == 0 {
                self.base(vm, location).cloned()
            } else {
                Ok(V::value_after_reset(&location.key))
            };
        };
        loop {
            let cell = cell.lock();
            if let Some(start) = cell.start(location, floor) {
                return into_result(cell.fold(&start, floor, entry.0));
            }
            drop(cell);
            self.base(vm, location)?;
        }
    }

    /// Asks for the value that a write of `entry` goes on from, unless it was asked for or does not count.
    pub(crate) fn ensure_start(&self, vm: &V, id: LocationId, entry: EntryIndex) -> Result<(), Interrupt<V>> {
        let location = self.table.get(id);
        if location.base.get().is_none() && self.reset_floor(location, entry.0 + 1) == 0 {
            self.ask(vm, location)?;
        }
        Ok(())
    }

    /// Whether `holds` is true of the value that `entry` sees at a location.
    pub(crate) fn holds(&self, id: LocationId, entry: EntryIndex, holds: impl Fn(&V::Value) -> bool) -> bool {
        let location = self.table.get(id);
        let cell = self.table.cell(location);
        let floor = self.reset_floor(location, entry.0);
        let Some(cell) = cell else {
            return if floor == 0 {
                location.base.get().is_some_and(holds)
            } else {
                holds(&V::value_after_reset(&location.key))
            };
        };
        let cell = cell.lock();
        match cell.start(location, floor) {
            Some(start) => cell.holds(&start, floor, entry.0, holds),
            None => false,
        }
    }

    /// All visible locations of a range as `entry` sees them.
    pub(crate) fn scan(
        &self,
        vm: &V,
        range: &V::Range,
        entry: EntryIndex,
    ) -> Result<Scanned<V>, Interrupt<V>> {
        let mut share = Share::default();
        for key in vm.base_range(range).map_err(Interrupt::Read)? {
            let (_, is_new) = self.table.intern(&key, None, &mut share);
            self.charge_locations(usize::from(is_new))?;
        }
        let mut found: Vec<_> =
            self.table.iter().filter(|(_, location)| V::in_range(range, &location.key)).collect();
        // So that two scans of the same locations compare equal.
        found.sort_unstable_by_key(|(id, _)| *id);
        let mut seen = Vec::with_capacity(found.len());
        for (id, location) in found {
            let value = self.read(vm, id, entry)?;
            if V::is_visible(&value) {
                seen.push((location.key.clone(), value));
            }
        }
        Ok(seen)
    }

    /// Remembers a scan, so that whoever writes into its range finds the reader.
    /// Entries below `frontier` are forgotten: they are committed.
    pub(crate) fn add_range_reader(&self, range: V::Range, entry: EntryIndex, frontier: u32) {
        let mut readers = self.range_readers.lock();
        if readers.len() == readers.capacity() {
            readers.retain(|(_, reader)| *reader >= frontier);
        }
        readers.push((range, entry.0));
        self.range_reader_count.store(readers.len(), Ordering::SeqCst);
    }

    /// Puts an execution's writes in place. `reads_max` is how many reads may be begun for them.
    pub(crate) fn land(
        &self,
        vm: &V,
        (entry, incarnation): (EntryIndex, Incarnation),
        writes: impl Iterator<Item = (LocationId, V::Write)>,
        reads_max: usize,
        shares: &mut Shares,
        landed: &mut Landed,
    ) {
        for (id, write) in writes {
            let location = self.table.get(id);
            if V::resets_children(&write) {
                // Before the version is there: a child's reader that sees no pending reset ran before this
                // landing, and has marked this location too.
                location.resets_pending.fetch_add(1, Ordering::SeqCst);
                self.has_resets.store(true, Ordering::SeqCst);
            }
            // The base is needed at commit at the latest; here it is read in parallel, but not waited for. An error, or a
            // panic, shows there. The entry's own reset counts too.
            if landed.begun.len() < reads_max {
                let start = catch_unwind(AssertUnwindSafe(|| self.ensure_start(vm, id, entry)));
                if let Ok(Err(Interrupt::Pending(ticket))) = start {
                    landed.begun.push(ticket);
                }
            }
            let mut cell = self.table.cell_for_write(location, &mut shares.cells).lock();
            let old = cell.land(entry.0, incarnation, write);
            drop(cell);
            if old.is_some_and(|old| V::resets_children(&old)) {
                location.resets_pending.fetch_sub(1, Ordering::SeqCst);
            }
            landed.touched.add(id);
            self.suspect_scans(&location.key, entry, landed);
        }
    }

    /// Takes back the writes of an older incarnation that the new one did not repeat.
    pub(crate) fn withdraw(&self, entry: EntryIndex, id: LocationId, landed: &mut Landed) {
        let location = self.table.get(id);
        let removed = self.table.cell(location).and_then(|cell| cell.lock().remove(entry.0));
        if let Some(write) = removed {
            if V::resets_children(&write) {
                location.resets_pending.fetch_sub(1, Ordering::SeqCst);
            }
            landed.touched.add(id);
            self.suspect_scans(&location.key, entry, landed);
        }
    }

    /// Marks an entry's version as a guess.
    pub(crate) fn mark_estimate(&self, entry: EntryIndex, id: LocationId) {
        if let Some(cell) = self.table.cell(self.table.get(id)) {
            cell.lock().mark_estimate(entry.0);
        }
    }

    /// Folds an entry's version into the committed value. Called in entry order, once an entry and location.
    ///
    /// The change is noted in the ledger.
    pub(crate) fn commit(
        &self,
        vm: &V,
        entry: EntryIndex,
        segment: u32,
        id: LocationId,
        ledger: &mut V::Ledger,
    ) -> Result<(), Interrupt<V>> {
        self.fold_in(vm, entry, segment, id, None, ledger)
    }

    /// Applies to the committed value what an entry wrote without a version. Called as, and after,
    /// [`Memory::commit`].
    pub(crate) fn commit_late(
        &self,
        vm: &V,
        entry: EntryIndex,
        segment: u32,
        (id, write): (LocationId, V::Write),
        ledger: &mut V::Ledger,
    ) -> Result<(), Interrupt<V>> {
        self.fold_in(vm, entry, segment, id, Some(write), ledger)
    }

    /// Applies a write to the committed value: the given one, else the entry's version.
    fn fold_in(
        &self,
        vm: &V,
        entry: EntryIndex,
        segment: u32,
        id: LocationId,
        late: Option<V::Write>,
        ledger: &mut V::Ledger,
    ) -> Result<(), Interrupt<V>> {
        let location = self.table.get(id);
        let floor = self.committed_floor(location);
        // Only this thread commits, so nobody else gives the cell its first committed value. It has nothing else to do
        // meanwhile that may be done before.
        if floor == 0 {
            let should_stop = || self.stop_sign.should_stop();
            settled(vm, &self.waited, should_stop, || self.base(vm, location).map(|_| ()))?;
        }
        let mut cell = self.table.cell_for_write(location, &mut Share::default()).lock();
        let write = match late {
            Some(write) => write,
            None => cell.remove(entry.0).unwrap_or_else(|| {
                panic!("entry {entry} commits a write to {:?} that is not there", location.key)
            }),
        };
        let Some(before) = cell.take_start(location, floor) else {
            unreachable!("the base value was just loaded")
        };
        let mut after = before.clone();
        V::apply(&mut after, &write);
        let resets_children = V::resets_children(&write);
        if cell.logged_in == segment + 1 {
            vm.note_again(ledger, cell.logged_at, &after, resets_children);
        } else {
            let Location { key, parent, .. } = location;
            let change = Change {
                location: id,
                key,
                parent: *parent,
                before: &before,
                after: &after,
                resets_children,
            };
            (cell.logged_in, cell.logged_at) = (segment + 1, vm.note_change(ledger, change));
        }
        cell.committed = Some(after);
        cell.committed_by = entry.0 + 1;
        if resets_children {
            // Release order: who sees no pending reset any more sees this one committed.
            location.reset_committed.store(entry.0 + 1, Ordering::SeqCst);
            location.resets_pending.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Key and committed value of a location that was read or written.
    pub(crate) fn committed(&self, id: LocationId) -> (V::Key, V::Value) {
        let location = self.table.get(id);
        let floor = self.committed_floor(location);
        let committed = |cell: &Mutex<Cell<V>>| {
            let cell = cell.lock();
            cell.committed.as_ref().filter(|_| cell.committed_by >= floor).cloned()
        };
        let value = self.table.cell(location).and_then(committed);
        let value = value.or_else(|| location.base.get().filter(|_| floor == 0).cloned());
        (location.key.clone(), value.unwrap_or_else(|| V::value_after_reset(&location.key)))
    }

    /// Every location as it is committed, by id, for a run that goes on with nothing ahead of the frontier; and which of
    /// them are in use.
    pub(super) fn hand_over(&self) -> (Vec<serial::Location<V>>, Vec<LocationId>) {
        self.hand_over_first(self.table.len())
    }

    /// As [`Memory::hand_over`], of this many ids. Whoever has not noticed yet goes on making locations, of which none is
    /// committed: one is left out if its id, or its parent, is beyond.
    fn hand_over_first(&self, count: u32) -> (Vec<serial::Location<V>>, Vec<LocationId>) {
        let mut published: Vec<_> = self.table.iter().filter(|(id, _)| id.0 < count).collect();
        let Some((_, some)) = published.first() else { return (Vec::new(), Vec::new()) };
        // Of places that nobody uses.
        let nothing = || serial::Location::new(some.key.clone(), None);
        let mut locations: Vec<_> = std::iter::repeat_with(nothing).take(count as usize).collect();
        let mut is_kept = vec![false; count as usize];
        let mut ids = Vec::with_capacity(published.len());
        let mut left = usize::MAX;
        // Parents before their children.
        while published.len() < left {
            left = published.len();
            published.retain(|(id, location)| {
                let parent = location.parent.map(|parent| is_kept.get(parent.0 as usize));
                let is_next = parent.is_none_or(|is_kept| is_kept == Some(&true));
                if is_next {
                    is_kept[id.0 as usize] = true;
                    ids.push(*id);
                }
                !is_next
            });
        }
        for id in &ids {
            let location = self.table.get(*id);
            let to = &mut locations[id.0 as usize];
            to.key = location.key.clone();
            to.parent = location.parent;
            to.value = location.base.get().cloned();
            to.reset_by = location.reset_committed.load(Ordering::SeqCst);
            if let Some(cell) = self.table.cell(location) {
                let cell = cell.lock();
                if let Some(committed) = &cell.committed {
                    to.value = Some(committed.clone());
                    to.written_by = cell.committed_by;
                }
                (to.logged_in, to.logged_at) = (cell.logged_in, cell.logged_at);
            }
        }
        (locations, ids)
    }

    /// Counts locations that were made elsewhere.
    pub(super) fn count_locations(&self, count: usize) {
        self.location_count.fetch_add(count, Ordering::Relaxed);
    }

    /// The budget of the stream so far.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// One past the latest entry below `entry` that reset the location's parent; 0 if none did.
    fn reset_floor(&self, location: &Location<V>, entry: u32) -> u32 {
        let Some(parent) = self.parent_that_may_reset(location) else { return 0 };
        if parent.resets_pending.load(Ordering::SeqCst) > 0
            && let Some(cell) = self.table.cell(parent)
            && let Some(reset) = cell.lock().latest_below(entry, V::resets_children)
        {
            return reset + 1;
        }
        parent.reset_committed.load(Ordering::SeqCst)
    }

    fn committed_floor(&self, location: &Location<V>) -> u32 {
        let parent = self.parent_that_may_reset(location);
        parent.map_or(0, |parent| parent.reset_committed.load(Ordering::SeqCst))
    }

    /// The location's parent, if anybody reset anything.
    #[inline]
    fn parent_that_may_reset(&self, location: &Location<V>) -> Option<&Location<V>> {
        let parent = location.parent?;
        self.has_resets.load(Ordering::SeqCst).then(|| self.table.get(parent))
    }

    /// The value before the stream, asked for once.
    #[inline]
    fn base<'a>(&self, vm: &V, location: &'a Location<V>) -> Result<&'a V::Value, Interrupt<V>> {
        match location.base.get() {
            Some(value) => Ok(value),
            None => self.ask(vm, location),
        }
    }

    fn ask<'a>(&self, vm: &V, location: &'a Location<V>) -> Result<&'a V::Value, Interrupt<V>> {
        let _asking = location.asking.lock();
        if let Some(value) = location.base.get() {
            return Ok(value);
        }
        let parent = location.parent.map(|parent| &self.table.get(parent).key);
        let value = vm.base_value(&location.key, parent)?;
        Ok(location.base.set(value).unwrap_or_else(|_| unreachable!("one at a time asks")))
    }

    fn suspect_scans(&self, key: &V::Key, entry: EntryIndex, landed: &mut Landed) {
        if self.range_reader_count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for (range, reader) in self.range_readers.lock().iter() {
            if *reader > entry.0 && V::in_range(range, key) {
                landed.suspects.push(*reader);
            }
        }
    }
}

fn into_result<V: Vm>(fold: Fold<V::Value>) -> Result<V::Value, Interrupt<V>> {
    match fold {
        Fold::Value(value) => Ok(value),
        Fold::Wait(entry) => Err(Interrupt::Blocked(entry)),
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::evm::{EvmKey, EvmStream};
    use alloy_primitives::{Address, U256};

    #[test]
    fn a_location_whose_parent_came_too_late_is_not_handed_over() {
        let memory: Memory<EvmStream> = Memory::new(None, 16, Arc::default());
        let (mut one, mut other) = (Share::default(), Share::default());
        let account = |byte| EvmKey::Account(Address::repeat_byte(byte));
        let (early, _) = memory.table.intern(&account(1), None, &mut one);
        let count = memory.table.len();
        // Another worker makes an account, of whose slots this one, which still has early ids, makes one.
        let (late, _) = memory.table.intern(&account(2), None, &mut other);
        assert!(late.0 >= count);
        let slot = EvmKey::Slot(late, U256::ONE);
        let (orphan, _) = memory.table.intern(&slot, Some(late), &mut one);
        let (child, _) = memory.table.intern(&EvmKey::Slot(early, U256::ONE), Some(early), &mut one);
        assert!(orphan.0 < count && child.0 < count);
        let (locations, mut ids) = memory.hand_over_first(count);
        ids.sort_unstable();
        assert_eq!((locations.len() as u32, ids), (count, vec![early, child]));
    }
}
