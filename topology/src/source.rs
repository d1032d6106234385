//! Where a machine's description comes from.

use serde::Serialize;
use std::{fmt, path::PathBuf};

/// Which machine to plan for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineSource {
    /// The one this process runs on.
    ThisMachine,
    /// The one that the variable `HWLOC_SYNTHETIC` or `HWLOC_XMLFILE` puts in place of this machine inside hwloc.
    /// Comes out of [`Machine::discover`](crate::Machine::discover) and means the same as `ThisMachine` going in.
    Environment,
    /// An hwloc synthetic description, such as `pack:2 [numa(memory=64GiB)] core:16 pu:1`
    /// (hwloc manual, "Synthetic topologies").
    Synthetic(String),
    /// A file written by `lstopo --of xml`.
    Xml(PathBuf),
}

impl fmt::Display for MachineSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThisMachine => f.write_str("this machine"),
            Self::Environment => f.write_str("machine of the HWLOC_* environment variables"),
            Self::Synthetic(description) => write!(f, "synthetic machine \"{description}\""),
            Self::Xml(path) => write!(f, "machine file {}", path.display()),
        }
    }
}
