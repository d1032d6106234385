use super::{
    append_vec::{AppendVec, Share},
    cell::Cell,
    ids::LocationId,
    once::Once,
    vm::Vm,
};
use crate::sync::Mutex;
use std::{
    hash::BuildHasher,
    sync::atomic::{AtomicU32, Ordering},
};

/// No next location in a bucket's chain; no cell.
const NONE: u32 = u32::MAX;

/// Everything the scheduler knows of one location.
///
/// Most locations of a block are only read. Then `base` is all there is to them, and reading takes no lock. What a
/// look-up needs comes first: it is in one cache line.
#[repr(C)]
pub(crate) struct Location<V: Vm> {
    hash: u32,
    /// The next location in the same bucket. Set before the location is published, never changed after.
    next: AtomicU32,
    pub(crate) key: V::Key,
    pub(crate) parent: Option<LocationId>,
    /// The value before the stream, once somebody asked for it.
    pub(crate) base: Once<V::Value>,
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
    /// Those in use come first.
    buckets: Box<[AtomicU32]>,
    /// Buckets in use, a power of two, less one.
    mask: usize,
    locations: AppendVec<Location<V>>,
    /// Of the locations that were written.
    cells: AppendVec<Mutex<Cell<V>>>,
    hasher: foldhash::fast::RandomState,
}

impl<V: Vm> LocationTable<V> {
    /// A table for about this many locations; more only make it slower.
    pub(crate) fn new(expected: usize) -> Self {
        let buckets = bucket_count(expected);
        Self {
            buckets: std::iter::repeat_with(|| AtomicU32::new(NONE)).take(buckets).collect(),
            mask: buckets - 1,
            locations: AppendVec::new(),
            cells: AppendVec::new(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    /// Forgets all locations, keeps their memory, and prepares for about this many new ones.
    pub(crate) fn clear(&mut self, expected: usize) {
        let buckets = bucket_count(expected);
        if self.buckets.len() < buckets {
            self.buckets = std::iter::repeat_with(|| AtomicU32::new(NONE)).take(buckets).collect();
        } else {
            for bucket in &mut self.buckets[..buckets] {
                *bucket.get_mut() = NONE;
            }
        }
        self.mask = buckets - 1;
        self.hasher = foldhash::fast::RandomState::default();
        self.locations.restart();
        self.cells.restart();
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
    pub(crate) fn cell_for_write(&self, location: &Location<V>, share: &mut Share) -> &Mutex<Cell<V>> {
        if let Some(cell) = self.cell(location) {
            return cell;
        }
        let new = self.cells.push_recycled_in(share, Mutex::default, |cell| cell.get_mut().reset());
        let (before, after) = (Ordering::SeqCst, Ordering::SeqCst);
        match location.cell.compare_exchange(NONE, new, before, after) {
            Ok(_) => self.cells.get(new),
            // Somebody was faster; the other cell is lost until the table is cleared.
            Err(theirs) => self.cells.get(theirs),
        }
    }

    /// Ids that are taken, those included that nobody uses yet.
    pub(crate) fn len(&self) -> u32 {
        self.locations.len()
    }

    /// All published locations, in no particular order. Follows the chains: the list of locations also holds
    /// those that lost the race to be published, which must not be seen.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LocationId, &Location<V>)> {
        self.buckets[..=self.mask].iter().flat_map(move |bucket| {
            let mut next = bucket.load(Ordering::Acquire);
            std::iter::from_fn(move || {
                let id = Some(next).filter(|id| *id != NONE)?;
                let location = self.locations.get(id);
                next = location.next.load(Ordering::Relaxed);
                Some((LocationId(id), location))
            })
        })
    }

    /// The id of a key, and whether this call made its location, in the share: then the caller accounts for it.
    pub(crate) fn intern(
        &self,
        key: &V::Key,
        parent: Option<LocationId>,
        share: &mut Share,
    ) -> (LocationId, bool) {
        let hash = self.hasher.hash_one(key);
        // The bucket takes the low bits, the chain compares the high ones.
        let bucket = &self.buckets[hash as usize & self.mask];
        let hash = (hash >> 32) as u32;
        // Acquire pairs with the release of the exchange below: a published id leads to a whole location.
        let mut head = bucket.load(Ordering::Acquire);
        if let Some(id) = self.find(key, hash, head, NONE) {
            return (id, false);
        }
        let new = Location {
            hash,
            next: AtomicU32::new(head),
            key: key.clone(),
            parent,
            base: Once::new(),
            asking: Mutex::new(()),
            cell: AtomicU32::new(NONE),
            resets_pending: AtomicU32::new(0),
            reset_committed: AtomicU32::new(0),
        };
        let id = self.locations.push_in(share, new);
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

fn bucket_count(expected: usize) -> usize {
    expected.next_power_of_two().clamp(1 << 8, 1 << 22)
}
