//! Tries on pages: what is on them, and what they are after writes. Pages are never written again: those on the way from
//! what changed to the root are new.
//!
//! A page holds whole subtries next to one another, its parent an [`Entry`] for each. So a page is found from its parent, fits
//! its content whatever the shape of the trie, and the hash of every subtrie below a page's entries follows from the page alone.

use super::{
    error::ColdError,
    inner::{BLINDED, Entry, InnerPage},
    leaf::LeafPage,
    merkle::{Batch, root_hash},
    pack::{Outside, Packed, Packet, Sizes, add_subtries, entries_of, pack},
    page::{BODY_BYTES, Page, PageNumber},
    record::{Record, Tree},
};
use alloy_primitives::B256;
use citius_hashing::Hasher;
use std::ops::Range;

/// Where pages are.
pub(crate) trait Pages {
    /// Reads pages, at once where that is faster.
    fn read(&mut self, numbers: &[PageNumber]) -> Result<Vec<Page>, ColdError>;

    /// Writes a page to a place where none was.
    fn write(&mut self, page: Page) -> Result<PageNumber, ColdError>;

    /// A page is not part of the tree any more.
    fn free(&mut self, number: PageNumber);
}

/// A record that a trie on pages may hold, and what may become of one.
pub(crate) trait Leaf: Record {
    type Change;

    fn key_of(change: &Self::Change) -> &B256;

    /// What becomes of a record, or of there being none.
    ///
    /// # Errors
    ///
    /// Those of [`Updater::update`].
    fn change<P: Pages>(
        updater: &mut Updater<'_, P>,
        old: Option<Self>,
        change: Self::Change,
    ) -> Result<Option<Self>, ColdError>;

    /// Finds hashes within records that [`Leaf::change`] left open, of all together.
    fn settle(_records: &mut [&mut Self], _hasher: &Hasher) {}
}

/// A trie that was written.
#[derive(Debug)]
pub(crate) enum Written<L> {
    /// It is on pages.
    Tree(Tree),
    /// So few records that they are on none.
    Few(Vec<L>),
}

/// Writes tries.
pub(crate) struct Updater<'a, P> {
    pub(crate) pages: &'a mut P,
    pub(crate) hasher: &'a Hasher,
}

enum Items<L> {
    Records(Vec<L>),
    Entries(Vec<Entry>),
}

impl<L: Leaf> Items<L> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Records(records) => records.is_empty(),
            Self::Entries(entries) => entries.is_empty(),
        }
    }

    fn bytes(&self) -> usize {
        fn bytes<I: Packed>(items: &[I]) -> usize {
            Sizes::of(items).bytes(items, &(0..items.len()))
        }
        match self {
            Self::Records(records) => bytes(records),
            Self::Entries(entries) => bytes(entries),
        }
    }

    fn append(&mut self, other: Self) {
        match (self, other) {
            (Self::Records(records), Self::Records(other)) => records.extend(other),
            (Self::Entries(entries), Self::Entries(other)) => entries.extend(other),
            _ => unreachable!("pages beside each other are of one level"),
        }
    }

    fn pack(&self, outside: Outside) -> Vec<Packet> {
        match self {
            Self::Records(records) => pack(records, outside),
            Self::Entries(entries) => pack(entries, outside),
        }
    }

    fn add_subtries(&self, packets: &[Packet], batch: &mut Batch) {
        match self {
            Self::Records(records) => add_subtries(records, packets, batch),
            Self::Entries(entries) => add_subtries(entries, packets, batch),
        }
    }

    fn page(&self, run: Range<usize>, level: u8) -> Page {
        match self {
            Self::Records(records) => L::page(&records[run], level),
            Self::Entries(entries) => Entry::page(&entries[run], level),
        }
    }

    /// The hash of a trie that holds these and nothing else.
    fn root(&self, hasher: &Hasher) -> B256 {
        let mut batch = Batch::default();
        match self {
            Self::Records(records) => records.iter().for_each(|record| record.add_to(&mut batch)),
            Self::Entries(entries) => entries.iter().for_each(|entry| entry.add_to(&mut batch)),
        }
        if !self.is_empty() {
            batch.end(0);
        }
        root_hash(batch.roots(hasher).first())
    }
}

