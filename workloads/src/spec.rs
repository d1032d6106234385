use crate::{WorkloadError, WorkloadKind};
use std::fmt;

/// What to generate. Two equal specs give bit-identical workloads.
///
/// `Display` gives a name that tells two specs apart, for reports: `erc20/tx=2000/accounts=4000/blocks=1/…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkloadSpec {
    /// What the transactions do.
    pub kind: WorkloadKind,
    /// Transactions in every block, 1 to 1,000,000.
    pub transactions_per_block: u32,
    /// Accounts that send, 1 to 10,000,000.
    ///
    /// With fewer accounts than transactions, accounts send several in one block; these depend on each other
    /// through the nonce, in addition to the conflicts asked for. The conflicting transactions of
    /// `transfers-one-to-many` and `transfers-chain`, half of those of `transfers-independent`, and the wallets,
    /// bots and operators of `mainnet-like` are senders of their own.
    pub accounts: u32,
    /// Consecutive blocks, 1 to 10,000.
    pub blocks: u32,
    /// How many of a block's transactions conflict, in percent, rounded to the nearest transaction.
    ///
    /// At 0 no two transactions of a block write the same balance, nonce or slot, the fee recipient's balance
    /// aside (given at least as many accounts as transactions). At 100 all of them write a common location;
    /// with two exceptions: in `amm-clusters` all those of one cluster do, in `transfers-chain` neighbours do.
    ///
    /// Exactly 0 for `mainnet-like`, whose conflicts come from its runs of one sender and its hot pairs.
    pub conflict_percent: u8,
    /// Chooses everything that is random: addresses, order, partners, amounts.
    pub seed: u64,
    /// Groups of traders that share nothing, 1 to `accounts`; exactly 1 for kinds other than `amm-clusters`.
    pub clusters: u32,
}

impl WorkloadSpec {
    const TRANSACTIONS_MAX: u32 = 1_000_000;
    const ACCOUNTS_MAX: u32 = 10_000_000;
    const BLOCKS_MAX: u32 = 10_000;

    /// One block of the kind at a customary size: 10,000 native transfers, 2,000 token transfers, 1,000 swaps or
    /// mints, 160 transactions as on the main network; with twice as many accounts. Kinds named after a conflict
    /// are all conflict, the others have none.
    #[must_use]
    pub fn standard(kind: WorkloadKind) -> Self {
        let transactions_per_block = match kind {
            WorkloadKind::Erc20 => 2_000,
            WorkloadKind::AmmPairs | WorkloadKind::AmmClusters | WorkloadKind::MintRush => 1_000,
            WorkloadKind::MainnetLike => 160,
            _ => 10_000,
        };
        let conflict_percent = match kind {
            WorkloadKind::TransfersIndependent
            | WorkloadKind::Erc20
            | WorkloadKind::AmmPairs
            | WorkloadKind::MainnetLike => 0,
            _ => 100,
        };
        Self {
            kind,
            transactions_per_block,
            accounts: 2 * transactions_per_block,
            blocks: 1,
            conflict_percent,
            seed: 1,
            clusters: if kind == WorkloadKind::AmmClusters { 20 } else { 1 },
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`WorkloadError::Field`] names the first field that is out of bounds.
    pub fn validate(&self) -> Result<(), WorkloadError> {
        let in_range = |field, value: u32, max: u32| {
            let expected = || format!("a number from 1 to {max}");
            if (1..=max).contains(&value) { Ok(()) } else { Err(refused(field, value, expected())) }
        };
        in_range("transactions_per_block", self.transactions_per_block, Self::TRANSACTIONS_MAX)?;
        in_range("accounts", self.accounts, Self::ACCOUNTS_MAX)?;
        in_range("blocks", self.blocks, Self::BLOCKS_MAX)?;
        if self.conflict_percent > 100 {
            return Err(refused("conflict_percent", self.conflict_percent, "a percentage, 0 to 100".into()));
        }
        if self.conflict_percent != 0 && !self.kind.has_conflict_percent() {
            let expected = format!("0, for {} has conflicts of its own", self.kind);
            return Err(refused("conflict_percent", self.conflict_percent, expected));
        }
        if self.kind == WorkloadKind::AmmClusters {
            if !(1..=self.accounts).contains(&self.clusters) {
                let expected = format!("a number from 1 to `accounts` ({})", self.accounts);
                return Err(refused("clusters", self.clusters, expected));
            }
        } else if self.clusters != 1 {
            let expected = format!("1, for {} has no clusters", self.kind);
            return Err(refused("clusters", self.clusters, expected));
        }
        Ok(())
    }

    /// How many transactions of each block conflict.
    pub(crate) fn conflicting_per_block(&self) -> usize {
        (self.transactions_per_block as usize * usize::from(self.conflict_percent) + 50) / 100
    }
}

impl fmt::Display for WorkloadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, transactions_per_block, accounts, blocks, conflict_percent, seed, clusters } = self;
        write!(f, "{kind}/tx={transactions_per_block}/accounts={accounts}/blocks={blocks}")?;
        if kind.has_conflict_percent() {
            write!(f, "/conflict={conflict_percent}")?;
        }
        write!(f, "/seed={seed}")?;
        if *kind == WorkloadKind::AmmClusters { write!(f, "/clusters={clusters}") } else { Ok(()) }
    }
}

