//! From hwloc's objects to a [`Machine`].

use crate::{
    Cache, Core, CoreId, CpuId, Devices, Limits, Machine, MachineSource, NumaId, NumaNode, PackageId,
    TopologyError, meminfo,
};
use hwlocality::{
    Topology,
    bitmap::Bitmap,
    object::{
        TopologyObject,
        attributes::ObjectAttributes,
        types::{CacheType, ObjectType},
    },
    topology::builder::{BuildFlags, TopologyBuilder},
};
use std::{fs, path::Path};

/// A synthetic description may name this many CPUs: hwloc would build any number until memory ends.
const SYNTHETIC_CPUS_MAX: u64 = 1 << 14;

const DATA_CACHES: [ObjectType; 5] =
    [ObjectType::L5Cache, ObjectType::L4Cache, ObjectType::L3Cache, ObjectType::L2Cache, ObjectType::L1Cache];

impl Machine {
    /// The machine this process runs on, with the affinity and cgroup limits of the calling thread.
    ///
    /// Call it before any pinning (see [`Limits::of_this_thread`]).
    ///
    /// # Errors
    ///
    /// [`TopologyError::Discovery`] if hwloc fails, [`TopologyError::NoUsableCore`] if the limits exclude every core
    /// hwloc sees.
    pub fn discover() -> Result<Self, TopologyError> {
        let source = MachineSource::ThisMachine;
        let topology = load(Topology::builder(), &source)?;
        let mut machine = machine_of(&topology, source, Limits::of_this_thread())?;
        machine.bindable = topology.is_this_system();
        if !machine.bindable {
            machine.source = MachineSource::Environment;
        } else {
            machine.devices = Devices::scan(Path::new("/"));
            let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
            machine.take_memory_total(meminfo::total_bytes(&meminfo));
        }
        Ok(machine)
    }

    /// The machine of an hwloc synthetic description. Never bindable, unlimited, without devices.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Synthetic`] naming the description.
    pub fn synthetic(description: &str) -> Result<Self, TopologyError> {
        let refused =
            |reason: String| TopologyError::Synthetic { description: description.to_owned(), reason };
        let cpus = synthetic_cpus_count(description);
        if cpus > SYNTHETIC_CPUS_MAX {
            return Err(refused(format!("{cpus} CPUs, expected at most {SYNTHETIC_CPUS_MAX}")));
        }
        let source = MachineSource::Synthetic(description.to_owned());
        let builder = Topology::builder().from_synthetic(description).map_err(|e| refused(e.to_string()))?;
        let topology = load(builder, &source).map_err(|e| refused(e.to_string()))?;
        machine_of(&topology, source, Limits::default())
    }

    /// The machine of a file written by `lstopo --of xml`. Never bindable, without devices; CPUs and nodes that the
    /// file marks as disallowed stay so.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Xml`] naming the file.
    pub fn from_xml(path: &Path) -> Result<Self, TopologyError> {
        let refused = |reason: String| TopologyError::Xml { path: path.to_owned(), reason };
        let text = fs::read_to_string(path).map_err(|e| refused(e.to_string()))?;
        let source = MachineSource::Xml(path.to_owned());
        let builder = Topology::builder().from_xml(&text).map_err(|e| refused(e.to_string()))?;
        let topology = load(builder, &source).map_err(|e| refused(e.to_string()))?;
        let limits = Limits {
            cpus: Some(ids(&topology.allowed_cpuset(), CpuId)),
            numa_nodes: Some(ids(&topology.allowed_nodeset(), NumaId)),
            ..Limits::default()
        };
        machine_of(&topology, source, limits)
    }

    /// hwloc reads a node's memory from sysfs, which leaves out memory that was added to a running machine. With
    /// one node all of `total` is its; with several, nobody says whose the rest is, so that only the sum is set.
    fn take_memory_total(&mut self, total: Option<u64>) {
        let Some(total) = total else { return };
        self.memory_bytes = total;
        if let [node] = self.numa_nodes.as_mut_slice() {
            node.memory_bytes = total;
        }
    }
}

/// Loads with disallowed CPUs included: the machine is shown whole, and [`Limits`] says what is not ours.
fn load(builder: TopologyBuilder, source: &MachineSource) -> Result<Topology, TopologyError> {
    let failed = |reason: String| TopologyError::Discovery { machine: source.to_string(), reason };
    let builder = builder.with_flags(BuildFlags::INCLUDE_DISALLOWED).map_err(|e| failed(e.to_string()))?;
    builder.build().map_err(|e| failed(e.to_string()))
}

fn machine_of(topology: &Topology, source: MachineSource, limits: Limits) -> Result<Machine, TopologyError> {
    let mut numa_nodes: Vec<NumaNode> =
        topology.objects_with_type(ObjectType::NUMANode).map(numa_node).collect();
    numa_nodes.sort_by_key(|node| node.id);
    let cores: Vec<Core> = core_objects(topology)
        .enumerate()
        .map(|(i, core)| self::core(i, core, &numa_nodes, &limits))
        .collect();
    let mut packages: Vec<PackageId> = cores.iter().map(|core| core.package).collect();
    packages.dedup();
    let machine = Machine {
        bindable: false,
        packages,
        caches: caches(topology, &cores),
        memory_bytes: numa_nodes.iter().map(|node| node.memory_bytes).fold(0, u64::saturating_add),
        numa_nodes,
        cores,
        devices: Devices::default(),
        limits,
        source,
    };
    if machine.usable_cores().next().is_none() {
        let reason = format!("{} cores, none allowed by {:?}", machine.cores.len(), machine.limits.cpus);
        return Err(TopologyError::NoUsableCore { machine: machine.source.to_string(), reason });
    }
    Ok(machine)
}

