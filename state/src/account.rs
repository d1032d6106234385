use alloy_primitives::{B256, KECCAK256_EMPTY, U256};
use serde::{Deserialize, Serialize};

/// An account as the state trie knows it, less its storage root ([Yellow Paper, section 4.1][yp]).
///
/// [yp]: https://ethereum.github.io/yellowpaper/paper.pdf
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Balance in wei.
    pub balance: U256,
    /// Transactions sent (or, for a contract, contracts created).
    pub nonce: u64,
    /// Keccak-256 of the code; [`KECCAK256_EMPTY`] without code, never zero.
    pub code_hash: B256,
}

impl Account {
    /// The account that has nothing: no balance, no nonce, no code.
    pub const EMPTY: Self = Self { balance: U256::ZERO, nonce: 0, code_hash: KECCAK256_EMPTY };

    /// Empty in the sense of [EIP-161](https://eips.ethereum.org/EIPS/eip-161).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && !self.has_code()
    }

    /// Whether the account has code (a delegation designator counts).
    #[must_use]
    pub fn has_code(&self) -> bool {
        self.code_hash != KECCAK256_EMPTY
    }
}

impl Default for Account {
    fn default() -> Self {
        Self::EMPTY
    }
}
