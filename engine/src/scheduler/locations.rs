use super::{append_vec::AppendVec, cell::Cell, ids::LocationId, vm::Vm};
use crate::sync::Mutex;
use std::{
    hash::BuildHasher,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// No next location in a bucket's chain; no cell.
const NONE: u32 = u32::MAX;

/// Everything the scheduler knows of one location.
///
/// Most locations of a block are only read. Then `base` is all there is to them, and reading takes no lock. Aligned
/// so that workers that make neighbours do not meet in a cache line.
#[repr(align(64))]
pub(crate) struct Location<V: Vm> {
    pub(crate) key: V::Key,
    pub(crate) parent: Option<LocationId>,
    hash: u32,
    /// The next location in the same bucket. Set before the location is published, never changed after.
    next: AtomicU32,
    /// The value before the stream, once somebody asked for it.
    pub(crate) base: OnceLock<V::Value>,
    /// Whoever asks the reader for the base value, so that nobody asks a second time.
    pub(crate) asking: Mutex<()>,
    /// The cell, from the first write on.
    cell: AtomicU32,
    /// How many uncommitted versions here reset the children.
    pub(crate) resets_pending: AtomicU32,
    /// One past the last committed entry that reset the children; 0 if none did.
    pub(crate) reset_committed: AtomicU32,
}

/// Interns keys to dense ids. Lookups take no lock; two keys share an id only if they are equal.
///
/// A hash table with a fixed number of buckets, each a chain of locations that grows at its head. The hash is
/// keyed per table, so that nobody can aim keys at one bucket.
pub(crate) struct LocationTable<V: Vm> {
    buckets: Box<[AtomicU32]>,
    locations: AppendVec<Location<V>>,
    /// Of the locations that were written.
    cells: AppendVec<Mutex<Cell<V>>>,
    hasher: foldhash::fast::RandomState,
}

impl<V: Vm> LocationTable<V> {
    /// A table for about this many locations; more only make it slower.
    pub(crate) fn new(expected: usize) -> Self {
        let buckets = expected.next_power_of_two().clamp(1 << 8, 1 << 22);
        Self {
            buckets: std::iter::repeat_with(|| AtomicU32::new(NONE)).take(buckets).collect(),
            locations: AppendVec::new(),
            cells: AppendVec::new(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    /// Forgets all locations, keeps their memory, and prepares for about this many new ones.
    pub(crate) fn clear(&mut self, expected: usize) {
        if self.buckets.len() < expected.min(1 << 22) {
            *self = Self {
                locations: std::mem::replace(&mut self.locations, AppendVec::new()),
                cells: std::mem::replace(&mut self.cells, AppendVec::new()),
                ..Self::new(expected)
            };
        } else {
            for bucket in &mut self.buckets {
                *bucket.get_mut() = NONE;
            }
            self.hasher = foldhash::fast::RandomState::default();
        }
        self.locations.clear();
        self.cells.recycle(|cell| cell.get_mut().reset());
    }

    /// The location with this id.
    #[inline]
    pub(crate) fn get(&self, id: LocationId) -> &Location<V> {
        self.locations.get(id.0)
    }

    /// The cell of a location that was written.
    #[inline]
    pub(crate) fn cell(&self, location: &Location<V>) -> Option<&Mutex<Cell<V>>> {
        // SeqCst: see `ReadMarks`.
        let cell = location.cell.load(Ordering::SeqCst);
        (cell != NONE).then(|| self.cells.get(cell))
    }

    /// The location's cell; a new one if it was not written before.
    pub(crate) fn cell_for_write(&self, location: &Location<V>) -> &Mutex<Cell<V>> {
        if let Some(cell) = self.cell(location) {
            return cell;
        }
        let new = self.cells.push_recycled(|| Mutex::new(Cell::default()));
        let (before, after) = (Ordering::SeqCst, Ordering::SeqCst);
        match location.cell.compare_exchange(NONE, new, before, after) {
            Ok(_) => self.cells.get(new),
            // Somebody was faster; the other cell is lost until the table is cleared.
            Err(theirs) => self.cells.get(theirs),
        }
    }

    /// Number of locations.
    pub(crate) fn len(&self) -> u32 {
        self.locations.len()
    }

    /// All published locations, in no particular order. Follows the chains: the list of locations also holds
    /// those that lost the race to be published, which must not be seen.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LocationId, &Location<V>)> {
        self.buckets.iter().flat_map(move |bucket| {
            let mut next = bucket.load(Ordering::Acquire);
            std::iter::from_fn(move || {
                let id = Some(next).filter(|id| *id != NONE)?;
                let location = self.locations.get(id);
                next = location.next.load(Ordering::Relaxed);
                Some((LocationId(id), location))
            })
        })
    }

    /// The id of a key, and whether this call made it.
    pub(crate) fn intern(&self, key: &V::Key, parent: Option<LocationId>) -> (LocationId, bool) {
        let hash = self.hasher.hash_one(key);
        // The bucket takes the low bits, the chain compares the high ones.
        let bucket = &self.buckets[hash as usize & (self.buckets.len() - 1)];
        let hash = (hash >> 32) as u32;
        // Acquire pairs with the release of the exchange below: a published id leads to a whole location.
        let mut head = bucket.load(Ordering::Acquire);
        if let Some(id) = self.find(key, hash, head, NONE) {
            return (id, false);
        }
        let id = self.locations.push(Location {
            key: key.clone(),
            parent,
            hash,
            next: AtomicU32::new(head),
            base: OnceLock::new(),
            asking: Mutex::new(()),
            cell: AtomicU32::new(NONE),
            resets_pending: AtomicU32::new(0),
            reset_committed: AtomicU32::new(0),
        });
        loop {
            match bucket.compare_exchange(head, id, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return (LocationId(id), true),
                Err(now) => {
                    // Others were faster: look at what they added. If it is this key, ours stays unpublished.
                    if let Some(theirs) = self.find(key, hash, now, head) {
                        return (theirs, false);
                    }
                    head = now;
                    self.locations.get(id).next.store(head, Ordering::Relaxed);
                }
            }
        }
    }

    fn find(&self, key: &V::Key, hash: u32, from: u32, until: u32) -> Option<LocationId> {
        let mut id = from;
        while id != until {
            let location = self.locations.get(id);
            if location.hash == hash && location.key == *key {
                return Some(LocationId(id));
            }
            id = location.next.load(Ordering::Relaxed);
        }
        None
    }
}
