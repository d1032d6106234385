//! Periods of time by which nodes are stamped: which of them the store has already.

use super::error::VersionId;
use crate::trie::node::Stamp;
use std::collections::VecDeque;

/// Periods that the store lacks at most: enough to tell nodes apart, few enough that stamps, which come round again, tell.
const LACKING_MAX: u64 = 100;

/// Every version is made in a period, a draft of it included. A period is stored once its last version is.
#[derive(Debug)]
pub(super) struct Periods {
    now: u64,
    /// The last one that is stored.
    stored: u64,
    /// Those after it before the present one, each with its last version.
    ended: VecDeque<(u64, VersionId)>,
}

impl Default for Periods {
    fn default() -> Self {
        Self { now: 1, stored: 0, ended: VecDeque::new() }
    }
}

impl Periods {
    /// What is written is stamped so, and what is read from the store.
    pub(super) fn stamps(&self) -> (Stamp, Stamp) {
        (Stamp::of(self.now), Stamp::of(self.stored))
    }

    /// Whether the store has what was last written then.
    pub(super) fn is_stored(&self, stamp: Stamp) -> bool {
        stamp.is_before(self.now - self.stored, Stamp::of(self.now))
    }

    /// A version was made, and no other is being made: another period may begin.
    pub(super) fn end(&mut self, version: VersionId) {
        if self.now - self.stored < LACKING_MAX {
            self.ended.push_back((self.now, version));
            self.now += 1;
        }
    }

    /// The store has a version, and all that those after it do not change.
    pub(super) fn store(&mut self, version: VersionId) {
        while let Some((period, _)) = self.ended.pop_front_if(|(_, last)| *last <= version) {
            self.stored = period;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_told_from_what_is_not_for_as_long_as_anybody_counts() {
        let mut periods = Periods::default();
        let mut written: Vec<(Stamp, VersionId)> = Vec::new();
        let mut stored = 0;
        for version in 1..2_000 {
            written.push((periods.stamps().0, VersionId(version)));
            periods.end(VersionId(version));
            // Now and then, and not for a long time.
            if !(300..700).contains(&version) {
                stored = version - version % 130;
            }
            periods.store(VersionId(stored));
            for (stamp, version) in &written {
                assert!(
                    !periods.is_stored(*stamp) || version.0 <= stored,
                    "{version} is not stored: {stored}"
                );
            }
            let (_, read) = periods.stamps();
            assert!(periods.is_stored(read));
            assert!(!periods.is_stored(Stamp::default()), "nobody knows when");
        }
    }
}
