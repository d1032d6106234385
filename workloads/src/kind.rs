use crate::WorkloadError;
use std::{fmt, str::FromStr};

/// What the transactions of a workload do. The table in the [crate's documentation](crate) compares the kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// Ether between pairs of accounts; the conflicting ones go to or come from one account.
    TransfersIndependent,
    /// Ether; the conflicting ones have one sender, so each needs the nonce that the one before it left.
    TransfersOneToMany,
    /// Ether; the conflicting ones have one recipient.
    TransfersManyToOne,
    /// Ether; the sender of each conflicting one lives on what the one before it paid.
    TransfersChain,
    /// Tokens; the conflicting ones go to or come from one holder.
    Erc20,
    /// Swaps in one pair each; the conflicting ones share the pair.
    AmmPairs,
    /// Swaps through two pairs each, in clusters with tokens and traders of their own.
    AmmClusters,
    /// Mints; the conflicting ones buy from one sale.
    MintRush,
    /// Payments, token transfers, swaps, mints and heavy transactions, mixed as in recorded blocks of the main
    /// network ([`BlockShape::MAINNET`](crate::BlockShape::MAINNET)), and in conflict as often as there.
    MainnetLike,
}

impl WorkloadKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::TransfersIndependent,
        Self::TransfersOneToMany,
        Self::TransfersManyToOne,
        Self::TransfersChain,
        Self::Erc20,
        Self::AmmPairs,
        Self::AmmClusters,
        Self::MintRush,
        Self::MainnetLike,
    ];

    /// The kind's name on command lines and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TransfersIndependent => "transfers-independent",
            Self::TransfersOneToMany => "transfers-one-to-many",
            Self::TransfersManyToOne => "transfers-many-to-one",
            Self::TransfersChain => "transfers-chain",
            Self::Erc20 => "erc20",
            Self::AmmPairs => "amm-pairs",
            Self::AmmClusters => "amm-clusters",
            Self::MintRush => "mint-rush",
            Self::MainnetLike => "mainnet-like",
        }
    }

    /// Whether the share of conflicting transactions can be chosen.
    #[must_use]
    pub const fn has_conflict_percent(self) -> bool {
        !matches!(self, Self::MainnetLike)
    }

    /// Whether all transactions are plain transfers of ether (21,000 gas each).
    #[must_use]
    pub const fn is_native(self) -> bool {
        matches!(
            self,
            Self::TransfersIndependent
                | Self::TransfersOneToMany
                | Self::TransfersManyToOne
                | Self::TransfersChain
        )
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WorkloadKind {
    type Err = WorkloadError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| WorkloadError::Field {
            field: "kind",
            value: format!("`{name}`"),
            expected: format!("one of {}", Self::ALL.map(Self::name).join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_its_kind() {
        for kind in WorkloadKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = "erc-20".parse::<WorkloadKind>().unwrap_err().to_string();
        assert!(error.contains("`kind` is `erc-20`") && error.contains("erc20, amm-pairs"), "{error}");
    }
}
