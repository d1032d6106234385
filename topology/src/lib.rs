//! Hardware discovery, profiles, the [`Plan`] and thread pinning.
//!
//! Nothing else in Citius reads the hardware. This crate turns a [`Machine`] (found, or described) and a
//! [`Profile`](profile::Profile) (TOML, with `auto` where the machine decides) into a [`Plan`]: plain data saying
//! which CPU each worker is pinned to, which NUMA node its memory comes from, and which cores are left for I/O,
//! hashing and service threads. [`plan()`] is a pure function, so a two-socket server is planned and tested on a
//! laptop.
//!
//! - Everything in one call: [`resolve`], which yields a [`Report`] (JSON by serde, a tree by [`Report::tree`]).
//! - Machines: [`Machine::discover`], [`Machine::synthetic`], [`Machine::from_xml`]. Only a discovered one may be
//!   bound; a thread is never pinned by the plan of another machine.
//! - Profiles: five shipped inside the crate ([`profile::shipped`]), files ([`profile::Profile::load`]), or one
//!   picked for the machine ([`profile::pick`]).
//! - Threads: [`pin_current_thread`] for workers, [`pin_current_thread_to_role`] for the others,
//!   [`data_parallel_pool`] for rayon work; [`PlacementReport`] checks that workers are where the plan says.
//!
//! No cargo features. Linux only. Discovery needs hwloc 2.8 or newer.
//!
//! ```
//! use citius_topology::{MachineSource, NumaId, ProfileSource, TopologyError, pin_current_thread, resolve};
//!
//! let machine = MachineSource::Synthetic("pack:2 [numa(memory=64GB)] core:16 pu:1".into());
//! let report = resolve(machine, ProfileSource::Pick)?;
//! assert_eq!(report.plan.profile.name, "reference-server");
//! assert_eq!(report.plan.workers.len(), 24);
//! assert_eq!(report.plan.workers_on(NumaId(1)), 12);
//! println!("{}", report.tree());
//!
//! // That machine is not this one, so that nothing is pinned by its plan.
//! let refused = pin_current_thread(&report.plan.workers[0]);
//! assert!(matches!(refused, Err(TopologyError::NotBindable { .. })));
//! # Ok::<(), TopologyError>(())
//! ```

mod budget;
pub mod cgroup;
pub mod cpu_list;
mod devices;
mod discover;
mod error;
mod ids;
mod limits;
mod machine;
mod meminfo;
mod pin;
mod placement;
mod plan;
mod planner;
mod pool;
pub mod profile;
pub mod render;
mod resolve;
mod slot;
mod source;
mod split;
mod sys;

pub use devices::Devices;
pub use error::{Recovery, TopologyError};
pub use ids::{CoreId, CpuId, NumaId, PackageId, WorkerIndex};
pub use limits::Limits;
pub use machine::{Cache, Core, Machine, NumaNode};
pub use pin::{pin_current_thread, pin_current_thread_to_role};
pub use placement::{Check, PlacementReport};
pub use plan::{ExecutionPlan, HistoryPlan, MemoryParts, NumaShare, Plan, ProfileChoice, StoragePlan};
pub use planner::plan;
pub use pool::{data_parallel_pool, pool_placement};
pub use resolve::{ProfileSource, Report, resolve, resolve_on};
pub use slot::{Lane, RoleSlots, WorkerSlot};
pub use source::MachineSource;
