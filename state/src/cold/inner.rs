//! Inner pages: references to pages a level below, sorted by the place of what is there.
//!
//! ```text
//! shared u8 | shared bytes | end u16 .. | entry ..
//! entry  nibbles u8 | rest of prefix | kind u8 | node | page [5]
//! ```
//!
//! An entry is one subtrie, whole, on the page below or further down from there; several entries may name one page. A
//! branch is there by its hash (kind 0) or its bytes below 32 with their number before them (1), a leaf or an extension by its bytes, their number
//! before them (2). Of a page 0 nothing is stored: the subtrie is known by its hash only.

use super::{
    error::ColdError,
    merkle::{Item, Node},
    page::{BODY_BYTES, Page, PageKind, PageNumber},
    prefix::Prefix,
    record::{REFERENCE_BYTES, Reader, write_reference, write_short},
};
use alloy_primitives::B256;

/// A subtrie on a page below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) prefix: Prefix,
    pub(crate) node: Node,
    /// Zero if nothing of it is stored.
    pub(crate) page: PageNumber,
}

/// Instead of a page, where a subtrie is known by its hash only.
pub(crate) const BLINDED: PageNumber = PageNumber(0);

impl Entry {
    /// Bytes that it takes, those shared with others included.
    pub(crate) fn bytes(&self) -> usize {
        let node = match &self.node {
            Node::Branch(item) => item.as_hash().map_or(1 + item.bytes().len(), |_| 32),
            Node::Short(rlp) => 1 + rlp.len(),
        };
        2 + 1 + self.prefix.byte_len() + 1 + node + REFERENCE_BYTES
    }

    fn write(&self, shared: usize, out: &mut Vec<u8>) {
        out.push(self.prefix.nibbles());
        out.extend_from_slice(&self.prefix.key()[shared..self.prefix.byte_len()]);
        match &self.node {
            Node::Branch(item) => match item.as_hash() {
                Some(hash) => {
                    out.push(0);
                    out.extend_from_slice(&hash[..]);
                }
                None => {
                    out.push(1);
                    write_short(out, item.bytes());
                }
            },
            Node::Short(rlp) => {
                out.push(2);
                write_short(out, rlp);
            }
        }
        write_reference(out, self.page);
    }

    fn read(shared: &[u8], bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let nibbles = from.byte()?;
        let byte_len = usize::from(nibbles).div_ceil(2);
        if nibbles > Prefix::WHOLE || byte_len < shared.len() {
            return None;
        }
        let mut key = B256::ZERO;
        key[..shared.len()].copy_from_slice(shared);
        key[shared.len()..byte_len].copy_from_slice(from.take(byte_len - shared.len())?);
        let prefix = Prefix::of(&key, nibbles);
        if prefix.key() != &key {
            return None;
        }
        let node = match from.byte()? {
            0 => Node::Branch(Item::hash(&from.hash()?)),
            1 => Node::Branch(from.item()?),
            2 => Node::Short(from.short()?.to_vec()),
            _ => return None,
        };
        let page = from.reference()?;
        from.0.is_empty().then_some(Self { prefix, node, page })
    }
}

/// An inner page, taken apart as far as is needed to find a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InnerPage<'a> {
    number: PageNumber,
    count: usize,
    shared: &'a [u8],
    ends: &'a [u8],
    entries: &'a [u8],
}

impl<'a> InnerPage<'a> {
    /// # Errors
    ///
    /// [`ColdError::Damaged`] if the page is no inner page of this level.
    pub(crate) fn open(page: &'a Page, number: PageNumber, level: u8) -> Result<Self, ColdError> {
        if page.kind() != PageKind::Inner || page.level() != level || level == 0 {
            return Err(ColdError::content(number, "it is a page of another kind than the one that refers to it says"));
        }
        Self::parse(page, number).ok_or_else(|| ColdError::content(number, "its parts do not fit together"))
    }

    fn parse(page: &'a Page, number: PageNumber) -> Option<Self> {
        let count = page.items();
        let (shared_len, rest) = page.body().split_first()?;
        let (shared, rest) = rest.split_at_checked(usize::from(*shared_len))?;
        let (ends, entries) = rest.split_at_checked(2 * count)?;
        let inner = Self { number, count, shared, ends, entries };
        let mut last = 0;
        for at in 0..count {
            let end = inner.end(at);
            if end < last || end > entries.len() {
                return None;
            }
            last = end;
        }
        (count > 0 && shared.len() <= 32).then_some(inner)
    }

    fn end(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes([self.ends[2 * at], self.ends[2 * at + 1]]))
    }

    fn entry(&self, at: usize) -> Result<Entry, ColdError> {
        let start = if at == 0 { 0 } else { self.end(at - 1) };
        Entry::read(self.shared, &self.entries[start..self.end(at)])
            .ok_or_else(|| ColdError::content(self.number, "one of its entries is none"))
    }

    /// The entry under which a key is, if there is one.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`] if an entry on the way cannot be.
    pub(crate) fn find(&self, key: &B256) -> Result<Option<Entry>, ColdError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = (low + high) / 2;
            if self.entry(middle)?.prefix.key() <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(at) = low.checked_sub(1) else { return Ok(None) };
        Ok(Some(self.entry(at)?).filter(|entry| entry.prefix.leads_to(key)))
    }

    /// All entries.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`] if one cannot be, or they are not in order, or one is below another.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, ColdError> {
        let entries: Vec<Entry> = (0..self.count).map(|at| self.entry(at)).collect::<Result<_, _>>()?;
        let is_parted = |pair: &[Entry]| {
            pair[0].prefix.key() < pair[1].prefix.key() && !pair[0].prefix.contains(&pair[1].prefix)
        };
        if !entries.windows(2).all(is_parted) {
            return Err(ColdError::content(self.number, "its entries are not in order"));
        }
        Ok(entries)
    }
}

fn shared_of(entries: &[Entry]) -> usize {
    match entries {
        [first, .., last] => usize::from(first.prefix.common(&last.prefix) / 2),
        _ => 0,
    }
}

/// A page of sorted entries, which must fit.
pub(crate) fn inner_page(entries: &[Entry], level: u8) -> Page {
    let mut page = Page::new(PageKind::Inner, level);
    page.set_items(entries.len());
    let shared = shared_of(entries);
    let mut body = Vec::with_capacity(BODY_BYTES);
    body.push(shared as u8);
    if let [first, ..] = entries {
        body.extend_from_slice(&first.prefix.key()[..shared]);
    }
    let mut written = Vec::new();
    for entry in entries {
        entry.write(shared, &mut written);
        body.extend_from_slice(&(written.len() as u16).to_le_bytes());
    }
    body.extend_from_slice(&written);
    page.body_mut()[..body.len()].copy_from_slice(&body);
    page
}
