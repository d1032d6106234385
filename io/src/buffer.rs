//! Page-aligned memory that the kernel can transfer to and from.

#![allow(
    unsafe_code,
    reason = "a mapping, and memory whose alignment its type does not tell, have no safe form"
)]

use crate::{DiskError, PAGE_BYTES};
use crossbeam::queue::ArrayQueue;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::{
    fmt,
    ops::{Deref, DerefMut, Range},
    ptr::{self, NonNull},
    slice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The most bytes a pool may have: the kernel registers no larger range as one (io_uring_register(2)).
pub const POOL_BYTES_MAX: usize = 1 << 30;

/// Buffers of one size in one mapping, which disks register with the kernel.
///
/// When all are taken, or a larger one is asked for, memory comes from the heap: slower, and counted
/// ([`overflows`](Self::overflows)). Clones share the buffers.
#[derive(Clone)]
pub struct BufferPool {
    shared: Arc<Shared>,
}

struct Shared {
    mapping: Mapping,
    slot_bytes: usize,
    free: ArrayQueue<u32>,
    overflows: AtomicU64,
}

/// Anonymous memory, unmapped when dropped. No reference to all of it is ever made: buffers have parts of it.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

/// Page-aligned bytes, given back to their pool when dropped. What a fresh one holds is not specified: zeros, or what
/// an earlier user of this process left.
pub struct Buffer {
    start: NonNull<u8>,
    length: usize,
    capacity: usize,
    home: Home,
}

enum Home {
    /// A slot of a mapping that the pool keeps.
    Slot { pool: Arc<Shared>, index: u32 },
    /// A `Box<[Page]>` of its own.
    Heap,
}

/// A unit of the heap that is aligned as the pool's slots are.
#[derive(Clone)]
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "seen through pointers to bytes alone")] [u8; PAGE_BYTES]);

const _: () = assert!(align_of::<Page>() == PAGE_BYTES && size_of::<Page>() == PAGE_BYTES);

