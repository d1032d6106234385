//! `citius state`: the state trie, and the store on disk, as tools.

mod build;
mod datadir;
mod import;
mod prove;

use super::Verdict;
use anyhow::Result;
use build::BuildArgs;
use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  citius state root genesis.json               The state root of a geth genesis file
  citius state build leaves.jsonl.zst --json   Of one account a line, and what building it takes
  citius state prove genesis.json --address 0x00000000219ab540356cBB839Cbe05303d7705Fa --slot 0
  citius state check-proof --root 0x… proof.json
  citius state import --datadir state/ leaves.jsonl.zst --block 7 --block-hash 0x… --root 0x…
  citius state verify --datadir state/
  citius state export --datadir state/ --out snapshot/
  citius state import --datadir copy/ snapshot/

A leaf file holds one JSON object a line, in any order, plain or zstd-compressed (.zst):
  {\"address\": \"0x…\", \"balance\": \"0x1\", \"nonce\": 2, \"code\": \"0x60…\", \"storage\": {\"0x0\": \"0x7\"}}
with codeHash in the place of code where only that is known. What `geth dump` and `geth dump --iterative` write is read too.

Exit codes: 0 done, 1 not proven, 2 bad input or usage.";

/// Build the state trie of a genesis file or of a list of accounts, prove what is in it, check proofs; keep it on disk
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct StateArgs {
    #[command(subcommand)]
    command: StateCommand,
}

#[derive(Debug, Subcommand)]
enum StateCommand {
    Build(BuildArgs),
    CheckProof(prove::CheckArgs),
    Compact(datadir::CompactArgs),
    Export(datadir::ExportArgs),
    Import(import::ImportArgs),
    Prove(prove::ProveArgs),
    Root(build::RootArgs),
    Stats(datadir::StatsArgs),
    Verify(datadir::VerifyArgs),
}

pub(crate) fn state(args: &StateArgs) -> Result<Verdict> {
    match &args.command {
        StateCommand::Build(args) => build::build(args),
        StateCommand::CheckProof(args) => prove::check_proof(args),
        StateCommand::Compact(args) => datadir::compact(args),
        StateCommand::Export(args) => datadir::export(args),
        StateCommand::Import(args) => import::import(args),
        StateCommand::Prove(args) => prove::prove(args),
        StateCommand::Root(args) => build::root(args),
        StateCommand::Stats(args) => datadir::stats(args),
        StateCommand::Verify(args) => datadir::verify(args),
    }
}
