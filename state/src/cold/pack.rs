//! How items come on pages. A page holds what is below some children of one branch, or of several; what does not fit goes to pages of
//! its own, and a reference stands for each subtrie there.

use super::{
    error::ColdError,
    items::{Item, Reference, page_bytes, page_of},
    merkle::Batch,
    page::{BODY_BYTES, PageNumber},
    prefix::Prefix,
    tree::{Leaf, Pages, Updater},
};

/// Bytes up to which what was on a page of its own goes to the page above.
const SMALL: usize = BODY_BYTES / 4;
/// Bytes of a record beyond which it is worth a reference, which has most of an account in it, too. Sixteen of either fit on a page.
const LARGE: usize = 192;

/// Items of a page, sorted.
pub(crate) type Group<L> = Vec<Item<L>>;

/// All items below one place, sorted.
///
/// The place is that of a branch's child, though all items may have more in common: what comes to be below it later comes to the
/// same page. So references to one page never part.
#[derive(Debug)]
pub(crate) struct Subtrie<L> {
    pub(crate) prefix: Prefix,
    pub(crate) items: Group<L>,
}

impl<L: Leaf> Subtrie<L> {
    /// Bytes that it adds to a page at most.
    fn bytes(&self) -> usize {
        self.items.iter().map(Item::bytes).sum()
    }

    /// Whether it is more than a reference to it would be.
    fn is_much(&self) -> bool {
        let is_large = |item: &Item<L>| matches!(item, Item::Record(_)) && item.bytes() > LARGE;
        self.items.len() > 1 || self.items.iter().any(is_large)
    }
}

