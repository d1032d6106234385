//! The shared memory file. The only file of the protocol with `unsafe`: the mapping.

#![allow(unsafe_code, reason = "a mapping has no safe form")]

use super::layout::{Layout, LayoutError};
use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create},
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};
use std::{
    fmt,
    ops::Range,
    os::fd::{AsFd, OwnedFd},
    ptr, slice,
    sync::atomic::{AtomicU64, Ordering},
};
use thiserror::Error;

#[cfg(target_endian = "big")]
compile_error!("the shared file's words are little-endian: this machine's are not");

/// A mapping of the shared file, unmapped when dropped. See the module's drawing for what stands where.
///
/// All access is by relaxed atomic words. What one side wrote before it sent a packet is seen by the other after it
/// received that: the kernel orders the two.
pub struct Region {
    words: &'static [AtomicU64],
    layout: Layout,
}

/// Why there is no shared file.
#[derive(Debug, Error)]
pub enum RegionError {
    /// Its header or its size is wrong.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// It could shrink under the reader.
    #[error("shared file: seals = {seals:#x}: expected at least those against shrinking and growing")]
    Seals {
        /// The seals found.
        seals: u32,
    },
    /// The system refused.
    #[error("shared file: {call} failed")]
    System {
        /// The call.
        call: &'static str,
        /// What it said.
        #[source]
        source: Errno,
    },
}

fn system(call: &'static str) -> impl Fn(Errno) -> RegionError {
    move |source| RegionError::System { call, source }
}

impl Region {
    /// Makes a file, and maps it. The descriptor is for the host.
    ///
    /// # Errors
    ///
    /// [`RegionError::System`].
    pub fn create(layout: Layout) -> Result<(Self, OwnedFd), RegionError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("citius-device", flags).map_err(system("memfd_create"))?;
        ftruncate(&file, layout.file_bytes() as u64).map_err(system("ftruncate"))?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&file, seals).map_err(system("fcntl"))?;
        let region = Self { words: map(&file, layout.file_bytes())?, layout };
        for (word, value) in region.words.iter().zip(layout.header()) {
            word.store(value, Ordering::Relaxed);
        }
        Ok((region, file))
    }

    /// Maps a file that a peer made.
    ///
    /// # Errors
    ///
    /// [`RegionError`], if its seals, its header or its size are not what they must be.
    pub fn open(file: &OwnedFd) -> Result<Self, RegionError> {
        let seals = fcntl_get_seals(file).map_err(system("fcntl"))?;
        if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(RegionError::Seals { seals: seals.bits() });
        }
        let file_bytes = u64::try_from(fstat(file).map_err(system("fstat"))?.st_size).unwrap_or(0);
        // Before anything is mapped: the largest layout bounds what is.
        let bytes = usize::try_from(file_bytes).unwrap_or(usize::MAX);
        let smallest = Layout::new(4096, 1)?.file_bytes();
        let largest = Layout::new(super::ARENA_BYTES_MAX, super::MESSAGES_MAX)?.file_bytes();
        if !(smallest..=largest).contains(&bytes) || !bytes.is_multiple_of(8) {
            let expected = format!("{smallest} to {largest}, in words of 8");
            return Err(LayoutError { field: "size", value: file_bytes, expected }.into());
        }
        let words = map(file, bytes)?;
        let header = [0, 1, 2, 3].map(|index: usize| words[index].load(Ordering::Relaxed));
        match Layout::from_header(header, file_bytes) {
            Ok(layout) => Ok(Self { words, layout }),
            Err(error) => {
                unmap(words);
                Err(error.into())
            }
        }
    }

    /// Its sizes, as they were when it was mapped.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Puts a message's bytes into the arena from word `start_words` on, the last word filled up with zeros.
    ///
    /// # Panics
    ///
    /// If the arena ends before the message.
    pub fn set_arena(&self, start_words: usize, message: &[u8]) {
        let words = &self.words[self.layout.arena_words()][start_words..][..message.len().div_ceil(8)];
        let (whole, rest) = message.as_chunks::<8>();
        for (word, bytes) in words.iter().zip(whole) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            words[whole.len()].store(u64::from_le_bytes(last), Ordering::Relaxed);
        }
    }

    /// The arena's words in `range`.
    ///
    /// # Panics
    ///
    /// If `range` leaves the arena.
    pub fn arena(&self, range: Range<usize>) -> impl ExactSizeIterator<Item = u64> {
        self.words[self.layout.arena_words()][range].iter().map(|word| word.load(Ordering::Relaxed))
    }

    /// Sets where message `index` begins and its length in bytes.
    ///
    /// # Panics
    ///
    /// If `index` is not below `messages_max`.
    pub fn set_message(&self, index: usize, start_words: u32, length_bytes: u32) {
        let value = u64::from(start_words) | u64::from(length_bytes) << 32;
        self.words[self.layout.messages_words()][index].store(value, Ordering::Relaxed);
    }

    /// Where message `index` begins and its length in bytes, as the file has it.
    ///
    /// # Panics
    ///
    /// If `index` is not below `messages_max`.
    #[must_use]
    pub fn message(&self, index: usize) -> (u32, u32) {
        let value = self.words[self.layout.messages_words()][index].load(Ordering::Relaxed);
        (value as u32, (value >> 32) as u32)
    }

    /// Sets digest `index`.
    ///
    /// # Panics
    ///
    /// If `index` is not below `messages_max`.
    pub fn set_digest(&self, index: usize, digest: [u64; 4]) {
        let words = &self.words[self.layout.digests_words()][4 * index..][..4];
        for (word, value) in words.iter().zip(digest) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Digest `index`.
    ///
    /// # Panics
    ///
    /// If `index` is not below `messages_max`.
    #[must_use]
    pub fn digest(&self, index: usize) -> [u8; 32] {
        let words = &self.words[self.layout.digests_words()][4 * index..][..4];
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        digest
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        unmap(self.words);
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Maps the whole file. The lifetime ends in `unmap`, which `Region`'s drop alone calls, or who never made one.
fn map(file: &OwnedFd, bytes: usize) -> Result<&'static [AtomicU64], RegionError> {
    // SAFETY: at an address of the kernel's choice; no other mapping is touched.
    let address = unsafe {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, file.as_fd(), 0)
    }
    .map_err(system("mmap"))?;
    // SAFETY: the mapping is page-aligned, `bytes` long and stays until `unmap`; the seals, which `create` set and
    // `open` checked, keep the file that long, so no access faults; zeros and anything else are values of the
    // atomics; and whoever shares the file may write it at any time, which atomics allow.
    Ok(unsafe { slice::from_raw_parts(address.cast::<AtomicU64>(), bytes / 8) })
}

