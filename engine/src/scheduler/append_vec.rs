use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

/// Slots of the first chunk; every further chunk doubles the capacity.
const FIRST_CHUNK: u32 = 1 << FIRST_CHUNK_BITS;
const FIRST_CHUNK_BITS: u32 = 8;
/// Enough chunks for 2^32 slots.
const CHUNKS: usize = 25;

/// A vector that many threads append to and read while it grows. Elements never move and are never removed.
///
/// Bound: 2^32 - 1 elements; the owner bounds its memory (see `LocationTable`).
pub(crate) struct AppendVec<T> {
    chunks: [OnceLock<Box<[OnceLock<T>]>>; CHUNKS],
    reserved: AtomicU32,
}

impl<T> AppendVec<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS], reserved: AtomicU32::new(0) }
    }

    /// Appends an element and returns its index. Other threads find it once they learn the index.
    pub(crate) fn push(&self, value: T) -> u32 {
        // Relaxed: the index reserves a slot and publishes nothing; the slot's OnceLock publishes the element.
        let index = self.reserved.fetch_add(1, Ordering::Relaxed);
        let (chunk, offset) = place(index);
        let slots = self.chunks[chunk]
            .get_or_init(|| std::iter::repeat_with(OnceLock::new).take(chunk_len(chunk)).collect());
        assert!(slots[offset].set(value).is_ok(), "slot {index} is reserved once");
        index
    }

    /// The element at `index`.
    ///
    /// # Panics
    ///
    /// If no [`AppendVec::push`] has returned this index.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> &T {
        let (chunk, offset) = place(index);
        self.chunks[chunk]
            .get()
            .and_then(|slots| slots[offset].get())
            .unwrap_or_else(|| panic!("element {index} is not there"))
    }

    /// Appends an element that [`AppendVec::recycle`] left, else a new one.
    pub(crate) fn push_recycled(&self, new: impl FnOnce() -> T) -> u32 {
        // Relaxed: as in `push`.
        let index = self.reserved.fetch_add(1, Ordering::Relaxed);
        let (chunk, offset) = place(index);
        let slots = self.chunks[chunk]
            .get_or_init(|| std::iter::repeat_with(OnceLock::new).take(chunk_len(chunk)).collect());
        slots[offset].get_or_init(new);
        index
    }

    /// Empties the vector, but keeps its elements, made as new by `reset`, for [`AppendVec::push_recycled`].
    pub(crate) fn recycle(&mut self, reset: impl Fn(&mut T)) {
        let left = std::mem::take(self.reserved.get_mut());
        for index in 0..left {
            let (chunk, offset) = place(index);
            let slot = self.chunks[chunk].get_mut().and_then(|slots| slots[offset].get_mut());
            slot.into_iter().for_each(&reset);
        }
    }

    /// Drops all elements and keeps their memory.
    pub(crate) fn clear(&mut self) {
        let mut left = std::mem::take(self.reserved.get_mut()) as usize;
        for chunk in &mut self.chunks {
            let Some(slots) = chunk.get_mut().filter(|_| left > 0) else { break };
            let used = left.min(slots.len());
            for slot in &mut slots[..used] {
                slot.take();
            }
            left -= used;
        }
    }

    /// Number of elements, those being appended right now included.
    pub(crate) fn len(&self) -> u32 {
        self.reserved.load(Ordering::Relaxed)
    }
}

/// Chunk and offset of an element: chunk `c` begins at index `FIRST_CHUNK * (2^c - 1)`.
#[inline]
fn place(index: u32) -> (usize, usize) {
    let shifted = u64::from(index) + u64::from(FIRST_CHUNK);
    let chunk = 63 - shifted.leading_zeros() - FIRST_CHUNK_BITS;
    let offset = shifted - (1 << (chunk + FIRST_CHUNK_BITS));
    (chunk as usize, offset as usize)
}

fn chunk_len(chunk: usize) -> usize {
    (FIRST_CHUNK as usize) << chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_dense_and_in_order() {
        let mut expected = (0, 0);
        for index in 0..5_000 {
            assert_eq!(place(index), expected, "index {index}");
            expected.1 += 1;
            if expected.1 == chunk_len(expected.0) {
                expected = (expected.0 + 1, 0);
            }
        }
        assert!(place(u32::MAX).0 < CHUNKS);
    }

    #[test]
    fn a_cleared_vector_is_as_new() {
        let mut list = AppendVec::new();
        for round in 0..3u32 {
            for value in 0..1_000 + round * 300 {
                assert_eq!(list.push(value + round), value);
            }
            assert_eq!(*list.get(999), 999 + round);
            list.clear();
            assert_eq!(list.len(), 0);
        }
    }

    #[test]
    fn recycled_elements_are_used_again() {
        let mut list = AppendVec::new();
        for round in 0..3 {
            for index in 0..1_000 + round * 300 {
                assert_eq!(list.push_recycled(Vec::new), index);
                assert!(list.get(index).is_empty());
            }
            list.recycle(|element| element.push(round));
            list.recycle(|_| panic!("the vector is empty"));
            assert_eq!(list.len(), 0);
            assert_eq!(list.push_recycled(|| panic!("there is one")), 0);
            assert_eq!(*list.get(0), [round]);
            list.recycle(|element| element.clear());
            for _ in 0..1_000 + round * 300 {
                list.push_recycled(|| panic!("there is one"));
            }
            list.recycle(|element| element.clear());
        }
    }

    #[test]
    fn concurrent_appends_lose_nothing() {
        let list = AppendVec::new();
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let list = &list;
                scope.spawn(move || {
                    for i in 0..1_000 {
                        let value = thread * 1_000 + i;
                        let index = list.push(value);
                        assert_eq!(*list.get(index), value);
                    }
                });
            }
        });
        let mut all: Vec<u32> = (0..list.len()).map(|index| *list.get(index)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..4_000).collect::<Vec<_>>());
    }
}
