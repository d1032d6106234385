use super::{
    account::{self, SlotValue},
    error::{SsmtError, TrieName, VersionId},
    store::{Ssmt, SsmtConfig},
    way::Way,
};
use crate::{
    Account, Workers,
    trie::{
        parse::{Item, KEY_NIBBLES, Parsed, parse},
        path::nibble,
    },
};
use alloy_primitives::{Address, B256, Bytes, U64, U256, map::B256Set};
use alloy_trie::EMPTY_ROOT_HASH;
use citius_hashing::{Hasher, keccak256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// An account and some of its slots with the trie nodes that prove them, in the shape of `eth_getProof`
/// ([EIP-1186](https://eips.ethereum.org/EIPS/eip-1186)): of an account or slot that does not exist, the nodes prove
/// that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountProof {
    /// Whose account.
    pub address: Address,
    /// RLPs of the account trie's nodes, from the root on to where the account is, or would be. A node below 32 bytes
    /// stands in its parent only.
    pub account_proof: Vec<Bytes>,
    /// Balance in wei; zero if there is no account.
    pub balance: U256,
    /// Hash of the code; of nothing if there is no account.
    pub code_hash: B256,
    /// Nonce; zero if there is no account.
    #[serde(serialize_with = "quantity", deserialize_with = "from_quantity")]
    pub nonce: u64,
    /// Root of the storage trie; the empty one's if there is no account.
    pub storage_hash: B256,
    /// The slots that were asked for, in that order.
    pub storage_proof: Vec<StorageProof>,
}

/// A slot with the trie nodes that prove its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageProof {
    /// The slot's key.
    pub key: U256,
    /// Its value; zero if it does not exist.
    pub value: U256,
    /// RLPs of the storage trie's nodes, as in [`AccountProof::account_proof`]; none if the account has no storage.
    pub proof: Vec<Bytes>,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A node is not what the one before it (or the root) says, or is none, or is too much, or is lacking.
    #[error("{trie}: node {index} of the proof of key hash {key}: {reason}")]
    Node {
        /// Which trie.
        trie: TrieName,
        /// Hash of the key that was to be proven.
        key: B256,
        /// Which node, from 0 at the root.
        index: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// The nodes prove another value than is claimed.
    #[error("{trie}: the value of key hash {key} is claimed to be {claimed}, and proven to be {proven}")]
    Value {
        /// Which trie.
        trie: TrieName,
        /// Hash of the key.
        key: B256,
        /// What is claimed.
        claimed: String,
        /// What the nodes say.
        proven: String,
    },
}

impl Ssmt {
    /// Proves an account and some of its slots in a version.
    ///
    /// # Errors
    ///
    /// [`SsmtError::UnknownVersion`]; [`SsmtError::Blinded`] if the state is partial and does not hold all nodes; [`SsmtError::Cold`].
    pub fn proof(
        &self,
        version: VersionId,
        address: Address,
        slots: &[U256],
    ) -> Result<AccountProof, SsmtError> {
        let versions = self.wholly_at(version)?;
        let version = versions.get(version)?;
        let key = keccak256(address.as_slice());
        let (way, found) = self.account_way(version, key)?;
        let (Account { balance, nonce, code_hash }, storage_hash) = found
            .as_ref()
            .map_or((Account::EMPTY, EMPTY_ROOT_HASH), |found| (found.account, found.storage_root));
        let mut storage_proof = Vec::with_capacity(slots.len());
        for slot in slots {
            let (way, value) = match &found {
                Some(found) => self.storage_way(key, found, keccak256(&slot.to_be_bytes::<32>()))?,
                None => Default::default(),
            };
            storage_proof.push(StorageProof { key: *slot, value, proof: rlps(way) });
        }
        let account_proof = rlps(way);
        Ok(AccountProof { address, account_proof, balance, code_hash, nonce, storage_hash, storage_proof })
    }

    /// The state with this root, as far as these proofs tell: [`Ssmt::from_witness`] of their nodes. What they claim is not
    /// looked at, only what they prove.
    ///
    /// # Errors
    ///
    /// As [`Ssmt::from_witness`].
    pub fn from_proofs(
        root: B256,
        proofs: &[AccountProof],
        config: SsmtConfig,
        hasher: Arc<Hasher>,
        workers: Arc<dyn Workers>,
    ) -> Result<Self, SsmtError> {
        let nodes: Vec<&Bytes> = proofs
            .iter()
            .flat_map(|proof| {
                let slots = proof.storage_proof.iter().flat_map(|slot| &slot.proof);
                proof.account_proof.iter().chain(slots)
            })
            .collect();
        Self::from_witness(root, &nodes, &B256Set::default(), config, hasher, workers)
    }
}

