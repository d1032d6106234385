//! The system calls that neither hwloc nor `core_affinity` covers. The only file with `unsafe` here; Linux alone.

#![allow(unsafe_code)]

use crate::{CpuId, NumaId};
use std::{io, mem, ptr};

/// CPU numbers a `cpu_set_t` holds, exclusive.
pub(crate) const CPUS_MAX: u32 = libc::CPU_SETSIZE as u32;

/// NUMA node numbers a policy mask here holds, exclusive.
const NODES_MAX: u32 = 1024;

/// `MPOL_PREFERRED` of `<linux/mempolicy.h>`: pages come from one node while it has some.
const MPOL_PREFERRED: libc::c_long = 1;

/// The CPU that runs the calling thread right now.
pub(crate) fn current_cpu() -> io::Result<CpuId> {
    // SAFETY: `sched_getcpu` takes nothing and only returns a number.
    let cpu = unsafe { libc::sched_getcpu() };
    u32::try_from(cpu).map(CpuId).map_err(|_| io::Error::last_os_error())
}

/// Lets the calling thread run on `cpus` and nowhere else.
pub(crate) fn set_affinity(cpus: &[CpuId]) -> io::Result<()> {
    // SAFETY: `cpu_set_t` is an array of integers, for which all-zero is a value: the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for cpu in cpus {
        if cpu.0 >= CPUS_MAX {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        // SAFETY: the check above keeps the index inside the set.
        unsafe { libc::CPU_SET(cpu.0 as usize, &mut set) };
    }
    // SAFETY: 0 names the calling thread, and the kernel reads `size_of` bytes of a live `set`.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets fresh pages of the calling thread come from `node` while it has some (set_mempolicy(2)).
pub(crate) fn prefer_node(node: NumaId) -> io::Result<()> {
    if node.0 >= NODES_MAX {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut mask = [0_u64; NODES_MAX as usize / 64];
    mask[node.0 as usize / 64] = 1 << (node.0 % 64);
    // The kernel reads one bit fewer than `maxnode` says (set_mempolicy(2), "Bugs").
    let bits = libc::c_ulong::from(NODES_MAX + 1);
    // SAFETY: the kernel reads `NODES_MAX` bits of `mask`, which lives until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, MPOL_PREFERRED, mask.as_ptr(), bits) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The node that a page mapped and touched just now by the calling thread came from (move_pages(2) without
/// targets, which only asks).
pub(crate) fn fresh_page_node() -> io::Result<NumaId> {
    // SAFETY: `sysconf` takes a constant and returns a number.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page_bytes = usize::try_from(page_bytes).map_err(|_| io::Error::last_os_error())?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory of ours.
    let page =
        unsafe { libc::mmap(ptr::null_mut(), page_bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping above is writable, at least one byte long and ours alone.
    unsafe { page.cast::<u8>().write_volatile(1) };
    let mut status: libc::c_int = -1;
    // SAFETY: pid 0 is this process; one page address is read and one status written, both live; a null `nodes`
    // makes the call a query.
    let result = unsafe {
        let nodes = ptr::null::<libc::c_int>();
        libc::syscall(
            libc::SYS_move_pages,
            0 as libc::c_long,
            1 as libc::c_ulong,
            &page,
            nodes,
            &mut status,
            0,
        )
    };
    let error = io::Error::last_os_error();
    // SAFETY: the mapping was made above with this length and nothing points into it any more.
    unsafe { libc::munmap(page, page_bytes) };
    if result != 0 {
        return Err(error);
    }
    u32::try_from(status).map(NumaId).map_err(|_| io::Error::from_raw_os_error(-status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_cpu_or_node_is_an_error() {
        assert!(set_affinity(&[CpuId(CPUS_MAX)]).is_err());
        assert!(set_affinity(&[]).is_err());
        assert!(prefer_node(NumaId(NODES_MAX)).is_err());
    }

    #[test]
    fn a_fresh_page_comes_from_a_node_that_exists() {
        match fresh_page_node() {
            Ok(node) => assert!(node.0 < NODES_MAX, "node {node}"),
            Err(error) => eprintln!("skipped: this system does not tell where pages are: {error}"),
        }
    }

    #[test]
    fn a_page_comes_from_the_preferred_node() {
        // On its own thread: a policy stays with the thread it was set for.
        let result = std::thread::spawn(|| {
            prefer_node(NumaId(0))?;
            fresh_page_node()
        });
        match result.join().unwrap() {
            Ok(node) => assert_eq!(node, NumaId(0)),
            Err(error) => eprintln!("skipped: no memory policies here: {error}"),
        }
    }
}
