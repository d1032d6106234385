//! No kernel reads outside a message: those here end, or begin, where memory does.

#![allow(unsafe_code, reason = "mapping pages that may not be read")]

mod common;

use common::{kernels, oracle};
use std::{io::Error, ptr, slice};

/// Readable bytes between two stretches that may not be read.
struct Guarded {
    base: *mut u8,
    page: usize,
}

impl Guarded {
    fn new() -> Self {
        // SAFETY: sysconf only returns a number.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap();
        let (protection, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), 3 * page, protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "{}", Error::last_os_error());
        let base: *mut u8 = base.cast();
        // SAFETY: the middle page of the mapping made above.
        let opened =
            unsafe { libc::mprotect(base.add(page).cast(), page, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(opened, 0, "{}", Error::last_os_error());
        Self { base, page }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the middle page may be read and written, is zeroed by the kernel, and lives as long as `self`.
        unsafe { slice::from_raw_parts_mut(self.base.add(self.page), self.page) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, to which no reference is left.
        unsafe { libc::munmap(self.base.cast(), 3 * self.page) };
    }
}

#[test]
fn nothing_is_read_outside_a_message() {
    let mut memory = Guarded::new();
    let bytes = memory.bytes();
    for (byte, index) in bytes.iter_mut().zip(0_u32..) {
        *byte = (index.wrapping_mul(0x9e37_79b9) >> 19) as u8;
    }
    let end = bytes.len();
    for kernel in kernels() {
        // What is read goes by the place in a block, and by how messages end relative to each other.
        for length in 0..=600 {
            for other in [0, 1, 7, 64, 135, 136, 532] {
                for lane in 0..kernel.lanes {
                    for ends in [true, false] {
                        let part = |length| if ends { &bytes[end - length..] } else { &bytes[..length] };
                        let mut messages: Vec<&[u8]> = vec![part(other); kernel.lanes];
                        messages[lane] = part(length);
                        let digests = (kernel.hash)(&messages);
                        assert_eq!(digests[lane], oracle(messages[lane]), "{} {length} {other}", kernel.name);
                    }
                }
            }
        }
    }
}
