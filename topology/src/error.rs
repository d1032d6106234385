//! Everything that can go wrong between a machine and a pinned thread.

use crate::CpuId;
use std::{io, path::PathBuf};
use thiserror::Error;

/// Why a machine, a profile or a plan was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// hwloc could not load the machine.
    #[error("cannot discover {machine}: {reason}")]
    Discovery {
        /// The machine asked for, in words.
        machine: String,
        /// What hwloc said.
        reason: String,
    },
    /// Affinity, cgroup or the description leave nothing to run on.
    #[error("{machine} has no core this process may run on: {reason}")]
    NoUsableCore {
        /// The machine asked for, in words.
        machine: String,
        /// What took the cores away.
        reason: String,
    },
    /// A synthetic description hwloc does not take.
    #[error("synthetic machine {description:?}: {reason}")]
    Synthetic {
        /// The description as given.
        description: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A machine file hwloc does not take.
    #[error("machine file {}: {reason}", path.display())]
    Xml {
        /// The file as given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A profile file that cannot be read.
    #[error("cannot read profile file {}", path.display())]
    ProfileFile {
        /// The file as given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A name that is neither a shipped profile nor a path.
    #[error("unknown profile {name:?}: expected one of {known}, or a path to a .toml file")]
    ProfileUnknown {
        /// The name as given.
        name: String,
        /// The shipped names, comma separated.
        known: String,
    },
    /// A profile that is not TOML.
    #[error("profile {profile}, line {line}: {reason}")]
    ProfileSyntax {
        /// The profile's name or file.
        profile: String,
        /// Line of the first mistake, from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A profile whose field is unknown, of the wrong kind, out of range, or impossible beside another field or on
    /// this machine.
    #[error("profile {profile}: {field} = {value}: expected {expected}")]
    ProfileField {
        /// The profile's name or file.
        profile: String,
        /// The field with its section, such as `cores.io_cores_count`.
        field: String,
        /// The value as given.
        value: String,
        /// What would be taken, and why.
        expected: String,
    },
    /// The plan was made for another machine: nothing of it may be bound here.
    #[error("CPU {cpu} belongs to a described machine, not to this one: its plan cannot be bound")]
    NotBindable {
        /// The CPU the plan names.
        cpu: CpuId,
    },
    /// The system refused to pin the thread, as some containers do.
    #[error("the system refused to pin this thread to CPU {cpu}")]
    PinRefused {
        /// The CPU asked for.
        cpu: CpuId,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The thread pool could not start.
    #[error("cannot start {threads_count} pool threads: {reason}")]
    Pool {
        /// Threads asked for.
        threads_count: usize,
        /// What rayon said.
        reason: String,
    },
}

/// What a caller can do about a [`TopologyError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The same call may succeed later.
    Retry,
    /// Go on without what was asked: threads run unpinned, correct but slower.
    FallBack,
    /// Another profile or machine description is needed.
    Fatal,
}

impl TopologyError {
    /// What a caller can do about it.
    pub fn recovery(&self) -> Recovery {
        match self {
            Self::Pool { .. } => Recovery::Retry,
            Self::PinRefused { .. } | Self::NotBindable { .. } => Recovery::FallBack,
            _ => Recovery::Fatal,
        }
    }
}
