use super::{Verdict, output};
use anyhow::{Context, Result};
use citius_topology::{MachineSource, ProfileSource, resolve};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  citius topology                                   This machine, and the plan for it
  citius topology --json                            The same as JSON
  citius topology --profile reference-server        With a shipped profile
  citius topology --profile ./my-server.toml --xml server.xml
  citius topology --synthetic 'pack:2 [numa(memory=64GB)] core:16 pu:1'

A machine file for --xml is written by `lstopo --of xml`.";

/// Print the machine, and the plan of who runs where
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TopologyArgs {
    /// Hardware profile: a shipped one's name or a TOML file [default: picked for the machine]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,

    /// Plan for a machine in hwloc's synthetic notation instead of this one
    #[arg(long, value_name = "DESCRIPTION", conflicts_with = "xml")]
    synthetic: Option<String>,

    /// Plan for a machine that lstopo described instead of this one
    #[arg(long, value_name = "FILE")]
    xml: Option<PathBuf>,

    /// Print JSON instead of a tree
    #[arg(long)]
    json: bool,
}

pub(crate) fn topology(args: &TopologyArgs) -> Result<Verdict> {
    let machine = match (&args.synthetic, &args.xml) {
        (Some(description), _) => MachineSource::Synthetic(description.clone()),
        (None, Some(path)) => MachineSource::Xml(path.clone()),
        (None, None) => MachineSource::ThisMachine,
    };
    let report = resolve(machine, ProfileSource::from_argument(args.profile.as_deref()))?;
    if args.json {
        let json = serde_json::to_string_pretty(&report).context("cannot write the report as JSON")?;
        output::print(&(json + "\n"))?;
    } else {
        output::print(&report.tree())?;
    }
    Ok(Verdict::Match)
}
