//! Pages moved from the end of the file to free places before, so that the end can be given back. A page that moves is written
//! anew as it is, and so are those that lead to it: an ordinary checkpoint, step by step.

use super::{
    codes::{CodePlace, CodeRecord},
    error::ColdError,
    file::PageFile,
    items::{BLINDED, Item, Items, Reference, page_of},
    pack::Group,
    page::{PAGE_BYTES, PageNumber},
    record::{AccountRecord, Slot, Storage, Tree},
    store::Store,
    superblock::Superblock,
    tree::{Leaf, Pages},
};
use alloy_primitives::B256;
use std::collections::HashSet;

/// Free places that are left for the way to the last page of a step.
const WAY_PAGES: u64 = 16;
/// Times that all is looked through at most.
const PASSES_MAX: u64 = 3;

/// What the file of pages is made of, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceStats {
    /// Pages that the last checkpoint refers to.
    pub live_bytes: u64,
    /// Those, superblocks, maps, and what the checkpoint before the last one refers to.
    pub used_bytes: u64,
    /// Up to the last page in use.
    pub file_bytes: u64,
}

impl SpaceStats {
    /// Bytes of the file for each that is live.
    #[must_use]
    pub fn amplification(&self) -> f64 {
        self.file_bytes as f64 / self.live_bytes.max(1) as f64
    }
}

/// What compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Before it.
    pub before: SpaceStats,
    /// After it.
    pub after: SpaceStats,
    /// Pages that were written, those that lead to others included, maps not.
    pub written: u64,
    /// Checkpoints that were made.
    pub checkpoints: u64,
}

/// Where a pass goes on.
#[derive(Debug, Clone, Copy)]
enum Cursor {
    /// At an account, and at a slot of it.
    Accounts(B256, B256),
    Codes(B256),
}

impl Store {
    /// What the file of pages is made of.
    #[must_use]
    pub fn space(&self) -> SpaceStats {
        self.with_pages(|pages, _| space_of(pages))
    }

    /// Moves pages from the end of the file to free places before, in checkpoints of about `step_pages` pages, and gives the end back to
    /// the file system. Reads and writes wait for a step at most. The file never takes more than it did, but for the pages that lead
    /// to one page, and two maps.
    ///
    /// # Errors
    ///
    /// As [`Store::checkpoint`]. What was moved by then stays moved.
    pub fn compact(
        &self,
        step_pages: u64,
        progress: &mut dyn FnMut(&SpaceStats),
    ) -> Result<Compacted, ColdError> {
        let before = self.space();
        let first = self.with_pages(|_, superblock| superblock);
        if first.is_empty() {
            return Ok(Compacted { before, after: before, written: 0, checkpoints: 0 });
        }
        let mut written = 0;
        self.let_go()?;
        for _ in 0..PASSES_MAX {
            let (end, target) = self.with_pages(|pages, _| (pages.space().end(), target_of(pages)));
            if end <= target {
                break;
            }
            let moved = self.pass(target, step_pages.max(1), progress)?;
            written += moved;
            self.let_go()?;
            if moved == 0 {
                break;
            }
        }
        self.with_pages(|pages, _| pages.trim())?;
        let checkpoints = self.with_pages(|_, superblock| superblock).checkpoint - first.checkpoint;
        Ok(Compacted { before, after: self.space(), written, checkpoints })
    }

    /// Two checkpoints of the same: what the last one does without is free.
    fn let_go(&self) -> Result<(), ColdError> {
        for _ in 0..2 {
            self.make_checkpoint(|_, superblock| Ok((superblock, ())))?;
        }
        Ok(())
    }

    /// Looks through all pages once, and moves those from a place on. Gives how many were written.
    fn pass(
        &self,
        target: u64,
        step_pages: u64,
        progress: &mut dyn FnMut(&SpaceStats),
    ) -> Result<u64, ColdError> {
        let mut written = 0;
        let mut idle = 0;
        let mut cursor = Some(Cursor::Accounts(B256::ZERO, B256::ZERO));
        while let Some(from) = cursor {
            let step = self.make_checkpoint(|pages, superblock| {
                let free = pages.space().free_below(target).saturating_sub(reserve_of(pages));
                match free.min(step_pages) {
                    // With another checkpoint, some that were moved leave free places.
                    0 => Ok((superblock, None)),
                    left => move_step(pages, superblock, from, target, left)
                        .map(|(moved, step)| (moved, Some(step))),
                }
            })?;
            match step {
                Some((moved, next)) => {
                    written += moved;
                    cursor = next;
                    idle = 0;
                }
                None if idle == 2 => break,
                None => idle += 1,
            }
            progress(&self.space());
        }
        Ok(written)
    }
}

fn space_of(pages: &PageFile) -> SpaceStats {
    let bytes = |pages: u64| pages * PAGE_BYTES as u64;
    SpaceStats {
        live_bytes: bytes(pages.live()),
        used_bytes: bytes(pages.space().count()),
        file_bytes: bytes(pages.space().end()),
    }
}

/// Places that are left free: for the map of two checkpoints, and the way to a page.
fn reserve_of(pages: &PageFile) -> u64 {
    2 * pages.space().map_len() + WAY_PAGES
}

/// Pages that the file is to have.
fn target_of(pages: &PageFile) -> u64 {
    pages.space().count() + 2 * reserve_of(pages)
}