/// Cores in hwloc's order, package by package; CPUs that no core object holds stand for a core each, as on virtual
/// machines that hide theirs.
fn core_objects(topology: &Topology) -> impl Iterator<Item = &TopologyObject> {
    topology.objects_with_type(ObjectType::PU).filter_map(|pu| {
        let Some(core) = pu.first_ancestor_with_type(ObjectType::Core) else {
            return Some(pu);
        };
        let first = core.cpuset().and_then(|set| set.first_set());
        (first.map(usize::from) == pu.os_index()).then_some(core)
    })
}

fn core(place: usize, object: &TopologyObject, nodes: &[NumaNode], limits: &Limits) -> Core {
    let package = object.first_ancestor_with_type(ObjectType::Package);
    let cpus = cpus_of(object);
    Core {
        id: CoreId(number(place)),
        package: PackageId(package.map_or(0, |p| number(p.os_index().unwrap_or_else(|| p.logical_index())))),
        numa: Machine::nearest_memory(nodes, limits, &cpus).unwrap_or(NumaId(0)),
        cpus,
    }
}

fn numa_node(object: &TopologyObject) -> NumaNode {
    let memory_bytes = match object.attributes() {
        Some(ObjectAttributes::NUMANode(node)) => node.local_memory().map_or(0, u64::from),
        _ => 0,
    };
    let id = object.os_index().unwrap_or_else(|| object.logical_index());
    NumaNode { id: NumaId(number(id)), memory_bytes, cpus: cpus_of(object) }
}

fn caches(topology: &Topology, cores: &[Core]) -> Vec<Cache> {
    let objects = DATA_CACHES.into_iter().flat_map(|kind| topology.objects_with_type(kind));
    objects
        .filter_map(|object| {
            let Some(ObjectAttributes::Cache(cache)) = object.attributes() else {
                return None;
            };
            let cpus = cpus_of(object);
            let behind = cores.iter().filter(|core| core.cpus.iter().any(|cpu| cpus.contains(cpu)));
            (cache.cache_type() != CacheType::Instruction).then(|| Cache {
                level: number(cache.depth()),
                size_bytes: cache.size().map_or(0, u64::from),
                cores: behind.map(|core| core.id).collect(),
            })
        })
        .collect()
}

fn cpus_of(object: &TopologyObject) -> Vec<CpuId> {
    object.cpuset().map_or_else(Vec::new, |set| ids(&*set, CpuId))
}

fn ids<Set, Id>(set: &Set, id: fn(u32) -> Id) -> Vec<Id>
where
    Set: AsRef<Bitmap>,
{
    let bitmap: &Bitmap = set.as_ref();
    // An infinite set has no weight and would be walked without end.
    if bitmap.weight().is_none() {
        return Vec::new();
    }
    bitmap.iter_set().map(|index| id(number(usize::from(index)))).collect()
}

/// hwloc numbers objects with `unsigned`, so that theirs fit.
fn number(index: usize) -> u32 {
    u32::try_from(index).expect("hwloc numbers fit u32")
}

/// CPUs a description would build: the product of its counts, written `type:count` or bare (memory in parentheses
/// left out).
fn synthetic_cpus_count(description: &str) -> u64 {
    let mut depth = 0_u32;
    let outside: String = description
        .chars()
        .map(|c| {
            depth += u32::from(c == '(');
            let shown = if depth == 0 { c } else { ' ' };
            depth -= u32::from(c == ')' && depth > 0);
            shown
        })
        .collect();
    let counts = outside.split([' ', '[', ']']).filter_map(|word| {
        let count = word.rsplit_once(':').map_or(word, |(_, count)| count);
        let digits: String = count.chars().take_while(char::is_ascii_digit).collect();
        (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
    });
    counts.fold(1, u64::saturating_mul)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hot_added_memory_belongs_to_the_only_node() {
        let mut machine = Machine::synthetic("[numa(memory=4GiB)] pack:1 core:2 pu:1").unwrap();
        machine.take_memory_total(Some(24 << 30));
        assert_eq!((machine.memory_bytes, machine.numa_nodes[0].memory_bytes), (24 << 30, 24 << 30));
    }

    #[test]
    fn hot_added_memory_of_several_nodes_counts_in_the_sum_alone() {
        let mut machine = Machine::synthetic("pack:2 [numa(memory=4GiB)] core:2 pu:1").unwrap();
        machine.take_memory_total(Some(24 << 30));
        assert_eq!((machine.memory_bytes, machine.numa_nodes[0].memory_bytes), (24 << 30, 4 << 30));
    }

    #[test]
    fn a_description_is_counted_before_it_is_built() {
        assert_eq!(synthetic_cpus_count("pack:2 [numa(memory=64GiB)] core:16 pu:2"), 64);
        assert_eq!(synthetic_cpus_count("4 2 (x:9) pu:3"), 24);
        assert!(matches!(Machine::synthetic("core:4000000000 pu:4"), Err(TopologyError::Synthetic { .. })));
    }
}