fn refused(field: &'static str, value: impl fmt::Display, expected: String) -> WorkloadError {
    WorkloadError::Field { field, value: value.to_string(), expected }
}

/// What a stress run executes by default: every kind at its standard size, contended forms of those that have
/// none by default, and one stream of several blocks. Sequential revm takes a few seconds for all of it.
#[must_use]
pub fn standard_suite() -> Vec<WorkloadSpec> {
    let with_conflicts =
        |kind, conflict_percent| WorkloadSpec { conflict_percent, ..WorkloadSpec::standard(kind) };
    let mut suite = WorkloadKind::ALL.map(WorkloadSpec::standard).to_vec();
    suite.extend([
        with_conflicts(WorkloadKind::TransfersIndependent, 20),
        with_conflicts(WorkloadKind::Erc20, 20),
        with_conflicts(WorkloadKind::Erc20, 100),
        with_conflicts(WorkloadKind::AmmPairs, 20),
        with_conflicts(WorkloadKind::AmmPairs, 100),
        WorkloadSpec { blocks: 5, accounts: 500, ..with_conflicts(WorkloadKind::Erc20, 20) },
    ]);
    suite
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_specs_are_valid_and_have_names_of_their_own() {
        let suite = standard_suite();
        for spec in &suite {
            spec.validate().unwrap();
        }
        let mut names: Vec<_> = suite.iter().map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), suite.len());
    }

    #[test]
    fn fields_out_of_bounds_are_refused_by_name_and_value() {
        let good = WorkloadSpec::standard(WorkloadKind::AmmClusters);
        for (spec, field, value) in [
            (WorkloadSpec { transactions_per_block: 0, ..good.clone() }, "transactions_per_block", "0"),
            (
                WorkloadSpec { transactions_per_block: 1_000_001, ..good.clone() },
                "transactions_per_block",
                "1000001",
            ),
            (WorkloadSpec { accounts: 0, ..good.clone() }, "accounts", "0"),
            (WorkloadSpec { accounts: 10_000_001, ..good.clone() }, "accounts", "10000001"),
            (WorkloadSpec { blocks: 0, ..good.clone() }, "blocks", "0"),
            (WorkloadSpec { blocks: 10_001, ..good.clone() }, "blocks", "10001"),
            (WorkloadSpec { conflict_percent: 101, ..good.clone() }, "conflict_percent", "101"),
            (
                WorkloadSpec { conflict_percent: 1, ..WorkloadSpec::standard(WorkloadKind::MainnetLike) },
                "conflict_percent",
                "1",
            ),
            (WorkloadSpec { clusters: 0, ..good.clone() }, "clusters", "0"),
            (WorkloadSpec { clusters: 7, accounts: 6, ..good.clone() }, "clusters", "7"),
            (WorkloadSpec { clusters: 2, ..WorkloadSpec::standard(WorkloadKind::Erc20) }, "clusters", "2"),
        ] {
            let WorkloadError::Field { field: named, value: shown, expected } = spec.validate().unwrap_err();
            assert_eq!((named, shown.as_str()), (field, value));
            assert!(!expected.is_empty());
        }
        good.validate().unwrap();
    }

    #[test]
    fn the_conflicting_share_is_rounded_to_the_nearest_transaction() {
        let count = |transactions_per_block, conflict_percent| {
            let standard = WorkloadSpec::standard(WorkloadKind::Erc20);
            WorkloadSpec { transactions_per_block, conflict_percent, ..standard }.conflicting_per_block()
        };
        assert_eq!(
            [count(7, 0), count(7, 100), count(1, 49), count(1, 50), count(1_000, 33)],
            [0, 7, 0, 1, 330]
        );
    }
}
