//! How often caches have what is asked for: the policy of the flat cache and of the cache of pages (`quick_cache`: CLOCK-Pro,
//! much like S3-FIFO), a plain LRU, and the best that is possible, on the same reads.
//!
//! Counted, not timed: what a miss costs depends on the disk. Entries count alike, and a cache is asked before it is filled,
//! as the readers of `citius-state` do. Reads are seeded, or those of recorded blocks in their order.

mod best;
mod figures;
mod lru;
mod recorded;
mod traces;

pub use best::best_hits;
pub use figures::{CacheFigures, CacheRow};
pub use lru::Lru;
pub use recorded::recorded;
pub use traces::{Trace, generated};

use crate::WrongAnswer;
use foldhash::fast::FixedState;
use quick_cache::{
    UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};

/// Capacities, in percent of the keys that a trace has.
pub const CAPACITIES_PERCENT: [usize; 3] = [1, 10, 50];

/// Seeds everything that is random here.
pub const SEED: u64 = 1;

/// Counts hits of all contenders on a trace, at each of [`CAPACITIES_PERCENT`].
///
/// # Errors
///
/// [`WrongAnswer`] if anybody did better than is possible.
pub fn compare(trace: &Trace) -> Result<CacheFigures, WrongAnswer> {
    let rows = CAPACITIES_PERCENT.map(|percent| {
        let (quick_cache_hits, capacity) =
            quick_cache_hits(&trace.reads, (trace.keys * percent / 100).max(1));
        let row = CacheRow {
            capacity_percent: percent,
            capacity,
            quick_cache_hits,
            lru_hits: lru_hits(&trace.reads, capacity),
            best_hits: best_hits(&trace.reads, capacity),
        };
        if row.quick_cache_hits.max(row.lru_hits) > row.best_hits {
            let reason = format!("more hits than there can be: {row:?}");
            return Err(WrongAnswer { bench: trace.name.clone(), reason });
        }
        Ok(row)
    });
    let rows = rows.into_iter().collect::<Result<_, _>>()?;
    Ok(CacheFigures { trace: trace.name.clone(), reads: trace.reads.len(), keys: trace.keys, rows })
}

/// Hits of a cache made as `citius-state` makes them, but for hashes that are the same every time; and how many entries it
/// may have, which is a little more than what is asked for, since every shard has as many.
#[must_use]
pub fn quick_cache_hits(reads: &[u32], capacity: usize) -> (u64, usize) {
    let hasher = FixedState::with_seed(SEED);
    let cache: Cache<u32, (), UnitWeighter, FixedState, DefaultLifecycle<u32, ()>> =
        Cache::with(capacity, capacity as u64, UnitWeighter, hasher, DefaultLifecycle::default());
    let mut hits = 0;
    for key in reads {
        if cache.get(key).is_some() {
            hits += 1;
        } else {
            cache.insert(*key, ());
        }
    }
    (hits, usize::try_from(cache.capacity()).unwrap_or(usize::MAX))
}

/// Hits of a plain LRU.
#[must_use]
pub fn lru_hits(reads: &[u32], capacity: usize) -> u64 {
    let mut cache = Lru::new(capacity);
    reads.iter().map(|key| u64::from(cache.read(*key))).sum()
}
