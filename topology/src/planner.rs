//! From a machine and a profile to a plan. Pure: reads nothing but its arguments.

use crate::{
    Core, Lane, Machine, NumaId, PackageId, Plan, ProfileChoice, RoleSlots, TopologyError, budget,
    profile::{Auto, Profile},
    split,
};
use std::collections::HashMap;

/// Cores given to each role.
struct Counts {
    workers: usize,
    io: usize,
    hashing: usize,
    service: usize,
}

/// Plans the use of `machine` as `profile` asks.
///
/// Cores are counted as physical cores; each gives its first usable SMT sibling. Reserved cores come from the node
/// with most cores left, so that nodes keep nearly the same number of workers, and from its end, where hybrid
/// processors have their slower cores. (Assumed, not measured.) A role without cores of its own shares those of
/// the service threads, or the workers' where there are none either, as on machines of one or two cores.
///
/// # Errors
///
/// [`TopologyError::ProfileField`] naming the field that this machine, or the profile itself, makes impossible;
/// [`TopologyError::NoUsableCore`] if the machine's limits leave no core.
///
/// ```
/// use citius_topology::{CpuId, Machine, plan, profile::Profile};
/// let machine = Machine::synthetic("pack:1 core:4 pu:2")?;
/// let profile = Profile::parse("mine", "name = 'mine'\ndescription = 'all auto'")?;
/// let plan = plan(&machine, &profile)?;
/// let cpus: Vec<CpuId> = plan.workers.iter().map(|slot| slot.lane.cpu).collect();
/// assert_eq!(cpus, [CpuId(0), CpuId(2), CpuId(4)]); // the fourth core is left for the other roles
/// # Ok::<(), citius_topology::TopologyError>(())
/// ```
pub fn plan(machine: &Machine, profile: &Profile) -> Result<Plan, TopologyError> {
    profile.check(&profile.name)?;
    let candidates = candidate_cores(machine, profile)?;
    let cores = &candidates[..cores_count(machine, profile, candidates.len())?];
    let counts = role_counts(profile, cores.len())?;

    let mut free: Vec<Lane> = cores.iter().filter_map(|core| lane(machine, core, 0)).collect();
    let service = reserve(&mut free, counts.service);
    let io = reserve(&mut free, counts.io);
    let hashing = reserve(&mut free, counts.hashing);
    let unused = free.split_off(counts.workers);
    let worker_lanes = worker_lane_order(machine, [&free, &unused, &hashing, &io, &service]);

    let (drawn, others) = budget::memory_nodes(machine, &worker_lanes);
    let memory_budget_bytes = budget::memory_bytes(machine, profile, &drawn, &others)?;
    let ssd_capacity_bytes = budget::ssd_capacity_bytes(machine, profile)?;
    let execution = split::execution(profile);
    let (gpus_count, fpgas_count) = budget::devices_counts(machine, profile)?;

    let fallback = if service.is_empty() { free } else { service.clone() };
    let role = |lanes: Vec<Lane>| RoleSlots {
        lanes: if lanes.is_empty() { fallback.clone() } else { lanes },
        shared: false,
        bindable: machine.bindable,
    };
    let memory_nodes = machine.numa_nodes.iter().filter(|node| node.memory_bytes > 0).count();
    let plan = Plan {
        profile: ProfileChoice { name: profile.name.clone(), reason: "given by the caller".into() },
        bindable: machine.bindable,
        workers: Vec::new(),
        io: role(io),
        hashing: role(hashing),
        numa: budget::numa_shares(&drawn, &others, memory_budget_bytes),
        memory_nodes_count: u32::try_from(memory_nodes).unwrap_or(u32::MAX),
        memory_budget_bytes,
        memory_parts: split::memory_parts(profile, memory_budget_bytes)?,
        ssd_capacity_bytes,
        storage: split::storage(profile, ssd_capacity_bytes, execution.reads_per_worker_max)?,
        history: split::history(profile),
        execution,
        gpus_count,
        fpgas_count,
        fpga_program: profile.devices.fpga_program.clone(),
        notes: notes(machine, profile, cores.len(), unused.len()),
        service: role(service),
        worker_lanes,
    };
    Ok(plan.with_threads(counts.workers))
}

