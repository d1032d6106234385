use super::error::PageDamage;
use std::{fmt, sync::OnceLock};
use twox_hash::XxHash3_64;

pub use citius_io::PAGE_BYTES;

/// Bytes before what a page holds.
pub(crate) const HEAD_BYTES: usize = 32;
/// Bytes of what a page holds at most.
pub(crate) const BODY_BYTES: usize = PAGE_BYTES - HEAD_BYTES;
/// The form that pages are written in.
pub(crate) const PAGE_VERSION: u8 = 1;

const MAGIC: [u8; 3] = *b"CiP";
const SEED: u64 = 0x4369_7469_7573_3031;

/// The place of a page in its file, in pages. The first two are superblocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageNumber(pub u64);

impl PageNumber {
    /// Numbers that a reference has room for: a file of 4 PiB.
    pub(crate) const END: u64 = 1 << 40;

    /// Where the page begins in its file, in bytes.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.0 * PAGE_BYTES as u64
    }
}

impl fmt::Display for PageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {} (byte {})", self.0, self.offset())
    }
}

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageKind {
    /// Accounts, by the hash of their address.
    Accounts,
    /// Slots of one account, by the hash of their key.
    Slots,
    /// Codes, by their hash.
    Codes,
    /// A part of a code.
    Code,
    /// Which pages are in use.
    Space,
    /// What everything begins with.
    Super,
}

impl PageKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Accounts, Self::Slots, Self::Codes, Self::Code, Self::Space, Self::Super]
            .into_iter()
            .find(|kind| *kind as u8 + 1 == byte)
    }
}

/// A page in memory.
///
/// ```text
/// checksum u64 | "CiP" | version u8 | kind u8 | 0 u8 | items u16 | number u64 | checkpoint u64 | body
/// ```
///
/// Numbers are little endian. The checksum is XXH3-64 of all behind it. A page knows its number, so that one that was
/// written to another place, or not at all, is told from the right one.
pub(crate) struct Page {
    bytes: Box<[u8; PAGE_BYTES]>,
    /// What its items are found by ([`Page::marks`]); none if its parts do not fit together.
    marks: OnceLock<Option<Box<[u16]>>>,
}

impl Page {
    /// An empty page.
    pub(crate) fn new(kind: PageKind) -> Self {
        let mut bytes = zeroed();
        bytes[8..11].copy_from_slice(&MAGIC);
        bytes[11] = PAGE_VERSION;
        bytes[12] = kind as u8 + 1;
        Self { bytes, marks: OnceLock::new() }
    }

    /// A page as it was read from a place.
    ///
    /// # Errors
    ///
    /// [`PageDamage`] if it is not what was written there.
    pub(crate) fn open(bytes: Box<[u8; PAGE_BYTES]>, number: PageNumber) -> Result<Self, PageDamage> {
        let page = Self { bytes, marks: OnceLock::new() };
        let stated = page.u64_at(0);
        let found = page.checksum();
        if stated != found {
            return Err(PageDamage::Checksum { stated, found });
        }
        if page.bytes[8..11] != MAGIC {
            return Err(PageDamage::Magic);
        }
        if page.bytes[11] != PAGE_VERSION {
            return Err(PageDamage::Version { found: page.bytes[11], known: PAGE_VERSION });
        }
        if PageKind::from_byte(page.bytes[12]).is_none() {
            return Err(PageDamage::Kind { found: page.bytes[12] });
        }
        let stated = PageNumber(page.u64_at(16));
        if stated != number {
            return Err(PageDamage::Place { stated });
        }
        Ok(page)
    }

    /// Makes it what is to be written to a place.
    pub(crate) fn seal(&mut self, number: PageNumber, checkpoint: u64) -> &[u8; PAGE_BYTES] {
        self.bytes[16..24].copy_from_slice(&number.0.to_le_bytes());
        self.bytes[24..32].copy_from_slice(&checkpoint.to_le_bytes());
        let checksum = self.checksum();
        self.bytes[..8].copy_from_slice(&checksum.to_le_bytes());
        &self.bytes
    }

    fn checksum(&self) -> u64 {
        XxHash3_64::oneshot_with_seed(SEED, &self.bytes[8..])
    }

    fn u64_at(&self, at: usize) -> u64 {
        let mut number = [0; 8];
        number.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(number)
    }

    pub(crate) fn kind(&self) -> PageKind {
        match PageKind::from_byte(self.bytes[12]) {
            Some(kind) => kind,
            None => unreachable!("checked when the page was opened"),
        }
    }

    /// The checkpoint that it was written for.
    pub(crate) fn checkpoint(&self) -> u64 {
        self.u64_at(24)
    }

    /// Items in it.
    pub(crate) fn items(&self) -> usize {
        usize::from(u16::from_le_bytes([self.bytes[14], self.bytes[15]]))
    }

    pub(crate) fn set_items(&mut self, items: usize) {
        self.marks = OnceLock::new();
        assert!(items <= BODY_BYTES, "{items} items of a byte at least");
        self.bytes[14..16].copy_from_slice(&(items as u16).to_le_bytes());
    }

    /// What its items are found by, made when it is first asked for; none if its parts do not fit together.
    pub(crate) fn marks(&self, make: impl FnOnce() -> Option<Box<[u16]>>) -> Option<&[u16]> {
        self.marks.get_or_init(make).as_deref()
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[HEAD_BYTES..]
    }

    pub(crate) fn body_mut(&mut self) -> &mut [u8] {
        self.marks = OnceLock::new();
        &mut self.bytes[HEAD_BYTES..]
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("kind", &self.kind())
            .field("items", &self.items())
            .finish_non_exhaustive()
    }
}

/// The bytes of a page, zero.
pub(crate) fn zeroed() -> Box<[u8; PAGE_BYTES]> {
    match vec![0; PAGE_BYTES].into_boxed_slice().try_into() {
        Ok(bytes) => bytes,
        Err(_) => unreachable!("as long as it was made"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_with_any_bit_changed_is_refused() {
        let number = PageNumber(77);
        let mut page = Page::new(PageKind::Slots);
        page.set_items(5);
        page.body_mut()[7] = 9;
        let bytes = page.seal(number, 3).to_vec();
        let open =
            |bytes: &[u8], number| Page::open(bytes.to_vec().into_boxed_slice().try_into().unwrap(), number);
        let opened = open(&bytes, number).unwrap();
        assert_eq!((opened.kind(), opened.items()), (PageKind::Slots, 5));
        assert_eq!(open(&bytes, PageNumber(78)).unwrap_err(), PageDamage::Place { stated: number });
        for bit in 0..8 * PAGE_BYTES {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(open(&damaged, number), Err(PageDamage::Checksum { .. })), "{bit}");
        }
        assert!(matches!(open(&vec![0; PAGE_BYTES], number), Err(PageDamage::Checksum { .. })));
    }
}