impl BufferPool {
    /// A pool of `slots` buffers of `slot_pages` pages each. Its memory is taken when it is first used.
    ///
    /// # Errors
    ///
    /// [`DiskError::OutOfRange`], if that is more than [`POOL_BYTES_MAX`] or a slot has no page;
    /// [`DiskError::System`], if there is no memory.
    pub fn new(slots: usize, slot_pages: usize) -> Result<Self, DiskError> {
        let out_of_range =
            |field, value: usize, expected| DiskError::OutOfRange { field, value: value as u64, expected };
        if slot_pages == 0 {
            return Err(out_of_range("slot_pages", 0, "at least 1"));
        }
        let bytes = slots
            .checked_mul(slot_pages)
            .and_then(|pages| pages.checked_mul(PAGE_BYTES))
            .filter(|bytes| *bytes <= POOL_BYTES_MAX)
            .ok_or_else(|| out_of_range("slots", slots, "pools of at most 1 GiB"))?;
        let free = ArrayQueue::new(slots.max(1));
        for index in 0..slots as u32 {
            // Never full: it has room for all.
            let _ = free.push(index);
        }
        let mapping = Mapping::new(bytes)?;
        let shared =
            Shared { mapping, slot_bytes: slot_pages * PAGE_BYTES, free, overflows: AtomicU64::new(0) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A pool without slots: all its buffers come from the heap.
    pub(crate) fn heap() -> Self {
        let mapping = Mapping { start: NonNull::dangling(), bytes: 0 };
        let free = ArrayQueue::new(1);
        Self { shared: Arc::new(Shared { mapping, slot_bytes: 0, free, overflows: AtomicU64::new(0) }) }
    }

    /// A buffer of `bytes` bytes. Transfers take multiples of [`PAGE_BYTES`] alone.
    ///
    /// # Panics
    ///
    /// As a `Vec`, if that is more memory than there can be.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Buffer {
        if bytes <= self.shared.slot_bytes
            && let Some(index) = self.shared.free.pop()
        {
            let capacity = self.shared.slot_bytes;
            // SAFETY: the mapping has `slots` times `slot_bytes` bytes, and `index` is below `slots`.
            let start = unsafe { self.shared.mapping.start.add(index as usize * capacity) };
            let home = Home::Slot { pool: Arc::clone(&self.shared), index };
            return Buffer { start, length: bytes, capacity, home };
        }
        self.shared.overflows.fetch_add(1, Ordering::Relaxed);
        Buffer::heap(bytes)
    }

    /// Bytes that a slot has.
    #[must_use]
    pub fn slot_bytes(&self) -> usize {
        self.shared.slot_bytes
    }

    /// Slots that are not taken.
    #[must_use]
    pub fn free(&self) -> usize {
        self.shared.free.len()
    }

    /// How many buffers came from the heap.
    #[must_use]
    pub fn overflows(&self) -> u64 {
        self.shared.overflows.load(Ordering::Relaxed)
    }

    /// The mapping, to be registered: its address and length. Empty if the pool has no slots.
    pub(crate) fn mapping(&self) -> (*mut u8, usize) {
        (self.shared.mapping.start.as_ptr(), self.shared.mapping.bytes)
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("slot_bytes", &self.slot_bytes())
            .field("free", &self.free())
            .field("overflows", &self.overflows())
            .finish_non_exhaustive()
    }
}

impl Mapping {
    fn new(bytes: usize) -> Result<Self, DiskError> {
        if bytes == 0 {
            return Ok(Self { start: NonNull::dangling(), bytes });
        }
        let failed = |source| DiskError::System { operation: "mmap", name: "buffers".into(), source };
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe {
            mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }
        .map_err(|errno| failed(errno.into()))?;
        let start =
            NonNull::new(start.cast()).ok_or_else(|| failed(std::io::ErrorKind::OutOfMemory.into()))?;
        Ok(Self { start, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        // SAFETY: mapped by `new` with this length. Every buffer in it holds the pool, so none is left; and a ring
        // with which it is registered holds the pool too.
        let result = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(result.is_ok(), "munmap: {result:?}");
    }
}

// SAFETY: `Shared` owns the mapping, and hands out disjoint slots of it, each to one buffer at a time (an index is
// either in `free` or in one buffer); it never looks inside itself.
unsafe impl Send for Shared {}
// SAFETY: as above; `free` and the counter are made to be shared.
unsafe impl Sync for Shared {}

impl Buffer {
    /// A buffer from the heap, of `bytes` zeros.
    ///
    /// # Panics
    ///
    /// As a `Vec`, if that is more memory than there can be.
    #[must_use]
    pub fn heap(bytes: usize) -> Self {
        let pages = vec![Page([0; PAGE_BYTES]); bytes.div_ceil(PAGE_BYTES)].into_boxed_slice();
        let capacity = pages.len() * PAGE_BYTES;
        // A box's pointer is never null.
        let start = NonNull::from(Box::leak(pages)).cast();
        Self { start, length: bytes, capacity, home: Home::Heap }
    }

    /// Bytes it can have: whole pages.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Has it be `bytes` long, but no longer than its capacity. What is behind the old end is not specified.
    pub fn resize(&mut self, bytes: usize) {
        self.length = bytes.min(self.capacity);
    }

    /// Whether it is a slot of `pool`'s mapping.
    pub(crate) fn is_of(&self, pool: &BufferPool) -> bool {
        matches!(&self.home, Home::Slot { pool: home, .. } if Arc::ptr_eq(home, &pool.shared))
    }

    /// The address of the bytes in `range`, which the kernel may be given as long as the buffer lives.
    ///
    /// # Panics
    ///
    /// If `range` leaves the buffer.
    pub(crate) fn range(&mut self, range: Range<usize>) -> (*mut u8, u32) {
        assert!(range.start <= range.end && range.end <= self.length, "{range:?} of {} bytes", self.length);
        // A transfer is as long as the system call can say; the rest is continued.
        let length = u32::try_from(range.len()).unwrap_or(TRANSFER_BYTES_MAX).min(TRANSFER_BYTES_MAX);
        // SAFETY: the assertion keeps it inside the buffer, or just behind.
        (unsafe { self.start.add(range.start) }.as_ptr(), length)
    }
}

/// The most bytes of one transfer: what read(2) takes at most, in whole pages.
const TRANSFER_BYTES_MAX: u32 = 0x7fff_f000;

// SAFETY: a buffer alone has its bytes, as a `Box<[u8]>` does; the pool it goes back to may be shared.
unsafe impl Send for Buffer {}
// SAFETY: as above; a shared buffer is only read.
unsafe impl Sync for Buffer {}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` has `capacity` bytes or more, which were zero from the start (mapping and heap), so are
        // initialised, and belong to this buffer until it is dropped; `length` is never above.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the buffer is borrowed exclusively. While the kernel has the bytes, the queue has
        // the buffer, and hands it to nobody.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match &self.home {
            Home::Slot { pool, index } => {
                let result = pool.free.push(*index);
                debug_assert!(result.is_ok(), "slot {index} was given back twice");
            }
            Home::Heap => {
                let pages = ptr::slice_from_raw_parts_mut(
                    self.start.as_ptr().cast::<Page>(),
                    self.capacity / PAGE_BYTES,
                );
                // SAFETY: `heap` leaked this box, of this many pages, into this buffer alone.
                drop(unsafe { Box::from_raw(pages) });
            }
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("bytes", &self.length)
            .field("is_pooled", &matches!(self.home, Home::Slot { .. }))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_aligned_apart_and_come_back() {
        let pool = BufferPool::new(3, 2).unwrap();
        let mut buffers: Vec<_> = (0..3).map(|_| pool.take(2 * PAGE_BYTES)).collect();
        for (index, buffer) in buffers.iter_mut().enumerate() {
            assert!(buffer.as_ptr().addr().is_multiple_of(PAGE_BYTES));
            assert!(buffer.is_of(&pool));
            buffer.fill(index as u8 + 1);
        }
        for (index, buffer) in buffers.iter().enumerate() {
            assert!(buffer.iter().all(|byte| *byte == index as u8 + 1), "slot {index}");
        }
        assert_eq!(pool.free(), 0);
        drop(buffers);
        assert_eq!(pool.free(), 3);
    }

    #[test]
    fn an_empty_pool_and_large_buffers_are_served_by_the_heap_and_counted() {
        let pool = BufferPool::new(1, 1).unwrap();
        let kept = pool.take(PAGE_BYTES);
        let mut other = pool.take(PAGE_BYTES);
        let large = pool.take(5 * PAGE_BYTES);
        assert!(kept.is_of(&pool) && !other.is_of(&pool) && !large.is_of(&pool));
        assert!(other.as_ptr().addr().is_multiple_of(PAGE_BYTES));
        assert!(large.iter().all(|byte| *byte == 0));
        other.fill(9);
        assert_eq!(pool.overflows(), 2);
        assert!(!BufferPool::new(0, 1).unwrap().take(1).is_of(&pool));
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let pool = BufferPool::new(1, 1).unwrap();
        let mut buffer = pool.take(PAGE_BYTES);
        drop(pool);
        buffer.fill(7);
        assert_eq!(buffer[PAGE_BYTES - 1], 7);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused_and_resizing_stays_inside() {
        assert!(matches!(BufferPool::new(1, 0), Err(DiskError::OutOfRange { field: "slot_pages", .. })));
        assert!(matches!(BufferPool::new(usize::MAX, 2), Err(DiskError::OutOfRange { field: "slots", .. })));
        assert!(BufferPool::new(1 << 19, 1).is_err());
        let mut buffer = Buffer::heap(1);
        assert_eq!((buffer.len(), buffer.capacity()), (1, PAGE_BYTES));
        buffer.resize(usize::MAX);
        assert_eq!(buffer.len(), PAGE_BYTES);
        assert!(Buffer::heap(0).is_empty());
    }
}
