//! What is on a page: records, and references to other pages, sorted by their places in the trie.
//!
//! ```text
//! shared u8 | shared bytes | end u16 .. | item ..
//! item       kind u8 | nibbles u8 | rest of the place | record or node
//! node       hash [32] | page [5]            kind 1: a branch
//!            len u8 | bytes | page [5]       kind 2: a branch below 32 bytes; 3: a leaf or an extension
//! ```
//!
//! All places begin with the shared bytes; an item's end counts from where items begin. A record (kind 0) has a place of 64
//! nibbles. A reference is for one whole subtrie; several may name one page, which then holds them all. Of page 0 nothing is stored:
//! the subtrie is known by its hash only.

use super::{
    error::ColdError,
    merkle::{Batch, Item as NodeItem, Node},
    page::{BODY_BYTES, Page, PageKind, PageNumber},
    prefix::Prefix,
    record::{REFERENCE_BYTES, Reader, Record, write_reference, write_short},
};
use alloy_primitives::B256;

/// Instead of a page, where a subtrie is known by its hash only.
pub(crate) const BLINDED: PageNumber = PageNumber(0);

/// A subtrie on another page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) prefix: Prefix,
    pub(crate) node: Node,
    /// [`BLINDED`] if nothing of it is stored.
    pub(crate) page: PageNumber,
}

/// One of what a page holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item<R> {
    Record(R),
    Reference(Reference),
}

impl<R: Record> Item<R> {
    /// Its place in the trie.
    pub(crate) fn prefix(&self) -> Prefix {
        match self {
            Self::Record(record) => Prefix::whole(record.key()),
            Self::Reference(reference) => reference.prefix,
        }
    }

    /// Bytes that it takes on a page, those shared with others included.
    pub(crate) fn bytes(&self) -> usize {
        let payload = match self {
            Self::Record(record) => record.bytes(),
            Self::Reference(Reference { node: Node::Branch(item), .. }) => {
                REFERENCE_BYTES + item.as_hash().map_or(1 + item.bytes().len(), |_| 32)
            }
            Self::Reference(Reference { node: Node::Short(rlp), .. }) => REFERENCE_BYTES + 1 + rlp.len(),
        };
        4 + self.prefix().byte_len() + payload
    }

    pub(crate) fn record_mut(&mut self) -> Option<&mut R> {
        match self {
            Self::Record(record) => Some(record),
            Self::Reference(_) => None,
        }
    }

    pub(crate) fn into_record(self) -> Option<R> {
        match self {
            Self::Record(record) => Some(record),
            Self::Reference(_) => None,
        }
    }

    /// Adds it to a subtrie.
    pub(crate) fn add_to(&self, batch: &mut Batch) {
        match self {
            Self::Record(record) => batch.leaf(*record.key(), |out| record.write_value(out)),
            Self::Reference(reference) => batch.node(reference.prefix, reference.node.clone()),
        }
    }

    fn write(&self, shared: usize, out: &mut Vec<u8>) {
        let prefix = self.prefix();
        let kind = match self {
            Self::Record(_) => 0,
            Self::Reference(Reference { node: Node::Branch(item), .. }) => {
                if item.as_hash().is_some() {
                    1
                } else {
                    2
                }
            }
            Self::Reference(_) => 3,
        };
        out.extend_from_slice(&[kind, prefix.nibbles()]);
        out.extend_from_slice(&prefix.key()[shared..prefix.byte_len()]);
        match self {
            Self::Record(record) => record.write(out),
            Self::Reference(Reference { node, page, .. }) => {
                match node {
                    Node::Branch(item) => match item.as_hash() {
                        Some(hash) => out.extend_from_slice(&hash[..]),
                        None => write_short(out, item.bytes()),
                    },
                    Node::Short(rlp) => write_short(out, rlp),
                }
                write_reference(out, *page);
            }
        }
    }

    fn read(shared: &[u8], bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let (kind, nibbles) = (from.byte()?, from.byte()?);
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
        let node = match kind {
            0 if nibbles == Prefix::WHOLE => return R::read(key, from.0).map(Self::Record),
            1 => Node::Branch(NodeItem::hash(&from.hash()?)),
            2 => Node::Branch(from.item()?),
            3 => Node::Short(from.short()?.to_vec()),
            _ => return None,
        };
        let page = from.reference()?;
        from.0.is_empty().then_some(Self::Reference(Reference { prefix, node, page }))
    }
}

/// Bytes of the body of a page that holds some items, in order.
pub(crate) fn page_bytes<R: Record>(items: &[Item<R>]) -> usize {
    let all: usize = items.iter().map(Item::bytes).sum();
    let shared = shared_of(items);
    1 + shared + all - items.len() * shared
}

/// Bytes that the places of sorted items begin with.
fn shared_of<R: Record>(items: &[Item<R>]) -> usize {
    match items {
        [first, .., last] => usize::from(first.prefix().common(&last.prefix()) / 2),
        _ => 0,
    }
}

