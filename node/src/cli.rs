//! The command line: what may be asked, and how answers and errors leave the process.

use crate::commands::{
    self, HashBenchArgs, ReplayArgs, SoakArgs, StateArgs, StressArgs, TableArgs, TopologyArgs, Verdict,
};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  citius topology                         What this machine is, and who would run where
  citius replay blocks/                   Execute recorded blocks, and check them
  citius stress                           Execute the standard workloads
  citius stress --kind erc20 --json erc20.json
  citius soak --datadir state/            Execute blocks over a state on disk
  citius state root genesis.json          The state root of a genesis file
  citius table --blocks blocks/           What is gained, as a Markdown table

Exit codes: 0 all results match, 1 some do not, 2 bad input or usage.";

/// Parallel EVM execution: results always equal sequential execution.
#[derive(Debug, Parser)]
#[command(name = "citius", version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    HashBench(HashBenchArgs),
    Replay(ReplayArgs),
    Soak(SoakArgs),
    State(StateArgs),
    Stress(StressArgs),
    Table(TableArgs),
    Topology(TopologyArgs),
}

/// Runs the process's command line. Exit code 0 if all results match, 1 if some do not, 2 after bad input or usage.
#[must_use]
pub fn main() -> ExitCode {
    let verdict = match Cli::parse().command {
        Command::HashBench(args) => commands::hash_bench(&args),
        Command::Replay(args) => commands::replay(&args),
        Command::Soak(args) => commands::soak(&args),
        Command::State(args) => commands::state(&args),
        Command::Stress(args) => commands::stress(&args),
        Command::Table(args) => commands::table(&args),
        Command::Topology(args) => commands::topology(&args),
    };
    match verdict {
        Ok(Verdict::Match) => ExitCode::SUCCESS,
        Ok(Verdict::Mismatch) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  caused by: {cause}");
            }
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_help_shows_examples() {
        Cli::command().debug_assert();
        let mut commands: Vec<clap::Command> = Cli::command().get_subcommands().cloned().collect();
        commands.push(Cli::command());
        for command in &mut commands {
            for help in [command.render_help(), command.render_long_help()] {
                assert!(help.to_string().contains("Examples:\n  citius "), "{}", command.get_name());
            }
        }
    }
}