/// Usable cores of the sockets and nodes asked for, package by package, node by node.
fn candidate_cores<'m>(machine: &'m Machine, profile: &Profile) -> Result<Vec<&'m Core>, TopologyError> {
    let mut packages: &[PackageId] = &machine.packages;
    if let Auto::Fixed(wanted) = profile.cores.sockets_count {
        packages = packages.get(..wanted as usize).ok_or_else(|| {
            let expected = format!("at most {}, the sockets of this machine", machine.packages.len());
            profile.refuse("cores.sockets_count", wanted, expected)
        })?;
    }
    let nodes = profile.cores.numa_node_ids.as_fixed();
    if let Some(unknown) = nodes.and_then(|ids| ids.iter().find(|id| machine.numa_node(**id).is_none())) {
        let known: Vec<NumaId> = machine.numa_nodes.iter().map(|node| node.id).collect();
        let expected = format!("NUMA nodes of this machine: {}", join(&known));
        return Err(profile.refuse("cores.numa_node_ids", unknown, expected));
    }
    let mut cores: Vec<&Core> = machine
        .usable_cores()
        .filter(|core| packages.contains(&core.package))
        .filter(|core| nodes.is_none_or(|ids| ids.contains(&core.numa)))
        .collect();
    let package_order = |core: &Core| machine.packages.iter().position(|id| *id == core.package);
    cores.sort_by_key(|core| (package_order(core), core.numa, core.id));
    if let Some(ids) = nodes.filter(|_| cores.is_empty()) {
        let expected = "nodes with cores that this process may run on".into();
        return Err(profile.refuse("cores.numa_node_ids", join(ids), expected));
    }
    if cores.is_empty() {
        let reason = format!("allowed CPUs are {:?}", machine.limits.cpus);
        return Err(TopologyError::NoUsableCore { machine: machine.source.to_string(), reason });
    }
    Ok(cores)
}

/// How many of the candidates are used, the first ones: a CPU quota or the profile may ask for fewer.
fn cores_count(machine: &Machine, profile: &Profile, candidates: usize) -> Result<usize, TopologyError> {
    let quota = machine.limits.cpu_quota_cores_count().map_or(usize::MAX, |quota| quota as usize);
    let available = candidates.min(quota);
    match profile.cores.cores_count {
        Auto::Fixed(wanted) if wanted as usize > available => {
            let expected = format!(
                "at most {available}: of {} cores, {candidates} are usable by affinity, sockets and NUMA nodes{}",
                machine.cores.len(),
                if quota < candidates {
                    format!(", and the CPU quota pays for {quota}")
                } else {
                    String::new()
                }
            );
            Err(profile.refuse("cores.cores_count", wanted, expected))
        }
        Auto::Fixed(wanted) => Ok(wanted as usize),
        Auto::Auto => Ok(available),
    }
}

/// Roles with a number get it; the others get their usual part as far as cores remain, workers the rest.
fn role_counts(profile: &Profile, cores: usize) -> Result<Counts, TopologyError> {
    let rules = &profile.cores;
    let workers_min = rules.workers_min() as usize;
    let fixed = usize::try_from(rules.fixed_roles_sum()).unwrap_or(usize::MAX);
    let Some(mut left) = cores.checked_sub(fixed.saturating_add(workers_min)) else {
        return Err(too_many_cores(profile, cores));
    };
    let mut take = |rule: Auto<u32>, usual: usize| match rule {
        Auto::Fixed(count) => count as usize,
        Auto::Auto => {
            let count = usual.min(left);
            left -= count;
            count
        }
    };
    let part = |one_in: usize, from: usize| if cores < from { 0 } else { (cores / one_in).max(1) };
    let service = take(rules.service_cores_count, part(16, 3));
    let io = take(rules.io_cores_count, part(16, 6));
    let hashing = take(rules.hashing_cores_count, part(8, 8));
    let workers = rules.worker_cores_count.fixed().map_or(left + workers_min, |count| count as usize);
    Ok(Counts { workers, io, hashing, service })
}

