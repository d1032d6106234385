//! What leaf pages hold: accounts and slots, in fewer bytes than the trie has for them.

use super::{
    merkle::Item,
    page::{PageKind, PageNumber},
};
use crate::{
    Account,
    ssmt::account::{SlotValue, encode},
};
use alloy_primitives::{B256, KECCAK256_EMPTY, U256};
use alloy_trie::EMPTY_ROOT_HASH;

/// Bytes of an account's slots up to which they lie in its record.
pub(crate) const INLINE_MAX: usize = 1_024;
/// Bytes of a reference to a page.
pub(crate) const REFERENCE_BYTES: usize = 5;

/// A trie's root page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) page: PageNumber,
    /// The hash of the trie.
    pub(crate) root: B256,
}

/// An account's storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Storage {
    /// No slots.
    Empty,
    /// Few: they are here, sorted.
    Inline(B256, Vec<Slot>),
    /// Many: they have pages of their own.
    Pages(Tree),
    /// Known by their hash only.
    Blinded(B256),
}

impl Storage {
    pub(crate) fn root(&self) -> B256 {
        match self {
            Self::Empty => EMPTY_ROOT_HASH,
            Self::Inline(root, _) | Self::Blinded(root) | Self::Pages(Tree { root, .. }) => *root,
        }
    }
}

/// An account by the hash of its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountRecord {
    pub(crate) key: B256,
    pub(crate) account: Account,
    pub(crate) storage: Storage,
}

/// A slot by the hash of its key; its value is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) key: B256,
    pub(crate) value: U256,
}

/// What a leaf page holds many of.
pub(crate) trait Record: Sized + Clone {
    const KIND: PageKind;

    fn key(&self) -> &B256;

    /// Bytes that [`Record::write`] appends.
    fn bytes(&self) -> usize;

    /// Appends all but the key.
    fn write(&self, out: &mut Vec<u8>);

    /// A record out of its key and the bytes that were written; `None` if these cannot be.
    fn read(key: B256, bytes: &[u8]) -> Option<Self>;

    /// Appends the value that the trie holds.
    fn write_value(&self, out: &mut Vec<u8>);
}

impl Record for Slot {
    const KIND: PageKind = PageKind::Slots;

    fn key(&self) -> &B256 {
        &self.key
    }

    fn bytes(&self) -> usize {
        self.value.byte_len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(trimmed(&self.value.to_be_bytes::<32>()));
    }

    fn read(key: B256, bytes: &[u8]) -> Option<Self> {
        let value = number(bytes)?;
        (!value.is_zero()).then_some(Self { key, value })
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        if let Some(value) = SlotValue::new(self.value) {
            out.extend_from_slice(value.bytes());
        }
    }
}

/// The bytes of a number from the first that is not zero.
fn trimmed(bytes: &[u8; 32]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]
}

/// The number of trimmed bytes.
fn number(bytes: &[u8]) -> Option<U256> {
    (bytes.len() <= 32 && bytes.first() != Some(&0)).then(|| U256::from_be_slice(bytes))
}

/// ```text
/// flags u8 | nonce | balance | code hash [32]? | storage
/// ```
///
/// The flags' lowest four bits are the bytes of the nonce, then one bit for a code hash, two for the storage (none, here,
/// pages, blinded). Before the balance stand its bytes in one byte. Storage here: root, slots u16, then each slot's key, the
/// bytes of its value in one byte, and these; pages: root, page; blinded: root. Numbers have no leading zeros.
impl Record for AccountRecord {
    const KIND: PageKind = PageKind::Accounts;

    fn key(&self) -> &B256 {
        &self.key
    }

    fn bytes(&self) -> usize {
        let code = if self.account.code_hash == KECCAK256_EMPTY { 0 } else { 32 };
        let storage = match &self.storage {
            Storage::Empty => 0,
            Storage::Inline(_, slots) => 32 + 2 + slots_bytes(slots),
            Storage::Pages(_) => 32 + REFERENCE_BYTES,
            Storage::Blinded(_) => 32,
        };
        2 + U256::from(self.account.nonce).byte_len() + self.account.balance.byte_len() + code + storage
    }

