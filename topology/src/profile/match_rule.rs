//! Which machines a profile is picked for.

use super::refuse;
use crate::{Machine, TopologyError};
use serde::Serialize;

/// Bytes of a GiB.
const GIB: u64 = 1 << 30;

/// The one counted thing without a plural.
const MEMORY: &str = "GiB of memory";

/// `[match]`: conditions that all must hold; bounds are inclusive, `None` is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MatchRule {
    /// Fewest usable physical cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores_count_min: Option<u32>,
    /// Most usable physical cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores_count_max: Option<u32>,
    /// Least usable memory, in GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_gib_min: Option<u32>,
    /// Most usable memory, in GiB, a started GiB not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_gib_max: Option<u32>,
    /// Fewest GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus_count_min: Option<u32>,
    /// Fewest FPGA cards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fpgas_count_min: Option<u32>,
}

impl MatchRule {
    /// Whether `machine` fits.
    ///
    /// # Errors
    ///
    /// `Ok` says in words what was found and wanted, `Err` the first condition that fails.
    pub fn judge(&self, machine: &Machine) -> Result<String, String> {
        let memory_gib = u32::try_from(machine.usable_memory_bytes() / GIB).unwrap_or(u32::MAX);
        let conditions = [
            ("usable core", machine.usable_cores_count(), self.cores_count_min, self.cores_count_max),
            (MEMORY, memory_gib, self.memory_gib_min, self.memory_gib_max),
            ("GPU", machine.devices.gpus_count, self.gpus_count_min, None),
            ("FPGA card", machine.devices.fpgas_count, self.fpgas_count_min, None),
        ];
        let mut met = Vec::new();
        for (what, found, min, max) in conditions {
            let wanted = match (min, max) {
                (None, None) => continue,
                (Some(min), None) => format!("{min} or more"),
                (None, Some(max)) => format!("{max} or fewer"),
                (Some(min), Some(max)) => format!("{min} to {max}"),
            };
            let fits = min.is_none_or(|min| found >= min) && max.is_none_or(|max| found <= max);
            let plural = if found == 1 || what == MEMORY { "" } else { "s" };
            if !fits {
                return Err(format!("{found} {what}{plural}, not {wanted}"));
            }
            met.push(format!("{found} {what}{plural} ({wanted})"));
        }
        Ok(if met.is_empty() { "it fits any machine".to_owned() } else { met.join(", ") })
    }

    pub(super) fn check(&self, origin: &str) -> Result<(), TopologyError> {
        for (field, max_field, min, max) in [
            ("match.cores_count_min", "match.cores_count_max", self.cores_count_min, self.cores_count_max),
            ("match.memory_gib_min", "match.memory_gib_max", self.memory_gib_min, self.memory_gib_max),
        ] {
            if let (Some(min), Some(max)) = (min, max)
                && min > max
            {
                return Err(refuse(origin, field, min, format!("at most {max_field} = {max}")));
            }
        }
        Ok(())
    }
}
