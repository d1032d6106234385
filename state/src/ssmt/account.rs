//! Accounts and slots as the trie holds them ([Yellow Paper, section 4.1][yp]).
//!
//! [yp]: https://ethereum.github.io/yellowpaper/paper.pdf

use crate::Account;
use alloy_primitives::{B256, U256};
use alloy_trie::TrieAccount;

/// Bytes of an account's value in the trie at most.
pub(crate) const ACCOUNT_VALUE_MAX: usize = 2 + 9 + 33 + 2 * 33;

/// Appends an account's value in the trie.
pub(crate) fn encode(account: &Account, storage_root: B256, out: &mut Vec<u8>) {
    let Account { balance, nonce, code_hash } = *account;
    let mut value = [0_u8; ACCOUNT_VALUE_MAX];
    // From the end, where everything has its place.
    let mut start = ACCOUNT_VALUE_MAX;
    for hash in [code_hash, storage_root] {
        start -= 33;
        value[start] = 0xa0;
        value[start + 1..start + 33].copy_from_slice(&hash[..]);
    }
    for (number, bytes) in [(balance, 32), (U256::from(nonce), 8)] {
        let digits = number.byte_len();
        start -= digits;
        let all = number.to_be_bytes::<32>();
        value[start..start + digits].copy_from_slice(&all[32 - digits..]);
        debug_assert!(digits <= bytes, "{number} has {bytes} bytes at most");
        if digits != 1 || value[start] >= 0x80 {
            start -= 1;
            value[start] = 0x80 + digits as u8;
        }
    }
    // More than 55 and less than 256 bytes: two hashes are 66, and nothing else is as long.
    let payload = ACCOUNT_VALUE_MAX - start;
    start -= 2;
    value[start] = 0xf8;
    value[start + 1] = payload as u8;
    out.extend_from_slice(&value[start..]);
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
    fn accounts_are_their_rlp() {
        let numbers = [0_u64, 1, 0x7f, 0x80, 0xff, 0x100, u64::MAX];
        let balances =
            numbers.map(U256::from).into_iter().chain([U256::MAX, U256::MAX >> 1, U256::ONE << 248]);
        for balance in balances {
            for nonce in numbers {
                let code_hash = B256::repeat_byte(0x77);
                let storage_root = B256::repeat_byte(0x5a);
                let mut value = vec![1];
                encode(&Account { balance, nonce, code_hash }, storage_root, &mut value);
                let expected = alloy_rlp::encode(TrieAccount { nonce, balance, storage_root, code_hash });
                assert_eq!(value[1..], expected, "{balance}, {nonce}");
            }
        }
    }

    #[test]
    fn the_storage_root_is_found_without_decoding() {
        let root = B256::repeat_byte(0x5a);
        for balance in [U256::ZERO, U256::from(5), U256::MAX] {
            let mut value = Vec::new();
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
