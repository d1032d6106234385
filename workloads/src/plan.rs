use crate::{WorkloadSpec, dice::Dice};

/// Who takes part in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Index of the sending account; no two of a block are equal while accounts last.
    pub(crate) sender: u32,
    /// Index of the account that is paid; no two of a block are equal.
    pub(crate) recipient: u32,
    /// Index of what the transaction has for itself (a pair, a sale); no two of a block are equal.
    pub(crate) lane: u32,
    /// Index of the cluster that sender and lane belong to.
    pub(crate) cluster: u32,
    /// Whether to use what all conflicting transactions share instead.
    pub(crate) is_conflicting: bool,
}

/// Deals participants out to the transactions of a block, the same way for every kind that draws them one by one.
///
/// Sender `i` and lane `i` belong to cluster `i % clusters`, so every cluster gets at least as many senders as
/// lanes when there are at least as many accounts as transactions.
#[derive(Debug)]
pub(crate) struct Planner {
    clusters: u32,
    conflicting_per_block: usize,
    /// The senders of each cluster, in the latest order.
    senders: Vec<Vec<u32>>,
    recipients: Vec<u32>,
    lanes: Vec<u32>,
}

impl Planner {
    pub(crate) fn new(spec: &WorkloadSpec) -> Self {
        let senders = |cluster| (cluster..spec.accounts).step_by(spec.clusters as usize).collect();
        Self {
            clusters: spec.clusters,
            conflicting_per_block: spec.conflicting_per_block(),
            senders: (0..spec.clusters).map(senders).collect(),
            recipients: (0..recipients(spec)).collect(),
            lanes: (0..spec.transactions_per_block).collect(),
        }
    }

    /// The next block's placements, in the order of its transactions.
    pub(crate) fn block(&mut self, dice: &mut Dice) -> Vec<Placement> {
        let count = self.lanes.len();
        dice.shuffle_front(&mut self.lanes, count);
        dice.shuffle_front(&mut self.recipients, count);
        for senders in &mut self.senders {
            dice.shuffle_front(senders, count.div_ceil(self.clusters as usize));
        }
        let mut is_conflicting = vec![false; count];
        is_conflicting[..self.conflicting_per_block].fill(true);
        dice.shuffle_front(&mut is_conflicting, count);

        let mut dealt = vec![0; self.senders.len()];
        let mut placements = Vec::with_capacity(count);
        for (index, &lane) in self.lanes.iter().enumerate() {
            let cluster = lane % self.clusters;
            let senders = &self.senders[cluster as usize];
            let dealt = &mut dealt[cluster as usize];
            placements.push(Placement {
                sender: senders[*dealt % senders.len()],
                recipient: self.recipients[index],
                lane,
                cluster,
                is_conflicting: is_conflicting[index],
            });
            *dealt += 1;
        }
        placements
    }
}

/// How many accounts can be paid: as many as can send, but enough for a block.
pub(crate) fn recipients(spec: &WorkloadSpec) -> u32 {
    spec.accounts.max(spec.transactions_per_block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorkloadKind;
    use std::collections::BTreeSet;

    fn spec(transactions_per_block: u32, accounts: u32, clusters: u32) -> WorkloadSpec {
        let standard = WorkloadSpec::standard(WorkloadKind::AmmClusters);
        WorkloadSpec { transactions_per_block, accounts, clusters, conflict_percent: 30, ..standard }
    }

    #[test]
    fn a_block_deals_nothing_twice_while_accounts_last() {
        for (transactions, accounts, clusters) in
            [(1, 1, 1), (10, 10, 3), (10, 1_000, 7), (100, 100, 100), (5, 9, 9)]
        {
            let mut planner = Planner::new(&spec(transactions, accounts, clusters));
            let mut dice = Dice::new(3);
            for _ in 0..3 {
                let block = planner.block(&mut dice);
                let distinct =
                    |of: fn(&Placement) -> u32| block.iter().map(of).collect::<BTreeSet<_>>().len();
                assert_eq!(
                    distinct(|placement| placement.sender),
                    block.len(),
                    "{transactions} {accounts} {clusters}"
                );
                assert_eq!(distinct(|placement| placement.recipient), block.len());
                assert_eq!(distinct(|placement| placement.lane), block.len());
            }
        }
    }

    #[test]
    fn senders_and_lanes_stay_in_their_cluster() {
        let block = Planner::new(&spec(50, 20, 7)).block(&mut Dice::new(5));
        assert!(block.iter().all(|placement| placement.sender % 7 == placement.cluster));
        assert!(block.iter().all(|placement| placement.lane % 7 == placement.cluster));
        assert_eq!(block.iter().filter(|placement| placement.is_conflicting).count(), 15);
    }
}
