use crate::trie::path::{common_nibbles, nibble};
use alloy_primitives::B256;

/// The first nibbles of a key: the place of a node in a trie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Prefix {
    /// Zero behind the nibbles.
    key: B256,
    nibbles: u8,
}

impl Prefix {
    /// Nibbles of a whole key.
    pub(crate) const WHOLE: u8 = 64;

    /// The first nibbles of a key.
    pub(crate) fn of(key: &B256, nibbles: u8) -> Self {
        let mut kept = B256::ZERO;
        let bytes = usize::from(nibbles / 2);
        kept[..bytes].copy_from_slice(&key[..bytes]);
        if !nibbles.is_multiple_of(2) {
            kept[bytes] = key[bytes] & 0xf0;
        }
        Self { key: kept, nibbles }
    }

    pub(crate) fn whole(key: &B256) -> Self {
        Self { key: *key, nibbles: Self::WHOLE }
    }

    /// The smallest key that begins with it.
    pub(crate) fn key(&self) -> &B256 {
        &self.key
    }

    pub(crate) fn nibbles(&self) -> u8 {
        self.nibbles
    }

    pub(crate) fn nibble(&self, at: u8) -> u8 {
        nibble(&self.key[..], usize::from(at))
    }

    /// Bytes that its nibbles take.
    pub(crate) fn byte_len(&self) -> usize {
        usize::from(self.nibbles).div_ceil(2)
    }

    /// Whether a key begins with it.
    pub(crate) fn leads_to(&self, key: &B256) -> bool {
        self.common_with_key(key) == self.nibbles
    }

    /// Whether another prefix begins with it, or is it.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.common(other) == self.nibbles
    }

    /// Nibbles that both begin with.
    pub(crate) fn common(&self, other: &Self) -> u8 {
        self.common_with_key(&other.key).min(other.nibbles)
    }

    fn common_with_key(&self, key: &B256) -> u8 {
        (common_nibbles(&self.key[..], &key[..], 0) as u8).min(self.nibbles)
    }

    /// The nibbles behind the first `from`.
    pub(crate) fn tail(&self, from: u8) -> impl Iterator<Item = u8> + '_ {
        (from..self.nibbles).map(|at| self.nibble(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_ordered_as_their_keys_and_contain_what_begins_with_them() {
        let key = B256::from_slice(&(0..32).collect::<Vec<u8>>());
        for nibbles in 0..=64 {
            let prefix = Prefix::of(&key, nibbles);
            assert!(prefix.leads_to(&key) && prefix.contains(&Prefix::whole(&key)));
            assert!(prefix <= Prefix::whole(&key));
            assert!(prefix.tail(0).eq((0..usize::from(nibbles)).map(|at| nibble(&key[..], at))));
            if nibbles > 0 {
                let mut other = key;
                let at = usize::from(nibbles - 1);
                other[at / 2] ^= if at % 2 == 0 { 0x10 } else { 1 };
                assert!(!prefix.leads_to(&other));
                assert_eq!(prefix.common(&Prefix::whole(&other)), nibbles - 1);
            }
        }
    }
}
