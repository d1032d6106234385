//! All nodes of a state's tries, as `alloy-trie` builds them: what witnesses are cut out of.

use crate::model::storage_root;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256, map::B256Set};
use alloy_trie::{HashBuilder, Nibbles, TrieAccount, proof::ProofRetainer};
use citius_state::{Account, MemoryState, ssmt::TrieName};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes by trie and path. Those below 32 bytes stand in their parents as well.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    tries: BTreeMap<Option<B256>, BTreeMap<Vec<u8>, Bytes>>,
}

impl Nodes {
    pub(crate) fn of(state: &MemoryState) -> Self {
        let mut nodes = Self::default();
        let mut accounts = BTreeMap::new();
        for (address, account) in state.accounts() {
            let Some(Account { balance, nonce, code_hash }) = account else { continue };
            let storage_root = storage_root(state, address);
            let value = alloy_rlp::encode(TrieAccount { nonce, balance, storage_root, code_hash });
            let hashed = keccak256(address);
            accounts.insert(hashed, value);
            let slots = state.slots(address).filter(|(_, value)| !value.is_zero());
            let slots: BTreeMap<B256, Vec<u8>> =
                slots.map(|(slot, value)| (keccak256(B256::from(slot)), alloy_rlp::encode(value))).collect();
            nodes.tries.insert(Some(hashed), built(&slots));
        }
        nodes.tries.insert(None, built(&accounts));
        nodes
    }

    fn trie(&self, name: TrieName) -> Option<&BTreeMap<Vec<u8>, Bytes>> {
        match name {
            TrieName::Accounts => self.tries.get(&None),
            TrieName::Storage(account) => self.tries.get(&Some(account)),
        }
    }

    /// The node that errors name so.
    pub(crate) fn at(&self, name: TrieName, path: &[u8]) -> Option<&Bytes> {
        self.trie(name)?.get(path)
    }

    /// The nodes on the way to a key, hashed, from the root on: those that stand for themselves.
    pub(crate) fn way(&self, name: TrieName, key: B256) -> impl Iterator<Item = &Bytes> {
        let key = Nibbles::unpack(key).to_vec();
        self.trie(name)
            .into_iter()
            .flatten()
            .filter(move |(path, node)| key.starts_with(path) && (path.is_empty() || node.len() >= 32))
            .map(|(_, node)| node)
    }

    /// The nodes on the ways to these accounts and slots.
    pub(crate) fn ways(
        &self,
        accounts: impl IntoIterator<Item = Address>,
        slots: impl IntoIterator<Item = (Address, U256)>,
    ) -> BTreeSet<&Bytes> {
        let mut all = BTreeSet::new();
        for address in accounts {
            all.extend(self.way(TrieName::Accounts, keccak256(address)));
        }
        for (address, slot) in slots {
            let storage = TrieName::Storage(keccak256(address));
            all.extend(self.way(storage, keccak256(B256::from(slot))));
        }
        all.retain(|node| node.len() > 1);
        all
    }

    /// The hashes of those that no sharding can touch: below its cut.
    pub(crate) fn deep(&self) -> B256Set {
        let nodes = self.tries.values().flatten();
        let deep = nodes.filter(|(path, node)| path.len() > 2 && node.len() >= 32);
        deep.map(|(_, node)| keccak256(node)).collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Bytes> {
        let tries = self.tries.values();
        tries.flatten().filter(|(path, node)| node.len() >= 32 || path.is_empty()).map(|(_, node)| node)
    }
}

/// The nodes of a trie by their paths.
pub(crate) fn built(values: &BTreeMap<B256, Vec<u8>>) -> BTreeMap<Vec<u8>, Bytes> {
    let keys = values.keys().map(Nibbles::unpack).collect();
    let mut builder = HashBuilder::default().with_proof_retainer(ProofRetainer::new(keys));
    for (key, value) in values {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root();
    let nodes = builder.take_proof_nodes();
    nodes.iter().map(|(path, node)| (path.to_vec(), node.clone())).collect()
}
