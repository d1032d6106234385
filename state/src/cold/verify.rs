//! Reads everything that a tree has, and computes every hash again.

use super::{
    codes::CodeRecord,
    error::ColdError,
    items::{BLINDED, Item, Items, Reference},
    merkle::{Batch, Node, root_hash},
    page::PageNumber,
    record::{AccountRecord, Record, Slot, Storage, Tree},
    tree::{Leaf, Pages},
};
use alloy_primitives::keccak256;
use citius_hashing::Hasher;
use std::collections::HashSet;

/// What was read, and found to be right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Pages read.
    pub pages: u64,
    /// Accounts.
    pub accounts: u64,
    /// Slots.
    pub slots: u64,
    /// Codes.
    pub codes: u64,
    /// Subtries and storage tries that are known by their hash only.
    pub blinded: u64,
    /// Pages that are marked as in use, and that nothing refers to.
    pub lost: u64,
}

/// Verifies trees.
pub(crate) struct Verifier<'a, P> {
    pub(crate) pages: &'a mut P,
    pub(crate) hasher: &'a Hasher,
    pub(crate) met: HashSet<PageNumber>,
    pub(crate) found: Verified,
    /// Told of every page.
    pub(crate) progress: &'a mut dyn FnMut(&Verified),
}

/// What is right of a record besides its place in its tree.
pub(crate) trait Verify: Leaf {
    fn verify<P: Pages>(&self, page: PageNumber, verifier: &mut Verifier<'_, P>) -> Result<(), ColdError>;
}

impl<P: Pages> Verifier<'_, P> {
    /// Verifies a tree: every page is there once, and every hash follows from what is below it. `each` is told of all records, in no
    /// order.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`] names the first page that is not what it should be; [`ColdError::WrongRoot`].
    pub(crate) fn tree<L: Verify>(&mut self, tree: &Tree, each: &mut dyn FnMut(&L)) -> Result<(), ColdError> {
        let nodes = self.page::<L>(tree.page, None, each)?;
        let found = root_hash(nodes.first());
        if found != tree.root {
            return Err(ColdError::WrongRoot { expected: tree.root, found });
        }
        Ok(())
    }

    /// Verifies a page and all below it, and gives the roots of the subtries on it that are referred to, or the whole trie's.
    fn page<L: Verify>(
        &mut self,
        number: PageNumber,
        over: Option<&[&Reference]>,
        each: &mut dyn FnMut(&L),
    ) -> Result<Vec<Node>, ColdError> {
        self.meet(number)?;
        let Some(page) = self.pages.read(&[number])?.pop() else {
            unreachable!("as many pages as were asked for")
        };
        let items: Vec<Item<L>> = Items::open(&page, number, L::KIND)?.all()?;
        let mut done: HashSet<PageNumber> = HashSet::new();
        for item in &items {
            match item {
                Item::Record(record) => {
                    record.verify(number, self)?;
                    each(record);
                }
                Item::Reference(Reference { page: BLINDED, .. }) => self.found.blinded += 1,
                Item::Reference(Reference { page: below, .. }) => {
                    if !done.insert(*below) {
                        continue;
                    }
                    let all = items.iter().filter_map(|item| match item {
                        Item::Reference(reference) if reference.page == *below => Some(reference),
                        _ => None,
                    });
                    let over: Vec<&Reference> = all.collect();
                    let nodes = self.page::<L>(*below, Some(&over), each)?;
                    if !nodes.iter().eq(over.iter().map(|reference| &reference.node)) {
                        let what = "its subtries do not have the hashes that its parent has for them";
                        return Err(ColdError::content(*below, what));
                    }
                }
            }
        }
        self.roots(number, &items, over)
    }

    fn roots<L: Leaf>(
        &self,
        number: PageNumber,
        items: &[Item<L>],
        over: Option<&[&Reference]>,
    ) -> Result<Vec<Node>, ColdError> {
        let mut batch = Batch::default();
        let Some(over) = over else {
            items.iter().for_each(|item| item.add_to(&mut batch));
            batch.end(0);
            return Ok(batch.roots(self.hasher));
        };
        let mut rest = items;
        for reference in over {
            let count = rest.iter().take_while(|item| reference.prefix.contains(&item.prefix())).count();
            if count == 0 {
                return Err(ColdError::content(number, "it lacks a subtrie that its parent says is here"));
            }
            rest[..count].iter().for_each(|item| item.add_to(&mut batch));
            batch.end(reference.prefix.nibbles());
            rest = &rest[count..];
        }
        if !rest.is_empty() {
            return Err(ColdError::content(number, "it holds what its parent does not know of"));
        }
        Ok(batch.roots(self.hasher))
    }

    fn meet(&mut self, number: PageNumber) -> Result<(), ColdError> {
        if !self.met.insert(number) {
            return Err(ColdError::content(number, "it has two parents"));
        }
        self.found.pages += 1;
        (self.progress)(&self.found);
        Ok(())
    }
}

impl Verify for Slot {
    fn verify<P: Pages>(&self, _page: PageNumber, verifier: &mut Verifier<'_, P>) -> Result<(), ColdError> {
        verifier.found.slots += 1;
        Ok(())
    }
}

impl Verify for AccountRecord {
    fn verify<P: Pages>(&self, page: PageNumber, verifier: &mut Verifier<'_, P>) -> Result<(), ColdError> {
        verifier.found.accounts += 1;
        match &self.storage {
            Storage::Empty => {}
            Storage::Blinded(_) => verifier.found.blinded += 1,
            Storage::Pages(tree) => verifier.tree::<Slot>(tree, &mut |_| ())?,
            Storage::Inline(root, slots) => {
                let mut batch = Batch::default();
                slots.iter().for_each(|slot| batch.leaf(slot.key, |out| slot.write_value(out)));
                if !slots.is_empty() {
                    batch.end(0);
                }
                if root_hash(batch.roots(verifier.hasher).first()) != *root {
                    return Err(ColdError::content(page, "an account's slots do not have its storage root"));
                }
                verifier.found.slots += slots.len() as u64;
            }
        }
        Ok(())
    }
}

impl Verify for CodeRecord {
    fn verify<P: Pages>(&self, page: PageNumber, verifier: &mut Verifier<'_, P>) -> Result<(), ColdError> {
        verifier.found.codes += 1;
        if let super::codes::CodePlace::Pages(_, pages) = &self.place {
            for number in pages {
                verifier.meet(*number)?;
            }
        }
        let bytes = self.clone().bytes(verifier.pages)?;
        if keccak256(&bytes) != self.key {
            return Err(ColdError::content(page, "a code does not have the hash that it is found by"));
        }
        Ok(())
    }
}