/// Neighbouring pages below an inner page.
enum Part<L> {
    /// One, as it was.
    Kept(Vec<Entry>),
    /// What is to be on new ones.
    New(Items<L>),
}

impl<L: Leaf> Part<L> {
    fn first(&self) -> Option<super::prefix::Prefix> {
        match self {
            Self::Kept(entries) | Self::New(Items::Entries(entries)) => entries.first().map(Packed::prefix),
            Self::New(Items::Records(records)) => records.first().map(Packed::prefix),
        }
    }

    fn last(&self) -> Option<super::prefix::Prefix> {
        match self {
            Self::Kept(entries) | Self::New(Items::Entries(entries)) => entries.last().map(Packed::prefix),
            Self::New(Items::Records(records)) => records.last().map(Packed::prefix),
        }
    }
}

impl<P: Pages> Updater<'_, P> {
    /// Writes changes, sorted by key, to a trie. It comes on pages unless its records take at most `few` bytes.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`], [`ColdError::Blinded`], and what the pages say. What was written by then is not referred to.
    pub(crate) fn update<L: Leaf>(
        &mut self,
        tree: Option<Tree>,
        changes: Vec<L::Change>,
        few: usize,
    ) -> Result<Written<L>, ColdError> {
        let Some(tree) = tree else {
            let mut records = self.merge::<L>(Vec::new(), changes)?;
            self.settle(records.iter_mut());
            return self.finish(Items::Records(records), 0, few);
        };
        let page = self.read_one(tree.page)?;
        let mut items = self.items(&page, tree.page, tree.level, changes, Outside::default())?;
        if let Items::Records(records) = &mut items {
            self.settle(records.iter_mut());
        }
        self.pages.free(tree.page);
        self.finish(items, tree.level, few)
    }

    /// Makes a trie of items, one level after the other until they fit on one page.
    fn finish<L: Leaf>(
        &mut self,
        mut items: Items<L>,
        mut level: u8,
        few: usize,
    ) -> Result<Written<L>, ColdError> {
        loop {
            let bytes = items.bytes();
            items = match items {
                Items::Records(records) if bytes <= few || records.is_empty() => {
                    return Ok(Written::Few(records));
                }
                Items::Entries(entries) if entries.is_empty() => return Ok(Written::Few(Vec::new())),
                // The page below is the root; it is what it would be without one above.
                Items::Entries(entries)
                    if entries[0].page != BLINDED
                        && entries.iter().all(|entry| entry.page == entries[0].page) =>
                {
                    let page = entries[0].page;
                    if level > 1 || few == 0 {
                        let root = Items::<L>::Entries(entries).root(self.hasher);
                        return Ok(Written::Tree(Tree { page, level: level - 1, root }));
                    }
                    level -= 1;
                    let read = self.read_one(page)?;
                    self.pages.free(page);
                    self.items(&read, page, level, Vec::new(), Outside::default())?
                }
                items => items,
            };
            if bytes <= BODY_BYTES {
                let root = items.root(self.hasher);
                let count = match &items {
                    Items::Records(records) => records.len(),
                    Items::Entries(entries) => entries.len(),
                };
                let page = self.pages.write(items.page(0..count, level))?;
                return Ok(Written::Tree(Tree { page, level, root }));
            }
            let mut entries = Vec::new();
            self.write_parts(vec![Part::New(items)], level, Outside::default(), &mut entries)?;
            items = Items::Entries(entries);
            level += 1;
        }
    }

    fn read_one(&mut self, number: PageNumber) -> Result<Page, ColdError> {
        match self.pages.read(&[number])?.pop() {
            Some(page) => Ok(page),
            None => unreachable!("as many pages as were asked for"),
        }
    }

    /// What a page holds after some changes; pages below it are written.
    fn items<L: Leaf>(
        &mut self,
        page: &Page,
        number: PageNumber,
        level: u8,
        changes: Vec<L::Change>,
        outside: Outside,
    ) -> Result<Items<L>, ColdError> {
        if level == 0 {
            let records = LeafPage::open(page, number, L::KIND)?.records(number)?;
            return Ok(Items::Records(self.merge(records, changes)?));
        }
        let entries = InnerPage::open(page, number, level)?.entries()?;
        if changes.is_empty() {
            return Ok(Items::Entries(entries));
        }
        let mut parts: Vec<Part<L>> = runs(entries).into_iter().map(Part::Kept).collect();
        self.change_parts(&mut parts, level - 1, changes, outside)?;
        self.fill_parts(&mut parts, level - 1)?;
        let mut entries = Vec::new();
        self.write_parts(parts, level - 1, outside, &mut entries)?;
        Ok(Items::Entries(entries))
    }

    /// Makes the changes to the pages below that they belong to.
    fn change_parts<L: Leaf>(
        &mut self,
        parts: &mut [Part<L>],
        level: u8,
        changes: Vec<L::Change>,
        outside: Outside,
    ) -> Result<(), ColdError> {
        let mut touched: Vec<(usize, PageNumber, Vec<L::Change>)> = Vec::new();
        let mut at = 0;
        for change in changes {
            let key = L::key_of(&change);
            while at + 1 < parts.len() && parts[at + 1].first().is_some_and(|first| first.key() <= key) {
                at += 1;
            }
            match touched.last_mut().filter(|(part, ..)| *part == at) {
                Some((_, _, changes)) => changes.push(change),
                None => touched.push((at, page_of(&parts[at], key)?, vec![change])),
            }
        }
        let numbers: Vec<PageNumber> = touched.iter().map(|(_, number, _)| *number).collect();
        let pages = self.pages.read(&numbers)?;
        for ((at, number, changes), page) in touched.into_iter().zip(pages) {
            let outside = Outside {
                before: parts[..at].iter().rev().find_map(Part::last).or(outside.before),
                behind: parts[at + 1..].iter().find_map(Part::first).or(outside.behind),
            };
            parts[at] = Part::New(self.items(&page, number, level, changes, outside)?);
            self.pages.free(number);
        }
        self.settle(parts.iter_mut().flat_map(|part| match part {
            Part::New(Items::Records(records)) => &mut records[..],
            _ => &mut [],
        }));
        Ok(())
    }

    /// Puts neighbours together: new ones always, and one that was not touched where a new one is less than half a page.
    fn fill_parts<L: Leaf>(&mut self, parts: &mut Vec<Part<L>>, level: u8) -> Result<(), ColdError> {
        let mut at = 0;
        while at < parts.len() {
            let Part::New(items) = &parts[at] else {
                at += 1;
                continue;
            };
            if items.is_empty() {
                parts.remove(at);
                continue;
            }
            let is_small = items.bytes() < BODY_BYTES / 2;
            let wanted = |part: &Part<L>| match part {
                Part::New(_) => true,
                Part::Kept(entries) => is_small && entries[0].page != BLINDED,
            };
            let behind = parts.get(at + 1).is_some_and(wanted);
            let before = !behind && is_small && at > 0 && wanted(&parts[at - 1]);
            if !behind && !before {
                at += 1;
                continue;
            }
            let first = if behind { at } else { at - 1 };
            let second = self.read_part(parts.remove(first + 1), level)?;
            let kept = std::mem::replace(&mut parts[first], Part::Kept(Vec::new()));
            let mut joined = self.read_part(kept, level)?;
            joined.append(second);
            parts[first] = Part::New(joined);
            at = first;
        }
        Ok(())
    }

    fn read_part<L: Leaf>(&mut self, part: Part<L>, level: u8) -> Result<Items<L>, ColdError> {
        match part {
            Part::New(items) => Ok(items),
            Part::Kept(entries) => {
                let number = entries[0].page;
                let page = self.read_one(number)?;
                self.pages.free(number);
                self.items(&page, number, level, Vec::new(), Outside::default())
            }
        }
    }

    /// Writes what is new of some parts, which are of one level, and appends the entries of all.
    fn write_parts<L: Leaf>(
        &mut self,
        parts: Vec<Part<L>>,
        level: u8,
        outside: Outside,
        entries: &mut Vec<Entry>,
    ) -> Result<(), ColdError> {
        let mut batch = Batch::default();
        let mut packed: Vec<Vec<Packet>> = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|before| parts[before].last()).or(outside.before);
            let behind = parts.get(at + 1).and_then(Part::first).or(outside.behind);
            packed.push(match part {
                Part::Kept(_) => Vec::new(),
                Part::New(items) => {
                    let packets = items.pack(Outside { before, behind });
                    items.add_subtries(&packets, &mut batch);
                    packets
                }
            });
        }
        let mut nodes = batch.roots(self.hasher).into_iter();
        for (part, packets) in parts.into_iter().zip(packed) {
            let items = match part {
                Part::Kept(kept) => {
                    entries.extend(kept);
                    continue;
                }
                Part::New(items) => items,
            };
            for packet in packets {
                let page = self.pages.write(items.page(packet.items.clone(), level))?;
                match &items {
                    Items::Records(records) => entries_of(records, &packet, page, &mut nodes, entries),
                    Items::Entries(below) => entries_of(below, &packet, page, &mut nodes, entries),
                }
            }
        }
        Ok(())
    }

    fn settle<'l, L: Leaf + 'l>(&self, records: impl Iterator<Item = &'l mut L>) {
        let mut records: Vec<&mut L> = records.collect();
        L::settle(&mut records, self.hasher);
    }

    /// Records after changes, both sorted.
    fn merge<L: Leaf>(&mut self, records: Vec<L>, changes: Vec<L::Change>) -> Result<Vec<L>, ColdError> {
        if changes.is_empty() {
            return Ok(records);
        }
        let mut merged = Vec::with_capacity(records.len() + changes.len());
        let mut records = records.into_iter().peekable();
        for change in changes {
            let key = *L::key_of(&change);
            while let Some(record) = records.next_if(|record| record.key() < &key) {
                merged.push(record);
            }
            let old = records.next_if(|record| record.key() == &key);
            merged.extend(L::change(self, old, change)?);
        }
        merged.extend(records);
        Ok(merged)
    }

    /// Gives the pages of a trie back.
    ///
    /// # Errors
    ///
    /// Those of reading the inner pages.
    pub(crate) fn free_tree(&mut self, tree: Tree) -> Result<(), ColdError> {
        let mut below = vec![(tree.page, tree.level)];
        while let Some((number, level)) = below.pop() {
            self.pages.free(number);
            if level > 0 {
                let page = self.read_one(number)?;
                let mut entries = InnerPage::open(&page, number, level)?.entries()?;
                entries.dedup_by_key(|entry| entry.page);
                entries.retain(|entry| entry.page != BLINDED);
                below.extend(entries.into_iter().map(|entry| (entry.page, level - 1)));
            }
        }
        Ok(())
    }
}