/// Moves pages until so many were written. Gives the superblock, how many were, and where it goes on.
fn move_step(
    pages: &mut PageFile,
    mut superblock: Superblock,
    from: Cursor,
    target: u64,
    left: u64,
) -> Result<(Superblock, (u64, Option<Cursor>)), ColdError> {
    let mut mover = Mover { pages, target, left, written: 0, from, stopped: None };
    if let (Cursor::Accounts(account, _), Some(tree)) = (from, &mut superblock.accounts) {
        mover.tree::<AccountRecord>(tree, account, &Cursor::at_account)?;
    }
    if let (None, Some(tree)) = (mover.stopped, &mut superblock.codes) {
        let code = match from {
            Cursor::Codes(code) => code,
            Cursor::Accounts(..) => B256::ZERO,
        };
        mover.tree::<CodeRecord>(tree, code, &Cursor::Codes)?;
    }
    let step = (mover.written, mover.stopped);
    Ok((superblock, step))
}

impl Cursor {
    fn at_account(key: B256) -> Self {
        Self::Accounts(key, B256::ZERO)
    }
}

/// Moves pages.
struct Mover<'a, P> {
    pages: &'a mut P,
    /// The first page that is to move.
    target: u64,
    /// Pages that may be written.
    left: u64,
    written: u64,
    from: Cursor,
    /// Where the next step goes on.
    stopped: Option<Cursor>,
}

/// A record that may have pages elsewhere.
trait Moved: Leaf {
    /// Moves these. Whether the record is another then.
    fn relocate<P: Pages>(&mut self, _mover: &mut Mover<'_, P>) -> Result<bool, ColdError> {
        Ok(false)
    }
}

impl Moved for Slot {}

impl Moved for AccountRecord {
    fn relocate<P: Pages>(&mut self, mover: &mut Mover<'_, P>) -> Result<bool, ColdError> {
        let Storage::Pages(tree) = &mut self.storage else { return Ok(false) };
        let key = self.key;
        let slot = match mover.from {
            Cursor::Accounts(account, slot) if account == key => slot,
            _ => B256::ZERO,
        };
        mover.tree::<Slot>(tree, slot, &|slot| Cursor::Accounts(key, slot))
    }
}

impl Moved for CodeRecord {
    fn relocate<P: Pages>(&mut self, mover: &mut Mover<'_, P>) -> Result<bool, ColdError> {
        let CodePlace::Pages(_, numbers) = &mut self.place else { return Ok(false) };
        let mut is_other = false;
        let target = mover.target;
        for number in numbers.iter_mut().filter(|number| number.0 >= target) {
            if mover.left == 0 {
                mover.stopped = Some(Cursor::Codes(self.key));
                break;
            }
            let Some(page) = mover.pages.read(&[*number])?.pop() else {
                unreachable!("as many pages as were asked for")
            };
            let place = mover.write(page)?;
            mover.pages.free(std::mem::replace(number, place));
            is_other = true;
        }
        Ok(is_other)
    }
}

impl<P: Pages> Mover<'_, P> {
    /// Moves pages of a tree from a key on. Whether its root page is another then.
    fn tree<L: Moved>(
        &mut self,
        tree: &mut Tree,
        from: B256,
        at: &dyn Fn(B256) -> Cursor,
    ) -> Result<bool, ColdError> {
        let moved = self.page::<L>(tree.page, from, at)?;
        tree.page = moved.unwrap_or(tree.page);
        Ok(moved.is_some())
    }

    /// Moves a page and those below it. Where it is then, if it did.
    fn page<L: Moved>(
        &mut self,
        number: PageNumber,
        from: B256,
        at: &dyn Fn(B256) -> Cursor,
    ) -> Result<Option<PageNumber>, ColdError> {
        let Some(page) = self.pages.read(&[number])?.pop() else {
            unreachable!("as many pages as were asked for")
        };
        let mut items: Group<L> = Items::open(&page, number, L::KIND)?.all()?;
        let below: Vec<PageNumber> = pages_below(&items, &from);
        self.pages.prefetch(&below);
        let mut wanted: HashSet<PageNumber> = below.into_iter().collect();
        let mut is_other = false;
        for index in 0..items.len() {
            if self.left == 0 && self.stopped.is_none() {
                self.stopped = Some(at(*items[index].prefix().key()));
            }
            if self.stopped.is_some() {
                break;
            }
            let below = match &mut items[index] {
                Item::Record(record) => {
                    if record.key() >= &from {
                        is_other |= record.relocate(self)?;
                    }
                    continue;
                }
                Item::Reference(Reference { page, .. }) => *page,
            };
            if !wanted.remove(&below) {
                continue;
            }
            if let Some(moved) = self.page::<L>(below, from, at)? {
                is_other = true;
                for item in &mut items {
                    if let Item::Reference(reference) = item
                        && reference.page == below
                    {
                        reference.page = moved;
                    }
                }
            }
        }
        let moves = self.stopped.is_none() && number.0 >= self.target;
        if !is_other && !moves {
            return Ok(None);
        }
        let place = self.write(page_of(&items))?;
        self.pages.free(number);
        Ok(Some(place))
    }

    fn write(&mut self, page: super::page::Page) -> Result<PageNumber, ColdError> {
        self.left = self.left.saturating_sub(1);
        self.written += 1;
        self.pages.write(page)
    }
}

/// The pages that items refer to, but for those with nothing from a key on.
fn pages_below<L: Leaf>(items: &Group<L>, from: &B256) -> Vec<PageNumber> {
    let mut numbers = Vec::new();
    for item in items {
        let Item::Reference(Reference { prefix, page, .. }) = item else { continue };
        let has_more = prefix.key() >= from || prefix.leads_to(from);
        if *page != BLINDED && has_more && !numbers.contains(page) {
            numbers.push(*page);
        }
    }
    numbers
}