/// Names the role that asks for most, and the whole sum.
fn too_many_cores(profile: &Profile, cores: usize) -> TopologyError {
    let rules = &profile.cores;
    let roles = [
        ("worker", rules.worker_cores_count),
        ("io", rules.io_cores_count),
        ("hashing", rules.hashing_cores_count),
        ("service", rules.service_cores_count),
    ];
    let fixed: Vec<(&str, u32)> =
        roles.into_iter().filter_map(|(role, count)| Some((role, count.fixed()?))).collect();
    let (role, count) = fixed.iter().copied().max_by_key(|(_, count)| *count).unwrap_or(("worker", 1));
    let mut sum: Vec<String> = fixed.iter().map(|(role, count)| format!("{role} {count}")).collect();
    if rules.workers_min() > 0 {
        sum.insert(0, "worker at least 1".into());
    }
    let expected = format!("{} to fit the {cores} cores to share out", sum.join(" + "));
    profile.refuse(&format!("cores.{role}_cores_count"), count, expected)
}

/// Takes `count` lanes, each from the node with most lanes left (the first of several), its last one.
fn reserve(free: &mut Vec<Lane>, count: usize) -> Vec<Lane> {
    let mut left_on: HashMap<NumaId, usize> = HashMap::new();
    for lane in free.iter() {
        *left_on.entry(lane.numa).or_default() += 1;
    }
    let mut taken: Vec<Lane> = (0..count)
        .filter_map(|_| {
            // Of equal maxima `max_by_key` gives the last, which `rev` makes the first.
            let fullest = free.iter().rev().max_by_key(|lane| left_on[&lane.numa])?.numa;
            let last = free.iter().rposition(|lane| lane.numa == fullest)?;
            *left_on.get_mut(&fullest)? -= 1;
            Some(free.remove(last))
        })
        .collect();
    taken.sort_by_key(|lane| lane.core);
    taken
}

/// First siblings group by group, then second siblings in the same order, and so on.
fn worker_lane_order(machine: &Machine, groups: [&Vec<Lane>; 5]) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = groups.into_iter().flatten().copied().collect();
    let cores: Vec<&Core> = lanes.iter().map(|lane| &machine.cores[lane.core.0 as usize]).collect();
    let siblings = cores.iter().map(|core| core.cpus.len()).max().unwrap_or(0);
    for sibling in 1..siblings {
        lanes.extend(cores.iter().filter_map(|core| lane(machine, core, sibling)));
    }
    lanes
}

fn lane(machine: &Machine, core: &Core, sibling: usize) -> Option<Lane> {
    let cpu = *machine.usable_cpus(core).get(sibling)?;
    Some(Lane { cpu, core: core.id, package: core.package, numa: core.numa })
}

fn notes(machine: &Machine, profile: &Profile, planned: usize, unused: usize) -> Vec<String> {
    let usable = machine.usable_cores().count();
    let mut notes = Vec::new();
    let mut note = |holds: bool, text: String| notes.extend(holds.then_some(text));
    let excluded = machine.cores.len() - usable;
    note(
        excluded > 0,
        format!("{excluded} of {} cores are not allowed to this process", machine.cores.len()),
    );
    if let Some(quota) = machine.limits.cpu_quota_cores_count() {
        note((quota as usize) < usable, format!("the CPU quota pays for {quota} of {usable} usable cores"));
    }
    let left_out = usable - planned + unused;
    note(left_out > 0, format!("{left_out} usable cores have no role"));
    let sqpoll = "SQPOLL keeps a core busy for every queue, of which each worker has one";
    note(profile.storage.io_sqpoll, sqpoll.to_owned());
    note(!machine.bindable, format!("planned for {}: threads cannot be pinned by it", machine.source));
    notes
}

fn join(ids: &[NumaId]) -> String {
    let shown: Vec<String> = ids.iter().map(NumaId::to_string).collect();
    shown.join(", ")
}
