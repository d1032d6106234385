//! The format of [state tests](https://ethereum-tests.readthedocs.io/en/latest/test_types/state_tests.html).

use alloy_primitives::{Address, B256, Bytes, U256};
use citius_state::{Account, MemoryState};
use revm::bytecode::Bytecode;
use serde::{Deserialize, Deserializer, de::Error};
use std::collections::BTreeMap;

/// One file: tests by name.
pub(crate) type StateTests = BTreeMap<String, StateTest>;

#[derive(Debug, Deserialize)]
pub(crate) struct StateTest {
    pub(crate) env: Environment,
    pub(crate) pre: BTreeMap<Address, PreAccount>,
    pub(crate) transaction: TransactionFields,
    /// Results by fork.
    pub(crate) post: BTreeMap<String, Vec<Post>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Environment {
    pub(crate) current_coinbase: Address,
    pub(crate) current_number: Quantity,
    pub(crate) current_timestamp: Quantity,
    pub(crate) current_gas_limit: Quantity,
    pub(crate) current_difficulty: Option<Quantity>,
    pub(crate) current_random: Option<Quantity>,
    pub(crate) current_base_fee: Option<Quantity>,
    pub(crate) current_excess_blob_gas: Option<Quantity>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PreAccount {
    pub(crate) balance: Quantity,
    pub(crate) nonce: Quantity,
    pub(crate) code: Bytes,
    pub(crate) storage: BTreeMap<Quantity, Quantity>,
}

/// The state that accounts make.
///
/// # Errors
///
/// A nonce has more than 64 bits.
pub(crate) fn state_of(accounts: &BTreeMap<Address, PreAccount>) -> Result<MemoryState, String> {
    let mut state = MemoryState::complete();
    for (address, account) in accounts {
        // Code that merely begins like a delegation is ordinary code to the EVM.
        let code = Bytecode::new_raw_checked(account.code.clone())
            .unwrap_or_else(|_| Bytecode::new_legacy(account.code.clone()));
        let code_hash = state.set_code(code);
        let (balance, nonce) = (account.balance.0, account.nonce.to_u64()?);
        state.set_account(*address, Account { balance, nonce, code_hash });
        for (slot, value) in account.storage.iter().filter(|(_, value)| !value.0.is_zero()) {
            state.set_storage(*address, slot.0, value.0);
        }
    }
    Ok(state)
}

/// The fields of a legacy transaction. Fixtures of other transactions carry the signed bytes, which are used then.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TransactionFields {
    pub(crate) data: Vec<Bytes>,
    pub(crate) gas_limit: Vec<Quantity>,
    pub(crate) gas_price: Option<Quantity>,
    pub(crate) nonce: Quantity,
    /// Empty for a creation.
    pub(crate) to: String,
    /// May be more than a number.
    pub(crate) value: Vec<String>,
    pub(crate) sender: Option<Address>,
    pub(crate) secret_key: Option<B256>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Post {
    pub(crate) hash: B256,
    pub(crate) logs: B256,
    pub(crate) txbytes: Option<Bytes>,
    pub(crate) indexes: Indexes,
    pub(crate) expect_exception: Option<String>,
}

/// Which of the transaction's variants this is.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Indexes {
    pub(crate) data: usize,
    pub(crate) gas: usize,
    pub(crate) value: usize,
}

/// A number of up to 256 bits: hexadecimal, with any number of leading zeros, even without digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity(pub(crate) U256);

impl Quantity {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x")?;
        if digits.is_empty() {
            return Some(Self(U256::ZERO));
        }
        U256::from_str_radix(digits, 16).ok().map(Self)
    }

    /// The number, if it has no more than 64 bits.
    pub(crate) fn to_u64(self) -> Result<u64, String> {
        u64::try_from(self.0).map_err(|_| format!("{} exceeds 64 bits", self.0))
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no hexadecimal number")))
    }
}
