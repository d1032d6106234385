//! Reads everything that a tree has, and computes every hash again.

use super::{
    codes::CodeRecord,
    error::ColdError,
    inner::{BLINDED, Entry, InnerPage},
    leaf::LeafPage,
    merkle::{Batch, Node, root_hash},
    pack::Packed,
    page::PageNumber,
    record::{AccountRecord, Slot, Storage, Tree},
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
    /// Verifies a tree: every page is there once, and every hash follows from what is below it. `each` is told of all records, in order.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`] names the first page that is not what it should be; [`ColdError::WrongRoot`].
    pub(crate) fn tree<L: Verify>(&mut self, tree: &Tree, each: &mut dyn FnMut(&L)) -> Result<(), ColdError> {
        let nodes = self.page::<L>(tree.page, tree.level, None, each)?;
        let found = root_hash(nodes.first());
        if found != tree.root {
            return Err(ColdError::WrongRoot { expected: tree.root, found });
        }
        Ok(())
    }

    /// Verifies a page and all below it, and gives the roots of the subtries on it: those of `entries`, or the whole trie's.
    fn page<L: Verify>(
        &mut self,
        number: PageNumber,
        level: u8,
        entries: Option<&[Entry]>,
        each: &mut dyn FnMut(&L),
    ) -> Result<Vec<Node>, ColdError> {
        self.meet(number)?;
        let Some(page) = self.pages.read(&[number])?.pop() else {
            unreachable!("as many pages as were asked for")
        };
        if level == 0 {
            let records: Vec<L> = LeafPage::open(&page, number, L::KIND)?.records(number)?;
            for record in &records {
                record.verify(number, self)?;
                each(record);
            }
            return self.roots(number, &records, entries);
        }
        let below = InnerPage::open(&page, number, level)?.entries()?;
        for run in below.chunk_by(|one, other| one.page != BLINDED && one.page == other.page) {
            if run[0].page == BLINDED {
                self.found.blinded += 1;
                continue;
            }
            let nodes = self.page::<L>(run[0].page, level - 1, Some(run), each)?;
            if !nodes.iter().eq(run.iter().map(|entry| &entry.node)) {
                return Err(ColdError::content(
                    run[0].page,
                    "its subtries do not have the hashes that its parent has for them",
                ));
            }
        }
        self.roots(number, &below, entries)
    }

    fn roots<I: Packed>(
        &self,
        number: PageNumber,
        items: &[I],
        entries: Option<&[Entry]>,
    ) -> Result<Vec<Node>, ColdError> {
        let mut batch = Batch::default();
        let mut rest = items;
        let Some(entries) = entries else {
            rest.iter().for_each(|item| item.add_to(&mut batch));
            batch.end(0);
            return Ok(batch.roots(self.hasher));
        };
        for entry in entries {
            let count = rest.iter().take_while(|item| entry.prefix.contains(&item.prefix())).count();
            if count == 0 {
                return Err(ColdError::content(number, "it lacks a subtrie that its parent says is here"));
            }
            rest[..count].iter().for_each(|item| item.add_to(&mut batch));
            batch.end(entry.prefix.nibbles());
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
                slots.iter().for_each(|slot| slot.add_to(&mut batch));
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
