//! What an operator asks of a machine, as a TOML file.
//!
//! Every key has its unit in its name. A missing key of `[match]` means no condition, a missing flag `false`, any
//! other missing key `"auto"`; an unknown key is refused. `hardware-profiles/` has the shipped ones,
//! `docs/profiles.md` all keys, and why `auto` is what it is.

mod auto;
mod fields;
mod limits;
mod match_rule;
mod pick;
mod shipped;
mod storage;

pub use auto::Auto;
pub use limits::{ExecutionRules, HistoryRules};
pub use match_rule::MatchRule;
pub use pick::{Picked, pick};
pub use shipped::{SHIPPED, shipped};
pub use storage::{IoBackend, StorageRules};

use crate::{NumaId, TopologyError};
use fields::Fields;
use serde::Serialize;
use std::{
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

const CORES: RangeInclusive<u32> = 0..=16_384;
const CORES_FROM_ONE: RangeInclusive<u32> = 1..=16_384;
const MEMORY_GIB: RangeInclusive<u32> = 1..=1 << 20;
const PART_MIB: RangeInclusive<u32> = 0..=1 << 30;
const PART_MIB_FROM_ONE: RangeInclusive<u32> = 1..=1 << 30;
const DEVICES: RangeInclusive<u32> = 0..=1024;

/// A profile: values, or `auto` where the machine decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// What it is called.
    pub name: String,
    /// What it is for, in a line.
    pub description: String,
    /// Which machines it is picked for.
    #[serde(rename = "match")]
    pub fits: MatchRule,
    /// Who works where.
    pub cores: CoreRules,
    /// How much memory.
    pub memory: MemoryRules,
    /// How much disk, and how it is asked.
    pub storage: StorageRules,
    /// How far back can be gone.
    pub history: HistoryRules,
    /// How much workers may have under way.
    pub execution: ExecutionRules,
    /// Which accelerators.
    pub devices: DeviceRules,
}

/// `[cores]`: physical cores; workers take one SMT sibling of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CoreRules {
    /// Sockets to use, the first ones. Auto: all.
    pub sockets_count: Auto<u32>,
    /// NUMA nodes to use cores of. Auto: all.
    pub numa_node_ids: Auto<Vec<NumaId>>,
    /// Cores to use. Auto: all that sockets, nodes, affinity and CPU quota leave.
    pub cores_count: Auto<u32>,
    /// Cores for the engine's workers. Auto: all that the other roles leave.
    pub worker_cores_count: Auto<u32>,
    /// Cores for disk and network completions; 0: shares the service cores. Auto: one in 16, from 6 cores on.
    pub io_cores_count: Auto<u32>,
    /// Cores for state hashing beside execution; 0: shares the service cores. Auto: one in 8, from 8 cores on.
    pub hashing_cores_count: Auto<u32>,
    /// Cores for RPC, metrics and checkpoints; 0: shares the workers' cores. Auto: one in 16, from 3 cores on.
    pub service_cores_count: Auto<u32>,
}

/// `[memory]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MemoryRules {
    /// Memory Citius may hold, in GiB (2^30 bytes). Auto: four fifths of what the process may use of
    /// the nodes that its cores draw from.
    pub memory_budget_gib: Auto<u32>,
    /// Part of it for the nodes of the state trie, in MiB (2^20 bytes). Autos share what the parts with a number leave: four
    /// parts for the trie, one for each cache, two for all else.
    pub trie_nodes_mib: Auto<u32>,
    /// Part of it for the values that readers find without the trie, in MiB; 0 for no such cache.
    pub flat_cache_mib: Auto<u32>,
    /// Part of it for pages of the disk, in MiB; 0 for one page.
    pub page_cache_mib: Auto<u32>,
}

/// `[devices]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeviceRules {
    /// GPUs to hash on. Auto: all found.
    pub gpus_count: Auto<u32>,
    /// FPGA cards to hash on. Auto: all found.
    pub fpgas_count: Auto<u32>,
    /// The kernel as a vendor's compiler made it for these cards. Without one, cards are used whose driver compiles at
    /// run time, as emulators do.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub fpga_program: Option<FpgaProgram>,
}

