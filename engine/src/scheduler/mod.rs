//! The scheduler: runs the entries of a stream in parallel so that the result equals running them in order.
//!
//! It knows a [`Vm`]'s locations and values, not its opcodes. Three strategies stand behind the one trait
//! [`Strategy`]: [`Serial`] runs entry after entry on the calling thread, [`Optimistic`] runs ahead of the commit
//! frontier on all workers, [`Partitioned`] divides the locations among the workers where entries say beforehand what
//! they write (see [`Plan`]).
//!
//! How optimism stays exact: an execution records what it learnt of every value it read (an *observation*). The
//! frontier commits entries in order; at an entry's turn all that stands before it is committed, so checking its
//! observations against the committed values decides. Everything else (versions of uncommitted entries, telling
//! readers when a version lands, waiting for entries that run again) only makes that check succeed more often.

mod append_vec;
mod cell;
mod charge;
mod entry;
mod fuzz;
mod ids;
mod locations;
mod marks;
mod memory;
#[cfg(all(test, feature = "loom"))]
mod models;
mod once;
mod optimistic;
mod own;
mod partitioned;
mod plan;
mod retries;
mod serial;
mod strategy;
mod trace;
mod view;
mod vm;

pub(crate) use append_vec::AppendVec;
pub use fuzz::ScheduleFuzz;
pub use ids::{EntryIndex, Incarnation, LocationId, ReadId};
pub use optimistic::Optimistic;
pub use partitioned::Partitioned;
pub use plan::Plan;
pub use serial::Serial;
pub(crate) use strategy::panic_message;
pub use strategy::{Run, RunSettings, SegmentMetrics, Stop, Strategy};
pub use trace::{Needs, Tracer};
pub use vm::{Change, Interrupt, Scanned, View, Vm};

/// Locations whose table is worth keeping: a rare larger one would hold its memory for ever.
const KEPT_LOCATIONS_MAX: u32 = 1 << 18;
/// Entries whose lists are worth keeping: they are trimmed only when they are used again.
const KEPT_ENTRIES_MAX: u32 = 1 << 12;
