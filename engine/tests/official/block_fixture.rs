//! The format of [blockchain tests](https://ethereum-tests.readthedocs.io/en/latest/test_types/blockchain_tests.html).

use crate::fixture::{PreAccount, Quantity};
use alloy_primitives::{Address, B256, Bytes};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use std::{collections::BTreeMap, fmt};

/// One file: tests by name.
pub(crate) type BlockTests = BTreeMap<String, BlockTest>;

/// A genesis block, the blocks that are offered, in order, and what the chain's state is at the end.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockTest {
    pub(crate) network: String,
    pub(crate) pre: BTreeMap<Address, PreAccount>,
    pub(crate) genesis_block_header: HeaderFields,
    /// Absent in some old tests.
    #[serde(rename = "genesisRLP")]
    pub(crate) genesis_rlp: Option<Bytes>,
    pub(crate) blocks: Vec<OfferedBlock>,
    /// The hash of the canonical head at the end.
    #[serde(rename = "lastblockhash")]
    pub(crate) last_block_hash: B256,
    pub(crate) post_state: Option<BTreeMap<Address, PreAccount>>,
    /// The root of the state at the end, where the accounts would be too many.
    pub(crate) post_state_hash: Option<B256>,
}

/// The fields of a header that are not looked up in its RLP.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeaderFields {
    pub(crate) hash: B256,
    pub(crate) number: Quantity,
    pub(crate) difficulty: Quantity,
    pub(crate) state_root: B256,
}

/// One block as the network would bring it.
#[derive(Debug)]
pub(crate) struct OfferedBlock {
    /// Of an invalid block not even hexadecimal digits are certain.
    pub(crate) rlp: String,
    /// Present for valid blocks only.
    pub(crate) header: Option<HeaderFields>,
    /// Why the block is invalid. Old tests say it by fork, in keys that all begin alike.
    pub(crate) exception: Option<String>,
}

impl<'de> Deserialize<'de> for OfferedBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OfferedBlockVisitor)
    }
}

struct OfferedBlockVisitor;

impl<'de> Visitor<'de> for OfferedBlockVisitor {
    type Value = OfferedBlock;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block of a blockchain test")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OfferedBlock, A::Error> {
        let mut block = OfferedBlock { rlp: String::new(), header: None, exception: None };
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "rlp" => block.rlp = map.next_value()?,
                "blockHeader" => block.header = Some(map.next_value()?),
                key if key.starts_with("expectException") => block.exception = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(block)
    }
}
