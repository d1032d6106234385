use super::{
    node::{self, NodeRef, Stamp},
    region::{CHUNK_BYTES, Chunk, Regions},
};

use std::ops::Range;

/// Bytes that an address counts in.
const UNIT: usize = 8;
const CHUNK_UNITS: u32 = (CHUNK_BYTES / UNIT) as u32;

/// Memory for the nodes of one shard: chunks, and lists of free places by size.
///
/// A node never moves and never crosses a chunk. Places are multiples of [`UNIT`] bytes; a freed one is used again
/// for a node of its size. Growth is bounded by the number of addresses, [`NodeRef::ADDRESSES`] units (8 GiB).
#[derive(Debug, Default)]
pub(crate) struct Arena {
    chunks: Vec<Chunk>,
    regions: Regions,
    /// First unit of the last chunk that nobody had yet.
    next: u32,
    /// Free places by size in units.
    free: Vec<Vec<u32>>,
    live_units: u64,
    /// What is written is stamped so, and what is read.
    now: Stamp,
    then: Stamp,
}

impl Arena {
    /// An arena whose memory comes from these regions.
    pub(crate) fn in_regions(regions: Regions) -> Self {
        let mut arena = Self::default();
        arena.regions = regions;
        arena
    }

    /// From now on nodes that are written get the one stamp, and those that are read from where they are stored the other.
    pub(crate) fn set_stamps(&mut self, now: Stamp, then: Stamp) {
        (self.now, self.then) = (now, then);
    }

    /// The stamp of what is written.
    pub(crate) fn now(&self) -> Stamp {
        self.now
    }

    /// Takes note that a node was written.
    #[inline]
    pub(crate) fn stamp(&mut self, node: NodeRef) {
        let (now, then) = (self.now, self.then);
        node::write_stamp(self.bytes_mut(node), now, then);
    }

    /// Takes memory from elsewhere from now on; what is there stays where it is.
    pub(crate) fn move_to(&mut self, regions: Regions) {
        self.regions = regions;
    }

    /// A place of so many bytes, whose content is arbitrary.
    ///
    /// # Panics
    ///
    /// If a node is larger than a chunk, or the arena is full.
    pub(crate) fn allocate(&mut self, bytes: usize) -> NodeRef {
        let units = bytes.div_ceil(UNIT);
        assert!(units > 0 && units <= CHUNK_UNITS as usize, "a node of {bytes} bytes");
        self.live_units += units as u64;
        if let Some(place) = self.free.get_mut(units).and_then(Vec::pop) {
            return NodeRef::new(place);
        }
        let units = units as u32;
        let used = self.next % CHUNK_UNITS;
        let is_full = self.next as usize == self.chunks.len() * CHUNK_UNITS as usize;
        if is_full || used + units > CHUNK_UNITS {
            if !is_full {
                let rest = CHUNK_UNITS - used;
                self.put(self.next, rest as usize);
            }
            self.next = self.chunks.len() as u32 * CHUNK_UNITS;
            assert!(self.next < NodeRef::ADDRESSES - CHUNK_UNITS, "a shard's arena is full");
            self.chunks.push(self.regions.take());
        }
        let place = self.next;
        self.next += units;
        NodeRef::new(place)
    }

    /// Gives a node's place back.
    pub(crate) fn free(&mut self, node: NodeRef) {
        let units = node::bytes_of(self.bytes(node)).div_ceil(UNIT);
        self.live_units -= units as u64;
        self.put(node.address(), units);
    }

    fn put(&mut self, place: u32, units: usize) {
        if self.free.len() <= units {
            self.free.resize_with(units + 1, Vec::new);
        }
        self.free[units].push(place);
    }

    /// A node, and what follows it in its chunk.
    #[inline]
    pub(crate) fn bytes(&self, node: NodeRef) -> &[u8] {
        let address = node.address();
        &self.chunks[(address / CHUNK_UNITS) as usize].bytes()[(address % CHUNK_UNITS) as usize * UNIT..]
    }

    #[inline]
    pub(crate) fn bytes_mut(&mut self, node: NodeRef) -> &mut [u8] {
        let address = node.address();
        &mut self.chunks[(address / CHUNK_UNITS) as usize].bytes_mut()
            [(address % CHUNK_UNITS) as usize * UNIT..]
    }

    /// A node, and the place of another one to be written.
    ///
    /// # Panics
    ///
    /// If they are the same.
    pub(crate) fn two(&mut self, node: NodeRef, other: NodeRef) -> (&[u8], &mut [u8]) {
        let [node, other] = [node, other].map(|node| {
            ((node.address() / CHUNK_UNITS) as usize, (node.address() % CHUNK_UNITS) as usize * UNIT)
        });
        if node.0 != other.0 {
            return match self.chunks.get_disjoint_mut([node.0, other.0]) {
                Ok([chunk, target]) => (&chunk.bytes()[node.1..], &mut target.bytes_mut()[other.1..]),
                Err(error) => panic!("two nodes are in chunks of the arena: {error}"),
            };
        }
        let chunk = self.chunks[node.0].bytes_mut();
        if node.1 < other.1 {
            let (node_side, target) = chunk.split_at_mut(other.1);
            (&node_side[node.1..], target)
        } else {
            assert!(node.1 > other.1, "a node is no place for another one");
            let (target, node_side) = chunk.split_at_mut(node.1);
            (node_side, &mut target[other.1..])
        }
    }

    /// Asks the processor to fetch what [`Arena::allocate`] looks at for a place of so many bytes.
    #[inline]
    pub(crate) fn prefetch_place(&self, bytes: usize) {
        if let Some(place) = self.free.get(bytes.div_ceil(UNIT)).and_then(|places| places.last()) {
            fetch(std::ptr::from_ref(place).cast());
        }
    }

    /// Asks the processor to fetch some cache lines of a node, counted from its beginning.
    #[inline]
    pub(crate) fn prefetch(&self, node: NodeRef, lines: Range<usize>) {
        let start = self.bytes(node).as_ptr();
        for line in lines {
            fetch(start.wrapping_add(line * 64));
        }
    }

    /// Bytes of nodes.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_units * UNIT as u64
    }

    /// Bytes taken from the system for nodes and for the lists of free places.
    pub(crate) fn reserved_bytes(&self) -> u64 {
        let free: usize = self.free.iter().map(|places| places.capacity() * size_of::<u32>()).sum();
        (self.chunks.len() * CHUNK_BYTES + free) as u64
    }
}

/// Asks the processor for a cache line that is to be written soon.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "see SAFETY")]
#[inline]
fn fetch(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
    // SAFETY: a prefetch reads and writes nothing, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_ET0>(address.cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
fn fetch(_address: *const u8) {}

impl Drop for Arena {
    fn drop(&mut self) {
        self.chunks.drain(..).for_each(Chunk::give_back);
    }
}
