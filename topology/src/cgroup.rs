//! Control-group limits, v1 and v2: pure functions over file contents, and one reader that walks the files.
//!
//! Sources: Linux `Documentation/admin-guide/cgroup-v2.rst` (`cpu.max`, `memory.max`, `cpuset.*.effective`) and
//! `cgroup-v1/{memory,cpusets}.rst`, `scheduler/sched-bwc.rst` (`cpu.cfs_quota_us`). A limit holds for all groups
//! below, so the effective one is the tightest from the process's own group up to the mount point.

use crate::{CpuId, NumaId, cpu_list};
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// v1 reports "no limit" as the largest page-aligned `i64`; a limit above this many bytes (4 EiB) is none.
const MEMORY_UNLIMITED_BYTES: u64 = 1 << 62;

/// What the control groups of a process allow; `None` means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CgroupLimits {
    /// CPUs of the cpuset.
    pub cpus: Option<Vec<CpuId>>,
    /// Memory nodes of the cpuset.
    pub numa_nodes: Option<Vec<NumaId>>,
    /// CPU bandwidth in thousandths of a core.
    pub cpu_quota_millicores: Option<u64>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
}

/// One mounted hierarchy, from `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Whether this is the unified (v2) hierarchy.
    pub unified: bool,
    /// v1 controllers of the hierarchy; empty for v2.
    pub controllers: Vec<String>,
    /// The group that the mount point shows: `/`, or the container's own group.
    pub root: String,
    /// Where it is mounted.
    pub point: PathBuf,
}

/// The process's place in one hierarchy, from `/proc/self/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// v1 controllers of the hierarchy; empty for v2.
    pub controllers: Vec<String>,
    /// The group's path from the hierarchy's root.
    pub path: String,
}

impl CgroupLimits {
    /// Limits of this process, reading `proc` and `sys` under `root` (`/`, or a directory of a test). Files that
    /// are missing or unreadable limit nothing.
    pub fn read(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let memberships = parse_memberships(&read("proc/self/cgroup"));
        let mut limits = Self::default();
        for mount in parse_mounts(&read("proc/self/mountinfo")) {
            let Some(membership) = memberships.iter().find(|m| m.controllers == mount.controllers) else {
                continue;
            };
            for directory in directories(&mount, membership) {
                limits.tighten(&under(root, &directory), mount.unified);
            }
        }
        limits
    }

    fn tighten(&mut self, directory: &Path, unified: bool) {
        let read = |file: &str| fs::read_to_string(directory.join(file)).ok();
        let (quota, memory) = if unified {
            let quota = read("cpu.max").and_then(|text| parse_cpu_max(&text));
            // Above `memory.high` the kernel throttles the group to a crawl: as good as a limit.
            let memory = ["memory.max", "memory.high"]
                .into_iter()
                .filter_map(|file| read(file).and_then(|text| parse_memory_limit(&text)));
            (quota, memory.min())
        } else {
            let quota = read("cpu.cfs_quota_us")
                .zip(read("cpu.cfs_period_us"))
                .and_then(|(quota, period)| parse_cfs_quota(&quota, &period));
            (quota, read("memory.limit_in_bytes").and_then(|text| parse_memory_limit(&text)))
        };
        tighten_to(&mut self.cpu_quota_millicores, quota);
        tighten_to(&mut self.memory_bytes, memory);

        // Nested cpusets only shrink, so the first one found, the innermost, holds.
        // The effective set comes first: a plain one may be empty, which means the parent's.
        let list = |files: [&str; 3]| {
            let lists = files.into_iter().filter_map(|file| cpu_list::parse(&read(file)?));
            lists.into_iter().find(|list| !list.is_empty())
        };
        if self.cpus.is_none() {
            self.cpus = list(["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"])
                .map(|list| list.into_iter().map(CpuId).collect());
        }
        if self.numa_nodes.is_none() {
            self.numa_nodes = list(["cpuset.mems.effective", "cpuset.effective_mems", "cpuset.mems"])
                .map(|list| list.into_iter().map(NumaId).collect());
        }
    }
}

fn tighten_to(limit: &mut Option<u64>, other: Option<u64>) {
    *limit = match (*limit, other) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    };
}

fn under(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Lines of `/proc/self/cgroup`: `4:memory:/a/b` (v1), `0::/a/b` (v2).
pub fn parse_memberships(text: &str) -> Vec<Membership> {
    text.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            Some(Membership { controllers: split_controllers(controllers), path: path.to_owned() })
        })
        .collect()
}

/// The cgroup hierarchies among the lines of `/proc/self/mountinfo`.
pub fn parse_mounts(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_mount).collect()
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (fields, tail) = line.split_once(" - ")?;
    let mut fields = fields.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let mut tail = tail.split(' ');
    let unified = match tail.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    // Super-block options of v1 name the controllers beside flags such as `rw`, which no membership lists.
    let options = tail.nth(1).unwrap_or_default();
    let controllers = if unified {
        Vec::new()
    } else {
        let flags = ["rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods"];
        let mut named = split_controllers(options);
        named.retain(|option| !flags.contains(&option.as_str()) && !option.starts_with("release_agent="));
        named
    };
    Some(Mount { unified, controllers, root: unescape(root), point: PathBuf::from(unescape(point)) })
}

/// Controllers in one order, since mount options and memberships may differ in theirs.
fn split_controllers(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    names.sort();
    names
}

/// `mountinfo` writes a space as `\040`.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// Directories from the process's group up to the mount point. A group outside the mount's root (a container
/// without a cgroup namespace shows the host's path) leaves only the mount point, which then is the group.
pub fn directories(mount: &Mount, membership: &Membership) -> Vec<PathBuf> {
    let below = Path::new(&membership.path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let safe = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let below = if safe { below } else { Path::new("") };
    below.ancestors().map(|part| mount.point.join(part)).collect()
}

/// v2 `cpu.max`: `max 100000` or `250000 100000`, as thousandths of a core.
pub fn parse_cpu_max(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let quota = words.next()?.parse().ok()?;
    let period = words.next().map_or(Some(100_000), |word| word.parse().ok())?;
    millicores(quota, period)
}

/// v1 `cpu.cfs_quota_us` (-1 for none) over `cpu.cfs_period_us`, as thousandths of a core.
pub fn parse_cfs_quota(quota: &str, period: &str) -> Option<u64> {
    millicores(quota.trim().parse().ok()?, period.trim().parse().ok()?)
}

fn millicores(quota_us: u64, period_us: u64) -> Option<u64> {
    quota_us.checked_mul(1000)?.checked_div(period_us)
}

/// `memory.max` (v2, `max` for none) or `memory.limit_in_bytes` (v1, a huge number for none), in bytes.
pub fn parse_memory_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&bytes| bytes < MEMORY_UNLIMITED_BYTES)
}
