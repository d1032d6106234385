//! `mainnet-like` blocks have the shape of recorded ones. That [`BlockShape::MAINNET`] is theirs is checked where
//! recorded blocks can be read: `node/tests/corpus.rs`.

use crate::common::{Executed, execute};
use citius_engine::Block;
use citius_workloads::{BlockShape, WorkloadKind, WorkloadSpec, generate};

const SEEDS: u64 = 5;
const BLOCKS: u32 = 20;

/// The shapes of a stream's blocks, in which every transaction succeeds.
fn shapes(seed: u64) -> Vec<BlockShape> {
    let spec = WorkloadSpec { blocks: BLOCKS, seed, ..WorkloadSpec::standard(WorkloadKind::MainnetLike) };
    let workload = generate(&spec).unwrap();
    let executed = execute(&workload);
    let blocks = workload.blocks.iter().zip(&executed);
    let shape = |(block, executed): (&Block, &Vec<Executed>)| {
        let pairs = block.transactions.iter().zip(executed);
        let gas: Vec<_> = pairs.map(|(tx, executed)| (tx.env().caller, executed.gas_used)).collect();
        BlockShape::of(&gas).unwrap()
    };
    blocks.map(shape).collect()
}

#[test]
fn blocks_are_within_a_fifth_of_the_recorded_medians() {
    let shapes: Vec<_> = (1..=SEEDS).flat_map(shapes).collect();
    assert_eq!(shapes.len(), SEEDS as usize * BLOCKS as usize);
    let ours = BlockShape::median(&shapes).unwrap();
    for ((name, ours), (_, recorded)) in ours.fields().into_iter().zip(BlockShape::MAINNET.fields()) {
        let ratio = ours / recorded;
        assert!((0.8..=1.2).contains(&ratio), "{name}: {ours}, recorded {recorded}: {ratio:.3} of it");
    }
}

#[test]
fn blocks_differ_from_each_other_as_recorded_ones_do() {
    let shapes = shapes(7);
    let of = |field: fn(&BlockShape) -> f64| {
        let mut values: Vec<f64> = shapes.iter().map(field).collect();
        values.sort_unstable_by(f64::total_cmp);
        (values[values.len() / 10], values[values.len() * 9 / 10])
    };
    let (light, heavy) = of(|shape| shape.heaviest_share);
    assert!(heavy > 2.0 * light, "{light} to {heavy}");
    let (short, long) = of(|shape| shape.longest_chain);
    assert!(long > 1.5 * short, "{short} to {long}");
}
