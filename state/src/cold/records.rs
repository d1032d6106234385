//! Records of a trie on pages, in the order of their keys; and its nodes at the first byte of keys.

use super::{
    error::ColdError,
    items::{BLINDED, Item, Items, Reference},
    merkle::{Batch, Node},
    pack::Group,
    page::PageNumber,
    prefix::Prefix,
    record::{AccountRecord, Tree},
    tree::{Leaf, Pages},
};
use alloy_primitives::B256;
use citius_hashing::Hasher;
use std::{collections::HashMap, ops::Range};

/// What a walk does with each record.
type Each<'a, L, P> = dyn FnMut(&mut P, L) -> Result<(), ColdError> + 'a;

/// Gives all records whose keys begin with a byte of a range (of `0..256`), in order.
///
/// # Errors
///
/// [`ColdError::Damaged`], [`ColdError::Blinded`], those of `each`, and what the pages say.
pub(crate) fn walk<L: Leaf, P: Pages>(
    pages: &mut P,
    tree: &Tree,
    bytes: &Range<u16>,
    each: &mut Each<'_, L, P>,
) -> Result<(), ColdError> {
    let items = read::<L, P>(pages, tree.page)?;
    walk_items(pages, items, bytes, each)
}

fn walk_items<L: Leaf, P: Pages>(
    pages: &mut P,
    mut items: Group<L>,
    bytes: &Range<u16>,
    each: &mut Each<'_, L, P>,
) -> Result<(), ColdError> {
    items.retain(|item| meets(&item.prefix(), bytes));
    // How many references to a page are to come.
    let mut left: HashMap<PageNumber, usize> = HashMap::new();
    let mut numbers = Vec::new();
    for item in &items {
        if let Item::Reference(Reference { page, .. }) = item {
            let count = left.entry(*page).or_default();
            if *count == 0 && *page != BLINDED {
                numbers.push(*page);
            }
            *count += 1;
        }
    }
    pages.prefetch(&numbers);
    let mut open: HashMap<PageNumber, Group<L>> = HashMap::new();
    for item in items {
        let (prefix, page) = match item {
            Item::Record(record) => {
                each(pages, record)?;
                continue;
            }
            Item::Reference(Reference { prefix, page, .. }) => (prefix, page),
        };
        if page == BLINDED {
            return Err(ColdError::Blinded { key: *prefix.key(), nibbles: prefix.nibbles() });
        }
        let all = match open.remove(&page) {
            Some(all) => all,
            None => read::<L, P>(pages, page)?,
        };
        let (own, others): (Group<L>, Group<L>) =
            all.into_iter().partition(|item| prefix.contains(&item.prefix()));
        if own.is_empty() {
            return Err(ColdError::content(page, "it lacks a subtrie that its parent says is here"));
        }
        let count = left.entry(page).or_default();
        *count = count.saturating_sub(1);
        if *count > 0 {
            open.insert(page, others);
        }
        walk_items(pages, own, bytes, each)?;
    }
    Ok(())
}

/// Whether keys that begin with a prefix begin with a byte of a range.
fn meets(prefix: &Prefix, bytes: &Range<u16>) -> bool {
    let first = u16::from(prefix.key()[0]);
    let end = first
        + match prefix.nibbles() {
            0 => 256,
            1 => 16,
            _ => 1,
        };
    first < bytes.end && bytes.start < end
}

fn read<L: Leaf, P: Pages>(pages: &mut P, number: PageNumber) -> Result<Group<L>, ColdError> {
    let Some(page) = pages.read(&[number])?.pop() else { unreachable!("as many pages as were asked for") };
    Items::open(&page, number, L::KIND)?.all()
}

/// The accounts' trie at its second nibble: what is there by the keys' first byte.
///
/// # Errors
///
/// As [`walk`].
pub(crate) fn nodes_by_byte<P: Pages>(
    pages: &mut P,
    tree: Option<Tree>,
    hasher: &Hasher,
) -> Result<Vec<(u8, Node)>, ColdError> {
    let Some(tree) = tree else { return Ok(Vec::new()) };
    let mut items = read::<AccountRecord, P>(pages, tree.page)?;
    loop {
        let is_above = |item: &Item<AccountRecord>| item.prefix().nibbles() < 2;
        let Some(at) = items.iter().position(is_above) else { break };
        let Item::Reference(Reference { prefix, page, .. }) = items.remove(at) else { continue };
        if page == BLINDED {
            return Err(ColdError::Blinded { key: *prefix.key(), nibbles: prefix.nibbles() });
        }
        let below = read::<AccountRecord, P>(pages, page)?;
        items.extend(below.into_iter().filter(|item| prefix.contains(&item.prefix())));
    }
    items.sort_unstable_by_key(Item::prefix);
    let mut batch = Batch::default();
    let mut bytes = Vec::new();
    for group in items.chunk_by(|one, other| one.prefix().key()[0] == other.prefix().key()[0]) {
        group.iter().for_each(|item| item.add_to(&mut batch));
        batch.end(2);
        bytes.push(group[0].prefix().key()[0]);
    }
    Ok(bytes.into_iter().zip(batch.roots(hasher)).collect())
}

/// What is beside a range of first bytes in a trie: the nodes at the first nibble where the range has none of it, else at the second.
pub(crate) fn nodes_beside(nodes: &[(u8, Node)], bytes: &Range<u16>, hasher: &Hasher) -> Vec<(Prefix, Node)> {
    let prefix = |byte: u8, nibbles| Prefix::of(&B256::repeat_byte(byte), nibbles);
    let mut beside = Vec::new();
    for group in nodes.chunk_by(|(one, _), (other, _)| one >> 4 == other >> 4) {
        let nibble = prefix(group[0].0, 1);
        if meets(&nibble, bytes) {
            let outside = group.iter().filter(|(byte, _)| !bytes.contains(&u16::from(*byte)));
            beside.extend(outside.map(|(byte, node)| (prefix(*byte, 2), node.clone())));
            continue;
        }
        let mut batch = Batch::default();
        group.iter().for_each(|(byte, node)| batch.node(prefix(*byte, 2), node.clone()));
        batch.end(1);
        beside.extend(batch.roots(hasher).into_iter().map(|node| (nibble, node)));
    }
    beside
}
