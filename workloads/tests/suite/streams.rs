//! The streams as such: the same bits for the same spec, headers that link, hashes that differ.

use crate::{
    common::{any_spec, fingerprint},
    seeded::seeded,
};
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::{eip2935, eip4788, eip7002, eip7251};
use alloy_primitives::{B256, TxKind, hex, keccak256};
use citius_state::StateReader;
use citius_workloads::{BASE_FEE_WEI, CHAIN_ID, WorkloadError, WorkloadKind, WorkloadSpec, generate};
use proptest::{prop_assert, prop_assert_eq, test_runner::TestRunner};
use revm::primitives::hardfork::SpecId;
use std::collections::BTreeSet;

#[test]
fn equal_specs_give_equal_workloads_and_another_seed_another() {
    TestRunner::new(seeded(40))
        .run(&any_spec(), |spec| {
            let (one, again) = (generate(&spec).unwrap(), generate(&spec).unwrap());
            prop_assert_eq!(&one.name, &again.name);
            prop_assert_eq!(fingerprint(&one), fingerprint(&again));

            let other = generate(&WorkloadSpec { seed: spec.seed ^ 1, ..spec }).unwrap();
            prop_assert!(one.name != other.name);
            prop_assert!(fingerprint(&one) != fingerprint(&other));
            for (block, theirs) in one.blocks.iter().zip(&other.blocks) {
                prop_assert!(block.header.hash_slow() != theirs.header.hash_slow());
            }
            Ok(())
        })
        .unwrap();
}

/// A change here changes what past measurements measured: it needs a reason in the commit.
#[test]
fn workloads_are_the_recorded_ones() {
    let recorded = [
        ("transfers-independent", "e2bc7079"),
        ("transfers-one-to-many", "07f04837"),
        ("transfers-many-to-one", "7d8b75dc"),
        ("transfers-chain", "34b7d1ea"),
        ("erc20", "2db762f5"),
        ("amm-pairs", "8f15a53f"),
        ("amm-clusters", "9e8a2e0b"),
        ("mint-rush", "2d1f03c8"),
        ("mainnet-like", "0b9099fd"),
    ];
    let now = WorkloadKind::ALL.map(|kind| {
        let spec = WorkloadSpec {
            transactions_per_block: 20,
            accounts: 25,
            blocks: 2,
            conflict_percent: if kind.has_conflict_percent() { 50 } else { 0 },
            seed: 42,
            clusters: if kind == WorkloadKind::AmmClusters { 3 } else { 1 },
            ..WorkloadSpec::standard(kind)
        };
        let workload = generate(&spec).unwrap();
        (kind.name(), hex::encode(&fingerprint(&workload)[..4]))
    });
    assert_eq!(now.each_ref().map(|(kind, hash)| (*kind, hash.as_str())), recorded);
}

#[test]
fn a_longer_stream_begins_with_the_shorter() {
    for kind in WorkloadKind::ALL {
        let spec = WorkloadSpec { transactions_per_block: 9, accounts: 20, ..WorkloadSpec::standard(kind) };
        let short = generate(&WorkloadSpec { blocks: 2, ..spec.clone() }).unwrap();
        let mut long = generate(&WorkloadSpec { blocks: 3, ..spec }).unwrap();
        assert_eq!(long.blocks.len(), 3);
        long.blocks.truncate(2);
        assert_eq!(fingerprint(&long), fingerprint(&short), "{kind}");
    }
}

#[test]
fn headers_follow_each_other_from_genesis_on() {
    let spec = WorkloadSpec { blocks: 4, ..WorkloadSpec::standard(WorkloadKind::MintRush) };
    let workload = generate(&spec).unwrap();
    assert_eq!(workload.chain.chain_id(), CHAIN_ID);
    let mut parent_hash = workload.genesis.block_hash(0).unwrap();
    assert_ne!(parent_hash, B256::ZERO);
    for (index, block) in workload.blocks.iter().enumerate() {
        let header = &block.header;
        assert_eq!(header.number, index as u64 + 1);
        assert_eq!(header.parent_hash, parent_hash);
        assert_eq!(header.timestamp, workload.blocks[0].header.timestamp + 12 * index as u64);
        assert_eq!(header.base_fee_per_gas, Some(BASE_FEE_WEI));
        assert_eq!(header.excess_blob_gas, Some(0));
        assert!(header.parent_beacon_block_root.is_some());
        assert_eq!(workload.chain.spec_id(header), SpecId::OSAKA);
        let asked: u64 = block.transactions.iter().map(|transaction| transaction.env().gas_limit).sum();
        assert!(2 * asked <= header.gas_limit, "{asked} of {}", header.gas_limit);
        parent_hash = header.hash_slow();
    }
}

#[test]
fn a_transaction_hash_covers_sender_and_payload_and_none_repeats() {
    for kind in WorkloadKind::ALL {
        let spec = WorkloadSpec {
            transactions_per_block: 100,
            accounts: 10,
            blocks: 3,
            clusters: 1,
            ..WorkloadSpec::standard(kind)
        };
        let workload = generate(&spec).unwrap();
        let transactions = || workload.blocks.iter().flat_map(|block| &block.transactions);
        let hashes: BTreeSet<_> = transactions().map(|transaction| transaction.hash()).collect();
        assert_eq!(hashes.len(), 300, "{kind}");
        for transaction in transactions() {
            let env = transaction.env();
            assert_eq!((env.tx_type, env.chain_id), (2, Some(CHAIN_ID)));
            assert!(matches!(env.kind, TxKind::Call(_)));
            let payload = TxEip1559 {
                chain_id: CHAIN_ID,
                nonce: env.nonce,
                gas_limit: env.gas_limit,
                max_fee_per_gas: env.gas_price,
                max_priority_fee_per_gas: env.gas_priority_fee.unwrap(),
                to: env.kind,
                value: env.value,
                access_list: env.access_list.clone(),
                input: env.data.clone(),
            };
            let mut preimage = env.caller.to_vec();
            payload.encode_for_signing(&mut preimage);
            assert_eq!(transaction.hash(), keccak256(preimage));
        }
    }
}

#[test]
fn genesis_holds_the_system_contracts() {
    let workload = generate(&WorkloadSpec::standard(WorkloadKind::AmmClusters)).unwrap();
    for (address, code) in [
        (eip4788::BEACON_ROOTS_ADDRESS, &eip4788::BEACON_ROOTS_CODE),
        (eip2935::HISTORY_STORAGE_ADDRESS, &eip2935::HISTORY_STORAGE_CODE),
        (eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_CODE),
        (eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, &eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_CODE),
    ] {
        let account = workload.genesis.account(address).unwrap().expect("the contract exists");
        assert_eq!(account.nonce, 1);
        assert_eq!(workload.genesis.code(account.code_hash).unwrap().original_bytes(), *code);
    }
}

#[test]
fn a_bad_spec_is_refused_before_anything_is_made() {
    let spec = WorkloadSpec { conflict_percent: 101, ..WorkloadSpec::standard(WorkloadKind::Erc20) };
    let WorkloadError::Field { field, value, .. } = generate(&spec).unwrap_err();
    assert_eq!((field, value.as_str()), ("conflict_percent", "101"));
}
