use super::{
    error::{SsmtError, TrieName, VersionId},
    header::linked_headers,
    store::{Ssmt, SsmtConfig},
    version::Version,
};
use crate::{AccountChange, CallerAlone, ChangeSet, Touched, Workers};
use alloy_primitives::{Address, B256, Bytes, U256, map::B256Set};
use citius_hashing::{Hasher, keccak256};
use revm::bytecode::Bytecode;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a block needs of the state before it, to be executed again without that state: the shape of the answer to
/// `debug_executionWitness` ([reth's][reth]; geth answers alike).
///
/// [reth]: https://reth.rs/jsonrpc/debug#debug_executionwitness
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionWitness {
    /// RLPs of trie nodes, of the account trie and of all storage tries, each once, in no order that means anything.
    pub state: Vec<Bytes>,
    /// Code that is executed or looked at.
    pub codes: Vec<Bytes>,
    /// What the tries' keys are hashes of: addresses (20 bytes) and slots (32 bytes).
    #[serde(default)]
    pub keys: Vec<Bytes>,
    /// RLPs of the headers of ancestors: of the parent, and of all from it to the oldest whose hash is asked for.
    #[serde(default)]
    pub headers: Vec<Bytes>,
}

/// Addresses with slots.
type Keys = BTreeMap<Address, BTreeSet<U256>>;

impl Ssmt {
    /// What a block on top of the version `parent` needs: the ways to all that it `touched` and `changes`, and of the nodes
    /// beside them those that must be known when branches lose their children. No node could be left out.
    ///
    /// That the witness leads to `post_root` is found by using it. `headers` are passed on.
    ///
    /// # Errors
    ///
    /// [`SsmtError::UnknownVersion`]; [`SsmtError::CodeMissing`]; [`SsmtError::WrongRoot`] if the changes do not lead to
    /// `post_root`; [`SsmtError::Blinded`] if the parent itself is partial and lacks nodes;
    /// [`SsmtError::Cold`].
    pub fn witness(
        &self,
        parent: VersionId,
        touched: &Touched,
        changes: &Arc<ChangeSet>,
        post_root: B256,
        headers: Vec<Bytes>,
    ) -> Result<ExecutionWitness, SsmtError> {
        let versions = self.wholly_at(parent)?;
        let version = versions.get(parent)?;
        let mut codes = Vec::with_capacity(touched.codes.len());
        for hash in &touched.codes {
            codes
                .push(self.find_code(*hash)?.ok_or(SsmtError::CodeMissing { hash: *hash })?.original_bytes());
        }
        let keys = keys_of(touched, changes);
        let mut state = BTreeSet::new();
        if version.top.hash() != alloy_trie::EMPTY_ROOT_HASH {
            state.insert(self.node_at(version, TrieName::Accounts, &[])?);
        }
        for (address, slots) in &keys {
            state.extend(self.ways(version, *address, slots)?);
        }
        // One storage trie after the other is cheaper than all of them again and again.
        for change in changes.accounts.iter().filter(|change| removes_slots(change)) {
            let slots = change.storage.iter().map(|slot| slot.slot).collect();
            let mut nodes = self.ways(version, change.address, &slots)?;
            let alone = ChangeSet { accounts: vec![change.clone()], codes: Vec::new() };
            self.complete(version, &Arc::new(alone), &mut nodes)?;
            state.extend(nodes);
        }
        let found = self.complete(version, changes, &mut state)?;
        if found != post_root {
            return Err(SsmtError::WrongRoot { expected: post_root, found });
        }
        let mut preimages = Vec::new();
        for (address, slots) in keys {
            preimages.push(Bytes::copy_from_slice(address.as_slice()));
            preimages.extend(slots.iter().map(|slot| Bytes::from(slot.to_be_bytes::<32>())));
        }
        Ok(ExecutionWitness { state: state.into_iter().collect(), codes, keys: preimages, headers })
    }

