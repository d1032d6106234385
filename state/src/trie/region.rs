//! Memory for arenas: large pages, handed out in chunks.

use memmap2::{Advice, MmapOptions, MmapRaw};
use parking_lot::Mutex;
use std::{fmt, ops::Range, ptr::NonNull, sync::Arc};

/// Bytes of a chunk, the most a node may have.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// What the system is asked for at a time: a large page on x86-64 and AArch64.
const REGION_BYTES: usize = 2 << 20;

/// Memory that arenas share whose workers are on one NUMA node. A shard's nodes lie in many regions, and a region holds
/// chunks of many shards: so a state of any size takes hardly more large pages than it fills, and walking it misses few
/// translations.
///
/// Chunks that come back are given out again. Pages are first touched, and so placed on a NUMA node, by whoever
/// writes the first node into a region: nearly always a worker of that node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Regions {
    shared: Arc<Mutex<Free>>,
}

#[derive(Debug, Default)]
struct Free {
    chunks: Vec<(usize, Arc<MmapRaw>)>,
    /// What is left of the last region.
    rest: Option<(Arc<MmapRaw>, Range<usize>)>,
}

/// [`CHUNK_BYTES`] of memory, zeroed when they are new.
pub(crate) struct Chunk {
    /// Its first byte: what is behind two references would be fetched before every node.
    first: NonNull<u8>,
    /// That byte's place in the region.
    start: usize,
    region: Arc<MmapRaw>,
    /// Where it came from.
    home: Regions,
}

impl Regions {
    /// A chunk whose content is arbitrary.
    ///
    /// # Panics
    ///
    /// If the system gives no memory, as any allocation does.
    pub(crate) fn take(&self) -> Chunk {
        let mut free = self.shared.lock();
        if let Some((start, region)) = free.chunks.pop() {
            return Chunk::new(start, region, self.clone());
        }
        let (region, mut rest) = free.rest.take().unwrap_or_else(new_region);
        let start = rest.start;
        rest.start += CHUNK_BYTES;
        if rest.len() >= CHUNK_BYTES {
            free.rest = Some((Arc::clone(&region), rest));
        }
        Chunk::new(start, region, self.clone())
    }
}

/// A region, and its part that begins with a large page.
fn new_region() -> (Arc<MmapRaw>, Range<usize>) {
    // Twice the size, so that a large page fits wherever it begins; what is never touched costs nothing.
    let region = match MmapOptions::new().len(2 * REGION_BYTES).map_anon() {
        Ok(map) => MmapRaw::from(map),
        Err(error) => panic!("the system gives no {} bytes for the state trie: {error}", 2 * REGION_BYTES),
    };
    let start = (region.as_mut_ptr() as usize).wrapping_neg() % REGION_BYTES;
    // Small pages do as well: it is a matter of speed.
    let _ = region.advise_range(Advice::HugePage, start, REGION_BYTES);
    (Arc::new(region), start..start + REGION_BYTES)
}

// SAFETY: a chunk is the only owner of its bytes, as a box would be; its region lives as long as it.
#[expect(unsafe_code, reason = "see SAFETY")]
unsafe impl Send for Chunk {}
// SAFETY: as above: through a shared reference its bytes are only read.
#[expect(unsafe_code, reason = "see SAFETY")]
unsafe impl Sync for Chunk {}

#[expect(unsafe_code, reason = "see SAFETY")]
impl Chunk {
    fn new(start: usize, region: Arc<MmapRaw>, home: Regions) -> Self {
        let Some(first) = NonNull::new(region.as_mut_ptr().wrapping_add(start)) else {
            panic!("a mapping does not begin at no address")
        };
        Self { first, start, region, home }
    }

    /// Gives it back to where it came from.
    pub(crate) fn give_back(self) {
        let Self { start, region, home, .. } = self;
        home.shared.lock().chunks.push((start, region));
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `Regions` gives each chunk of a region out once, within its bounds, so that nobody else has these
        // bytes; the region lives as long as `self.region`; fresh anonymous pages are zero, so they are initialised.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), CHUNK_BYTES) }
    }

    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the exclusive reference is to the only owner of these bytes.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), CHUNK_BYTES) }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("start", &self.start).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_do_not_overlap_and_are_used_again() {
        let regions = Regions::default();
        let mut chunks: Vec<Chunk> = (0..100).map(|_| regions.take()).collect();
        for (number, chunk) in chunks.iter_mut().enumerate() {
            assert!(chunk.bytes().iter().all(|byte| *byte == 0));
            chunk.bytes_mut().fill(number as u8 + 1);
        }
        for (number, chunk) in chunks.iter().enumerate() {
            assert!(chunk.bytes().iter().all(|byte| *byte == number as u8 + 1), "chunk {number}");
        }
        chunks.drain(..).for_each(Chunk::give_back);
        assert!(regions.take().bytes()[0] != 0, "memory that came back is given out first");
    }
}
