//! Tries on pages: what is on them, and what they are after writes. Pages are never written again: those on the way from
//! what changed to the root are new.

use super::{
    error::ColdError,
    items::{BLINDED, Item, Items, Reference, page_of},
    merkle::{Batch, root_hash},
    pack::{Group, Subtrie},
    page::{Page, PageNumber},
    record::{Record, Tree},
};
use alloy_primitives::B256;
use citius_hashing::Hasher;

/// Where pages are.
pub(crate) trait Pages {
    /// Reads pages, at once where that is faster.
    fn read(&mut self, numbers: &[PageNumber]) -> Result<Vec<Page>, ColdError>;

    /// These are about to be read.
    fn prefetch(&mut self, _numbers: &[PageNumber]) {}

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

    /// Gives back what a record has elsewhere, as it is removed.
    fn free<P: Pages>(&self, _updater: &mut Updater<'_, P>) -> Result<(), ColdError> {
        Ok(())
    }
}

/// A trie that was written.
#[derive(Debug)]
pub(crate) enum Written<L> {
    /// It is on pages.
    Tree(Tree),
    /// So few records that they are on none.
    Few(Vec<L>),
}

/// The items of a page, and the changes to them: to records here, and to what is on pages below.
struct Routed<L: Leaf> {
    items: Group<L>,
    here: Vec<L::Change>,
    below: Vec<(PageNumber, Vec<L::Change>)>,
}

impl<L: Leaf> Routed<L> {
    fn new(items: Group<L>, changes: Vec<L::Change>) -> Result<Self, ColdError> {
        let mut here = Vec::new();
        let mut below: Vec<(PageNumber, Vec<L::Change>)> = Vec::new();
        for change in changes {
            let key = L::key_of(&change);
            let at = items.partition_point(|item| item.prefix().key() <= key);
            let over = at.checked_sub(1).map(|at| &items[at]).filter(|item| item.prefix().leads_to(key));
            match over {
                Some(Item::Reference(Reference { page: BLINDED, prefix, .. })) => {
                    return Err(ColdError::Blinded { key: *key, nibbles: prefix.nibbles() });
                }
                Some(Item::Reference(Reference { page, .. })) => {
                    match below.iter_mut().find(|(other, _)| other == page) {
                        Some((_, changes)) => changes.push(change),
                        None => below.push((*page, vec![change])),
                    }
                }
                _ => here.push(change),
            }
        }
        Ok(Self { items, here, below })
    }
}

/// Writes tries.
pub(crate) struct Updater<'a, P> {
    pub(crate) pages: &'a mut P,
    pub(crate) hasher: &'a Hasher,
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
        let items = match tree {
            Some(tree) => self.take(tree.page)?,
            None => Vec::new(),
        };
        let items = self.change(Routed::new(items, changes)?)?;
        let mut items = self.reduce(items)?;
        // A page that holds nothing but a reference is none too many.
        while let [Item::Reference(Reference { page, .. })] = &items[..]
            && *page != BLINDED
        {
            items = self.take(*page)?;
        }
        let is_whole = items.iter().all(|item| matches!(item, Item::Record(_)));
        let mut records: Vec<&mut L> = items.iter_mut().filter_map(Item::record_mut).collect();
        L::settle(&mut records, self.hasher);
        let bytes: usize = items.iter().map(Item::bytes).sum();
        if items.is_empty() || is_whole && bytes <= few {
            return Ok(Written::Few(items.into_iter().filter_map(Item::into_record).collect()));
        }
        let mut batch = Batch::default();
        items.iter().for_each(|item| item.add_to(&mut batch));
        batch.end(0);
        let root = root_hash(batch.roots(self.hasher).first());
        let page = self.pages.write(page_of(&items))?;
        Ok(Written::Tree(Tree { page, root }))
    }

    /// The items of a page, which is no part of the trie any more.
    fn take<L: Leaf>(&mut self, number: PageNumber) -> Result<Group<L>, ColdError> {
        let page = read_one(self.pages, number)?;
        self.pages.free(number);
        Items::open(&page, number, L::KIND)?.all()
    }

    /// The items of a page after changes, those of pages below it written.
    fn change<L: Leaf>(&mut self, routed: Routed<L>) -> Result<Group<L>, ColdError> {
        let Routed { items, here, below } = routed;
        let mut items = self.merge(items, here)?;
        if below.is_empty() {
            return Ok(items);
        }
        let numbers: Vec<PageNumber> = below.iter().map(|(number, _)| *number).collect();
        let pages = self.pages.read(&numbers)?;
        let mut children = Vec::with_capacity(pages.len());
        for ((number, changes), page) in below.into_iter().zip(pages) {
            let items = Items::open(&page, number, L::KIND)?.all()?;
            children.push((number, Routed::new(items, changes)?));
        }
        // Those of all children at once, while the first is worked on.
        let ahead: Vec<PageNumber> =
            children.iter().flat_map(|(_, child)| &child.below).map(|(number, _)| *number).collect();
        self.pages.prefetch(&ahead);
        for (number, child) in children {
            let own = self.change(child)?;
            self.pages.free(number);
            let is_here = |item: &Item<L>| matches!(item, Item::Reference(over) if over.page == number);
            let (over, rest): (Group<L>, Group<L>) = items.into_iter().partition(is_here);
            let mut subtries: Vec<Subtrie<L>> =
                over.iter().map(|item| Subtrie { prefix: item.prefix(), items: Vec::new() }).collect();
            for item in own {
                let place = item.prefix();
                let Some(subtrie) = subtries.iter_mut().find(|subtrie| subtrie.prefix.contains(&place))
                else {
                    return Err(ColdError::content(number, "it holds what its parent does not know of"));
                };
                subtrie.items.push(item);
            }
            subtries.retain(|subtrie| !subtrie.items.is_empty());
            items = rest;
            items.extend(self.put_again(subtries)?);
        }
        items.sort_unstable_by_key(Item::prefix);
        Ok(items)
    }

    /// Items after changes to records among them, both sorted.
    fn merge<L: Leaf>(&mut self, items: Group<L>, changes: Vec<L::Change>) -> Result<Group<L>, ColdError> {
        if changes.is_empty() {
            return Ok(items);
        }
        let mut merged = Vec::with_capacity(items.len() + changes.len());
        let mut items = items.into_iter().peekable();
        for change in changes {
            let key = *L::key_of(&change);
            while let Some(item) = items.next_if(|item| item.prefix().key() < &key) {
                merged.push(item);
            }
            let is_it = |item: &Item<L>| matches!(item, Item::Record(record) if record.key() == &key);
            let old = items.next_if(is_it).and_then(Item::into_record);
            merged.extend(L::change(self, old, change)?.map(Item::Record));
        }
        merged.extend(items);
        Ok(merged)
    }

    /// Gives the pages of a trie back.
    ///
    /// # Errors
    ///
    /// Those of reading the pages.
    pub(crate) fn free_tree<L: Leaf>(&mut self, tree: Tree) -> Result<(), ColdError> {
        let mut below = vec![tree.page];
        while let Some(number) = below.pop() {
            for item in self.take::<L>(number)? {
                match item {
                    Item::Record(record) => record.free(self)?,
                    Item::Reference(Reference { page, .. }) => {
                        if page != BLINDED && !below.contains(&page) {
                            below.push(page);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn read_one<P: Pages>(pages: &mut P, number: PageNumber) -> Result<Page, ColdError> {
    match pages.read(&[number])?.pop() {
        Some(page) => Ok(page),
        None => unreachable!("as many pages as were asked for"),
    }
}
