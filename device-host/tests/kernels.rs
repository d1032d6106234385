//! Every kernel on every device equals the oracle.

mod common;

use citius_hashing::{
    Backend,
    device::{DeviceOptions, MESSAGE_BYTES_MAX},
};
use common::{Batch, patient, seeded, targets, wait_until_ready};
use rand::Rng;

/// Each length from nothing to more than eight blocks, and all around each multiple of a block, to the longest.
fn lengths() -> Vec<usize> {
    let around = |blocks: usize| (136 * blocks).saturating_sub(9)..=136 * blocks + 9;
    let mut lengths: Vec<usize> = (0..=1200).chain((0..=16).flat_map(around)).collect();
    lengths.extend(MESSAGE_BYTES_MAX - 140..=MESSAGE_BYTES_MAX);
    lengths
}

#[test]
fn every_kernel_on_every_device_equals_the_oracle() {
    let mut random = seeded();
    for target in targets() {
        let backend = target.start(None, patient());
        let what = format!("{} on {}", backend.name(), target.device.name);
        wait_until_ready(&backend);
        // Of all lengths mixed, of one length, of a few messages and of one.
        let mut batches = vec![lengths()];
        batches.extend([32, 135, 136, 532].map(|length| vec![length; 3000]));
        batches.extend((1..=17).map(|count| (0..count).map(|_| random.random_range(0..1200)).collect()));
        batches.push(vec![0; 9]);
        for lengths in batches {
            let batch = Batch::new(&mut random, lengths);
            batch.assert_digests(&batch.hash(&backend).unwrap(), &what);
        }
        eprintln!("{what}: {:?}", backend.counters());
        assert_eq!(backend.counters().starts, 1);
    }
}

#[test]
fn batches_larger_than_the_shared_memory_go_in_pieces_and_messages_too_long_to_the_processor() {
    let mut random = seeded();
    for target in targets() {
        let options = DeviceOptions { arena_bytes: 32 << 10, messages_max: 100, ..patient() };
        let backend = target.start(None, options);
        wait_until_ready(&backend);
        let mut lengths: Vec<usize> = (0..700).map(|_| random.random_range(0..600)).collect();
        let long = [MESSAGE_BYTES_MAX + 1, 100_000, MESSAGE_BYTES_MAX];
        lengths.extend(long);
        let batch = Batch::new(&mut random, lengths);
        batch.assert_digests(&batch.hash(&backend).unwrap(), backend.name());
        assert_eq!(backend.counters().messages_long, 2);

        let only_long = Batch::new(&mut random, vec![20_000; 3]);
        only_long.assert_digests(&only_long.hash(&backend).unwrap(), backend.name());
        let nothing = Batch::new(&mut random, Vec::new());
        nothing.assert_digests(&nothing.hash(&backend).unwrap(), backend.name());
    }
}
