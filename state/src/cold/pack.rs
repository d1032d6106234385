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
/// Bytes of an item that is not worth a reference.
const LITTLE: usize = 96;

/// Items of one subtrie, sorted, or of several next to one another.
pub(crate) type Group<L> = Vec<Item<L>>;

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
        let groups = self.reduce_all(groups(items, fork))?;
        if groups.iter().map(bytes_of).sum::<usize>() < BODY_BYTES {
            return Ok(groups.into_iter().flatten().collect());
        }
        self.put(groups)
    }

    fn reduce_all<L: Leaf>(&mut self, groups: Vec<Group<L>>) -> Result<Vec<Group<L>>, ColdError> {
        groups.into_iter().map(|group| self.reduce(group)).collect()
    }

    /// Subtries that were on one page, and changed: references to them, or what they hold, if that is little.
    ///
    /// # Errors
    ///
    /// What the pages say.
    pub(crate) fn put_again<L: Leaf>(&mut self, subtries: Vec<Group<L>>) -> Result<Group<L>, ColdError> {
        if subtries.iter().map(bytes_of).sum::<usize>() <= SMALL {
            return Ok(subtries.into_iter().flatten().collect());
        }
        let subtries = self.reduce_all(subtries)?;
        self.put(subtries)
    }

    /// Writes subtries, each of which fits on a page, and gives references. What is hardly more than a reference is given as it is.
    fn put<L: Leaf>(&mut self, subtries: Vec<Group<L>>) -> Result<Group<L>, ColdError> {
        let (written, kept): (Vec<_>, Vec<_>) =
            subtries.into_iter().partition(|group| group.len() > 1 || group.iter().any(is_much));
        let mut items: Group<L> = kept.into_iter().flatten().collect();
        items.extend(self.write(written)?);
        items.sort_unstable_by_key(Item::prefix);
        Ok(items)
    }

    /// Writes subtries to as few pages as they need, filled about evenly, and gives a reference for each.
    fn write<L: Leaf>(&mut self, mut subtries: Vec<Group<L>>) -> Result<Group<L>, ColdError> {
        let mut records: Vec<&mut L> = subtries.iter_mut().flatten().filter_map(Item::record_mut).collect();
        L::settle(&mut records, self.hasher);
        let all: usize = subtries.iter().map(bytes_of).sum();
        let even = all.div_ceil(all.div_ceil(BODY_BYTES).max(1));
        let mut batch = Batch::default();
        let mut places: Vec<(Prefix, PageNumber)> = Vec::with_capacity(subtries.len());
        let mut items: Group<L> = Vec::new();
        let mut bytes = 0;
        let mut start = 0;
        for group in subtries {
            let more = bytes_of(&group);
            if !items.is_empty() && (bytes >= even || bytes + more >= BODY_BYTES) {
                let page = self.pages.write(page_of(&items))?;
                places[start..].iter_mut().for_each(|(_, place)| *place = page);
                (start, bytes) = (places.len(), 0);
                items.clear();
            }
            let prefix = root_of(&group);
            group.iter().for_each(|item| item.add_to(&mut batch));
            batch.end(prefix.nibbles());
            places.push((prefix, PageNumber(0)));
            bytes += more;
            items.extend(group);
        }
        if !items.is_empty() {
            let page = self.pages.write(page_of(&items))?;
            places[start..].iter_mut().for_each(|(_, place)| *place = page);
        }
        let reference = |((prefix, page), node)| Item::Reference(Reference { prefix, node, page });
        Ok(places.into_iter().zip(batch.roots(self.hasher)).map(reference).collect())
    }
}

/// The place of the highest node that is over all items of a group and nothing else.
fn root_of<L: Leaf>(group: &Group<L>) -> Prefix {
    let [first, .., last] = &group[..] else { return group[0].prefix() };
    let (first, last) = (first.prefix(), last.prefix());
    Prefix::of(first.key(), first.common(&last))
}

fn is_much<L: Leaf>(item: &Item<L>) -> bool {
    matches!(item, Item::Record(_)) && item.bytes() > 2 * LITTLE
}

/// Bytes that a group adds to a page at most.
fn bytes_of<L: Leaf>(group: &Group<L>) -> usize {
    group.iter().map(Item::bytes).sum()
}

/// Items by the nibble behind what all have in common.
fn groups<L: Leaf>(items: Group<L>, fork: u8) -> Vec<Group<L>> {
    let mut groups: Vec<Group<L>> = Vec::new();
    for item in items {
        let nibble = item.prefix().nibble(fork);
        match groups.last_mut().filter(|group| group[0].prefix().nibble(fork) == nibble) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    groups
}
