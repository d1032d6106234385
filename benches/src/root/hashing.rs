use alloy_primitives::B256;
use citius_hashing::Hasher;
use citius_state::{SharedWork, Workers};
use parking_lot::Mutex;
use std::{
    hint::black_box,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Nodes hashed in one step: what keeps the lanes full and the work evenly shared.
const PIECE: usize = 512;

/// The hashing of a block's nodes and nothing else: messages one behind another, all there beforehand.
#[derive(Debug)]
pub struct BareHashing {
    hasher: Arc<Hasher>,
    arena: Vec<u8>,
    ranges: Vec<Range<usize>>,
    digests: Vec<Mutex<Vec<B256>>>,
    next: AtomicUsize,
}

impl BareHashing {
    /// Of these nodes.
    #[must_use]
    pub fn of(nodes: &[Vec<u8>], hasher: &Arc<Hasher>) -> Arc<Self> {
        let arena = nodes.concat();
        let mut at = 0;
        let ranges: Vec<Range<usize>> = nodes
            .iter()
            .map(|node| {
                at += node.len();
                at - node.len()..at
            })
            .collect();
        let digests = ranges.chunks(PIECE).map(|piece| Mutex::new(vec![B256::ZERO; piece.len()])).collect();
        Arc::new(Self { hasher: Arc::clone(hasher), arena, ranges, digests, next: AtomicUsize::new(0) })
    }

    /// Keccak permutations that it takes.
    #[must_use]
    pub fn permutations(&self) -> usize {
        const RATE: usize = 136;
        self.ranges.iter().map(|range| range.len() / RATE + 1).sum()
    }

    /// Nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.ranges.len()
    }

    /// Hashes all by all workers; the time that takes.
    #[must_use]
    pub fn run(self: &Arc<Self>, workers: &dyn Workers) -> Duration {
        self.next.store(0, Ordering::Relaxed);
        let shared = Arc::clone(self);
        let work: Arc<SharedWork> = Arc::new(move |_| {
            loop {
                let piece = shared.next.fetch_add(1, Ordering::Relaxed);
                let Some(digests) = shared.digests.get(piece) else { return };
                let ranges = &shared.ranges[piece * PIECE..shared.ranges.len().min((piece + 1) * PIECE)];
                shared.hasher.hash_batch(&shared.arena, ranges, &mut digests.lock());
            }
        });
        let start = Instant::now();
        workers.run(&work);
        let took = start.elapsed();
        black_box(&self.digests);
        took
    }
}
