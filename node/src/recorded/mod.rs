//! Recorded blocks: one folder a block, JSON files that may be zstd-compressed.
//!
//! | file | content |
//! |---|---|
//! | `block.json[.zst]` | answer to `eth_getBlockByNumber(n, true)` |
//! | `pre_state.json[.zst]` | `{address: {balance, nonce, code?, storage?: {slot: value}}}`; what is not listed does not exist |
//! | `block_hashes.json[.zst]` | `{number: hash}` for `BLOCKHASH` |
//! | `witness.json[.zst]` | optional: `{preStateRoot, state: [rlp node], branchHints?: [hash]}`, from which the state root can be computed ([`Witness`]) |
//! | `expected.json[.zst]` | optional: receipts and state diff of a sequential run ([`RecordedOutcome`]) |
//!
//! Hex comes with or without `0x`. Of a file that is there packed and unpacked, the unpacked one is read. Nothing
//! here panics: bad input is a [`RecordedError`] that names file, field, value and expectation.
//!
//! ```no_run
//! use citius_engine::chain::ChainSpec;
//! use citius_node::recorded::{RecordedBlock, block_folders};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = rayon::ThreadPoolBuilder::new().build()?;
//! for folder in block_folders(&["blocks"])? {
//!     let recorded = RecordedBlock::load(&folder)?;
//!     let block = recorded.recover(&ChainSpec::mainnet(), &pool)?;
//!     println!("{}: {} transactions", recorded.name, block.transactions.len());
//! }
//! # Ok(())
//! # }
//! ```

mod block;
mod error;
mod file;
mod folders;
mod header;
mod json;
mod outcome;
mod pre_state;
mod recover;
mod transaction;
mod witness;

pub use block::RecordedBlock;
pub use error::RecordedError;
pub(crate) use file::JsonFile;
pub use folders::block_folders;
pub(crate) use json::Node as JsonNode;
pub use outcome::{RecordedAccount, RecordedOutcome, RecordedReceipt};
pub use transaction::RecordedTransaction;
pub use witness::Witness;
