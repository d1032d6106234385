//! The machine and its plan as a tree for people.

use crate::{Cache, Core, Machine, NumaId, NumaNode, PackageId, Plan, cpu_list};
use std::fmt::Write;

/// A line and what hangs below it.
struct Branch {
    label: String,
    children: Vec<Branch>,
}

/// Packages, NUMA nodes, shared caches and cores with the role of each, after a head of machine, profile (with why
/// it was chosen), budgets and notes. Lines end in `\n`; `plan` must be one of `machine`.
pub fn tree(machine: &Machine, plan: &Plan) -> String {
    let mut text = head(machine, plan);
    let mut branches: Vec<Branch> = machine.packages.iter().map(|id| package(machine, plan, *id)).collect();
    branches
        .extend(undrawn_nodes(machine).map(|node| leaf(undrawn_label(node) + &share_label(plan, node.id))));
    draw(&mut text, &branches, "");
    text
}

fn head(machine: &Machine, plan: &Plan) -> String {
    let cpus: usize = machine.cores.iter().map(|core| core.cpus.len()).sum();
    let mut lines = vec![format!(
        "{}: {}, {}, {}, {}, {} of memory",
        machine.source,
        counted(machine.packages.len(), "package"),
        counted(machine.numa_nodes.len(), "NUMA node"),
        counted(machine.cores.len(), "core"),
        counted(cpus, "CPU"),
        bytes(machine.memory_bytes),
    )];
    if machine.usable_memory_bytes() < machine.memory_bytes {
        lines.push(format!("  of which this process may use {}", bytes(machine.usable_memory_bytes())));
    }
    lines.push(format!("profile {}: {}", plan.profile.name, plan.profile.reason));
    let ssd = plan.ssd_capacity_bytes.map_or_else(
        || "as much disk as there is".to_owned(),
        |capacity| format!("{:.0} GB of disk", capacity as f64 / 1e9),
    );
    lines.push(format!(
        "uses {}, {} of memory, {ssd}, {}, {}",
        counted(plan.workers.len(), "worker"),
        bytes(plan.memory_budget_bytes),
        counted(plan.gpus_count as usize, "GPU"),
        counted(plan.fpgas_count as usize, "FPGA card"),
    ));
    lines.extend(state_lines(plan));
    for (name, role) in plan.roles() {
        let cpus = cpu_list::format(role.lanes.iter().map(|lane| lane.cpu.0));
        let shared = if role.shared { " (shared)" } else { "" };
        lines.push(format!("{name} on CPU {cpus}{shared}"));
    }
    lines.extend(plan.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n") + "\n"
}

/// What the state takes of memory and disk, and how it is used.
fn state_lines(plan: &Plan) -> [String; 3] {
    let (memory, storage) = (&plan.memory_parts, &plan.storage);
    let (history, execution) = (&plan.history, &plan.execution);
    let sqpoll = if storage.io_sqpoll { " and SQPOLL" } else { "" };
    [
        format!(
            "memory: {} for trie nodes, {} for the flat cache, {} for pages, {} for the rest",
            bytes(memory.trie_nodes_bytes_max),
            bytes(memory.flat_cache_bytes),
            bytes(memory.page_cache_bytes),
            bytes(memory.rest_bytes),
        ),
        format!(
            "store: {:.1} GB of pages, {:.1} GB of journal in files of {}; I/O {} at queue depth {}{sqpoll}",
            storage.page_bytes_max as f64 / 1e9,
            storage.journal_bytes_max as f64 / 1e9,
            bytes(storage.segment_bytes),
            storage.io_backend,
            storage.io_queue_depth,
        ),
        format!(
            "blocks: {} can be undone, {} stay in the journal; a worker parks {} executions and waits for {} reads, {} entries ahead",
            history.reorg_depth_blocks,
            history.retention_blocks,
            execution.parked_per_worker_max,
            execution.reads_per_worker_max,
            execution.prefetch_entries_max,
        ),
    ]
}

fn package(machine: &Machine, plan: &Plan, id: PackageId) -> Branch {
    let cores: Vec<&Core> = machine.cores.iter().filter(|core| core.package == id).collect();
    let mut nodes: Vec<NumaId> = cores.iter().map(|core| core.numa).collect();
    nodes.sort();
    nodes.dedup();
    let children = nodes
        .into_iter()
        .map(|node| {
            let own: Vec<&Core> = cores.iter().copied().filter(|core| core.numa == node).collect();
            Branch {
                label: node_label(machine, plan, node),
                children: cores_by_cache(machine, plan, &own, u32::MAX),
            }
        })
        .collect();
    Branch { label: format!("package {id}"), children }
}

fn node_label(machine: &Machine, plan: &Plan, id: NumaId) -> String {
    let mut label = format!("NUMA node {id}");
    if let Some(node) = machine.numa_node(id) {
        let _ = write!(label, ", {}", bytes(node.memory_bytes));
    }
    label + &share_label(plan, id)
}

fn share_label(plan: &Plan, id: NumaId) -> String {
    let Some(share) = plan.numa.iter().find(|share| share.numa == id) else {
        return String::new();
    };
    let workers = counted(plan.workers_on(id), "worker");
    format!(" ({} for Citius, {workers})", bytes(share.memory_budget_bytes))
}

/// Cores below the caches that several of them share, largest cache outside.
fn cores_by_cache(machine: &Machine, plan: &Plan, cores: &[&Core], below_level: u32) -> Vec<Branch> {
    let covers = |cache: &&Cache| cache.level < below_level && cache.cores.len() > 1;
    let mut branches = Vec::new();
    let mut rest = cores;
    while let Some(first) = rest.first() {
        let shared = machine
            .caches
            .iter()
            .filter(covers)
            .filter(|cache| cache.cores.contains(&first.id))
            .max_by_key(|cache| cache.level);
        let Some(cache) = shared else {
            branches.push(leaf(core_label(machine, plan, first)));
            rest = &rest[1..];
            continue;
        };
        let behind = rest.iter().take_while(|core| cache.cores.contains(&core.id)).count();
        let children = cores_by_cache(machine, plan, &rest[..behind], cache.level);
        branches.push(Branch { label: format!("L{} {}", cache.level, bytes(cache.size_bytes)), children });
        rest = &rest[behind..];
    }
    branches
}

fn core_label(machine: &Machine, plan: &Plan, core: &Core) -> String {
    let mut label = format!("core {}, CPU {}", core.id, cpu_list::format(core.cpus.iter().map(|cpu| cpu.0)));
    for cache in machine.caches.iter().filter(|cache| cache.cores == [core.id]) {
        let _ = write!(label, ", L{} {}", cache.level, bytes(cache.size_bytes));
    }
    let roles = plan.roles_of(core.id);
    let role = if !roles.is_empty() {
        roles.join(", ")
    } else if machine.usable_cpus(core).is_empty() {
        "not allowed".to_owned()
    } else {
        "unused".to_owned()
    };
    format!("{label}: {role}")
}

/// Nodes that no core takes its memory from.
fn undrawn_nodes(machine: &Machine) -> impl Iterator<Item = &NumaNode> {
    machine.numa_nodes.iter().filter(|node| machine.cores.iter().all(|core| core.numa != node.id))
}

fn undrawn_label(node: &NumaNode) -> String {
    let (id, size) = (node.id, bytes(node.memory_bytes));
    let cpus = cpu_list::format(node.cpus.iter().map(|cpu| cpu.0));
    match (node.memory_bytes, node.cpus.is_empty()) {
        (0, _) => format!("NUMA node {id}, no memory (CPU {cpus} take theirs elsewhere)"),
        (_, true) => format!("NUMA node {id}, {size}, near no core"),
        // hwloc says the CPUs around a node, so a memory-only node has some too.
        (_, false) => format!("NUMA node {id}, {size}, no core's first choice (near CPU {cpus})"),
    }
}

fn leaf(label: String) -> Branch {
    Branch { label, children: Vec::new() }
}

fn draw(text: &mut String, branches: &[Branch], indent: &str) {
    for (i, branch) in branches.iter().enumerate() {
        let last = i + 1 == branches.len();
        let (joint, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let _ = writeln!(text, "{indent}{joint}{}", branch.label);
        draw(text, &branch.children, &format!("{indent}{below}"));
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Binary units, one decimal where it says something.
fn bytes(count: u64) -> String {
    let (value, unit) = match count {
        0..1024 => return format!("{count} B"),
        1024..1_048_576 => (count as f64 / 1024.0, "KiB"),
        1_048_576..1_073_741_824 => (count as f64 / 1_048_576.0, "MiB"),
        _ => (count as f64 / 1_073_741_824.0, "GiB"),
    };
    let text = format!("{value:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}