/// A precompiled kernel, which `device-host/fpga/build.sh` makes; both paths or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FpgaProgram {
    /// The file for the driver (`.aocx`, `.xclbin`); where it is relative, from the working directory.
    #[serde(rename = "fpga_program_path")]
    pub program_path: PathBuf,
    /// Its manifest (TOML), with its SHA-256: the driver sees nothing else.
    #[serde(rename = "fpga_manifest_path")]
    pub manifest_path: PathBuf,
}

impl Profile {
    /// Reads a profile; `origin` (a name or a file) is what errors call it.
    ///
    /// # Errors
    ///
    /// [`TopologyError::ProfileSyntax`] for what is not TOML, [`TopologyError::ProfileField`] for a field that is
    /// unknown, of the wrong kind, out of range or impossible beside another.
    pub fn parse(origin: &str, text: &str) -> Result<Self, TopologyError> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| syntax_error(origin, text, &e))?;
        let mut top = Fields::new(origin, table);
        let name = top.text("name")?;
        let description = top.text("description")?;

        let mut section = top.section("match")?;
        let fits = MatchRule {
            cores_count_min: section.number("cores_count_min", CORES_FROM_ONE)?,
            cores_count_max: section.number("cores_count_max", CORES_FROM_ONE)?,
            memory_gib_min: section.number("memory_gib_min", MEMORY_GIB)?,
            memory_gib_max: section.number("memory_gib_max", MEMORY_GIB)?,
            gpus_count_min: section.number("gpus_count_min", DEVICES)?,
            fpgas_count_min: section.number("fpgas_count_min", DEVICES)?,
        };
        section.finish()?;

        let mut section = top.section("cores")?;
        let cores = CoreRules {
            sockets_count: section.auto_number("sockets_count", CORES_FROM_ONE)?,
            numa_node_ids: section.auto_numa_ids("numa_node_ids")?,
            cores_count: section.auto_number("cores_count", CORES_FROM_ONE)?,
            worker_cores_count: section.auto_number("worker_cores_count", CORES_FROM_ONE)?,
            io_cores_count: section.auto_number("io_cores_count", CORES)?,
            hashing_cores_count: section.auto_number("hashing_cores_count", CORES)?,
            service_cores_count: section.auto_number("service_cores_count", CORES)?,
        };
        section.finish()?;

        let mut section = top.section("memory")?;
        let memory = MemoryRules {
            memory_budget_gib: section.auto_number("memory_budget_gib", MEMORY_GIB)?,
            trie_nodes_mib: section.auto_number("trie_nodes_mib", PART_MIB_FROM_ONE)?,
            flat_cache_mib: section.auto_number("flat_cache_mib", PART_MIB)?,
            page_cache_mib: section.auto_number("page_cache_mib", PART_MIB)?,
        };
        section.finish()?;

        let storage = StorageRules::parse(top.section("storage")?)?;
        let history = HistoryRules::parse(top.section("history")?)?;
        let execution = ExecutionRules::parse(top.section("execution")?)?;

        let mut section = top.section("devices")?;
        let devices = DeviceRules {
            gpus_count: section.auto_number("gpus_count", DEVICES)?,
            fpgas_count: section.auto_number("fpgas_count", DEVICES)?,
            fpga_program: fpga_program(&mut section)?,
        };
        section.finish()?;
        top.finish()?;

        let profile = Self { name, description, fits, cores, memory, storage, history, execution, devices };
        profile.check(origin)?;
        Ok(profile)
    }

    /// Reads a profile file.
    ///
    /// # Errors
    ///
    /// [`TopologyError::ProfileFile`], and those of [`Profile::parse`].
    pub fn load(path: &Path) -> Result<Self, TopologyError> {
        let text = fs::read_to_string(path)
            .map_err(|source| TopologyError::ProfileFile { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// The profile as TOML that [`Profile::parse`] reads back, for programs that write profiles.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a profile holds texts, numbers and lists of numbers alone")
    }

    /// An error about `field` of this profile.
    pub(crate) fn refuse(&self, field: &str, value: impl ToString, expected: String) -> TopologyError {
        refuse(&self.name, field, value, expected)
    }

    /// Refuses what no machine could satisfy. `plan` repeats it, since a profile can be built without `parse`.
    pub(crate) fn check(&self, origin: &str) -> Result<(), TopologyError> {
        self.fits.check(origin)?;
        self.storage.check(origin)?;
        self.history.check(origin)?;
        let cores = &self.cores;
        for (field, count) in [
            ("cores.sockets_count", cores.sockets_count),
            ("cores.cores_count", cores.cores_count),
            ("cores.worker_cores_count", cores.worker_cores_count),
            ("memory.memory_budget_gib", self.memory.memory_budget_gib),
            ("memory.trie_nodes_mib", self.memory.trie_nodes_mib),
            ("storage.ssd_capacity_gb", self.storage.ssd_capacity_gb),
            ("storage.page_file_gb", self.storage.page_file_gb),
            ("storage.journal_segment_mib", self.storage.journal_segment_mib),
            ("storage.io_queue_depth", self.storage.io_queue_depth),
            ("execution.reads_per_worker_max", self.execution.reads_per_worker_max),
        ] {
            if count == Auto::Fixed(0) {
                return Err(refuse(origin, field, 0, "at least 1, or \"auto\"".into()));
            }
        }
        if let Auto::Fixed(ids) = &cores.numa_node_ids {
            let repeated = ids.iter().enumerate().any(|(i, id)| ids[..i].contains(id));
            if ids.is_empty() || repeated {
                let shown = format!("{:?}", ids.iter().map(|id| id.0).collect::<Vec<_>>());
                let expected = "at least one NUMA node, each once, or \"auto\"".into();
                return Err(refuse(origin, "cores.numa_node_ids", shown, expected));
            }
        }
        if let Auto::Fixed(all) = cores.cores_count {
            let (sum, least) = (cores.fixed_roles_sum(), cores.workers_min());
            if sum + u64::from(least) > u64::from(all) {
                let expected = format!(
                    "at least the {sum} cores given to roles{}",
                    if least > 0 { " and one for a worker" } else { "" }
                );
                return Err(refuse(origin, "cores.cores_count", all, expected));
            }
        }
        Ok(())
    }
}

/// Both paths of a precompiled kernel, or none.
fn fpga_program(section: &mut Fields<'_>) -> Result<Option<FpgaProgram>, TopologyError> {
    const PROGRAM: &str = "fpga_program_path";
    const MANIFEST: &str = "fpga_manifest_path";
    let expected = "a path, since the other one is given: a program is run only if its manifest fits";
    match (section.optional_text(PROGRAM)?, section.optional_text(MANIFEST)?) {
        (None, None) => Ok(None),
        (Some(program), Some(manifest)) => {
            Ok(Some(FpgaProgram { program_path: program.into(), manifest_path: manifest.into() }))
        }
        (Some(_), None) => Err(section.error(MANIFEST, "nothing", expected)),
        (None, Some(_)) => Err(section.error(PROGRAM, "nothing", expected)),
    }
}

impl CoreRules {
    /// Cores that the roles with a number ask for together.
    pub(crate) fn fixed_roles_sum(&self) -> u64 {
        [self.worker_cores_count, self.io_cores_count, self.hashing_cores_count, self.service_cores_count]
            .into_iter()
            .filter_map(Auto::fixed)
            .map(u64::from)
            .sum()
    }

    /// Cores that must be left for workers beyond [`Self::fixed_roles_sum`].
    pub(crate) fn workers_min(&self) -> u32 {
        u32::from(self.worker_cores_count == Auto::Auto)
    }
}

fn refuse(origin: &str, field: &str, value: impl ToString, expected: String) -> TopologyError {
    let (profile, field, value) = (origin.to_owned(), field.to_owned(), value.to_string());
    TopologyError::ProfileField { profile, field, value, expected }
}

fn syntax_error(origin: &str, text: &str, error: &toml::de::Error) -> TopologyError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let line = 1 + text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count();
    TopologyError::ProfileSyntax { profile: origin.to_owned(), line, reason: error.message().to_owned() }
}