impl<P: Pages> Updater<'_, P> {
    /// Makes items fit on one page: references stand for those that are written to others.
    ///
    /// # Errors
    ///
    /// What the pages say.
    pub(crate) fn reduce<L: Leaf>(&mut self, items: Group<L>) -> Result<Group<L>, ColdError> {
        let [first, .., last] = &items[..] else { return Ok(items) };
        if page_bytes(&items) <= BODY_BYTES {
            return Ok(items);
        }
        let fork = first.prefix().common(&last.prefix());
        let mut subtries: Vec<Subtrie<L>> = Vec::new();
        for item in items {
            let place = item.prefix();
            match subtries.last_mut().filter(|subtrie| subtrie.prefix.contains(&place)) {
                Some(subtrie) => subtrie.items.push(item),
                None => {
                    subtries.push(Subtrie { prefix: Prefix::of(place.key(), fork + 1), items: vec![item] })
                }
            }
        }
        self.reduce_all(&mut subtries)?;
        if subtries.iter().map(Subtrie::bytes).sum::<usize>() < BODY_BYTES {
            return Ok(subtries.into_iter().flat_map(|subtrie| subtrie.items).collect());
        }
        self.put(subtries)
    }

    fn reduce_all<L: Leaf>(&mut self, subtries: &mut [Subtrie<L>]) -> Result<(), ColdError> {
        for subtrie in subtries {
            subtrie.items = self.reduce(std::mem::take(&mut subtrie.items))?;
        }
        Ok(())
    }

    /// Subtries that were on one page, and changed: references to them, or what they hold, if that is little.
    ///
    /// # Errors
    ///
    /// What the pages say.
    pub(crate) fn put_again<L: Leaf>(
        &mut self,
        mut subtries: Vec<Subtrie<L>>,
    ) -> Result<Group<L>, ColdError> {
        if subtries.iter().map(Subtrie::bytes).sum::<usize>() <= SMALL {
            return Ok(subtries.into_iter().flat_map(|subtrie| subtrie.items).collect());
        }
        self.reduce_all(&mut subtries)?;
        self.put(subtries)
    }

    /// Writes subtries, each of which fits on a page, and gives references. What is hardly more than a reference is given as it is.
    fn put<L: Leaf>(&mut self, subtries: Vec<Subtrie<L>>) -> Result<Group<L>, ColdError> {
        let (written, kept): (Vec<_>, Vec<_>) = subtries.into_iter().partition(Subtrie::is_much);
        let mut items: Group<L> = kept.into_iter().flat_map(|subtrie| subtrie.items).collect();
        items.extend(self.write(written)?);
        items.sort_unstable_by_key(Item::prefix);
        Ok(items)
    }

    /// Writes subtries to as few pages as they need, filled about evenly, and gives a reference for each.
    fn write<L: Leaf>(&mut self, mut subtries: Vec<Subtrie<L>>) -> Result<Group<L>, ColdError> {
        let items = subtries.iter_mut().flat_map(|subtrie| &mut subtrie.items);
        let mut records: Vec<&mut L> = items.filter_map(Item::record_mut).collect();
        L::settle(&mut records, self.hasher);
        let all: usize = subtries.iter().map(Subtrie::bytes).sum();
        let even = all.div_ceil(all.div_ceil(BODY_BYTES).max(1));
        let mut batch = Batch::default();
        let mut places: Vec<(Prefix, PageNumber)> = Vec::with_capacity(subtries.len());
        let mut items: Group<L> = Vec::new();
        let mut bytes = 0;
        let mut start = 0;
        for subtrie in subtries {
            let more = subtrie.bytes();
            if !items.is_empty() && (bytes >= even || bytes + more >= BODY_BYTES) {
                let page = self.pages.write(page_of(&items))?;
                places[start..].iter_mut().for_each(|(_, place)| *place = page);
                (start, bytes) = (places.len(), 0);
                items.clear();
            }
            subtrie.items.iter().for_each(|item| item.add_to(&mut batch));
            batch.end(subtrie.prefix.nibbles());
            places.push((subtrie.prefix, PageNumber(0)));
            bytes += more;
            items.extend(subtrie.items);
        }
        if !items.is_empty() {
            let page = self.pages.write(page_of(&items))?;
            places[start..].iter_mut().for_each(|(_, place)| *place = page);
        }
        let reference = |((prefix, page), node)| Item::Reference(Reference { prefix, node, page });
        Ok(places.into_iter().zip(batch.roots(self.hasher)).map(reference).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Account;
    use crate::cold::{
        leaves::{AccountUpdate, Before, SlotUpdate},
        record::AccountRecord,
        tests::Memory,
        tree::Written,
        verify::{Verified, Verifier},
    };
    use alloy_primitives::{B256, U256};
    use citius_hashing::Hasher;
    use std::collections::HashSet;

    /// Records of every size, one below each child of a branch: what is kept beside references must fit, too.
    #[test]
    fn sixteen_records_of_any_size_come_on_pages() {
        for slots in [0, 1, 2, 3, 5, 16, 30_u64] {
            for short in 0..32 {
                let mut pages = Memory::default();
                let account = |nibble: u64| {
                    let slot = |slot: u64| SlotUpdate {
                        key: B256::from(U256::from(slot + 1) << 200),
                        value: U256::MAX >> (8 * short),
                    };
                    AccountUpdate {
                        key: B256::from(U256::from(nibble) << 252),
                        before: Before::Any,
                        after: Some(Account {
                            balance: U256::MAX,
                            nonce: u64::MAX,
                            code_hash: B256::repeat_byte(1),
                        }),
                        is_wiped: false,
                        slots: (0..slots).map(slot).collect(),
                    }
                };
                let changes = (0..16).map(account).collect();
                let mut updater = Updater { pages: &mut pages, hasher: &Hasher::cpu() };
                let Written::Tree(tree) = updater.update::<AccountRecord>(None, changes, 0).unwrap() else {
                    panic!("{slots} slots")
                };
                let mut progress = |_: &Verified| ();
                let mut verifier = Verifier {
                    pages: &mut pages,
                    hasher: &Hasher::cpu(),
                    met: HashSet::new(),
                    found: Verified::default(),
                    progress: &mut progress,
                };
                verifier.tree::<AccountRecord>(&tree, &mut |_| ()).unwrap();
                assert_eq!((verifier.found.accounts, verifier.found.slots), (16, 16 * slots));
            }
        }
    }
}
