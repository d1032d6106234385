//! Accounts and slots as the trie holds them ([Yellow Paper, section 4.1][yp]).
//!
//! [yp]: https://ethereum.github.io/yellowpaper/paper.pdf

use crate::Account;
use alloy_primitives::{B256, U256};
use alloy_rlp::Encodable;
use alloy_trie::TrieAccount;

/// An account's value in the trie.
pub(crate) fn encode(account: &Account, storage_root: B256, out: &mut Vec<u8>) {
    out.clear();
    let Account { balance, nonce, code_hash } = *account;
    TrieAccount { nonce, balance, storage_root, code_hash }.encode(out);
}

/// An account and its storage root by its value in the trie.
pub(crate) fn decode(mut value: &[u8]) -> alloy_rlp::Result<(Account, B256)> {
    let TrieAccount { nonce, balance, storage_root, code_hash } = alloy_rlp::Decodable::decode(&mut value)?;
    if !value.is_empty() {
        return Err(alloy_rlp::Error::UnexpectedLength);
    }
    Ok((Account { balance, nonce, code_hash }, storage_root))
}

/// The storage root in an account's value in the trie, which must be one: root and code hash are its last two items.
pub(crate) fn storage_root(value: &[u8]) -> Option<B256> {
    const ITEM: usize = 33;
    let root = value.len().checked_sub(2 * ITEM).map(|start| &value[start..start + ITEM])?;
    (root[0] == 0xa0).then(|| B256::from_slice(&root[1..]))
}

/// A slot's value in the trie: its RLP, at most 33 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotValue {
    bytes: [u8; 33],
    start: u8,
}

impl SlotValue {
    /// The value of a slot; `None` for zero, which is not in the trie.
    #[inline]
    pub(crate) fn new(value: U256) -> Option<Self> {
        if value.is_zero() {
            return None;
        }
        let mut bytes = [0; 33];
        bytes[1..].copy_from_slice(&value.to_be_bytes::<32>());
        let zeros = value.leading_zeros() / 8;
        let mut start = zeros as u8 + 1;
        let len = 33 - start;
        if len > 1 || bytes[32] >= 0x80 {
            start -= 1;
            bytes[usize::from(start)] = 0x80 + len;
        }
        Some(Self { bytes, start })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }

    /// A slot by its value in the trie.
    pub(crate) fn decode(mut value: &[u8]) -> alloy_rlp::Result<U256> {
        let decoded = alloy_rlp::Decodable::decode(&mut value)?;
        if value.is_empty() { Ok(decoded) } else { Err(alloy_rlp::Error::UnexpectedLength) }
    }
}

impl AsRef<[u8]> for SlotValue {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_storage_root_is_found_without_decoding() {
        let root = B256::repeat_byte(0x5a);
        let mut value = Vec::new();
        for balance in [U256::ZERO, U256::from(5), U256::MAX] {
            encode(&Account { balance, nonce: 300, ..Account::EMPTY }, root, &mut value);
            assert_eq!(storage_root(&value), Some(root));
            assert_eq!(decode(&value).unwrap().1, root);
        }
        assert_eq!(storage_root(&[0xc0]), None);
    }

    #[test]
    fn slot_values_are_their_rlp() {
        let numbers = [1, 0x7f, 0x80, 0xff, 0x100, u64::MAX].map(U256::from);
        for value in numbers.into_iter().chain([U256::MAX, U256::MAX >> 1, U256::ONE << 255]) {
            let encoded = SlotValue::new(value).unwrap();
            assert_eq!(encoded.bytes(), alloy_rlp::encode(value), "{value}");
            assert_eq!(SlotValue::decode(encoded.bytes()), Ok(value));
        }
        assert!(SlotValue::new(U256::ZERO).is_none());
    }
}
