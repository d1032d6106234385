use crate::{
    parking::settled,
    scheduler::{
        ids::LocationId,
        vm::{Change, Interrupt, Vm},
    },
};
use crossbeam::utils::{Backoff, CachePadded};
use hashbrown::{HashTable, hash_table};
use parking_lot::{Mutex, MutexGuard};
use std::{
    hash::BuildHasher,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// The locations of a run, divided by their hash: each shard is one thread's at a time.
pub(super) struct Shards<V: Vm> {
    shards: Box<[CachePadded<Mutex<Shard<V>>>]>,
    hasher: foldhash::fast::RandomState,
    /// Whether any location's children were reset.
    has_resets: AtomicBool,
}

/// How many there are: enough that no thread waits long for the last, few enough to go through all of them for little.
pub(super) const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 5;

/// Some of the locations, each with its current value.
pub(super) struct Shard<V: Vm> {
    index: HashTable<u32>,
    locations: Vec<Location<V>>,
    /// Those that changed in the segment at hand, by their place.
    changed: Vec<u32>,
    /// What is planned here for the segment at hand, in order.
    pub(super) items: Vec<Item>,
    /// The first item that is not made yet.
    pub(super) next: usize,
    /// Locations when the segment at hand began.
    known: usize,
}

/// A part of a planned entry, and the place of its location.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) entry: u32,
    pub(super) part: u32,
    pub(super) place: u32,
}

pub(super) struct Location<V: Vm> {
    pub(super) key: V::Key,
    pub(super) parent: Option<LocationId>,
    pub(super) value: Option<V::Value>,
    /// One past the last entry that wrote the value; 0 while the base value stands.
    pub(super) written_by: u32,
    /// One past the last entry that reset the children.
    pub(super) reset_by: u32,
    /// What stood here before the segment that changed it last.
    before: Option<Before<V>>,
    /// One past that segment.
    changed_in: u32,
    /// Whether that segment reset the children.
    resets_children: bool,
}

struct Before<V: Vm> {
    value: V::Value,
    /// What is remembered of the value from before the parent's reset, if that left the other.
    hidden: Option<Box<Option<V::Value>>>,
    written_by: u32,
    reset_by: u32,
}

impl<V: Vm> Default for Shard<V> {
    fn default() -> Self {
        Self {
            index: HashTable::new(),
            locations: Vec::new(),
            changed: Vec::new(),
            items: Vec::new(),
            next: 0,
            known: 0,
        }
    }
}

impl<V: Vm> Shards<V> {
    /// Memory that a location takes.
    pub(super) const BYTES_PER_LOCATION: usize = size_of::<Location<V>>() + size_of::<u32>();

    pub(super) fn new() -> Self {
        Self {
            shards: std::iter::repeat_with(CachePadded::default).take(SHARDS).collect(),
            hasher: foldhash::fast::RandomState::default(),
            has_resets: AtomicBool::new(false),
        }
    }

    /// Empties all shards for another run, but keeps their memory.
    pub(super) fn clear(&mut self) {
        self.hasher = foldhash::fast::RandomState::default();
        *self.has_resets.get_mut() = false;
        for shard in &mut self.shards {
            let Shard { index, locations, changed, items, next, known } = shard.get_mut();
            index.clear();
            locations.clear();
            changed.clear();
            items.clear();
            (*next, *known) = (0, 0);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().locations.len()).sum()
    }

    pub(super) fn hash(&self, key: &V::Key) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The number of the shard of a key with this hash: by bits that the shard's own table hardly looks at.
    pub(super) fn number(hash: u64) -> usize {
        (hash >> 32) as usize & (SHARDS - 1)
    }

