//! Which pages of the file are in use.

use super::{
    error::ColdError,
    page::{BODY_BYTES, PAGE_BYTES, Page, PageKind, PageNumber},
    record::REFERENCE_BYTES,
};

/// Pages before the first that holds anything but a superblock.
pub(crate) const SUPERBLOCKS: u64 = 2;
/// Pages that one page of the map tells of: what is left behind the number of the next one, in words.
const MAP_WORDS: usize = (BODY_BYTES - 8) / 8;
const MAP_PAGES: u64 = MAP_WORDS as u64 * 64;

/// The pages of a file: in use, or free. What a checkpoint in the making wrote and gave up stands apart until it is done.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    /// A bit for each page that is not to be written to.
    used: Vec<u64>,
    /// Where the search for a free page goes on.
    next: u64,
    count: u64,
    /// Pages that the file may have.
    most: u64,
}

impl Space {
    /// A file that holds its superblocks only, and may have so many pages.
    pub(crate) fn new(most: u64) -> Self {
        let mut space = Self { used: Vec::new(), next: 0, count: 0, most };
        (0..SUPERBLOCKS).for_each(|page| space.set(page));
        space
    }

    /// Pages in use.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Pages of the file up to the last one in use.
    pub(crate) fn end(&self) -> u64 {
        let last = self.used.iter().rposition(|word| *word != 0);
        last.map_or(0, |last| last as u64 * 64 + 64 - u64::from(self.used[last].leading_zeros()))
    }

    /// Pages before a place that are not in use.
    pub(crate) fn free_below(&self, end: u64) -> u64 {
        let used = self.used.iter().take(end.div_ceil(64) as usize).enumerate().map(|(at, word)| {
            let own = end.saturating_sub(at as u64 * 64).min(64);
            let mask = if own == 64 { u64::MAX } else { (1 << own) - 1 };
            u64::from((word & mask).count_ones())
        });
        end - used.sum::<u64>()
    }

    pub(crate) fn is_used(&self, page: PageNumber) -> bool {
        self.used.get((page.0 / 64) as usize).is_some_and(|word| word >> (page.0 % 64) & 1 != 0)
    }

    fn set(&mut self, page: u64) {
        let word = (page / 64) as usize;
        if word >= self.used.len() {
            self.used.resize(word + 1, 0);
        }
        debug_assert!(self.used[word] >> (page % 64) & 1 == 0, "page {page} is taken twice");
        self.used[word] |= 1 << (page % 64);
        self.count += 1;
    }

    /// Takes all pages that another map has in use, and gives those that were free.
    pub(crate) fn take_all_of(&mut self, other: &Self) -> Vec<PageNumber> {
        let pages = (0..other.used.len() as u64 * 64).map(PageNumber);
        let added: Vec<PageNumber> =
            pages.filter(|page| other.is_used(*page) && !self.is_used(*page)).collect();
        added.iter().for_each(|page| self.set(page.0));
        added
    }

    /// Takes a free page, from the beginning of the file on.
    ///
    /// # Errors
    ///
    /// [`ColdError::Budget`] if the file may not have another one.
    pub(crate) fn take(&mut self) -> Result<PageNumber, ColdError> {
        let from = (self.next / 64) as usize;
        let word = (from..self.used.len()).find(|word| self.used[*word] != u64::MAX);
        let page = match word {
            Some(word) => word as u64 * 64 + u64::from(self.used[word].trailing_ones()),
            None => self.used.len() as u64 * 64,
        };
        if page >= self.most {
            let bytes = |pages: u64| pages * PAGE_BYTES as u64;
            return Err(ColdError::Budget { needed: bytes(page + 1), budget: bytes(self.most) });
        }
        self.set(page);
        self.next = page;
        Ok(PageNumber(page))
    }

    /// Gives a page back.
    pub(crate) fn give(&mut self, page: PageNumber) {
        debug_assert!(self.is_used(page), "{page} is given back twice");
        self.used[(page.0 / 64) as usize] &= !(1 << (page.0 % 64));
        self.count -= 1;
        self.next = self.next.min(page.0);
    }

