//! Binds threads to the places a plan gives them.

use crate::{RoleSlots, TopologyError, WorkerSlot, sys};
use std::io;

/// Pins the calling thread to the slot's CPU and, where there are several NUMA nodes, lets its fresh pages come
/// from the slot's node.
///
/// The node is a preference, and a system that refuses it is not an error here: a first touch from the pinned CPU
/// lands there anyway, and [`PlacementReport::check`](crate::PlacementReport::check) says where pages really are.
///
/// # Errors
///
/// [`TopologyError::NotBindable`] for a slot of a described machine, [`TopologyError::PinRefused`] if the system
/// says no. The thread then runs where it did: slower, never wrong.
pub fn pin_current_thread(slot: &WorkerSlot) -> Result<(), TopologyError> {
    let cpu = slot.lane.cpu;
    if !slot.bindable {
        return Err(TopologyError::NotBindable { cpu });
    }
    // Whether a number beyond the CPU set panics or is ignored is up to libc's version, which `core_affinity` trusts.
    if cpu.0 >= sys::CPUS_MAX {
        return Err(TopologyError::PinRefused { cpu, source: io::ErrorKind::InvalidInput.into() });
    }
    if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu.0 as usize }) {
        return Err(TopologyError::PinRefused { cpu, source: io::Error::last_os_error() });
    }
    if slot.memory_nodes_count > 1 {
        let _ = sys::prefer_node(slot.lane.numa);
    }
    Ok(())
}

/// Keeps the calling thread on the CPUs of a role: for threads of I/O, hashing and service.
///
/// # Errors
///
/// As [`pin_current_thread`]; the CPU named is the role's first.
pub fn pin_current_thread_to_role(role: &RoleSlots) -> Result<(), TopologyError> {
    let Some(first) = role.lanes.first() else {
        return Ok(());
    };
    if !role.bindable {
        return Err(TopologyError::NotBindable { cpu: first.cpu });
    }
    sys::set_affinity(&role.cpus()).map_err(|source| TopologyError::PinRefused { cpu: first.cpu, source })
}
