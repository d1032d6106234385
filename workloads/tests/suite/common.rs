//! What the suites share: sequential execution on revm's own database, and random specs.

use alloy_primitives::{Address, B256, U256, keccak256};
use citius_state::{MemoryState, StateReader};
use citius_workloads::{BENEFICIARY, Workload, WorkloadKind, WorkloadSpec};
use proptest::prelude::*;
use revm::{
    Context, DatabaseRef, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext,
    context::ContextTr,
    database::{CacheDB, EmptyDB},
    state::AccountInfo,
};
use std::collections::BTreeSet;

/// An account (`None`) or one of its slots.
pub(crate) type Location = (Address, Option<U256>);

/// What one transaction did.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) gas_limit: u64,
    pub(crate) gas_used: u64,
    /// What is different afterwards, the fee recipient aside.
    pub(crate) writes: BTreeSet<Location>,
}

/// Executes all blocks, one transaction after the other.
///
/// # Panics
///
/// If a transaction is invalid or does not succeed.
pub(crate) fn execute(workload: &Workload) -> Vec<Vec<Executed>> {
    let mut database = database(&workload.genesis);
    workload
        .blocks
        .iter()
        .map(|block| {
            let env = workload.chain.evm_env(&block.header);
            let mut evm = Context::mainnet()
                .with_db(&mut database)
                .with_cfg(env.cfg_env)
                .with_block(env.block_env)
                .build_mainnet();
            let mut executed = Vec::new();
            for (index, transaction) in block.transactions.iter().enumerate() {
                let number = block.header.number;
                let outcome = evm.transact(transaction.env().clone()).unwrap_or_else(|error| {
                    panic!("{}: block {number} tx {index}: {error:?}", workload.name)
                });
                assert!(
                    outcome.result.is_success(),
                    "{}: block {number} tx {index}: {:?}",
                    workload.name,
                    outcome.result
                );
                let mut writes = BTreeSet::new();
                for (address, account) in outcome.state.iter().filter(|(address, _)| **address != BENEFICIARY)
                {
                    let before = evm.ctx.db_ref().basic_ref(*address).unwrap().unwrap_or_default();
                    let parts = |info: &AccountInfo| (info.balance, info.nonce, info.code_hash);
                    if parts(&before) != parts(&account.info) {
                        writes.insert((*address, None));
                    }
                    let changed = account.storage.iter().filter(|(_, slot)| slot.is_changed());
                    writes.extend(changed.map(|(slot, _)| (*address, Some(*slot))));
                }
                executed.push(Executed {
                    gas_limit: transaction.env().gas_limit,
                    gas_used: outcome.result.tx_gas_used(),
                    writes,
                });
                evm.commit(outcome.state);
            }
            executed
        })
        .collect()
}

/// A state as revm's own database.
pub(crate) fn database(state: &MemoryState) -> CacheDB<EmptyDB> {
    let mut database = CacheDB::new(EmptyDB::default());
    for (address, account) in state.accounts() {
        let Some(account) = account else { continue };
        let mut info =
            AccountInfo { balance: account.balance, nonce: account.nonce, ..AccountInfo::default() };
        if account.has_code() {
            info.code_hash = account.code_hash;
            info.code = Some(state.code(account.code_hash).unwrap());
        }
        database.insert_account_info(address, info);
        for (slot, value) in state.slots(address) {
            database.insert_account_storage(address, slot, value).unwrap();
        }
    }
    database
}

/// A hash of all that a workload holds, maps in sorted order. A transaction counts by its hash.
pub(crate) fn fingerprint(workload: &Workload) -> B256 {
    let mut accounts: Vec<_> = workload.genesis.accounts().collect();
    accounts.sort_by_key(|(address, _)| *address);
    let mut bytes = Vec::new();
    for (address, account) in accounts {
        let account = account.expect("genesis lists no absent account");
        bytes.extend(address);
        bytes.extend(account.balance.to_be_bytes::<32>());
        bytes.extend(account.nonce.to_be_bytes());
        bytes.extend(account.code_hash);
        let mut slots: Vec<_> = workload.genesis.slots(address).collect();
        slots.sort();
        bytes.extend(
            slots
                .into_iter()
                .flat_map(|(slot, value)| [slot, value])
                .flat_map(|word| word.to_be_bytes::<32>()),
        );
    }
    bytes.extend(workload.genesis.block_hash(0).expect("genesis has a hash"));
    for block in &workload.blocks {
        bytes.extend(block.header.hash_slow());
        bytes.extend(block.transactions.iter().flat_map(|transaction| transaction.hash()));
    }
    keccak256(bytes)
}

/// Specs of every kind, with the extremes of each field well represented.
pub(crate) fn any_spec() -> impl Strategy<Value = WorkloadSpec> {
    let percent = prop_oneof![Just(0), Just(100), 0..=100u8];
    let size = || prop_oneof![Just(1), 2..=5u32, 6..=60u32];
    let kind = proptest::sample::select(WorkloadKind::ALL.to_vec());
    (kind, size(), size(), 1..=3u32, percent, any::<u64>(), size()).prop_map(
        |(kind, transactions_per_block, accounts, blocks, conflict_percent, seed, clusters)| {
            let clusters = if kind == WorkloadKind::AmmClusters { clusters.min(accounts) } else { 1 };
            let conflict_percent = if kind.has_conflict_percent() { conflict_percent } else { 0 };
            WorkloadSpec { kind, transactions_per_block, accounts, blocks, conflict_percent, seed, clusters }
        },
    )
}