impl AccountProof {
    /// Checks that everything claimed is so in the state with this root. It takes nothing but the proof.
    ///
    /// # Errors
    ///
    /// [`ProofError`]: what is not proven.
    pub fn verify(&self, root: B256) -> Result<(), ProofError> {
        let key = keccak256(self.address.as_slice());
        let trie = TrieName::Accounts;
        let account = Account { balance: self.balance, nonce: self.nonce, code_hash: self.code_hash };
        let proven = match proven(trie, &root, key, &self.account_proof)? {
            Some(value) => account::decode(value).map_err(|_| {
                let index = self.account_proof.len().saturating_sub(1);
                ProofError::Node { trie, key, index, reason: "its value is no account" }
            })?,
            None => (Account::EMPTY, EMPTY_ROOT_HASH),
        };
        if proven != (account, self.storage_hash) {
            let text = |account: &(Account, B256)| format!("{:?} with storage {}", account.0, account.1);
            let (claimed, proven) = (text(&(account, self.storage_hash)), text(&proven));
            return Err(ProofError::Value { trie, key, claimed, proven });
        }
        self.storage_proof.iter().try_for_each(|slot| slot.verify(key, self.storage_hash))
    }
}

impl StorageProof {
    fn verify(&self, account: B256, root: B256) -> Result<(), ProofError> {
        let trie = TrieName::Storage(account);
        let key = keccak256(&self.key.to_be_bytes::<32>());
        let proven = match proven(trie, &root, key, &self.proof)? {
            Some(value) => SlotValue::decode(value).map_err(|_| {
                let index = self.proof.len().saturating_sub(1);
                ProofError::Node { trie, key, index, reason: "its value is no slot" }
            })?,
            None => U256::ZERO,
        };
        if proven != self.value {
            let (claimed, proven) = (self.value.to_string(), proven.to_string());
            return Err(ProofError::Value { trie, key, claimed, proven });
        }
        Ok(())
    }
}

/// The value that nodes prove a key to have in the trie with this root.
fn proven<'p>(
    trie: TrieName,
    root: &'p B256,
    key: B256,
    proof: &'p [Bytes],
) -> Result<Option<&'p [u8]>, ProofError> {
    let bad = |index, reason| ProofError::Node { trie, key, index, reason };
    if *root == EMPTY_ROOT_HASH {
        return match proof {
            [] => Ok(None),
            // The empty trie's node, as some clients send it.
            [node] if node[..] == [0x80] => Ok(None),
            _ => Err(bad(0, "the trie is empty")),
        };
    }
    let mut item = Item::Hash(&root.0);
    let mut used = 0;
    let mut depth = 0;
    let value = loop {
        let rlp: &[u8] = match item {
            Item::Empty => break None,
            Item::Inlined(rlp) => rlp,
            Item::Hash(hash) => {
                let node = proof.get(used).ok_or(bad(used, "it is lacking"))?;
                if keccak256(node).0 != *hash {
                    return Err(bad(used, "its hash is another one"));
                }
                used += 1;
                node
            }
        };
        let at = used.saturating_sub(1);
        match parse(rlp).map_err(|reason| bad(at, reason))? {
            Parsed::Leaf { path, value } => {
                if depth + path.len() != KEY_NIBBLES {
                    return Err(bad(at, "a leaf does not end where keys do"));
                }
                break (path.matches(&key[..], depth) == path.len()).then_some(value);
            }
            Parsed::Extension { path, child } => {
                if path.matches(&key[..], depth) < path.len() {
                    break None;
                }
                depth += path.len();
                item = child;
            }
            Parsed::Branch(_) if depth >= KEY_NIBBLES => {
                return Err(bad(at, "a branch stands where keys end"));
            }
            Parsed::Branch(items) => {
                item = items[usize::from(nibble(&key[..], depth))];
                depth += 1;
            }
        }
    };
    if used < proof.len() {
        return Err(bad(used, "it is behind the end of the way"));
    }
    Ok(value)
}

fn rlps(way: Way) -> Vec<Bytes> {
    way.into_iter().map(|(_, rlp)| rlp).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn quantity<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    U64::from(*value).serialize(serializer)
}

fn from_quantity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    U64::deserialize(deserializer).map(|value| value.to())
}