    fn write(&self, out: &mut Vec<u8>) {
        let nonce_bytes = U256::from(self.account.nonce).to_be_bytes::<32>();
        let nonce = trimmed(&nonce_bytes);
        let storage = match &self.storage {
            Storage::Empty => 0,
            Storage::Inline(..) => 1,
            Storage::Pages(_) => 2,
            Storage::Blinded(_) => 3,
        };
        let has_code = self.account.code_hash != KECCAK256_EMPTY;
        out.push(nonce.len() as u8 | u8::from(has_code) << 4 | storage << 5);
        out.extend_from_slice(nonce);
        write_short(out, trimmed(&self.account.balance.to_be_bytes::<32>()));
        if has_code {
            out.extend_from_slice(&self.account.code_hash[..]);
        }
        match &self.storage {
            Storage::Empty => {}
            Storage::Inline(root, slots) => {
                out.extend_from_slice(&root[..]);
                out.extend_from_slice(&(slots.len() as u16).to_le_bytes());
                for slot in slots {
                    out.extend_from_slice(&slot.key[..]);
                    write_short(out, trimmed(&slot.value.to_be_bytes::<32>()));
                }
            }
            Storage::Pages(tree) => {
                out.extend_from_slice(&tree.root[..]);
                write_reference(out, tree.page);
            }
            Storage::Blinded(root) => out.extend_from_slice(&root[..]),
        }
    }

    fn read(key: B256, bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let flags = from.byte()?;
        let nonce = number(from.take(usize::from(flags & 0xf))?)?;
        let balance = number(from.short()?)?;
        let code_hash = if flags >> 4 & 1 != 0 { from.hash()? } else { KECCAK256_EMPTY };
        let storage = match flags >> 5 {
            0 => Storage::Empty,
            1 => {
                let root = from.hash()?;
                let count = u16::from_le_bytes([from.byte()?, from.byte()?]);
                let slot = |_| {
                    let key = from.hash()?;
                    Slot::read(key, from.short()?)
                };
                let slots: Vec<Slot> = (0..count).map(slot).collect::<Option<_>>()?;
                if !slots.is_sorted_by(|one, other| one.key < other.key) {
                    return None;
                }
                Storage::Inline(root, slots)
            }
            2 => Storage::Pages(Tree { root: from.hash()?, page: from.reference()? }),
            3 => Storage::Blinded(from.hash()?),
            _ => return None,
        };
        let account = Account { balance, nonce: nonce.try_into().ok()?, code_hash };
        from.0.is_empty().then_some(Self { key, account, storage })
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        encode(&self.account, self.storage.root(), out);
    }
}

/// Bytes that slots take in a record, or on pages of their own.
pub(crate) fn slots_bytes(slots: &[Slot]) -> usize {
    slots.iter().map(|slot| 33 + slot.value.byte_len()).sum()
}

/// Appends at most 255 bytes, and their number before them.
pub(crate) fn write_short(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= 255, "{} bytes have a number of one", bytes.len());
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

/// Appends a reference to a page.
pub(crate) fn write_reference(out: &mut Vec<u8>, page: PageNumber) {
    assert!(page.0 < PageNumber::END, "{page} is beyond what a file may hold");
    out.extend_from_slice(&page.0.to_le_bytes()[..REFERENCE_BYTES]);
}

/// Takes bytes apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(crate) fn short(&mut self) -> Option<&'a [u8]> {
        let count = self.byte()?;
        self.take(usize::from(count))
    }

    pub(crate) fn hash(&mut self) -> Option<B256> {
        self.take(32).map(B256::from_slice)
    }

    pub(crate) fn item(&mut self) -> Option<Item> {
        self.short().and_then(Item::of)
    }

    pub(crate) fn reference(&mut self) -> Option<PageNumber> {
        let mut number = [0; 8];
        number[..REFERENCE_BYTES].copy_from_slice(self.take(REFERENCE_BYTES)?);
        Some(PageNumber(u64::from_le_bytes(number)))
    }
}