/// Entries by the page that they are on; one that is on none is by itself.
fn runs(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut runs: Vec<Vec<Entry>> = Vec::new();
    for entry in entries {
        match runs.last_mut().filter(|run| entry.page != BLINDED && run[0].page == entry.page) {
            Some(run) => run.push(entry),
            None => runs.push(vec![entry]),
        }
    }
    runs
}

/// The page that a change belongs to.
fn page_of<L>(part: &Part<L>, key: &B256) -> Result<PageNumber, ColdError> {
    let Part::Kept(entries) = part else { unreachable!("changes come in order") };
    match entries[0].page {
        BLINDED => Err(ColdError::Blinded { key: *key, nibbles: entries[0].prefix.nibbles() }),
        page => Ok(page),
    }
}

/// A key's record in a trie.
///
/// # Errors
///
/// [`ColdError::Damaged`], [`ColdError::Blinded`], and what the pages say.
pub(crate) fn find<L: Leaf, P: Pages>(
    pages: &mut P,
    tree: &Tree,
    key: &B256,
) -> Result<Option<L>, ColdError> {
    let (mut number, mut level) = (tree.page, tree.level);
    loop {
        let Some(page) = pages.read(&[number])?.pop() else { unreachable!("as many as were asked for") };
        if level == 0 {
            let leaf = LeafPage::open(&page, number, L::KIND)?;
            let record = leaf.find(key).map(|bytes| {
                L::read(*key, bytes).ok_or_else(|| ColdError::content(number, "one of its records is none"))
            });
            return record.transpose();
        }
        match InnerPage::open(&page, number, level)?.find(key)? {
            None => return Ok(None),
            Some(Entry { page: BLINDED, prefix, .. }) => {
                return Err(ColdError::Blinded { key: *key, nibbles: prefix.nibbles() });
            }
            Some(entry) => (number, level) = (entry.page, level - 1),
        }
    }
}
