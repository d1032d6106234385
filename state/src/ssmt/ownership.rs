use super::top::SHARDS;

/// Who works on which shards: contiguous ranges of prefixes, one a worker.
///
/// It says where work is done and where memory lies, never what comes out: any table gives the same roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// Where each worker's range begins; the last element is the end of the last one.
    bounds: Vec<u16>,
}

impl Ownership {
    /// Ranges of equal length for so many workers (at least one, at most 256 of them own anything).
    #[must_use]
    pub fn even(workers: usize) -> Self {
        let workers = workers.max(1);
        let bounds = (0..=workers).map(|worker| (worker * SHARDS / workers) as u16).collect();
        Self { bounds }
    }

    /// Ranges of about equal load.
    #[must_use]
    pub fn balanced(workers: usize, loads: &[u64; 256]) -> Self {
        let workers = workers.max(1);
        // A shard without load still costs a little: without that, all of them might end with one worker.
        let total: u64 = loads.iter().map(|load| load.saturating_add(1)).fold(0, u64::saturating_add);
        let mut bounds = vec![0];
        let mut sum = 0_u64;
        for (shard, load) in loads.iter().enumerate() {
            sum = sum.saturating_add(load.saturating_add(1));
            // A cut is made where its target lies in the nearer half of a shard.
            while bounds.len() < workers {
                let target = (u128::from(total) * bounds.len() as u128 / workers as u128) as u64;
                if sum < target {
                    break;
                }
                let before = sum - load.saturating_add(1);
                let is_nearer_before = target.saturating_sub(before) < sum - target;
                let cut = if is_nearer_before { shard } else { shard + 1 } as u16;
                bounds.push(cut.max(bounds[bounds.len() - 1]));
            }
        }
        bounds.resize(workers, SHARDS as u16);
        bounds.push(SHARDS as u16);
        Self { bounds }
    }

    /// Ranges as given: where each begins, ascending, the first at 0, and an end of 256. `None` if they are not that.
    #[must_use]
    pub fn from_bounds(bounds: Vec<u16>) -> Option<Self> {
        let is_whole = bounds.len() >= 2 && bounds[0] == 0 && bounds[bounds.len() - 1] == SHARDS as u16;
        (is_whole && bounds.is_sorted()).then_some(Self { bounds })
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.bounds.len() - 1
    }

    /// The shards of a worker; of one that is not in the table, none.
    #[must_use]
    pub fn range(&self, worker: usize) -> std::ops::Range<usize> {
        match self.bounds.get(worker..worker + 2) {
            Some(bounds) => usize::from(bounds[0])..usize::from(bounds[1]),
            None => SHARDS..SHARDS,
        }
    }

    /// The worker of a shard.
    #[must_use]
    pub fn owner(&self, shard: u8) -> usize {
        self.bounds.partition_point(|bound| *bound <= u16::from(shard)) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_has_one_owner() {
        let mut skewed = [1_u64; 256];
        skewed[17] = 1_000_000;
        let tables = (1..=9).flat_map(|workers| {
            [
                Ownership::even(workers),
                Ownership::balanced(workers, &skewed),
                Ownership::balanced(workers, &[0; 256]),
            ]
        });
        for table in tables.chain([Ownership::even(300), Ownership::balanced(300, &[u64::MAX; 256])]) {
            let mut owners = [usize::MAX; 256];
            for worker in 0..table.workers() {
                for shard in table.range(worker) {
                    assert_eq!(std::mem::replace(&mut owners[shard], worker), usize::MAX, "{table:?}");
                }
            }
            for (shard, owner) in owners.iter().enumerate() {
                assert_eq!(table.owner(shard as u8), *owner, "{table:?}");
            }
        }
    }

    #[test]
    fn a_heavy_shard_is_its_owners_only_one() {
        let mut loads = [1_u64; 256];
        loads[100] = 100_000;
        let table = Ownership::balanced(2, &loads);
        let heavy = table.owner(100);
        assert!(table.range(heavy).len() <= 156, "{table:?}");
        let even = Ownership::balanced(4, &[10; 256]);
        assert_eq!(even, Ownership::even(4));
    }
}