fn unmap(words: &'static [AtomicU64]) {
    // SAFETY: made by `map` with this length, and the caller gives its only copy away: no reference from it is left,
    // since those that methods hand out borrow the `Region`.
    let result = unsafe { munmap(words.as_ptr().cast_mut().cast(), size_of_val(words)) };
    debug_assert!(result.is_ok(), "munmap: {result:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::new(4096, 8).unwrap()
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let (parent, file) = Region::create(layout()).unwrap();
        let host = Region::open(&file).unwrap();
        assert_eq!(host.layout(), layout());
        parent.set_arena(1, b"0123456789");
        parent.set_message(7, 1, 10);
        assert_eq!(host.message(7), (1, 10));
        let bytes: Vec<u8> = host.arena(1..3).flat_map(u64::to_le_bytes).collect();
        assert_eq!(bytes, b"0123456789\0\0\0\0\0\0");
        host.set_digest(7, [1, 2, 3, u64::MAX]);
        assert_eq!((parent.digest(7)[8], parent.digest(7)[31], parent.digest(6)), (2, 255, [0; 32]));
    }

    #[test]
    fn a_file_that_could_shrink_or_lies_about_itself_is_refused() {
        let unsealed = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&unsealed, layout().file_bytes() as u64).unwrap();
        assert!(matches!(Region::open(&unsealed), Err(RegionError::Seals { .. })));
        fcntl_add_seals(&unsealed, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        assert!(matches!(Region::open(&unsealed), Err(RegionError::Layout(_))), "it has no header");

        let (region, file) = Region::create(layout()).unwrap();
        region.words[3].store(9, Ordering::Relaxed);
        assert!(matches!(Region::open(&file), Err(RegionError::Layout(_))));

        let empty = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        fcntl_add_seals(&empty, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        assert!(matches!(Region::open(&empty), Err(RegionError::Layout(_))));
    }

    #[test]
    fn the_file_cannot_be_cut_under_its_readers() {
        let (_region, file) = Region::create(layout()).unwrap();
        assert!(ftruncate(&file, 0).is_err());
    }
}
