//! From what an operator said to a plan: the whole room in one call.

use crate::{
    Machine, MachineSource, Plan, TopologyError, plan,
    profile::{Profile, pick, shipped},
};
use serde::Serialize;
use std::path::PathBuf;

/// Which profile to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileSource {
    /// Pick a shipped one that fits the machine.
    Pick,
    /// The shipped one of this name.
    Shipped(String),
    /// A TOML file.
    File(PathBuf),
    /// This one; the text says where it comes from, for the reason.
    Given(Box<Profile>, String),
}

impl ProfileSource {
    /// What `--profile` means: nothing, the path of a `.toml` file (anything with a `/` or that ending), or a
    /// shipped name.
    pub fn from_argument(argument: Option<&str>) -> Self {
        match argument {
            None => Self::Pick,
            Some(path) if path.contains('/') || path.ends_with(".toml") => Self::File(path.into()),
            Some(name) => Self::Shipped(name.to_owned()),
        }
    }
}

/// Everything resolved: what is printed at start and as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The machine found or described.
    pub machine: Machine,
    /// The profile followed.
    pub profile: Profile,
    /// Why this profile.
    pub profile_reason: String,
    /// Who runs where.
    pub plan: Plan,
}

impl Report {
    /// The report as a tree for people; see [`render::tree`](crate::render::tree).
    pub fn tree(&self) -> String {
        crate::render::tree(&self.machine, &self.plan)
    }
}

/// Discovers or loads the machine, finds the profile, and plans.
///
/// For [`MachineSource::ThisMachine`], call it before any pinning (see [`Machine::discover`]).
///
/// # Errors
///
/// Every [`TopologyError`] of machine, profile and plan.
pub fn resolve(machine: MachineSource, profile: ProfileSource) -> Result<Report, TopologyError> {
    let machine = match machine {
        MachineSource::ThisMachine | MachineSource::Environment => Machine::discover()?,
        MachineSource::Synthetic(description) => Machine::synthetic(&description)?,
        MachineSource::Xml(path) => Machine::from_xml(&path)?,
    };
    resolve_on(machine, profile)
}

/// [`resolve`] for a machine at hand, such as a described one that was given devices or limits.
///
/// # Errors
///
/// Every [`TopologyError`] of profile and plan.
pub fn resolve_on(machine: Machine, profile: ProfileSource) -> Result<Report, TopologyError> {
    let (profile, profile_reason) = match profile {
        ProfileSource::Pick => {
            let picked = pick(&machine);
            (picked.profile, picked.reason)
        }
        ProfileSource::Shipped(name) => (shipped(&name)?, "asked for by name".to_owned()),
        ProfileSource::File(path) => (Profile::load(&path)?, format!("asked for as {}", path.display())),
        ProfileSource::Given(profile, reason) => (*profile, reason),
    };
    let mut plan = plan(&machine, &profile)?;
    plan.profile.reason.clone_from(&profile_reason);
    Ok(Report { machine, profile, profile_reason, plan })
}
