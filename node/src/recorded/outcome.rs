use super::{RecordedError, json::Node};
use alloy_primitives::{Address, B256, Log, U256, keccak256};
use citius_engine::{BlockOutcome, TransactionOutcome};
use citius_state::AccountChange;
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Debug};

/// A block's receipts and what it changed in the state, in the form of `expected.json`.
///
/// Built from an outcome ([`RecordedOutcome::of`]) or read from a file, compared value by value
/// ([`RecordedOutcome::difference`]), written as JSON through serde.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedOutcome {
    /// One receipt a transaction, in order.
    pub receipts: Vec<RecordedReceipt>,
    /// The accounts that changed; `None`: it existed before and is gone.
    pub post_state_diff: BTreeMap<Address, Option<RecordedAccount>>,
}

/// A receipt, its logs hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedReceipt {
    /// Whether the transaction succeeded; `None` before Byzantium
    /// ([EIP-658](https://eips.ethereum.org/EIPS/eip-658)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<bool>,
    /// Gas used by the block up to and including this transaction.
    pub cumulative_gas_used: u64,
    /// Gas used by this transaction.
    pub gas_used: u64,
    /// Number of logs.
    pub logs: u64,
    /// Keccak-256 of the RLP list of logs.
    pub logs_hash: B256,
}

/// An account after the block, and its slots that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedAccount {
    /// Balance in wei.
    pub balance: U256,
    /// The account's nonce.
    pub nonce: u64,
    /// Keccak-256 of the code, of nothing without code.
    pub code_hash: B256,
    /// Slots whose value changed; with `storage_wiped` the whole storage, zero slots left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage: BTreeMap<B256, B256>,
    /// The account did not exist before or was created again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub storage_wiped: bool,
}

impl RecordedOutcome {
    /// The record of an outcome. `has_status`: from Byzantium on.
    #[must_use]
    pub fn of(outcome: &BlockOutcome, has_status: bool) -> Self {
        Self {
            receipts: outcome.transactions.iter().map(|tx| RecordedReceipt::of(tx, has_status)).collect(),
            post_state_diff: outcome
                .changes
                .accounts
                .iter()
                .filter(|change| change.before.is_some() || change.after.is_some())
                .map(|change| (change.address, RecordedAccount::of(change)))
                .collect(),
        }
    }

    /// The first difference, in words; `None` if both are equal.
    #[must_use]
    pub fn difference(&self, expected: &Self) -> Option<String> {
        differs("number of receipts", &self.receipts.len(), &expected.receipts.len())
            .or_else(|| {
                let pairs = self.receipts.iter().zip(&expected.receipts).enumerate();
                pairs.into_iter().find_map(|(index, (receipt, expected))| receipt.difference(index, expected))
            })
            .or_else(|| {
                let addresses = self.post_state_diff.keys().chain(expected.post_state_diff.keys());
                addresses.into_iter().find_map(|address| self.account_difference(*address, expected))
            })
    }

    fn account_difference(&self, address: Address, expected: &Self) -> Option<String> {
        let what = |entry: Option<&Option<RecordedAccount>>| match entry {
            None => "unchanged",
            Some(None) => "gone",
            Some(Some(_)) => "changed",
        };
        let pair = (self.post_state_diff.get(&address), expected.post_state_diff.get(&address));
        match pair {
            (Some(Some(account)), Some(Some(expected))) => account.difference(address, expected),
            (mine, theirs) if mine == theirs => None,
            (mine, theirs) => Some(format!("account {address} is {}, expected {}", what(mine), what(theirs))),
        }
    }

    pub(super) fn decode(root: &Node<'_>) -> Result<Self, RecordedError> {
        let receipts = root.required("receipts")?;
        let receipts =
            receipts.items()?.map(|node| RecordedReceipt::decode(&node)).collect::<Result<_, _>>()?;
        let diff = root.required("post_state_diff")?;
        let accounts = diff.fields()?.map(|(_, node)| {
            let account = if node.is_null() { None } else { Some(RecordedAccount::decode(&node)?) };
            Ok((node.key_address()?, account))
        });
        Ok(Self { receipts, post_state_diff: accounts.collect::<Result<_, RecordedError>>()? })
    }
}

impl RecordedReceipt {
    fn of(tx: &TransactionOutcome, has_status: bool) -> Self {
        let logs = tx.result.logs();
        let mut encoded = Vec::new();
        alloy_rlp::encode_list::<_, Log>(logs, &mut encoded);
        Self {
            status: has_status.then(|| tx.result.is_success()),
            cumulative_gas_used: tx.cumulative_gas_used,
            gas_used: tx.gas_used(),
            logs: logs.len() as u64,
            logs_hash: keccak256(encoded),
        }
    }

    fn difference(&self, index: usize, expected: &Self) -> Option<String> {
        let field = |name: &str| format!("{name} of receipt {index}");
        differs(&field("status"), &self.status, &expected.status)
            .or_else(|| differs(&field("gasUsed"), &self.gas_used, &expected.gas_used))
            .or_else(|| {
                differs(&field("cumulativeGasUsed"), &self.cumulative_gas_used, &expected.cumulative_gas_used)
            })
            .or_else(|| differs(&field("logs"), &self.logs, &expected.logs))
            .or_else(|| differs(&field("logsHash"), &self.logs_hash, &expected.logs_hash))
    }

    fn decode(node: &Node<'_>) -> Result<Self, RecordedError> {
        Ok(Self {
            status: node.optional("status")?.map(|status| status.bool()).transpose()?,
            cumulative_gas_used: node.required("cumulativeGasUsed")?.u64()?,
            gas_used: node.required("gasUsed")?.u64()?,
            logs: node.required("logs")?.u64()?,
            logs_hash: node.required("logsHash")?.b256()?,
        })
    }
}

