//! How much memory, disk and which accelerators a plan may use.

use crate::{
    Lane, Machine, NumaId, NumaNode, NumaShare, TopologyError,
    profile::{Auto, Profile},
};
use std::collections::HashSet;

/// Bytes of a GiB.
const GIB: u64 = 1 << 30;

/// Bytes of a GB, as disks are sold.
pub(crate) const GB: u64 = 1_000_000_000;

/// Nodes that `lanes` draw from, and the others this process may take memory from.
pub(crate) fn memory_nodes<'m>(
    machine: &'m Machine,
    lanes: &[Lane],
) -> (Vec<&'m NumaNode>, Vec<&'m NumaNode>) {
    let drawn: HashSet<NumaId> = lanes.iter().map(|lane| lane.numa).collect();
    machine
        .numa_nodes
        .iter()
        .filter(|node| {
            drawn.contains(&node.id) || node.memory_bytes > 0 && machine.limits.allows_numa(node.id)
        })
        .partition(|node| drawn.contains(&node.id))
}

/// Auto counts the nodes drawn from alone: memory of other sockets or without CPUs is slower, so it must be asked
/// for by number.
pub(crate) fn memory_bytes(
    machine: &Machine,
    profile: &Profile,
    drawn: &[&NumaNode],
    others: &[&NumaNode],
) -> Result<u64, TopologyError> {
    let usable = machine.usable_memory_bytes();
    match profile.memory.memory_budget_gib {
        Auto::Auto => {
            let near = if others.is_empty() { usable } else { usable.min(sum_bytes(drawn)) };
            Ok(near - near / 5)
        }
        Auto::Fixed(gib) if u64::from(gib) * GIB > usable => {
            let limited = usable < machine.memory_bytes;
            let owner =
                if limited { "this process may use of the machine's memory" } else { "of this machine" };
            let expected = format!("at most {:.1}, the GiB {owner}", usable as f64 / GIB as f64);
            Err(profile.refuse("memory.memory_budget_gib", gib, expected))
        }
        Auto::Fixed(gib) => Ok(u64::from(gib) * GIB),
    }
}

/// Splits `budget` over the nodes drawn from, and what these cannot hold over the others.
pub(crate) fn numa_shares(drawn: &[&NumaNode], others: &[&NumaNode], budget: u64) -> Vec<NumaShare> {
    let near = if others.is_empty() { budget } else { budget.min(sum_bytes(drawn)) };
    let mut shares = split(drawn, near);
    if near < budget {
        shares.extend(split(others, budget - near));
    }
    shares
}

/// Splits in proportion to the nodes' memory; the first node takes the rounding.
fn split(nodes: &[&NumaNode], budget: u64) -> Vec<NumaShare> {
    let total = u128::from(sum_bytes(nodes));
    let share = |node: &&NumaNode| {
        let part = (u128::from(budget) * u128::from(node.memory_bytes)).checked_div(total).unwrap_or(0);
        let memory_budget_bytes = u64::try_from(part).expect("a part of a u64 fits u64");
        NumaShare { numa: node.id, memory_budget_bytes }
    };
    let mut shares: Vec<NumaShare> = nodes.iter().map(share).collect();
    let given: u64 = shares.iter().map(|share| share.memory_budget_bytes).sum();
    if let Some(first) = shares.first_mut() {
        first.memory_budget_bytes += budget - given;
    }
    shares
}

fn sum_bytes(nodes: &[&NumaNode]) -> u64 {
    nodes.iter().map(|node| node.memory_bytes).fold(0, u64::saturating_add)
}

/// Disk the store may fill.
pub(crate) fn ssd_capacity_bytes(machine: &Machine, profile: &Profile) -> Result<Option<u64>, TopologyError> {
    let found = machine.devices.disks_capacity_bytes;
    match (profile.storage.ssd_capacity_gb, found) {
        (Auto::Auto, found) => Ok(found),
        (Auto::Fixed(gb), Some(found)) if u64::from(gb) * GB > found => {
            let expected = format!("at most {}, the GB of all disks of this machine", found / GB);
            Err(profile.refuse("storage.ssd_capacity_gb", gb, expected))
        }
        (Auto::Fixed(gb), _) => Ok(Some(u64::from(gb) * GB)),
    }
}

/// GPUs and FPGA cards to use.
pub(crate) fn devices_counts(machine: &Machine, profile: &Profile) -> Result<(u32, u32), TopologyError> {
    let (rules, found) = (&profile.devices, &machine.devices);
    let gpus = devices_count(profile, "gpus_count", rules.gpus_count, found.gpus_count)?;
    let fpgas = devices_count(profile, "fpgas_count", rules.fpgas_count, found.fpgas_count)?;
    Ok((gpus, fpgas))
}

fn devices_count(profile: &Profile, key: &str, rule: Auto<u32>, found: u32) -> Result<u32, TopologyError> {
    match rule {
        Auto::Auto => Ok(found),
        Auto::Fixed(wanted) if wanted > found => {
            let expected = format!("at most {found}, as many as were found");
            Err(profile.refuse(&format!("devices.{key}"), wanted, expected))
        }
        Auto::Fixed(wanted) => Ok(wanted),
    }
}