    /// Pages that [`Space::map`] needs.
    pub(crate) fn map_len(&self) -> u64 {
        (self.used.len() as u64 * 64).div_ceil(MAP_PAGES).max(1)
    }

    /// The map of all that is in use, on as many pages as there are places, each with the number of the next one.
    pub(crate) fn map(&self, places: &[PageNumber]) -> Vec<Page> {
        let mut pages = Vec::with_capacity(places.len());
        for at in 0..places.len() {
            let mut page = Page::new(PageKind::Space);
            let body = page.body_mut();
            let next = places.get(at + 1).map_or(0, |next| next.0);
            body[..REFERENCE_BYTES].copy_from_slice(&next.to_le_bytes()[..REFERENCE_BYTES]);
            let words = self.used.iter().skip(at * MAP_WORDS).take(MAP_WORDS);
            for (place, word) in body[8..].chunks_exact_mut(8).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            pages.push(page);
        }
        pages
    }

    /// A map as it was written, page by page: `read` gives a page by its number.
    ///
    /// # Errors
    ///
    /// Those of `read`; [`ColdError::Damaged`] if a page is none of a map, or the map has no end.
    pub(crate) fn read(
        first: PageNumber,
        most: u64,
        mut read: impl FnMut(PageNumber) -> Result<Page, ColdError>,
    ) -> Result<Self, ColdError> {
        let mut used = Vec::new();
        let mut next = first;
        while next.0 != 0 {
            let page = read(next)?;
            if page.kind() != PageKind::Space || used.len() as u64 * 64 > PageNumber::END {
                return Err(ColdError::content(next, "it is no page of the map of pages in use"));
            }
            let (reference, words) = page.body().split_at(8);
            for word in words.chunks_exact(8) {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(word);
                used.push(u64::from_le_bytes(bytes));
            }
            let mut number = [0; 8];
            number.copy_from_slice(reference);
            next = PageNumber(u64::from_le_bytes(number));
        }
        while used.last() == Some(&0) {
            used.pop();
        }
        let count = used.iter().map(|word| u64::from(word.count_ones())).sum();
        Ok(Self { used, next: 0, count, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn pages_are_taken_once_until_they_are_given_back_and_the_map_says_so() {
        let mut space = Space::new(MAP_PAGES * 2 + 100);
        let taken: Vec<PageNumber> = (0..MAP_PAGES + 700).map(|_| space.take().unwrap()).collect();
        assert_eq!(taken[0], PageNumber(SUPERBLOCKS));
        assert!(taken.windows(2).all(|pair| pair[0] < pair[1]));
        for page in taken.iter().step_by(3) {
            space.give(*page);
        }
        let places: Vec<PageNumber> = (0..space.map_len()).map(|_| space.take().unwrap()).collect();
        assert_eq!(places.len(), 2);
        let pages: BTreeMap<PageNumber, Page> = places.iter().copied().zip(space.map(&places)).collect();
        let mut pages = pages;
        let read = Space::read(places[0], space.most, |number| Ok(pages.remove(&number).unwrap())).unwrap();
        assert_eq!((read.count(), read.end()), (space.count(), space.end()));
        for page in (0..space.end() + 64).map(PageNumber) {
            assert_eq!(read.is_used(page), space.is_used(page), "{page}");
        }
        for end in [0, 1, 63, 64, 65, 1_000, space.end(), space.end() + 200] {
            let free = (0..end).filter(|page| !space.is_used(PageNumber(*page))).count() as u64;
            assert_eq!(space.free_below(end), free, "{end}");
        }
    }

    #[test]
    fn a_file_that_is_full_says_how_much_it_may_hold() {
        let mut space = Space::new(4);
        assert_eq!((space.take().unwrap(), space.take().unwrap()), (PageNumber(2), PageNumber(3)));
        let refused = space.take().unwrap_err();
        assert!(matches!(refused, ColdError::Budget { needed: 20_480, budget: 16_384 }), "{refused}");
        space.give(PageNumber(2));
        assert_eq!(space.take().unwrap(), PageNumber(2));
    }
}
