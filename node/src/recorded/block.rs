use super::{
    RecordedError, RecordedOutcome, RecordedTransaction, Witness, file, folders, header, json::Node,
    pre_state, transaction,
};
use crate::roots::{transactions_root, withdrawals_root};
use alloy_consensus::Header;
use alloy_eips::eip4895::Withdrawal;
use alloy_primitives::B256;
use citius_hashing::Hasher;
use citius_state::MemoryState;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A block read from its folder: decoded and consistent in itself, its senders not yet recovered.
#[derive(Debug, Clone)]
pub struct RecordedBlock {
    /// The folder's name.
    pub name: String,
    /// The file that the block itself was read from.
    pub file: PathBuf,
    /// The block's hash, as the file says.
    pub hash: B256,
    /// The block's header.
    pub header: Header,
    /// The transactions, in order.
    pub transactions: Vec<RecordedTransaction>,
    /// How many uncles the block has; of them only hashes are recorded.
    pub ommers: usize,
    /// Withdrawals ([EIP-4895](https://eips.ethereum.org/EIPS/eip-4895)), from Shanghai on.
    pub withdrawals: Option<Vec<Withdrawal>>,
    /// The state before the block, complete, with the block hashes that it may ask for.
    pub pre_state: MemoryState,
    /// Hashes of ancestors by number, the parent's included.
    pub block_hashes: BTreeMap<u64, B256>,
    /// What a sequential run made of the block, if that was recorded.
    pub expected: Option<RecordedOutcome>,
    /// What of the state's tries the block reads and changes, if that was recorded.
    pub witness: Option<Witness>,
}

impl RecordedBlock {
    /// Reads a block's folder.
    ///
    /// # Errors
    ///
    /// [`RecordedError`], naming file, field, value and expectation.
    pub fn load(folder: &Path) -> Result<Self, RecordedError> {
        let block_file = file::read_required(folder, "block")?;
        let block = Node::root(&block_file);
        let header = header::decode(&block)?;
        let transactions = block.required("transactions")?;
        let transactions = transactions
            .items()?
            .enumerate()
            .map(|(index, node)| transaction::decode(index, &node))
            .collect::<Result<_, _>>()?;

        let mut pre_state = pre_state::decode(&Node::root(&file::read_required(folder, "pre_state")?))?;
        let block_hashes = block_hashes(folder, &header)?;
        for (number, hash) in &block_hashes {
            pre_state.set_block_hash(*number, *hash);
        }
        let expected = match file::read_optional(folder, "expected")? {
            Some(expected) => Some(RecordedOutcome::decode(&Node::root(&expected))?),
            None => None,
        };
        let witness = match file::read_optional(folder, "witness")? {
            Some(witness) => Some(Witness::decode(&Node::root(&witness))?),
            None => None,
        };
        Ok(Self {
            name: folders::name_of(folder),
            hash: block.required("hash")?.b256()?,
            header,
            transactions,
            ommers: block.optional("uncles")?.map_or(Ok(0), |uncles| Ok(uncles.items()?.len()))?,
            withdrawals: withdrawals(&block)?,
            pre_state,
            block_hashes,
            expected,
            witness,
            file: block_file.path,
        })
    }

    /// What the block's file contradicts itself in, in words: the header must have the hash told, transactions and
    /// withdrawals the roots that stand in the header.
    ///
    /// A remark, not an error: who wants to see a block refused drops a transaction or lowers a limit, and leaves the
    /// rest. Of uncles there are only hashes, and of the state only a part, so nothing is said of their roots.
    #[must_use]
    pub fn contradiction(&self) -> Option<String> {
        let hasher = Hasher::cpu();
        let envelopes = self.transactions.iter().map(|tx| &tx.envelope);
        let withdrawals = self.withdrawals.as_deref().map(|all| withdrawals_root(all, &hasher));
        let differs = |what: &str, found: Option<B256>, told: Option<B256>| {
            let say = |hash: Option<B256>| hash.map_or_else(|| "missing".to_owned(), |hash| hash.to_string());
            (found != told).then(|| format!("{what} is {}, the file says {}", say(found), say(told)))
        };
        let header = &self.header;
        let transactions = Some(transactions_root(envelopes, &hasher));
        differs("the root of the transactions", transactions, Some(header.transactions_root))
            .or_else(|| differs("the root of the withdrawals", withdrawals, header.withdrawals_root))
            .or_else(|| differs("the hash of the header", Some(header.hash_slow()), Some(self.hash)))
    }
}

fn block_hashes(folder: &Path, header: &Header) -> Result<BTreeMap<u64, B256>, RecordedError> {
    let parent = header.number.checked_sub(1);
    let mut hashes: BTreeMap<u64, B256> =
        parent.map(|parent| (parent, header.parent_hash)).into_iter().collect();
    let file = file::read_required(folder, "block_hashes")?;
    for (_, hash) in Node::root(&file).fields()? {
        let number = hash.key_number()?;
        if parent == Some(number) && hash.b256()? != header.parent_hash {
            return Err(hash.refuse(&format!("{}, the block's parentHash", header.parent_hash)));
        }
        hashes.insert(number, hash.b256()?);
    }
    Ok(hashes)
}

fn withdrawals(block: &Node<'_>) -> Result<Option<Vec<Withdrawal>>, RecordedError> {
    let Some(withdrawals) = block.optional("withdrawals")? else { return Ok(None) };
    let items = withdrawals.items()?.map(|node| {
        Ok(Withdrawal {
            index: node.required("index")?.u64()?,
            validator_index: node.required("validatorIndex")?.u64()?,
            address: node.required("address")?.address()?,
            amount: node.required("amount")?.u64()?,
        })
    });
    items.collect::<Result<_, _>>().map(Some)
}