    /// A shard, for the caller alone. Whoever has it will be done before a sleeper would be awake again.
    pub(super) fn shard(&self, number: usize) -> MutexGuard<'_, Shard<V>> {
        let backoff = Backoff::new();
        loop {
            match self.shards[number].try_lock() {
                Some(shard) => return shard,
                None => backoff.snooze(),
            }
        }
    }

    /// The shard of a location, and its place there.
    pub(super) fn find(&self, id: LocationId) -> (MutexGuard<'_, Shard<V>>, usize) {
        (self.shard(id.0 as usize & (SHARDS - 1)), (id.0 >> SHARD_BITS) as usize)
    }

    /// The location of a key, in its shard, and whether this call made it.
    pub(super) fn locate(
        &self,
        key: V::Key,
        parent: Option<LocationId>,
    ) -> (MutexGuard<'_, Shard<V>>, LocationId, bool) {
        let hash = self.hash(&key);
        let number = Self::number(hash);
        let mut shard = self.shard(number);
        let known = shard.locations.len();
        let place = shard.locate(&self.hasher, hash, key, parent);
        let is_new = shard.locations.len() > known;
        (shard, id(number, place), is_new)
    }

    /// As [`Shards::locate`], in a shard that the caller has.
    pub(super) fn locate_in(&self, shard: &mut Shard<V>, key: V::Key) -> u32 {
        let hash = self.hash(&key);
        shard.locate(&self.hasher, hash, key, None)
    }

    /// Whether any location's children were reset. Only the thread that executes entries in their turn looks.
    pub(super) fn has_resets(&self) -> bool {
        self.has_resets.load(Ordering::Relaxed)
    }

    /// One past the last entry that reset the location with its parent's other children.
    pub(super) fn reset_by_parent_of(&self, id: LocationId) -> u32 {
        if !self.has_resets() {
            return 0;
        }
        let parent = {
            let (shard, place) = self.find(id);
            shard.locations[place].parent
        };
        parent.map_or(0, |parent| {
            let (shard, place) = self.find(parent);
            shard.locations[place].reset_by
        })
    }

    /// Makes a write of an entry to a location whose value is known, or was reset.
    pub(super) fn write(&self, id: LocationId, stamp: (u32, u32), write: &V::Write) {
        let reset_by = self.reset_by_parent_of(id);
        let (mut shard, place) = self.find(id);
        shard.write(place as u32, stamp, reset_by, write);
        if V::resets_children(write) {
            self.has_resets.store(true, Ordering::Relaxed);
        }
    }

    /// Key and value of a location that was read or written.
    pub(super) fn settled(&self, id: LocationId) -> (V::Key, V::Value) {
        let reset_by = self.reset_by_parent_of(id);
        let (shard, place) = self.find(id);
        let location = &shard.locations[place];
        let value = match &location.value {
            Some(value) if location.written_by >= reset_by => value.clone(),
            _ => V::value_after_reset(&location.key),
        };
        (location.key.clone(), value)
    }

    /// All locations whose key is one of those wanted.
    pub(super) fn keys(&self, wants: impl Fn(&V::Key) -> bool) -> Vec<(LocationId, V::Key)> {
        let mut keys = Vec::new();
        for (number, shard) in self.shards.iter().enumerate() {
            let shard = shard.lock();
            let wanted = (0..).zip(&shard.locations).filter(|(_, location)| wants(&location.key));
            keys.extend(wanted.map(|(place, location)| (id(number, place), location.key.clone())));
        }
        keys
    }

    /// A segment begins.
    pub(super) fn begin(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.known = shard.locations.len();
        }
    }

    /// Undoes all that was done in the segment at hand, and forgets what was planned.
    pub(super) fn roll_back(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.forget_plans();
            shard.undo(&self.hasher);
        }
    }
}

/// The id of the location at a place in a shard.
pub(super) fn id(shard: usize, place: u32) -> LocationId {
    LocationId(place << SHARD_BITS | shard as u32)
}

impl<V: Vm> Shard<V> {
    /// Makes all locations as they were before the segment, and forgets those that were not there.
    fn undo(&mut self, hasher: &foldhash::fast::RandomState) {
        let Self { index, locations, changed, known, .. } = self;
        for place in changed.drain(..) {
            let location = &mut locations[place as usize];
            let Some(before) = location.before.take() else { unreachable!("it changed") };
            location.value = before.hidden.map_or(Some(before.value), |hidden| *hidden);
            (location.written_by, location.reset_by) = (before.written_by, before.reset_by);
            location.changed_in = 0;
        }
        for (place, location) in locations.iter().enumerate().skip(*known) {
            let hash = hasher.hash_one(&location.key);
            if let Ok(entry) = index.find_entry(hash, |found| *found as usize == place) {
                entry.remove();
            }
        }
        locations.truncate(*known);
    }

