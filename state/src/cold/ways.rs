//! What a thread remembers of the ways that it went: without asking anybody, and without touching what other threads count.

use super::{
    error::ColdError,
    page::{Page, PageNumber},
    view::{Shared, View},
    walk::Walk,
};
use alloy_primitives::B256;
use std::sync::Arc;

/// Pages at most, each in the one place that its number gives it.
const PAGES_MAX: usize = 1 << 10;
/// Of the pages in the cache that all threads share, the part that one thread remembers at most beside it.
const OF_CACHE: usize = 64;
/// Accounts with storage on pages of its own, likewise.
const TREES: usize = 1 << 8;

type Places<K, V> = Box<[Option<(K, V)>]>;

/// Pages of one checkpoint that led to others, and accounts whose storage is on pages of its own.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// None of its pages is written over as long as it is held.
    view: Option<Arc<View>>,
    pages: Places<PageNumber, Arc<Page>>,
    trees: Places<B256, PageNumber>,
    hits: u64,
}

/// Pages that each thread remembers beside a cache of so many.
pub(super) fn pages_of_thread(cached: usize) -> usize {
    (cached / OF_CACHE).clamp(1, PAGES_MAX)
}

impl Ways {
    /// The last checkpoint. Of an older one everything is forgotten.
    pub(super) fn view(&mut self, shared: &Shared) -> &Arc<View> {
        if self.view.as_ref().is_some_and(|view| view.superblock.checkpoint != shared.checkpoint()) {
            self.pages.fill(None);
            self.trees.fill(None);
            self.view = None;
        }
        self.held(shared)
    }

    /// The checkpoint that everything here is of, which may be the last no more.
    pub(super) fn held(&mut self, shared: &Shared) -> &Arc<View> {
        self.view.get_or_insert_with(|| shared.view())
    }

    /// The checkpoint that it is of.
    pub(super) fn checkpoint(&self) -> Option<u64> {
        self.view.as_ref().map(|view| view.superblock.checkpoint)
    }

    /// Pages that were found here.
    pub(super) fn hits(&self) -> u64 {
        self.hits
    }

    /// The first page of an account's slots, if it is known.
    pub(super) fn slots_of(&self, account: &B256) -> Option<PageNumber> {
        let (known, page) = self.trees.get(tree_place(account))?.as_ref()?;
        (known == account).then_some(*page)
    }

    fn page(&self, number: PageNumber) -> Option<&Arc<Page>> {
        let (known, page) = self.pages.get(page_place(number, self.pages.len()))?.as_ref()?;
        (*known == number).then_some(page)
    }

    /// Takes note of a page that was walked through. `account` is the one that was looked for there, to find its slots.
    pub(super) fn note(
        &mut self,
        number: PageNumber,
        page: &Arc<Page>,
        account: Option<B256>,
        walk: &Walk,
        room: usize,
    ) {
        if self.checkpoint() != Some(walk.checkpoint()) || walk.next().is_none() || walk.is_in_parts() {
            return;
        }
        match (account, walk.slots_page()) {
            (Some(account), Some(slots)) => {
                if self.trees.is_empty() {
                    self.trees = vec![None; TREES].into_boxed_slice();
                }
                self.trees[tree_place(&account)] = Some((account, slots));
            }
            // A page that leads to another one of its kind.
            _ => {
                if self.pages.is_empty() {
                    self.pages = vec![None; room].into_boxed_slice();
                }
                self.pages[page_place(number, room)] = Some((number, Arc::clone(page)));
            }
        }
    }

    /// Has a walk of this checkpoint go on through a page, if it is here. Whether it is.
    ///
    /// # Errors
    ///
    /// As [`Walk::give`].
    pub(super) fn lead(&mut self, number: PageNumber, walk: &mut Walk) -> Result<bool, ColdError> {
        if self.checkpoint() != Some(walk.checkpoint()) {
            return Ok(false);
        }
        let Some(page) = self.page(number) else { return Ok(false) };
        walk.give(page)?;
        self.hits += 1;
        Ok(true)
    }
}

/// Neighbours have places beside one another.
fn page_place(number: PageNumber, places: usize) -> usize {
    number.0 as usize % places.max(1)
}

/// Keys are hashes.
fn tree_place(account: &B256) -> usize {
    usize::from(account[31]) % TREES
}
