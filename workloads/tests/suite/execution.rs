//! The streams executed one transaction after the other on plain revm: everything succeeds, and transactions
//! conflict as far as was asked for.

use crate::{
    common::{Executed, Location, any_spec, execute},
    seeded::seeded,
};
use citius_state::StateReader;
use citius_workloads::{WorkloadKind, WorkloadSpec, generate, standard_suite};
use proptest::{prop_assert, prop_assert_eq, strategy::Strategy, test_runner::TestRunner};
use std::collections::{BTreeMap, BTreeSet};

/// How many transactions write each location.
fn writers(block: &[Executed]) -> BTreeMap<Location, usize> {
    let mut writers = BTreeMap::new();
    for location in block.iter().flat_map(|executed| &executed.writes) {
        *writers.entry(*location).or_default() += 1;
    }
    writers
}

fn are_disjoint(block: &[Executed]) -> bool {
    writers(block).values().all(|count| *count == 1)
}

/// The most transactions that write one location.
fn largest_conflict(block: &[Executed]) -> usize {
    writers(block).into_values().max().unwrap_or_default()
}

fn neighbours_conflict(block: &[Executed]) -> bool {
    block.windows(2).all(|pair| !pair[0].writes.is_disjoint(&pair[1].writes))
}

#[test]
fn any_stream_succeeds_in_order_with_conflicts_as_asked() {
    TestRunner::new(seeded(150))
        .run(&any_spec(), |spec| {
            let blocks = execute(&generate(&spec).unwrap());
            prop_assert_eq!(blocks.len(), spec.blocks as usize);
            for block in &blocks {
                prop_assert_eq!(block.len(), spec.transactions_per_block as usize);
                if spec.kind.is_native() {
                    prop_assert!(block.iter().all(|tx| tx.gas_used == 21_000 && tx.gas_limit == 21_000));
                }
                if !spec.kind.has_conflict_percent() {
                    continue;
                }
                if spec.conflict_percent == 0 && spec.accounts >= spec.transactions_per_block {
                    prop_assert!(are_disjoint(block), "{:#?}", block);
                }
                if spec.conflict_percent == 100 {
                    match spec.kind {
                        WorkloadKind::TransfersChain => prop_assert!(neighbours_conflict(block)),
                        WorkloadKind::AmmClusters => {
                            let per_cluster = spec.transactions_per_block.div_ceil(spec.clusters) as usize;
                            prop_assert!(largest_conflict(block) >= per_cluster);
                        }
                        _ => prop_assert_eq!(largest_conflict(block), block.len()),
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn between_the_extremes_just_the_asked_share_conflicts() {
    let specs = any_spec().prop_filter("conflicts of its own", |spec| spec.kind.has_conflict_percent());
    let specs = specs.prop_map(|spec| {
        let accounts = spec.accounts.max(spec.transactions_per_block);
        WorkloadSpec { accounts, conflict_percent: 50, clusters: 1, ..spec }
    });
    TestRunner::new(seeded(60))
        .run(&specs, |spec| {
            for block in execute(&generate(&spec).unwrap()) {
                let asked = block.len().div_ceil(2);
                let shared: BTreeSet<_> = writers(&block)
                    .into_iter()
                    .filter(|(_, count)| *count > 1)
                    .map(|(location, _)| location)
                    .collect();
                let conflicting = block.iter().filter(|tx| !tx.writes.is_disjoint(&shared)).count();
                prop_assert_eq!(conflicting, if asked > 1 { asked } else { 0 });
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn clusters_share_nothing() {
    let spec = WorkloadSpec {
        transactions_per_block: 60,
        accounts: 60,
        clusters: 6,
        ..WorkloadSpec::standard(WorkloadKind::AmmClusters)
    };
    for block in execute(&generate(&spec).unwrap()) {
        // Ten swaps share the reserves of two pairs and the pairs' balances of three tokens.
        let writers = writers(&block);
        assert_eq!(writers.values().filter(|count| **count == 10).count(), 6 * 6);
        assert_eq!(writers.values().filter(|count| **count > 1).count(), 6 * 6);
    }
}

#[test]
fn a_link_of_the_chain_cannot_pay_before_it_is_paid() {
    let spec =
        WorkloadSpec { transactions_per_block: 5, ..WorkloadSpec::standard(WorkloadKind::TransfersChain) };
    let workload = generate(&spec).unwrap();
    let funds = |index: usize| {
        let link = workload.blocks[0].transactions[index].env().caller;
        workload.genesis.account(link).unwrap()
    };
    assert!(funds(0).is_some());
    assert_eq!([funds(1), funds(2), funds(3), funds(4)], [None; 4]);
}

#[test]
fn the_standard_suite_succeeds_with_gas_limits_at_most_half_above_use() {
    for spec in standard_suite() {
        for block in execute(&generate(&spec).unwrap()) {
            let used: u64 = block.iter().map(|tx| tx.gas_used).sum();
            let limit: u64 = block.iter().map(|tx| tx.gas_limit).sum();
            assert!(2 * limit <= 3 * used, "{spec}: {used} gas used of {limit}");
        }
    }
}