    pub(super) fn len(&self) -> usize {
        self.locations.len()
    }

    fn locate(
        &mut self,
        hasher: &foldhash::fast::RandomState,
        hash: u64,
        key: V::Key,
        parent: Option<LocationId>,
    ) -> u32 {
        let Self { index, locations, .. } = self;
        let found = index.entry(
            hash,
            |place| locations[*place as usize].key == key,
            |place| hasher.hash_one(&locations[*place as usize].key),
        );
        match found {
            hash_table::Entry::Occupied(entry) => *entry.get(),
            hash_table::Entry::Vacant(entry) => {
                let place = locations.len() as u32;
                entry.insert(place);
                locations.push(Location {
                    key,
                    parent,
                    value: None,
                    written_by: 0,
                    reset_by: 0,
                    before: None,
                    changed_in: 0,
                    resets_children: false,
                });
                place
            }
        }
    }

    /// The value of one of its locations, if it is known.
    pub(super) fn value_at(&self, id: LocationId) -> Option<&V::Value> {
        self.locations[(id.0 >> SHARD_BITS) as usize].value.as_ref()
    }

    pub(super) fn at(&mut self, place: usize) -> &mut Location<V> {
        &mut self.locations[place]
    }

    /// The value of a location without parent.
    pub(super) fn value(
        &mut self,
        vm: &V,
        place: u32,
        waited: &AtomicU64,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<&V::Value, Interrupt<V>> {
        let location = &mut self.locations[place as usize];
        let value = match location.value.take() {
            Some(value) => value,
            None => settled(vm, waited, should_stop, || vm.base_value(&location.key, None))?,
        };
        Ok(location.value.insert(value))
    }

    /// Lets an entry change a value that is known.
    pub(super) fn change(
        &mut self,
        place: u32,
        (segment, entry): (u32, u32),
        change: impl FnOnce(&mut V::Value) -> bool,
    ) -> bool {
        let Location { value, written_by, reset_by, before, changed_in, resets_children, .. } =
            &mut self.locations[place as usize];
        let Some(value) = value else { unreachable!("what changes is known") };
        if *changed_in != segment + 1 {
            let (written_by, reset_by) = (*written_by, *reset_by);
            *before = Some(Before { value: value.clone(), hidden: None, written_by, reset_by });
            *changed_in = segment + 1;
            *resets_children = false;
            self.changed.push(place);
        }
        *written_by = entry + 1;
        change(value)
    }

    /// Makes a write of an entry to a location whose value is known, or was reset by the entry before `reset_by`.
    fn write(&mut self, place: u32, stamp: (u32, u32), reset_by: u32, write: &V::Write) {
        let (segment, entry) = stamp;
        let location = &mut self.locations[place as usize];
        let hidden = (location.written_by < reset_by).then(|| {
            let left = V::value_after_reset(&location.key);
            Box::new(location.value.replace(left))
        });
        let is_first = location.changed_in != segment + 1;
        self.change(place, stamp, |value| {
            V::apply(value, write);
            true
        });
        let location = &mut self.locations[place as usize];
        if let Some(before) = &mut location.before
            && is_first
        {
            before.hidden = hidden;
        }
        if V::resets_children(write) {
            location.reset_by = entry + 1;
            location.resets_children = true;
        }
    }

    pub(super) fn forget_plans(&mut self) {
        self.items.clear();
        self.next = 0;
    }

    /// Notes what changed in the segment at hand, which ends.
    pub(super) fn note_changes(&mut self, vm: &V, number: usize, ledger: &mut V::Ledger) {
        self.forget_plans();
        let Self { locations, changed, .. } = self;
        for place in changed.drain(..) {
            let location = &locations[place as usize];
            let (Some(before), Some(after)) = (&location.before, &location.value) else {
                unreachable!("it changed")
            };
            let change = Change {
                location: id(number, place),
                key: &location.key,
                parent: location.parent,
                before: &before.value,
                after,
                resets_children: location.resets_children,
            };
            vm.note_change(ledger, change);
        }
    }
}
