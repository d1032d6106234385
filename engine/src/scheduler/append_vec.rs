use super::once::{FIRST_EPOCH, LAST_EPOCH, Once};
use crossbeam::utils::CachePadded;
use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

/// Slots of the first chunk; every further chunk doubles the capacity.
const FIRST_CHUNK: u32 = 1 << FIRST_CHUNK_BITS;
const FIRST_CHUNK_BITS: u32 = 6;
/// Enough chunks for 2^32 slots.
const CHUNKS: usize = 27;

/// A vector that many threads append to and read while it grows. Elements never move and are never removed.
///
/// Bound: 2^32 - 1 elements; the owner bounds its memory (see `LocationTable`).
pub(crate) struct AppendVec<T> {
    chunks: [OnceLock<Box<[Slot<T>]>>; CHUNKS],
    epoch: u32,
    /// Apart from the chunks, which everybody reads all the time.
    reserved: CachePadded<AtomicU32>,
}

/// Aligned so that an element begins a cache line, and shares none with its neighbours.
#[repr(align(64))]
struct Slot<T>(Once<T>);

/// Indices that one thread has reserved for itself: what it appends lies together, and the count of all elements goes
/// from core to core less often.
#[derive(Debug, Default)]
pub(crate) struct Share {
    next: u32,
    end: u32,
}

/// Indices of a share.
const SHARE: u32 = 16;