impl RecordedAccount {
    fn of(change: &AccountChange) -> Option<Self> {
        let account = change.after?;
        let slots = change.storage.iter().map(|slot| (B256::from(slot.slot), B256::from(slot.after)));
        Some(Self {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            storage: slots.collect(),
            storage_wiped: change.storage_wiped,
        })
    }

    fn difference(&self, address: Address, expected: &Self) -> Option<String> {
        let field = |name: &str| format!("{name} of account {address}");
        differs(&field("balance"), &self.balance, &expected.balance)
            .or_else(|| differs(&field("nonce"), &self.nonce, &expected.nonce))
            .or_else(|| differs(&field("codeHash"), &self.code_hash, &expected.code_hash))
            .or_else(|| differs(&field("storageWiped"), &self.storage_wiped, &expected.storage_wiped))
            .or_else(|| {
                let slots = self.storage.keys().chain(expected.storage.keys());
                slots.into_iter().find_map(|slot| {
                    let (mine, theirs) = (self.storage.get(slot), expected.storage.get(slot));
                    differs(&field(&format!("slot {slot}")), &mine, &theirs)
                })
            })
    }

    fn decode(node: &Node<'_>) -> Result<Self, RecordedError> {
        let mut storage = BTreeMap::new();
        if let Some(slots) = node.optional("storage")? {
            for (_, value) in slots.fields()? {
                storage.insert(B256::from(value.key_u256()?), B256::from(value.u256()?));
            }
        }
        Ok(Self {
            balance: node.required("balance")?.u256()?,
            nonce: node.required("nonce")?.u64()?,
            code_hash: node.required("codeHash")?.b256()?,
            storage,
            storage_wiped: node.optional("storageWiped")?.map_or(Ok(false), |wiped| wiped.bool())?,
        })
    }
}

fn differs<T: PartialEq + Debug>(what: &str, value: &T, expected: &T) -> Option<String> {
    (value != expected).then(|| format!("{what} is {value:?}, expected {expected:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::file::JsonFile;
    use serde_json::json;

    fn outcome() -> RecordedOutcome {
        let account = RecordedAccount {
            balance: U256::from(255),
            nonce: 3,
            code_hash: B256::repeat_byte(1),
            storage: BTreeMap::from([(B256::with_last_byte(2), B256::with_last_byte(9))]),
            storage_wiped: true,
        };
        let receipt = RecordedReceipt {
            status: None,
            cumulative_gas_used: 42_000,
            gas_used: 21_000,
            logs: 0,
            logs_hash: B256::repeat_byte(2),
        };
        RecordedOutcome {
            receipts: vec![receipt],
            post_state_diff: BTreeMap::from([
                (Address::repeat_byte(0xab), Some(account)),
                (Address::repeat_byte(0xcd), None),
            ]),
        }
    }

    fn decode(value: serde_json::Value) -> Result<RecordedOutcome, RecordedError> {
        RecordedOutcome::decode(&Node::root(&JsonFile { path: "expected.json".into(), value }))
    }

    #[test]
    fn what_is_written_is_the_documented_form() {
        let slot = |last: &str| format!("0x{}{last}", "0".repeat(62));
        let expected = json!({
            "receipts": [{
                "cumulativeGasUsed": 42_000, "gasUsed": 21_000, "logs": 0,
                "logsHash": format!("0x{}", "02".repeat(32)),
            }],
            "post_state_diff": {
                format!("0x{}", "ab".repeat(20)): {
                    "balance": "0xff", "nonce": 3, "codeHash": format!("0x{}", "01".repeat(32)),
                    "storage": {slot("02"): slot("09")}, "storageWiped": true,
                },
                format!("0x{}", "cd".repeat(20)): null,
            },
        });
        assert_eq!(serde_json::to_value(outcome()).unwrap(), expected);
        assert_eq!(decode(expected).unwrap(), outcome());
    }

    #[test]
    fn numbers_are_compared_not_their_text() {
        let mut value = serde_json::to_value(outcome()).unwrap();
        value["post_state_diff"][format!("0x{}", "ab".repeat(20))]["balance"] = json!("0x00ff");
        assert_eq!(decode(value).unwrap().difference(&outcome()), None);
    }

    #[test]
    fn every_field_counts() {
        let base = serde_json::to_value(outcome()).unwrap();
        let account = format!("/post_state_diff/0x{}", "ab".repeat(20));
        let gone = format!("/post_state_diff/0x{}", "cd".repeat(20));
        let slot = format!("{account}/storage/0x{}02", "0".repeat(62));
        let wrong_hash = format!("0x{}", "07".repeat(32));
        for (pointer, value) in [
            ("/receipts/0/cumulativeGasUsed", json!(1)),
            ("/receipts/0/gasUsed", json!(1)),
            ("/receipts/0/logs", json!(1)),
            ("/receipts/0/logsHash", json!(wrong_hash)),
            ("/receipts", json!([])),
            (&format!("{account}/balance"), json!("0x1")),
            (&format!("{account}/nonce"), json!(1)),
            (&format!("{account}/codeHash"), json!(wrong_hash)),
            (&format!("{account}/storageWiped"), json!(false)),
            (&format!("{account}/storage"), json!({})),
            (&slot, json!("0x1")),
            (&account, json!(null)),
            (&gone, base.pointer(&account).unwrap().clone()),
        ] {
            let mut changed = base.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            let changed = decode(changed).unwrap();
            assert!(outcome().difference(&changed).is_some(), "{pointer}");
            assert!(changed.difference(&outcome()).is_some(), "{pointer}");
        }
        let mut changed = base;
        changed["receipts"][0]["status"] = json!(true);
        assert!(outcome().difference(&decode(changed).unwrap()).is_some());
    }
}