    /// The state before a block, as far as its witness tells: [`Ssmt::from_witness`] with its code and with the hashes of
    /// its headers. `keys` are not needed.
    ///
    /// Nothing tells whether the headers are those of the chain: compare the parent's hash
    /// ([`StateReader::block_hash`](crate::StateReader::block_hash)) with that in the block.
    ///
    /// # Errors
    ///
    /// As [`Ssmt::from_witness`]; [`SsmtError::BadHeader`] if headers are not linked, or the last one's state root is not
    /// `root`.
    pub fn from_execution_witness(
        root: B256,
        witness: &ExecutionWitness,
        config: SsmtConfig,
        hasher: Arc<Hasher>,
        workers: Arc<dyn Workers>,
    ) -> Result<Self, SsmtError> {
        let headers = linked_headers(&witness.headers, root)?;
        let ssmt = Self::from_witness(root, &witness.state, &B256Set::default(), config, hasher, workers)?;
        for code in &witness.codes {
            // What looks like a delegation and is none is never asked for: no account has such code.
            if let Ok(code) = Bytecode::new_raw_checked(code.clone()) {
                ssmt.insert_code(code);
            }
        }
        for (number, hash) in headers {
            ssmt.set_block_hash(number, hash);
        }
        Ok(ssmt)
    }

    /// The nodes on the ways to an account and to some of its slots.
    fn ways(
        &self,
        version: &Version,
        address: Address,
        slots: &BTreeSet<U256>,
    ) -> Result<BTreeSet<Bytes>, SsmtError> {
        let key = keccak256(address.as_slice());
        let (way, found) = self.account_way(version, key)?;
        let mut nodes: BTreeSet<Bytes> = way.into_iter().map(|(_, rlp)| rlp).collect();
        if let Some(found) = found {
            for slot in slots {
                let (way, _) = self.storage_way(key, &found, keccak256(&slot.to_be_bytes::<32>()))?;
                nodes.extend(way.into_iter().map(|(_, rlp)| rlp));
            }
        }
        Ok(nodes)
    }

    /// Adds the nodes that `changes` need, until they can be sealed on the nodes alone; and says to which root that leads.
    fn complete(
        &self,
        version: &Version,
        changes: &Arc<ChangeSet>,
        nodes: &mut BTreeSet<Bytes>,
    ) -> Result<B256, SsmtError> {
        let config = SsmtConfig { flat_cache_bytes: 0, rebalance_every: 0, ..SsmtConfig::default() };
        loop {
            let list: Vec<&Bytes> = nodes.iter().collect();
            let (hasher, hints) = (Arc::clone(&self.hasher), B256Set::default());
            let workers = Arc::new(CallerAlone);
            let partial =
                Self::from_witness(version.top.hash(), &list, &hints, config.clone(), hasher, workers)?;
            match partial.seal(partial.head(), changes) {
                Ok(sealed) => return Ok(sealed.root),
                Err(SsmtError::Blinded { trie, path }) => {
                    if !nodes.insert(self.node_at(version, trie, &path)?) {
                        return Err(SsmtError::Blinded { trie, path });
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The node at a path.
    fn node_at(&self, version: &Version, trie: TrieName, path: &[u8]) -> Result<Bytes, SsmtError> {
        let mut key = B256::ZERO;
        for (at, nibble) in path.iter().enumerate().take(64) {
            key[at / 2] |= if at % 2 == 0 { nibble << 4 } else { *nibble };
        }
        let way = match trie {
            TrieName::Accounts => self.account_way(version, key)?.0,
            TrieName::Storage(account) => match self.find_account_anywhere(version, account)? {
                Some(found) => self.storage_way(account, &found, key)?.0,
                None => Vec::new(),
            },
        };
        let node = way.into_iter().find(|(depth, _)| *depth == path.len());
        node.map(|(_, rlp)| rlp).ok_or(SsmtError::Blinded { trie, path: path.to_vec() })
    }
}

/// All keys whose ways must be known. What a wiped account had is not looked at.
fn keys_of(touched: &Touched, changes: &ChangeSet) -> Keys {
    let mut keys: Keys = touched.accounts.iter().map(|address| (*address, BTreeSet::new())).collect();
    for (address, slot) in &touched.slots {
        keys.entry(*address).or_default().insert(*slot);
    }
    for change in &changes.accounts {
        let slots = keys.entry(change.address).or_default();
        if !change.storage_wiped && change.after.is_some() {
            slots.extend(change.storage.iter().map(|slot| slot.slot));
        }
    }
    keys
}

/// Whether branches of an account's storage trie may lose children, the account staying where it is.
fn removes_slots(change: &AccountChange) -> bool {
    let stays = change.before.is_some() && change.after.is_some() && !change.storage_wiped;
    stays && change.storage.iter().any(|slot| slot.after.is_zero())
}