/// A page of sorted items, which must fit.
pub(crate) fn page_of<R: Record>(items: &[Item<R>]) -> Page {
    let mut page = Page::new(R::KIND);
    page.set_items(items.len());
    let shared = shared_of(items);
    let mut body = Vec::with_capacity(BODY_BYTES);
    body.push(shared as u8);
    if let [first, ..] = items {
        body.extend_from_slice(&first.prefix().key()[..shared]);
    }
    let mut written = Vec::with_capacity(BODY_BYTES);
    for item in items {
        item.write(shared, &mut written);
        body.extend_from_slice(&(written.len() as u16).to_le_bytes());
    }
    body.extend_from_slice(&written);
    page.body_mut()[..body.len()].copy_from_slice(&body);
    page
}

/// The pages that a page of accounts, slots or codes refers to; none if it is of another kind.
pub(crate) fn pages_below(page: &Page, number: PageNumber) -> Vec<PageNumber> {
    let items = match page.kind() {
        PageKind::Accounts | PageKind::Slots | PageKind::Codes => Items::open(page, number, page.kind()),
        _ => return Vec::new(),
    };
    let Ok(items) = items else { return Vec::new() };
    let references = (0..items.count).filter(|at| items.bytes(*at)[0] != 0);
    // Whatever its node is, the page's number comes last.
    let below = references.filter_map(|at| {
        let bytes = items.bytes(at);
        Reader(bytes.get(bytes.len().checked_sub(REFERENCE_BYTES)?..)?).reference()
    });
    let mut pages: Vec<PageNumber> = below.filter(|below| *below != BLINDED).collect();
    pages.dedup();
    pages
}

/// What a page has for a key.
#[derive(Debug)]
pub(crate) enum Lookup<R> {
    Record(R),
    /// It is on this page, if it is anywhere.
    Page(PageNumber),
    Absent,
}

/// What a page has below a place.
#[derive(Debug)]
pub(crate) enum Below<R> {
    /// All of it, sorted.
    Items(Vec<Item<R>>),
    /// It is on this page, if there is anything.
    Page(PageNumber),
}

/// Whether a key begins as a place does: of both what is behind the shared bytes.
fn begins(key: &[u8], place: &[u8], nibbles: u8) -> bool {
    let Some((last, before)) = place.split_last() else { return true };
    let mask = if nibbles.is_multiple_of(2) { 0xff } else { 0xf0 };
    key[..before.len()] == *before && key[before.len()] & mask == *last
}

/// The first two bytes of a place behind the shared ones: places are in the order of their marks.
fn mark_of(rest: &[u8]) -> u16 {
    match rest {
        [] => 0,
        [first] => u16::from_be_bytes([*first, 0]),
        [first, second, ..] => u16::from_be_bytes([*first, *second]),
    }
}

/// A page, taken apart as far as is needed to find a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Items<'a> {
    number: PageNumber,
    count: usize,
    shared: &'a [u8],
    ends: &'a [u8],
    items: &'a [u8],
    marks: &'a [u16],
}

impl<'a> Items<'a> {
    /// # Errors
    ///
    /// [`ColdError::Damaged`] if the page is none of this kind.
    pub(crate) fn open(page: &'a Page, number: PageNumber, kind: PageKind) -> Result<Self, ColdError> {
        if page.kind() != kind {
            return Err(ColdError::content(
                number,
                "it is a page of another kind than what refers to it says",
            ));
        }
        Self::parse(page, number).ok_or_else(|| ColdError::content(number, "its parts do not fit together"))
    }

    fn parse(page: &'a Page, number: PageNumber) -> Option<Self> {
        let count = page.items();
        let (shared_len, rest) = page.body().split_first()?;
        let (shared, rest) = rest.split_at_checked(usize::from(*shared_len))?;
        let (ends, items) = rest.split_at_checked(2 * count)?;
        let parsed = Self { number, count, shared, ends, items, marks: &[] };
        let marks = page.marks(|| parsed.check())?;
        Some(Self { marks, ..parsed })
    }

    /// The marks of its items, if its parts fit together.
    fn check(&self) -> Option<Box<[u16]>> {
        let mut last = 0;
        for at in 0..self.count {
            let end = self.end(at);
            if end < last + 2 || end > self.items.len() {
                return None;
            }
            last = end;
        }
        if self.count == 0 || self.shared.len() > 32 {
            return None;
        }
        (0..self.count).map(|at| self.rest(at).map(mark_of)).collect()
    }

