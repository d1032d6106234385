//! What a store may take of its disk, and how it asks it.

use super::{Auto, fields::Fields, refuse};
use crate::TopologyError;
use serde::Serialize;
use std::{fmt, ops::RangeInclusive};

const GB: RangeInclusive<u32> = 1..=100_000_000;
const JOURNAL_MIB: RangeInclusive<u32> = 3..=1 << 30;
const SEGMENT_MIB: RangeInclusive<u32> = 1..=4096;
/// As io_uring takes them.
const QUEUE_DEPTH: RangeInclusive<u32> = 1..=4096;

/// `[storage]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StorageRules {
    /// Disk the store may fill, in GB (10^9 bytes). Auto: the disks found, or no bound of its own where
    /// none are visible; pages and journal then are parts of 100 GB.
    pub ssd_capacity_gb: Auto<u32>,
    /// Part of it for pages, in GB. Autos share what the part with a number leaves: 86 parts for pages, 4 for the journal,
    /// and 10 stay free.
    pub page_file_gb: Auto<u32>,
    /// Part of it for the journal, in MiB (2^20 bytes).
    pub journal_mib: Auto<u32>,
    /// One of the journal's files, in MiB; the journal is three at least, and the changes of a block fit in one. Auto: 64,
    /// or less where the journal would not be four.
    pub journal_segment_mib: Auto<u32>,
    /// How the disk is asked.
    pub io_backend: IoBackend,
    /// Operations that each worker's queue has in flight at most. Auto: twice the reads that a worker may wait for.
    pub io_queue_depth: Auto<u32>,
    /// Whether a thread of the kernel takes submissions, which keeps a core busy for every queue. Off unless said.
    pub io_sqpoll: bool,
}

/// How a disk is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IoBackend {
    /// By io_uring, or by threads if that is refused.
    #[default]
    Auto,
    /// By io_uring or not at all.
    Uring,
    /// By threads that wait.
    Blocking,
}

impl IoBackend {
    /// All there are.
    pub(super) const ALL: [Self; 3] = [Self::Auto, Self::Uring, Self::Blocking];

    /// What profiles call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Blocking => "blocking",
        }
    }
}

impl fmt::Display for IoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl StorageRules {
    pub(super) fn parse(mut section: Fields<'_>) -> Result<Self, TopologyError> {
        let rules = Self {
            ssd_capacity_gb: section.auto_number("ssd_capacity_gb", GB)?,
            page_file_gb: section.auto_number("page_file_gb", GB)?,
            journal_mib: section.auto_number("journal_mib", JOURNAL_MIB)?,
            journal_segment_mib: section.auto_number("journal_segment_mib", SEGMENT_MIB)?,
            io_backend: section
                .choice("io_backend", &IoBackend::ALL.map(|backend| (backend.name(), backend)))?
                .unwrap_or_default(),
            io_queue_depth: section.auto_number("io_queue_depth", QUEUE_DEPTH)?,
            io_sqpoll: section.flag("io_sqpoll")?.unwrap_or_default(),
        };
        section.finish()?;
        Ok(rules)
    }

    pub(super) fn check(&self, origin: &str) -> Result<(), TopologyError> {
        if self.io_sqpoll && self.io_backend == IoBackend::Blocking {
            let expected = "false, since storage.io_backend = \"blocking\" submits nothing".into();
            return Err(refuse(origin, "storage.io_sqpoll", true, expected));
        }
        Ok(())
    }
}
