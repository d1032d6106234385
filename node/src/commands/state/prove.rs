use super::{
    super::{Verdict, output},
    build::{BuiltState, SourceArgs, build_state},
};
use alloy_primitives::{Address, B256, U256};
use anyhow::{Context, Result};
use citius_state::ssmt::AccountProof;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use std::{
    fs::File,
    io::{Read, stdin},
    path::{Path, PathBuf},
};

const PROVE_EXAMPLES: &str = "\
Examples:
  citius state prove genesis.json --address 0x00000000219ab540356cBB839Cbe05303d7705Fa
  citius state prove leaves.jsonl --address 0x00000000219ab540356cBB839Cbe05303d7705Fa --slot 0x20 --slot 7

Exit codes: 0 done, 2 bad input or usage.";

const CHECK_EXAMPLES: &str = "\
Examples:
  citius state check-proof --root 0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421 proof.json
  citius state prove genesis.json --address 0x00000000219ab540356cBB839Cbe05303d7705Fa | citius state check-proof --root \"$(citius state root genesis.json)\" -

Exit codes: 0 proven, 1 not proven, 2 bad input or usage.";

/// Most bytes that a proof's file may have.
const PROOF_BYTES_MAX: u64 = 1 << 30;

/// Build the state trie, and print a proof of an account and some of its slots in the shape of eth_getProof
#[derive(Debug, Args)]
#[command(after_help = PROVE_EXAMPLES)]
pub(super) struct ProveArgs {
    #[command(flatten)]
    source: SourceArgs,

    /// Whose account is proven: that it exists, or that it does not
    #[arg(long, value_name = "ADDRESS")]
    address: Address,

    /// A slot that is proven too, hex with 0x or decimal; may be given several times
    #[arg(long = "slot", value_name = "SLOT")]
    slots: Vec<U256>,
}

/// Check a proof in the shape of eth_getProof against a state root
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(super) struct CheckArgs {
    /// The state root that all must follow from
    #[arg(long, value_name = "ROOT")]
    root: B256,

    /// The proof, or the JSON-RPC answer that holds it; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn prove(args: &ProveArgs) -> Result<Verdict> {
    let BuiltState { ssmt, .. } = build_state(&args.source)?;
    let proof = ssmt.proof(ssmt.head(), args.address, &args.slots).context("the state trie")?;
    let json = serde_json::to_string_pretty(&proof).context("cannot write the proof as JSON")?;
    output::print(&(json + "\n"))?;
    Ok(Verdict::Match)
}

pub(super) fn check_proof(args: &CheckArgs) -> Result<Verdict> {
    let proof = read(&args.file)
        .with_context(|| format!("{}: no proof in the shape of eth_getProof", args.file.display()))?;
    let slots = proof.storage_proof.len();
    match proof.verify(args.root) {
        Ok(()) => {
            let is_empty = proof.balance.is_zero()
                && proof.nonce == 0
                && proof.code_hash == alloy_primitives::KECCAK256_EMPTY
                && proof.storage_hash == alloy_trie::EMPTY_ROOT_HASH;
            let what = if is_empty { "is empty or does not exist" } else { "is as claimed" };
            output::print(&format!("proven: account {} {what}, with {slots} slots\n", proof.address))?;
            Ok(Verdict::Match)
        }
        Err(error) => {
            output::print(&format!("not proven: {error}\n"))?;
            Ok(Verdict::Mismatch)
        }
    }
}

fn read(path: &Path) -> Result<AccountProof> {
    let mut text = Vec::new();
    if path == Path::new("-") {
        stdin().lock().take(PROOF_BYTES_MAX + 1).read_to_end(&mut text)?;
    } else {
        File::open(path)?.take(PROOF_BYTES_MAX + 1).read_to_end(&mut text)?;
    }
    if text.len() as u64 > PROOF_BYTES_MAX {
        anyhow::bail!("expected at most {PROOF_BYTES_MAX} bytes");
    }
    let value: Value = serde_json::from_slice(&text)?;
    match value.get("result") {
        Some(result) => Ok(AccountProof::deserialize(result)?),
        // Again from the text, for errors with line and column.
        None => Ok(serde_json::from_slice(&text)?),
    }
}