    fn end(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes([self.ends[2 * at], self.ends[2 * at + 1]]))
    }

    fn bytes(&self, at: usize) -> &'a [u8] {
        let start = if at == 0 { 0 } else { self.end(at - 1) };
        &self.items[start..self.end(at)]
    }

    /// The rest of an item's place.
    fn rest(&self, at: usize) -> Option<&'a [u8]> {
        let bytes = self.bytes(at);
        if bytes[1] > Prefix::WHOLE {
            return None;
        }
        bytes[2..].get(..usize::from(bytes[1]).div_ceil(2).checked_sub(self.shared.len())?)
    }

    fn item<R: Record>(&self, at: usize) -> Result<Item<R>, ColdError> {
        Item::read(self.shared, self.bytes(at)).ok_or_else(|| self.none())
    }

    /// What it has for a key.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`] if an item on the way cannot be; [`ColdError::Blinded`].
    pub(crate) fn find<R: Record>(&self, key: &B256) -> Result<Lookup<R>, ColdError> {
        let Some(at) = self.last_up_to(key)? else { return Ok(Lookup::Absent) };
        let (rest, bytes) = (self.rest(at).ok_or_else(|| self.none())?, self.bytes(at));
        let (kind, nibbles) = (bytes[0], bytes[1]);
        let tail = &key[self.shared.len()..];
        match kind {
            0 if nibbles != Prefix::WHOLE => Err(self.none()),
            0 if rest != tail => Ok(Lookup::Absent),
            0 => R::read(*key, &bytes[2 + rest.len()..]).map(Lookup::Record).ok_or_else(|| self.none()),
            _ if !begins(tail, rest, nibbles) => Ok(Lookup::Absent),
            // Of what stands for the subtrie nothing is needed but where it is, which comes last.
            1..=3 => {
                let page = bytes[2 + rest.len()..].last_chunk::<REFERENCE_BYTES>();
                match page.and_then(|page| Reader(page).reference()) {
                    None => Err(self.none()),
                    Some(BLINDED) => Err(ColdError::Blinded { key: *key, nibbles }),
                    Some(page) => Ok(Lookup::Page(page)),
                }
            }
            _ => Err(self.none()),
        }
    }

    fn none(&self) -> ColdError {
        ColdError::content(self.number, "one of its items is none")
    }

    /// The last item whose place is not behind a key. Only where the key begins as all places do.
    fn last_up_to(&self, key: &B256) -> Result<Option<usize>, ColdError> {
        let (shared, tail) = key.split_at(self.shared.len());
        if shared != self.shared {
            return Ok(None);
        }
        let mark = mark_of(tail);
        // All of them, beside one another: what stands in items is elsewhere in memory.
        let mut low = self.marks.iter().filter(|other| **other < mark).count();
        while self.marks.get(low) == Some(&mark) {
            // A place that the key begins with is before it, as its bytes are.
            if self.rest(low).ok_or_else(|| self.none())? > tail {
                break;
            }
            low += 1;
        }
        Ok(low.checked_sub(1))
    }

    /// What it has below a place.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`] if an item there cannot be; [`ColdError::Blinded`].
    pub(crate) fn below<R: Record>(&self, place: &Prefix) -> Result<Below<R>, ColdError> {
        let key = place.key();
        if let Lookup::Page(page) = self.find_place::<R>(place)? {
            return Ok(Below::Page(page));
        }
        let bytes = place.byte_len().min(self.shared.len());
        // Half a byte of the place may stand against a whole one.
        let full = usize::from(place.nibbles() / 2).min(bytes);
        if self.shared[..full] != key[..full] {
            return Ok(Below::Items(Vec::new()));
        }
        let mut items = Vec::new();
        let is_before = |at: &usize| {
            let place_of = self.shared.iter().chain(self.rest(*at).unwrap_or_default());
            place_of.cmp(&key[..place.byte_len()]).is_lt()
        };
        for at in (0..self.count).skip_while(is_before) {
            let item: Item<R> = self.item(at)?;
            if !place.contains(&item.prefix()) {
                break;
            }
            items.push(item);
        }
        self.check_order(&items)?;
        Ok(Below::Items(items))
    }

    /// The page that all is on which is below a place, if that is another one.
    fn find_place<R: Record>(&self, place: &Prefix) -> Result<Lookup<R>, ColdError> {
        let Some(at) = self.last_up_to(place.key())? else { return Ok(Lookup::Absent) };
        match self.item::<R>(at)? {
            Item::Reference(Reference { page, prefix, .. }) if prefix.contains(place) => {
                if page == BLINDED {
                    return Err(ColdError::Blinded { key: *place.key(), nibbles: prefix.nibbles() });
                }
                Ok(Lookup::Page(page))
            }
            _ => Ok(Lookup::Absent),
        }
    }

    /// All items.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`] if one cannot be, or they are not in order, or one is below another.
    pub(crate) fn all<R: Record>(&self) -> Result<Vec<Item<R>>, ColdError> {
        let items: Vec<Item<R>> = (0..self.count).map(|at| self.item(at)).collect::<Result<_, _>>()?;
        self.check_order(&items)?;
        Ok(items)
    }

    fn check_order<R: Record>(&self, items: &[Item<R>]) -> Result<(), ColdError> {
        let is_parted = |pair: &[Item<R>]| {
            let (one, other) = (pair[0].prefix(), pair[1].prefix());
            one.key() < other.key() && !one.contains(&other)
        };
        if !items.windows(2).all(is_parted) {
            return Err(ColdError::content(self.number, "its items are not in order"));
        }
        Ok(())
    }
}
