//! Seeded streams of blocks on a chain of our own, for tests, benches and stress runs.
//!
//! [`generate`] turns a [`WorkloadSpec`] into a [`Workload`]: the genesis state and consecutive blocks in which
//! every transaction succeeds. The same spec gives the same bits on every machine, and a longer stream begins
//! with the shorter one.
//!
//! The kinds ([`WorkloadKind`]), and what their conflicting transactions share:
//!
//! | name                    | a transaction                          | what conflicts                              |
//! |-------------------------|----------------------------------------|---------------------------------------------|
//! | `transfers-independent` | ether to an account of its own         | pays or is paid by one account              |
//! | `transfers-one-to-many` | ether to an account of its own         | is sent by one account                      |
//! | `transfers-many-to-one` | ether to an account of its own         | pays one account                            |
//! | `transfers-chain`       | ether to an account of its own         | sends on what the one before it paid        |
//! | `erc20`                 | tokens to a holder of its own          | moves tokens to or from one holder          |
//! | `amm-pairs`             | a swap in a pair of its own            | swaps in one pair                           |
//! | `amm-clusters`          | a swap through two pairs of its own    | swaps through the two pairs of its cluster  |
//! | `mint-rush`             | a mint from a sale of its own          | mints from one sale                         |
//! | `mainnet-like`          | any of the above, or a heavy one       | runs of one sender, swaps in hot pairs      |
//!
//! [`WorkloadSpec::conflict_percent`] says how many of a block's transactions conflict; but `mainnet-like` has the
//! shape of recorded blocks ([`BlockShape::MAINNET`]), conflicts included. Contracts are compiled from
//! `contracts/*.sol`; the genesis state holds their code and filled storage, so no block deploys anything.
//!
//! ```
//! use citius_workloads::{WorkloadKind, WorkloadSpec, generate};
//!
//! let spec = WorkloadSpec { transactions_per_block: 50, blocks: 2, ..WorkloadSpec::standard(WorkloadKind::Erc20) };
//! let workload = generate(&spec)?;
//!
//! assert_eq!(workload.blocks.len(), 2);
//! assert_eq!(workload.blocks[0].transactions.len(), 50);
//! assert_eq!(workload.blocks[1].header.parent_hash, workload.blocks[0].header.hash_slow());
//! # Ok::<(), citius_workloads::WorkloadError>(())
//! ```

mod addresses;
mod artifact;
mod call_data;
mod dice;
mod error;
mod genesis;
mod headers;
mod kind;
mod plan;
mod scenario;
mod shape;
mod spec;
mod workload;

pub use error::WorkloadError;
pub use headers::{BASE_FEE_WEI, BENEFICIARY, CHAIN_ID};
pub use kind::WorkloadKind;
pub use shape::BlockShape;
pub use spec::{WorkloadSpec, standard_suite};
pub use workload::{Workload, generate};
