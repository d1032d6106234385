//! Subtries as they are on pages, for the trie in memory to take in.

use super::{
    error::ColdError,
    items::{Below, Item, Items, Reference},
    merkle::Node,
    page::PageNumber,
    prefix::Prefix,
    record::{AccountRecord, Record, Slot, Storage},
    view::{Shared, View},
    walk::{Answer, Sought, check_step},
};
use crate::{
    ssmt::{
        account,
        error::TrieName,
        work::{NO_STORAGE, UNKNOWN_LEAVES},
    },
    trie::{
        node::{Child, NodeRef, StorageRef},
        parse::{self, Parsed},
        rlp,
        update::Part,
    },
};
use alloy_primitives::B256;
use alloy_trie::EMPTY_ROOT_HASH;

/// What a page held that no page may.
const NO_NODE: &str = "what stands for a subtrie in it is no leaf and no extension";

/// The storage of an account of which the root alone is known.
pub(crate) fn stored(root: B256) -> StorageRef {
    if root == EMPTY_ROOT_HASH {
        return NO_STORAGE;
    }
    StorageRef { root: NodeRef::BLINDED, leaves: UNKNOWN_LEAVES }
}

impl Shared {
    /// What a trie has below a place, in the page that is the first to part it. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`], [`ColdError::Blinded`], and what the disk says.
    pub(crate) fn parts(
        &self,
        view: &View,
        trie: TrieName,
        key: &[u8],
        nibbles: usize,
    ) -> Result<Vec<Part>, ColdError> {
        let mut whole = B256::ZERO;
        let bytes = nibbles.div_ceil(2).min(key.len());
        whole[..bytes].copy_from_slice(&key[..bytes]);
        let place = Prefix::of(&whole, nibbles as u8);
        match trie {
            TrieName::Accounts => match view.superblock.accounts {
                Some(tree) => self.parts_of::<AccountRecord>(view, tree.page, &place),
                None => Ok(Vec::new()),
            },
            TrieName::Storage(account) => match self.storage(view, &account)? {
                Storage::Empty => Ok(Vec::new()),
                Storage::Inline(_, slots) => {
                    let slots = slots.iter().filter(|slot| place.leads_to(&slot.key));
                    Ok(slots.map(Slot::part).collect())
                }
                Storage::Pages(tree) => self.parts_of::<Slot>(view, tree.page, &place),
                Storage::Blinded(_) => Err(ColdError::Blinded { key: account, nibbles: 64 }),
            },
        }
    }

    /// The storage of an account.
    fn storage(&self, view: &View, account: &B256) -> Result<Storage, ColdError> {
        let found = self.find(view, Sought::Storage(*account))?;
        match found {
            Answer::Storage(storage) => Ok(*storage),
            answer => unreachable!("storage is not {answer:?}"),
        }
    }

    /// The storage root of an account; none if there is no account.
    ///
    /// # Errors
    ///
    /// As [`Shared::parts`].
    pub(crate) fn storage_root(&self, view: &View, account: &B256) -> Result<Option<B256>, ColdError> {
        match self.find(view, Sought::Account(*account))? {
            Answer::Account(found) => Ok(found.map(|(_, root)| root)),
            answer => unreachable!("an account is not {answer:?}"),
        }
    }

    fn parts_of<R: Record + AsPart>(
        &self,
        view: &View,
        first: PageNumber,
        place: &Prefix,
    ) -> Result<Vec<Part>, ColdError> {
        let mut number = first;
        let mut pages = 0;
        loop {
            let page = self.page(number)?;
            pages += 1;
            check_step(&page, number, view.superblock.checkpoint, pages)?;
            match Items::open(&page, number, R::KIND)?.below::<R>(place)? {
                Below::Page(below) => number = below,
                Below::Items(items) => {
                    return items.iter().map(|item| part_of(item, number)).collect();
                }
            }
        }
    }
}

/// A record as the trie has it.
pub(crate) trait AsPart {
    fn part(&self) -> Part;

    /// The leaf with this value in the trie; none if no leaf has it.
    fn leaf(key: B256, value: &[u8]) -> Option<Part>;
}

impl AsPart for AccountRecord {
    fn part(&self) -> Part {
        let mut value = Vec::with_capacity(account::ACCOUNT_VALUE_MAX);
        self.write_value(&mut value);
        Part::Leaf { key: self.key, value, storage: Some(stored(self.storage.root())) }
    }

    fn leaf(key: B256, value: &[u8]) -> Option<Part> {
        let (_, storage_root) = account::decode(value).ok()?;
        Some(Part::Leaf { key, value: value.to_vec(), storage: Some(stored(storage_root)) })
    }
}

impl AsPart for Slot {
    fn part(&self) -> Part {
        let mut value = Vec::with_capacity(33);
        self.write_value(&mut value);
        Part::Leaf { key: self.key, value, storage: None }
    }

    fn leaf(key: B256, value: &[u8]) -> Option<Part> {
        account::SlotValue::decode(value).ok()?;
        Some(Part::Leaf { key, value: value.to_vec(), storage: None })
    }
}

fn part_of<R: Record + AsPart>(item: &Item<R>, number: PageNumber) -> Result<Part, ColdError> {
    let reference = match item {
        Item::Record(record) => return Ok(record.part()),
        Item::Reference(reference) => reference,
    };
    let Reference { prefix, node, .. } = reference;
    match node {
        Node::Branch(item) => {
            let child = Child::with_item(NodeRef::BLINDED_BRANCH, item.bytes());
            Ok(Part::Branch { key: *prefix.key(), nibbles: prefix.nibbles(), child })
        }
        Node::Short(short) => {
            short_part::<R>(prefix, short).ok_or_else(|| ColdError::content(number, NO_NODE))
        }
    }
}

/// A leaf or an extension at a place.
fn short_part<R: AsPart>(prefix: &Prefix, short: &[u8]) -> Option<Part> {
    let (path, rest) = match parse::parse(short).ok()? {
        Parsed::Leaf { path, value } => (path, Some(value)),
        Parsed::Extension { path, .. } => (path, None),
        Parsed::Branch(_) => return None,
    };
    let mut key = *prefix.key();
    let start = usize::from(prefix.nibbles());
    let end = start + path.len();
    for (at, nibble) in (start..).zip(path.nibbles()) {
        let byte = key.get_mut(at / 2)?;
        *byte |= if at.is_multiple_of(2) { nibble << 4 } else { nibble };
    }
    if let Some(value) = rest {
        return if end == usize::from(Prefix::WHOLE) { R::leaf(key, value) } else { None };
    }
    // What stands for its child is what comes behind the path.
    let header = rlp::header(short)?;
    let (.., item) = rlp::split(&short[header.len..])?;
    let child = Child::with_item(NodeRef::BLINDED_BRANCH, item);
    (end < usize::from(Prefix::WHOLE)).then_some(Part::Branch { key, nibbles: end as u8, child })
}