impl<T> AppendVec<T> {
    pub(crate) fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            epoch: FIRST_EPOCH,
            reserved: CachePadded::new(AtomicU32::new(0)),
        }
    }

    /// Appends an element and returns its index. Other threads find it once they learn the index.
    pub(crate) fn push(&self, value: T) -> u32 {
        let index = self.reserve(1);
        self.set(index, value);
        index
    }

    /// As [`AppendVec::push`], at an index of the share.
    pub(crate) fn push_in(&self, share: &mut Share, value: T) -> u32 {
        let index = self.take(share);
        self.set(index, value);
        index
    }

    /// Appends an element that an earlier use left, made as new by `reset`, else a new one.
    pub(crate) fn push_recycled(&self, new: impl FnOnce() -> T, reset: impl FnOnce(&mut T)) -> u32 {
        let index = self.reserve(1);
        self.renew(index, new, reset);
        index
    }

    /// As [`AppendVec::push_recycled`], at an index of the share.
    pub(crate) fn push_recycled_in(
        &self,
        share: &mut Share,
        new: impl FnOnce() -> T,
        reset: impl FnOnce(&mut T),
    ) -> u32 {
        let index = self.take(share);
        self.renew(index, new, reset);
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
            .and_then(|slots| slots[offset].0.get_in(self.epoch))
            .unwrap_or_else(|| panic!("element {index} is not there"))
    }

    /// Empties the vector at once: its elements stay, for [`AppendVec::push_recycled`], until others take their
    /// places.
    pub(crate) fn restart(&mut self) {
        if self.epoch == LAST_EPOCH {
            *self = Self::new();
        }
        self.epoch += 1;
        *self.reserved.get_mut() = 0;
    }

    /// Number of elements, those included that are being appended right now and that only a share holds.
    pub(crate) fn len(&self) -> u32 {
        self.reserved.load(Ordering::Relaxed)
    }

    fn reserve(&self, count: u32) -> u32 {
        // Relaxed: the index reserves a slot and publishes nothing; the slot's `Once` publishes the element.
        self.reserved.fetch_add(count, Ordering::Relaxed)
    }

    fn take(&self, share: &mut Share) -> u32 {
        if share.next == share.end {
            share.next = self.reserve(SHARE);
            share.end = share.next + SHARE;
        }
        share.next += 1;
        if share.next < share.end {
            self.prefetch(share.next);
        }
        share.next - 1
    }

    /// Has the processor fetch a slot that is filled soon.
    #[inline]
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "see SAFETY")]
    fn prefetch(&self, index: u32) {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        let (chunk, offset) = place(index);
        let Some(slots) = self.chunks[chunk].get() else { return };
        let slot: *const Slot<T> = &slots[offset];
        for line in (0..size_of::<Slot<T>>()).step_by(64) {
            // SAFETY: a hint, which reads and writes nothing.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(slot.wrapping_byte_add(line).cast()) };
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn prefetch(&self, _index: u32) {}

    fn set(&self, index: u32, value: T) {
        assert!(self.slot(index).set_in(self.epoch, value).is_ok(), "slot {index} is reserved once");
    }

    fn renew(&self, index: u32, new: impl FnOnce() -> T, reset: impl FnOnce(&mut T)) {
        assert!(self.slot(index).renew_in(self.epoch, new, reset), "slot {index} is reserved once");
    }

    fn slot(&self, index: u32) -> &Once<T> {
        let (chunk, offset) = place(index);
        let new = || std::iter::repeat_with(|| Slot(Once::new())).take(chunk_len(chunk)).collect();
        &self.chunks[chunk].get_or_init(new)[offset].0
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
    fn a_restarted_vector_is_as_new() {
        let mut list = AppendVec::new();
        for round in 0..3u32 {
            for value in 0..1_000 + round * 300 {
                assert_eq!(list.push(value + round), value);
            }
            assert_eq!(*list.get(999), 999 + round);
            list.restart();
            assert_eq!(list.len(), 0);
            let get = std::panic::AssertUnwindSafe(|| *list.get(0));
            assert!(std::panic::catch_unwind(get).is_err());
        }
    }

    #[test]
    fn elements_are_used_again() {
        let mut list = AppendVec::new();
        for round in 0..3 {
            for index in 0..1_000 {
                let reset = |element: &mut Vec<_>| {
                    assert_eq!(*element, [round - 1]);
                    element.clear();
                };
                assert_eq!(list.push_recycled(|| Vec::with_capacity(round), reset), index);
                let vector: &Vec<_> = list.get(index);
                assert_eq!((vector.len(), vector.capacity() > 0), (0, round > 0));
            }
            list.restart();
            for index in 0..1_000 {
                assert_eq!(list.push(vec![round]), index);
            }
            list.restart();
        }
    }

    #[test]
    fn epochs_that_run_out_begin_anew() {
        let mut list = AppendVec::new();
        list.epoch = LAST_EPOCH;
        list.push(1);
        list.restart();
        assert_eq!((list.epoch, list.push(2)), (FIRST_EPOCH + 1, 0));
        assert_eq!(*list.get(0), 2);
    }

    #[test]
    fn concurrent_appends_lose_nothing() {
        let list = AppendVec::new();
        let mut all: Vec<u32> = std::thread::scope(|scope| {
            let append = |thread: u32| {
                let list = &list;
                move || {
                    let mut share = Share::default();
                    let append = |i| {
                        let value = thread * 1_000 + i;
                        let is_alone = thread.is_multiple_of(2);
                        let index = if is_alone { list.push(value) } else { list.push_in(&mut share, value) };
                        assert_eq!(*list.get(index), value);
                        index
                    };
                    (0..1_000).map(append).collect::<Vec<_>>()
                }
            };
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(append(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4_000);
        let mut values: Vec<u32> = all.iter().map(|index| *list.get(*index)).collect();
        values.sort_unstable();
        assert_eq!(values, (0..4_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_share_s_elements_lie_together() {
        let list = AppendVec::new();
        let (mut ours, mut theirs) = (Share::default(), Share::default());
        for value in 0..SHARE {
            assert_eq!(list.push_in(&mut ours, value), value);
            if value == 0 {
                assert_eq!(list.push_in(&mut theirs, 77), SHARE);
            }
        }
        assert_eq!(list.push_in(&mut ours, 78), 2 * SHARE);
        assert_eq!(list.push(79), 3 * SHARE);
    }
}
