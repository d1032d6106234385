//! Chooses a shipped profile for a machine.

use super::{Profile, SHIPPED, shipped};
use crate::{Machine, plan};

/// The profile for machines that none fits: all `auto`, so that it can always be planned.
const LAST_RESORT: &str = "commodity-pc";

/// A choice and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// The profile chosen.
    pub profile: Profile,
    /// Why, in a sentence for the operator.
    pub reason: String,
}

/// The first shipped profile that fits `machine` and can be planned on it, else the commodity one.
///
/// ```
/// use citius_topology::{Machine, profile::pick};
/// let machine = Machine::synthetic("[numa(memory=128GB)] pack:1 core:32 pu:1")?;
/// assert_eq!(pick(&machine).profile.name, "reference-server");
/// # Ok::<(), citius_topology::TopologyError>(())
/// ```
pub fn pick(machine: &Machine) -> Picked {
    let mut rejected = Vec::new();
    for (name, _) in SHIPPED.into_iter().filter(|(name, _)| *name != LAST_RESORT) {
        let profile = embedded(name);
        match profile.fits.judge(machine) {
            Err(reason) => rejected.push(format!("{name}: {reason}")),
            Ok(reason) => match plan(machine, &profile) {
                Ok(_) => {
                    return Picked { profile, reason: format!("picked for {reason}") };
                }
                Err(error) => rejected.push(format!("{name}: {error}")),
            },
        }
    }
    let reason = format!("no special profile fits, so every value is found out ({})", rejected.join("; "));
    Picked { profile: embedded(LAST_RESORT), reason }
}

fn embedded(name: &str) -> Profile {
    shipped(name).unwrap_or_else(|error| panic!("shipped profile {name} must parse: {error}"))
}
