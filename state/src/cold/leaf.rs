//! Leaf pages: sorted records behind what their keys have in common.
//!
//! ```text
//! shared u8 | shared bytes | end u16 .. | rest of key .. | record ..
//! ```
//!
//! One end for each record, counted from where records begin.

use super::{
    error::ColdError,
    page::{BODY_BYTES, Page, PageKind, PageNumber},
    record::Record,
};
use alloy_primitives::B256;
use std::cmp::Ordering;

/// A leaf page, taken apart as far as is needed to find a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeafPage<'a> {
    count: usize,
    shared: &'a [u8],
    ends: &'a [u8],
    keys: &'a [u8],
    records: &'a [u8],
}

impl<'a> LeafPage<'a> {
    /// # Errors
    ///
    /// [`ColdError::Damaged`] if the page is no leaf page of this kind.
    pub(crate) fn open(page: &'a Page, number: PageNumber, kind: PageKind) -> Result<Self, ColdError> {
        if page.kind() != kind || page.level() != 0 {
            return Err(ColdError::content(number, "it is a page of another kind than the one that refers to it says"));
        }
        Self::parse(page).ok_or_else(|| ColdError::content(number, "its parts do not fit together"))
    }

    fn parse(page: &'a Page) -> Option<Self> {
        let count = page.items();
        let (shared_len, rest) = page.body().split_first()?;
        let shared_len = usize::from(*shared_len);
        let (shared, rest) = rest.split_at_checked(shared_len)?;
        let (ends, rest) = rest.split_at_checked(2 * count)?;
        let (keys, records) = rest.split_at_checked(count * 32_usize.checked_sub(shared_len)?)?;
        let leaf = Self { count, shared, ends, keys, records };
        let mut last = 0;
        for number in 0..count {
            let end = leaf.end(number);
            if end < last || end > records.len() {
                return None;
            }
            last = end;
        }
        (1..count).all(|number| leaf.tail(number - 1) < leaf.tail(number)).then_some(leaf)
    }

    fn end(&self, number: usize) -> usize {
        usize::from(u16::from_le_bytes([self.ends[2 * number], self.ends[2 * number + 1]]))
    }

    fn tail(&self, number: usize) -> &'a [u8] {
        let len = 32 - self.shared.len();
        &self.keys[number * len..(number + 1) * len]
    }

    fn key(&self, number: usize) -> B256 {
        let mut key = B256::ZERO;
        let (shared, tail) = key.split_at_mut(self.shared.len());
        shared.copy_from_slice(self.shared);
        tail.copy_from_slice(self.tail(number));
        key
    }

    fn record(&self, number: usize) -> &'a [u8] {
        let start = if number == 0 { 0 } else { self.end(number - 1) };
        &self.records[start..self.end(number)]
    }

    /// The bytes of a key's record.
    pub(crate) fn find(&self, key: &B256) -> Option<&'a [u8]> {
        let (shared, tail) = key.split_at(self.shared.len());
        if shared != self.shared {
            return None;
        }
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = (low + high) / 2;
            match self.tail(middle).cmp(tail) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Some(self.record(middle)),
            }
        }
        None
    }

    /// All records.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`] if one cannot be.
    pub(crate) fn records<R: Record>(&self, page: PageNumber) -> Result<Vec<R>, ColdError> {
        (0..self.count)
            .map(|number| R::read(self.key(number), self.record(number)))
            .collect::<Option<_>>()
            .ok_or_else(|| ColdError::content(page, "one of its records is none"))
    }
}

/// A page of sorted records, which must fit.
pub(crate) fn leaf_page<R: Record>(records: &[R]) -> Page {
    let mut page = Page::new(R::KIND, 0);
    page.set_items(records.len());
    let shared = match records {
        [first, .., last] => shared_bytes(first.key(), last.key()),
        _ => 0,
    };
    let mut body = Vec::with_capacity(BODY_BYTES);
    body.push(shared as u8);
    if let [first, ..] = records {
        body.extend_from_slice(&first.key()[..shared]);
    }
    let mut written = Vec::new();
    for record in records {
        record.write(&mut written);
        body.extend_from_slice(&(written.len() as u16).to_le_bytes());
    }
    for record in records {
        body.extend_from_slice(&record.key()[shared..]);
    }
    body.extend_from_slice(&written);
    page.body_mut()[..body.len()].copy_from_slice(&body);
    page
}

/// Bytes that two keys begin with.
fn shared_bytes(one: &B256, other: &B256) -> usize {
    one.iter().zip(&other[..]).take_while(|(one, other)| one == other).count()
}
